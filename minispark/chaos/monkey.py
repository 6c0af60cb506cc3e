"""A seeded schedule of faults, and what came of it. The same seed gives the same schedule.

A schedule is drawn before the first fault: when, which kind, and a seed for the choice of the
victim among what is there at that moment. Must not know command lines.
"""

from __future__ import annotations

import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from minispark.chaos.faults import HELD_S, choose, hold, inflict, release
from minispark.errors import MiniSparkError

KINDS = {
    "kill-worker": 5,
    "kill-executor": 4,
    "pause-worker": 2,
    "slow-worker": 2,
    "corrupt-shuffle": 2,
    "kill-master": 1,
}
"""Actions, each with its weight."""


@dataclass(frozen=True, slots=True)
class Planned:
    """One fault: `at_s` seconds after the start."""

    at_s: float
    action: str
    victim_seed: int


@dataclass(slots=True)
class Report:
    """What was done: `faults` by kind, and those that found nothing to break."""

    faults: Counter[str] = field(default_factory=Counter)
    missed: Counter[str] = field(default_factory=Counter)


def schedule(seed: int, duration_s: float, every_s: float) -> list[Planned]:
    """Faults over `duration_s`, `every_s` apart on average."""
    rng = random.Random(seed)
    planned: list[Planned] = []
    at_s = rng.uniform(0, every_s)
    while at_s < duration_s:
        action = rng.choices(list(KINDS), weights=list(KINDS.values()))[0]
        planned.append(Planned(round(at_s, 3), action, rng.randrange(2**32)))
        at_s += rng.uniform(0.5, 1.5) * every_s
    return planned


def carry_out(folder: Path, planned: list[Planned], say: Callable[[float, str], None]) -> Report:
    """Inflict each fault at its time; `say` is told when and what. Whatever was held goes on at the
    end.
    """
    report = Report()
    begun = time.monotonic()
    holders: list[threading.Thread] = []
    for one in planned:
        time.sleep(max(0.0, begun + one.at_s - time.monotonic()))  # the schedule
        try:
            fault = choose(folder, one.action, None, one.victim_seed, signal.SIGKILL)
            done = inflict(fault)
        except (MiniSparkError, OSError) as error:
            report.missed[one.action] += 1
            say(time.monotonic() - begun, f"{one.action}: {error}")
            continue
        report.faults[one.action] += 1
        say(time.monotonic() - begun, done.sentence)
        if done.held:
            span_s = HELD_S * random.Random(one.victim_seed).uniform(0.1, 1.0)

            def keep(done=done, span_s=span_s) -> None:  # type: ignore[no-untyped-def]
                try:
                    hold(done, span_s)
                finally:
                    release(done)

            holders.append(threading.Thread(target=keep))
            holders[-1].start()
    for holder in holders:
        holder.join()
    return report
