"""`restart`: stops processes in order and starts them again; jobs go on."""

from __future__ import annotations

import argparse
import sys

from minispark.cli.durations import seconds
from minispark.cli.processes import await_processes, own_cluster
from minispark.cli.ps import print_processes

EXAMPLES = """\
examples:
  minispark restart                 the master, every worker, and the Spark driver if there is one
  minispark restart worker-2        one process
"""
SEE_ALSO = ("ps", "scale", "chaos")
EXITS = {1: "a process does not come back", 4: "timed out"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("names", nargs="*", metavar="PROCESS", help="default: all of them")
    parser.add_argument(
        "--timeout",
        type=seconds,
        default=30.0,
        metavar="S",
        help="how long they may take; default: 30",
    )


def run(args: argparse.Namespace) -> int:
    from minispark.supervisor.control import ask

    folder, document = own_cluster(args)
    names = ask(document["control"], {"restart": args.names})["names"]
    if not args.quiet:
        print(f"Restarting {', '.join(names)}.", file=sys.stderr)
    await_processes(folder, names, args.timeout)  # none of them runs when `ask` is answered
    print_processes(folder, args)
    return 0
