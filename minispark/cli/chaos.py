"""`chaos`: breaks something on purpose, says what, and shows what the cluster does about it."""

from __future__ import annotations

import argparse
import signal
import sys

from minispark.cli.find import document_of, state_dir_of
from minispark.cli.render import print_json

EXAMPLES = """\
examples:
  minispark chaos kill-worker                     a random worker that runs
  minispark chaos kill-worker worker-2 --watch    and report until it is back
  minispark chaos kill-master --watch             jobs go on afterwards
  minispark chaos slow-worker --for 20s           ten times slower, for so long
  minispark chaos corrupt-shuffle                 flip bytes of a map output in use
  minispark chaos monkey --for 60s --every 2s --seed 7 --verify
"""
ACTIONS = (
    "kill-worker",
    "kill-executor",
    "pause-worker",
    "slow-worker",
    "kill-master",
    "corrupt-shuffle",
    "monkey",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", choices=ACTIONS)
    parser.add_argument("name", nargs="?", metavar="NAME", help="a worker; default: a random one")
    parser.add_argument("--signal", choices=("KILL", "TERM", "STOP"), default="KILL")
    parser.add_argument("--seed", type=int, metavar="S", help="of every random choice")
    parser.add_argument("--watch", action="store_true", help="report until it is mended")
    parser.add_argument(
        "--for",
        dest="duration",
        type=seconds,
        metavar="TIME",
        help="how long it is paused or slow (5s), or the monkey goes on (60s)",
    )
    parser.add_argument("--every", type=seconds, default=2.0, metavar="TIME", help="monkey: 2s")
    parser.add_argument(
        "--verify", action="store_true", help="monkey: compare each job with a fault-free run"
    )


def seconds(text: str) -> float:
    """`60s`, `2m`, `500ms` or `60`. Raises ValueError."""
    for unit, factor in (("ms", 0.001), ("s", 1.0), ("m", 60.0)):
        if text.endswith(unit):
            return float(text.removesuffix(unit)) * factor
    return float(text)


def run(args: argparse.Namespace) -> int:
    from minispark.chaos import faults
    from minispark.cli.chaos_monkey import run_monkey
    from minispark.cli.chaos_watch import Watcher, watch

    folder = state_dir_of(args)
    document_of(folder)
    if args.action == "monkey":
        return run_monkey(folder, args)
    fault = faults.choose(
        folder, args.action, args.name, args.seed, signal.Signals[f"SIG{args.signal}"]
    )
    watcher = Watcher(folder, args.quiet) if args.watch else None
    done = faults.inflict(fault)
    if args.json:
        print_json(done.document())
    else:
        print(done.sentence, flush=True)
    held_s = args.duration if args.duration is not None else faults.HELD_S
    try:
        if watcher is not None:
            watch(watcher, done, held_s)
        elif args.action in ("pause-worker", "slow-worker"):
            if not args.quiet:
                print(f"for {held_s:g} s; Ctrl-C ends it", file=sys.stderr)
            faults.hold(done, held_s)
    finally:
        if args.watch or args.action in ("pause-worker", "slow-worker"):
            faults.release(done)  # `kill-worker --signal STOP` alone leaves it stopped
    return 0
