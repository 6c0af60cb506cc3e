"""`scale`: changes the number of workers; those that go finish what they run."""

from __future__ import annotations

import argparse
import sys

from minispark.cli.durations import seconds
from minispark.cli.processes import await_processes, own_cluster
from minispark.cli.ps import print_processes
from minispark.errors import InvalidRequest

EXAMPLES = """\
examples:
  minispark scale 5                 start workers, or drain some, until there are five
"""
SEE_ALSO = ("ps", "restart")
EXITS = {1: "a process does not come up", 4: "timed out"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("count", type=int, metavar="N", help="how many workers there shall be")
    parser.add_argument(
        "--timeout",
        type=seconds,
        default=60.0,
        metavar="S",
        help="how long it may take; default: 60",
    )


def run(args: argparse.Namespace) -> int:
    from minispark.operations import WORKERS_MAX
    from minispark.supervisor.control import ask

    if not 0 <= args.count <= WORKERS_MAX:
        raise InvalidRequest(f"the number of workers is 0 to {WORKERS_MAX}, not {args.count}")
    folder, document = own_cluster(args)
    answer = ask(document["control"], {"scale": args.count})
    if not args.quiet:
        for what in ("added", "draining"):
            if answer[what]:
                print(f"{what.capitalize()}: {', '.join(answer[what])}.", file=sys.stderr)
    await_processes(folder, answer["added"], args.timeout, leaving=answer["draining"])
    print_processes(folder, args)
    return 0
