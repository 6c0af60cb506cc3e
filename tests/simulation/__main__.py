"""Replays a seed, or searches for bad ones."""

from __future__ import annotations

import argparse
import random
import time

from tests.simulation.simulator import Simulation


def main() -> None:
    parser = argparse.ArgumentParser(prog="scripts/simulate", description=__doc__)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=4)
    parser.add_argument("--for", type=float, dest="seconds", help="fresh seeds for so long")
    parser.add_argument("--count", type=int, help="that many fresh seeds")
    parser.add_argument(
        "--unchecked",
        action="store_true",
        help="safety rules only: recounting all invariants after every event takes long",
    )
    parser.add_argument("-v", "--verbose", action="store_true", help="print every event")
    args = parser.parse_args()
    deadline = time.monotonic() + (args.seconds or 0)
    count = 0
    while True:
        seed = args.seed if args.seed is not None else random.SystemRandom().randrange(2**32)
        print(f"seed {seed}", flush=True)
        options = {"workers": args.workers, "jobs": args.jobs}
        log = print if args.verbose else None
        Simulation(seed, log=log, is_checked=not args.unchecked, **options).run()
        count += 1
        if args.count is not None and count < args.count:
            continue
        if time.monotonic() >= deadline:
            break
    print(f"{count} seeds, no contradiction")


if __name__ == "__main__":
    main()
