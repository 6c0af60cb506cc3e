"""`scale`: changes the number of workers; those that go finish what they run."""

from __future__ import annotations

import argparse
import sys
import time

from minispark.cli.find import document_of, state_dir_of
from minispark.cli.ps import print_processes
from minispark.errors import DeadlineExceeded

EXAMPLES = """\
examples:
  minispark scale 5                 start workers, or drain some, until there are five
"""
POLL_S = 0.05


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("count", type=int, metavar="N", help="workers")
    parser.add_argument("--timeout", type=float, default=60.0, metavar="S", help="default: 60")


def run(args: argparse.Namespace) -> int:
    from minispark.supervisor.control import ask

    folder = state_dir_of(args)
    answer = ask(document_of(folder)["control"], {"scale": args.count})
    if not args.quiet:
        for what in ("added", "draining"):
            if answer[what]:
                print(f"{what.capitalize()}: {', '.join(answer[what])}.", file=sys.stderr)
    deadline = time.monotonic() + args.timeout
    while True:
        processes = {p["name"]: p["state"] for p in document_of(folder)["processes"]}
        is_there = all(processes.get(name) == "RUNNING" for name in answer["added"])
        if is_there and not any(name in processes for name in answer["draining"]):
            break
        if time.monotonic() > deadline:
            raise DeadlineExceeded(f"not {args.count} workers yet: {processes}; see `logs`")
        time.sleep(POLL_S)  # how often the file is looked at
    print_processes(folder, args)
    return 0
