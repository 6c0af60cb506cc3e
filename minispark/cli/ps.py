"""`ps`: the cluster's processes with their figures."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

from minispark.cli.find import document_of, state_dir_of
from minispark.cli.render import age, print_json, table

EXAMPLES = """\
examples:
  minispark ps                        each without its executors; cpu since its start
  minispark ps --json                 with the pids of executors
"""
SEE_ALSO = ("status", "logs", "restart")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    pass


def run(args: argparse.Namespace) -> int:
    _print(with_figures(state_dir_of(args)), args)
    return 0


def print_processes(folder: Path, args: argparse.Namespace) -> None:
    """What a command that changed them shows at its end. Raises NoCluster."""
    document = with_figures(folder)
    if args.json or not args.quiet:
        _print(document, args)


def _print(document: dict[str, Any], args: argparse.Namespace) -> None:
    if args.json:
        print_json(document)
        return
    rows = [
        (
            process["name"],
            process["pid"] or "-",
            process["state"],
            age(process["uptime_s"]),
            f"{process['cpu_percent']:.0f}%",
            f"{process['rss_bytes'] / 1e6:.0f} MB",
            process["restarts"],
            " ".join(f"{name}:{port}" for name, port in process["ports"].items()),
            process.get("reason") or ("paused" if process["is_paused"] else ""),
        )
        for process in document["processes"]
    ]
    print(
        table(rows, ("name", "pid", "state", "uptime", "cpu", "rss", "restarts", "ports", "reason"))
    )
    print(f"\n{document['master_url']}   state: {document['state_dir']}")


def with_figures(folder: Path) -> dict[str, Any]:
    """`cluster.json` with live figures; executors below their worker. Raises NoCluster."""
    document = document_of(folder)
    for process in document["processes"]:
        process.update(_figures(process))
    return document


def _figures(entry: dict[str, Any]) -> dict[str, Any]:
    import psutil

    from minispark.model.places import DRIVER, SERVERS
    from minispark.supervisor.named_processes import is_paused
    from minispark.supervisor.process_identity import ProcessIdentity

    figures: dict[str, Any] = {
        "rss_bytes": 0,
        "cpu_percent": 0.0,
        "uptime_s": 0.0,
        "executors": [],
        "is_paused": is_paused(entry),
    }
    identity = ProcessIdentity.in_entry(entry)
    if identity is None or not identity.is_alive:
        return figures
    try:
        process = psutil.Process(identity.pid)
        # the driver's Java, and Spark's Python workers, count with it
        below = process.children(recursive=True) if entry["name"] == DRIVER else []
        alive_s = max(0.001, time.time() - process.create_time())
        for one in (process, *below):
            busy = one.cpu_times()
            figures["rss_bytes"] += one.memory_info().rss
            figures["cpu_percent"] += 100.0 * (busy.user + busy.system) / alive_s
        figures["uptime_s"] = max(0.0, time.time() - entry["started_at"])
        # an executor's parent is the worker's executor server
        for server in [] if entry["name"] in SERVERS else process.children():
            figures["executors"] += [executor.pid for executor in server.children()]
    except psutil.NoSuchProcess:
        pass  # it ended between the file and the look
    return figures
