"""`restart`: stops processes in order and starts them again; jobs go on."""

from __future__ import annotations

import argparse
import sys
import time

from minispark.cli.find import document_of, state_dir_of
from minispark.cli.ps import print_processes
from minispark.errors import DeadlineExceeded

EXAMPLES = """\
examples:
  minispark restart                 the master and every worker
  minispark restart worker-2        one process
"""
POLL_S = 0.05


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("names", nargs="*", metavar="NAME", help="default: all")
    parser.add_argument("--timeout", type=float, default=30.0, metavar="S", help="default: 30")


def run(args: argparse.Namespace) -> int:
    from minispark.supervisor.control import ask

    folder = state_dir_of(args)
    before = document_of(folder)
    names = ask(before["control"], {"restart": args.names})["names"]
    if not args.quiet:
        print(f"Restarting {', '.join(names)}.", file=sys.stderr)
    pids = {process["name"]: process["pid"] for process in before["processes"]}
    deadline = time.monotonic() + args.timeout
    while True:
        processes = {p["name"]: p for p in document_of(folder)["processes"]}
        named = [processes[name] for name in names]
        if all(p["state"] == "RUNNING" and p["pid"] != pids[p["name"]] for p in named):
            break
        if time.monotonic() > deadline:
            late = [p["name"] for p in named if p["state"] != "RUNNING"]
            raise DeadlineExceeded(f"{', '.join(late)} did not come back; see `logs`")
        time.sleep(POLL_S)  # how often the file is looked at
    print_processes(folder, args)
    return 0
