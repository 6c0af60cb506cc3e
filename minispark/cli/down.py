"""`down`: stops the cluster of a state directory, in order, then by force."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minispark.cli.find import state_dir_of
from minispark.errors import ClusterError, ClusterRuns, NoCluster

if TYPE_CHECKING:
    from minispark.supervisor.process_identity import ProcessIdentity

EXAMPLES = """\
examples:
  minispark down                stop in order; what does not stop is killed
  minispark down --purge        and delete everything below the state directory that is ours
"""
SEE_ALSO = ("up", "restart")
EXITS = {1: "something could not be stopped or deleted"}
POLL_S = 0.02
KILLED_TIMEOUT_S = 2.0
"""How long processes that were killed may take to be gone, and with them the directory's lock."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--timeout",
        type=float,
        default=20.0,
        metavar="S",
        help="how long it may take, before force; default: 20",
    )
    parser.add_argument(
        "--purge", action="store_true", help="delete the state directory's contents"
    )


def run(args: argparse.Namespace) -> int:
    from minispark.supervisor.state_dir import is_marked, purge, read_cluster_file

    folder = state_dir_of(args)
    document = read_cluster_file(folder)
    if document is not None:
        how = _stop(document, args.timeout)
        if not args.quiet:
            print(f"The cluster on {folder} {how}.", file=sys.stderr)
    left = folder / "cluster.json"  # of a supervisor that was killed
    if not is_marked(folder):
        if args.purge:
            print(f"{folder} is no state directory of ours; nothing was deleted", file=sys.stderr)
    elif args.purge or left.exists():
        with _locked(folder):
            left.unlink(missing_ok=True)
            if args.purge:
                purge(folder)
    if document is None and not args.purge:
        raise NoCluster(f"no cluster runs on {folder}")
    return 0


def _stop(document: dict[str, Any], timeout_s: float) -> str:
    """Stop the supervisor in order, then whatever is left by force; returns how it went."""
    ours = _our_processes(document)
    ours[0].signal(signal.SIGTERM)
    alive = _await_end(ours, timeout_s)
    for process in alive:
        process.signal(signal.SIGKILL)
    _await_end(alive, KILLED_TIMEOUT_S)
    return f"stopped, {len(alive)} processes by force" if alive else "stopped"


def _our_processes(document: dict[str, Any]) -> list[ProcessIdentity]:
    """The supervisor first, then its descendants."""
    import psutil

    from minispark.supervisor.process_identity import ProcessIdentity

    supervisor = ProcessIdentity.in_entry(document["processes"][0])
    assert supervisor is not None
    try:
        descendants = psutil.Process(supervisor.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        descendants = []
    found = [ProcessIdentity.of(process.pid) for process in descendants]
    return [supervisor, *(process for process in found if process is not None)]


def _await_end(processes: list[ProcessIdentity], timeout_s: float) -> list[ProcessIdentity]:
    """Those that are still there when the time is over."""
    deadline = time.monotonic() + timeout_s
    while (alive := [p for p in processes if p.is_alive]) and time.monotonic() < deadline:
        time.sleep(POLL_S)  # they are nobody's children here
    return alive


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Nobody runs here until the block ends. Raises ClusterRuns when somebody does."""
    lock = _lock(folder)
    try:
        yield
    finally:
        os.close(lock)


def _lock(folder: Path) -> int:
    from minispark.supervisor.state_dir import holder_of, try_lock

    deadline = time.monotonic() + KILLED_TIMEOUT_S
    try:
        while (lock := try_lock(folder)) is None:
            if time.monotonic() > deadline:
                raise ClusterRuns(
                    f"a cluster still runs on {folder} (supervisor pid {holder_of(folder)}), and "
                    "its cluster.json does not say so; end it first"
                )
            time.sleep(POLL_S)  # the last of its processes may just be ending
    except OSError as error:
        raise ClusterError(f"{folder} cannot be locked: {error}") from error
    return lock
