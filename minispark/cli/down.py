"""`down`: stops the cluster of a state directory, in order, then by force."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from minispark.cli.find import state_dir_of
from minispark.errors import NoCluster

EXAMPLES = """\
examples:
  minispark down                stop in order; what does not stop is killed
  minispark down --purge        and delete everything below the state directory that is ours
"""
START_TIME_SLACK_S = 2.0
"""A process whose start differs more from what was written down is a stranger with its pid."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--timeout", type=float, default=20.0, metavar="S", help="default: 20")
    parser.add_argument(
        "--purge", action="store_true", help="delete the state directory's contents"
    )


def run(args: argparse.Namespace) -> int:
    import psutil

    from minispark.supervisor.state_dir import purge, read_cluster_file

    folder = state_dir_of(args)
    document = read_cluster_file(folder)
    ours = _our_processes(document) if document is not None else []
    if not ours and not args.purge:
        raise NoCluster(f"no cluster runs on {folder}")
    if ours:
        ours[0].terminate()
        _, alive = psutil.wait_procs(ours, timeout=args.timeout)
        for process in alive:
            process.kill()
        psutil.wait_procs(alive, timeout=5.0)
        if not args.quiet:
            how = "stopped" if not alive else f"stopped, {len(alive)} processes by force"
            print(f"The cluster on {folder} {how}.", file=sys.stderr)
    (folder / "cluster.json").unlink(missing_ok=True)
    if args.purge and not purge(folder):
        print(f"{folder} is no state directory of ours; nothing was deleted", file=sys.stderr)
    return 0


def _our_processes(document: dict[str, Any]) -> list[Any]:
    """The supervisor first, then its descendants; nobody who only has an old pid of ours."""
    import psutil

    found: dict[int, psutil.Process] = {}
    for entry in document.get("processes", []):
        try:
            process = psutil.Process(entry["pid"]) if entry.get("pid") else None
            if process is None:
                continue
            if abs(process.create_time() - entry["started_at"]) > START_TIME_SLACK_S:
                continue
            found.setdefault(process.pid, process)
            for child in process.children(recursive=True):
                found.setdefault(child.pid, child)
        except psutil.NoSuchProcess:
            continue
    return list(found.values())
