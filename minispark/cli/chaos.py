"""`chaos`: breaks something on purpose, says what, and shows what the cluster does about it."""

from __future__ import annotations

import argparse
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from minispark.cli.durations import seconds
from minispark.cli.processes import own_cluster
from minispark.cli.render import print_json
from minispark.errors import ClusterError, InvalidRequest, NoCluster

if TYPE_CHECKING:
    from minispark.chaos.faults import Fault

EXAMPLES = """\
examples:
  minispark chaos kill-worker                     a random worker that runs
  minispark chaos kill-worker worker-2 --watch    and report until it is back
  minispark chaos kill-master --watch             jobs go on afterwards
  minispark chaos kill-driver --watch             of jobs that run on Apache Spark
  minispark chaos slow-worker --for 20s           ten times slower, for so long
  minispark chaos corrupt-shuffle                 flip bytes of a map output in use
  minispark chaos monkey --for 60s --every 2s --seed 7 --verify
"""
SEE_ALSO = ("ps", "restart", "status")
EXITS = {
    1: "there was nothing to break, or a job went wrong",
    4: "with --watch: it was not mended in time",
}
PATIENCE_S = 5.0
"""How long a job may take to write something that can be damaged."""
POLL_S = 0.01
HOLDS = ("pause-worker", "slow-worker")
"""They last for a while, and end by themselves."""
TAKES = {
    "kill-worker": ("WORKER", "--signal", "--watch", "--for"),
    "kill-executor": ("WORKER", "--signal", "--watch", "--for"),
    "pause-worker": ("WORKER", "--watch", "--for"),
    "slow-worker": ("WORKER", "--watch", "--for"),
    "kill-master": ("--signal", "--watch", "--for"),
    "kill-driver": ("--watch",),
    "corrupt-shuffle": ("--watch",),
    "monkey": ("--for", "--every", "--verify"),
}
"""Actions, each with what may be said of it; `--seed` of every one."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", choices=TAKES, metavar="ACTION", help="what to break")
    parser.add_argument("name", nargs="?", metavar="WORKER", help="default: a random one")
    parser.add_argument("--signal", choices=("KILL", "TERM", "STOP"), help="default: KILL")
    parser.add_argument("--seed", type=int, metavar="S", help="of every random choice")
    parser.add_argument("--watch", action="store_true", help="report until it is mended")
    parser.add_argument(
        "--for",
        dest="duration",
        type=seconds,
        metavar="TIME",
        help="how long it is paused, slow or stopped (5s), or the monkey goes on (60s)",
    )
    parser.add_argument("--every", type=seconds, metavar="TIME", help="monkey: 2s")
    parser.add_argument(
        "--verify", action="store_true", help="monkey: compare each job with a fault-free run"
    )


def run(args: argparse.Namespace) -> int:
    from minispark.chaos import faults
    from minispark.chaos.hold import HELD_S, Hold
    from minispark.cli.chaos_monkey import run_monkey
    from minispark.cli.chaos_watch import Watcher, watch

    check(args)
    folder, _ = own_cluster(args)
    if args.action == "monkey":
        return run_monkey(folder, args)
    done = faults.Inflicted(_choose(folder, args))
    watcher = Watcher(folder, done.fault, args.quiet) if args.watch else None
    try:
        faults.inflict(done)
        if args.json:
            print_json(done.document())
        else:
            print(done.sentence, flush=True)
        if watcher is not None:
            watch(watcher, done, args.duration)
        elif args.action in HOLDS:
            held_s = args.duration or HELD_S
            _say(args, f"for {held_s:g} s; Ctrl-C ends it")
            with Hold(done, held_s) as hold:
                hold.wait()
        elif done.held:
            _say(args, f"it stays stopped until it gets a SIGCONT: kill -CONT {done.pid}")
    finally:
        if args.watch or args.action in HOLDS:
            faults.release(done)
    return 0


def _choose(folder: Path, args: argparse.Namespace) -> Fault:
    """What `faults.choose` finds. A map output may still be on its way: it is waited for."""
    from minispark.chaos.faults import choose

    number = signal.Signals[f"SIG{args.signal or 'KILL'}"]
    deadline = time.monotonic() + (PATIENCE_S if args.action == "corrupt-shuffle" else 0.0)
    while True:
        try:
            return choose(folder, args.action, args.name, args.seed, number)
        except NoCluster:
            raise
        except ClusterError:
            if time.monotonic() >= deadline:
                raise
            time.sleep(POLL_S)  # how often it is looked for


def check(args: argparse.Namespace) -> None:
    """Raises InvalidRequest for what the action does not take."""
    given = {
        "WORKER": args.name,
        "--signal": args.signal,
        "--watch": args.watch,
        "--for": args.duration,
        "--every": args.every,
        "--verify": args.verify,
    }
    for option, value in given.items():
        if value and option not in TAKES[args.action]:
            raise InvalidRequest(f"{args.action} takes no {option}")


def _say(args: argparse.Namespace, text: str) -> None:
    if not args.quiet:
        print(text, file=sys.stderr, flush=True)
