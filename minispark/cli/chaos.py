"""`chaos`: breaks something on purpose. `kill-worker` kills a worker in front of the class."""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import time
from typing import Any

from minispark.cli.find import state_dir_of
from minispark.cli.render import print_json
from minispark.errors import ClusterError, DeadlineExceeded, NoCluster, NotFound

EXAMPLES = """\
examples:
  minispark chaos kill-worker                     a random Up worker
  minispark chaos kill-worker worker-2 --watch    and report until it is back
"""
WATCH_TIMEOUT_S = 60.0
POLL_S = 0.05


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", choices=("kill-worker",))
    parser.add_argument("name", nargs="?", metavar="NAME", help="default: a random Up worker")
    parser.add_argument("--signal", choices=("KILL", "TERM", "STOP"), default="KILL")
    parser.add_argument("--seed", type=int, metavar="S", help="of the random choice")
    parser.add_argument("--watch", action="store_true", help="until the worker is back")


def run(args: argparse.Namespace) -> int:
    from minispark.supervisor.state_dir import read_cluster_file

    folder = state_dir_of(args)
    document = read_cluster_file(folder)
    if document is None:
        raise NoCluster(f"no cluster runs on {folder}; start one with `up`")
    victim = _choose(document, args.name, args.seed)
    os.kill(victim["pid"], signal.Signals[f"SIG{args.signal}"])
    at = time.time()
    if args.json:
        print_json(
            {"action": args.action, "target": victim["name"], "pid": victim["pid"], "at": at}
        )
    else:
        print(f"SIG{args.signal} to {victim['name']} (pid {victim['pid']})")
    if args.watch:
        _watch(folder, victim, args.quiet)
    return 0


def _choose(document: dict[str, Any], name: str | None, seed: int | None) -> dict[str, Any]:
    import psutil

    workers = [p for p in document["processes"] if p["name"] not in ("supervisor", "master")]
    up = [p for p in workers if p["state"] == "UP" and p["pid"] and psutil.pid_exists(p["pid"])]
    if name is not None:
        named = [process for process in up if process["name"] == name]
        if not named:
            names = ", ".join(process["name"] for process in up) or "none"
            raise NotFound(f"{name!r} is no worker that is Up; Up are {names}")
        chosen: dict[str, Any] = named[0]
        return chosen
    if not up:
        raise ClusterError("no worker is Up")
    drawn: dict[str, Any] = random.Random(seed).choice(up)
    return drawn


def _watch(folder: Any, victim: dict[str, Any], is_quiet: bool) -> None:
    """Report each state of the worker until it is Up with another pid. Raises DeadlineExceeded."""
    from minispark.supervisor.state_dir import read_cluster_file

    deadline = time.monotonic() + WATCH_TIMEOUT_S
    started, last = time.monotonic(), None
    while time.monotonic() < deadline:
        document = read_cluster_file(folder) or {"processes": []}
        now = next((p for p in document["processes"] if p["name"] == victim["name"]), None)
        if now is not None and (now["state"], now["pid"]) != last:
            last = (now["state"], now["pid"])
            if not is_quiet:
                elapsed = time.monotonic() - started
                print(
                    f"{elapsed:6.2f} s  {now['name']} {now['state']} pid {now['pid']}",
                    file=sys.stderr,
                )
            if now["state"] == "UP" and now["pid"] != victim["pid"]:
                return
        time.sleep(POLL_S)  # how often the file is looked at
    raise DeadlineExceeded(f"{victim['name']} was not back within {WATCH_TIMEOUT_S:g} s")
