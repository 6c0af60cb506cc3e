"""L4: carries out a schedule of faults, each at its time. Must not know how it was drawn."""

from __future__ import annotations

import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from minispark.chaos.faults import Inflicted, choose, inflict, release
from minispark.chaos.hold import HELD_S, Hold
from minispark.chaos.schedule import KILLS, KillBudget, Planned
from minispark.errors import ClusterError, MiniSparkError
from minispark.model.settings import RestartSection
from minispark.supervisor.named_processes import entries


@dataclass(slots=True)
class Report:
    """What was done, and by action how often nothing was there to break."""

    inflicted: list[Inflicted] = field(default_factory=list)
    missed: Counter[str] = field(default_factory=Counter)


def carry_out(
    folder: Path,
    planned: list[Planned],
    restart: RestartSection,
    say: Callable[[float, str], None],
) -> Report:
    """Inflict each fault at its time; `say` is told when and what. Whatever was held goes on at the
    end, and when this is interrupted.

    A kill that would be one too many, after restarts before this schedule, is missed.
    """
    report = Report()
    budget = _budget_left(folder, restart)
    begun = time.monotonic()
    with ExitStack() as stack:
        holds: list[Hold] = []
        for one in planned:
            time.sleep(max(0.0, begun + one.at_s - time.monotonic()))  # the schedule
            now_s = time.monotonic() - begun
            try:
                done = _inflict(folder, one, now_s, budget, stack)
            except (MiniSparkError, OSError) as error:
                report.missed[one.action] += 1
                say(now_s, f"{one.action}: {error}")
                continue
            report.inflicted.append(done)
            say(now_s, done.sentence)
            if done.held:
                span_s = HELD_S * random.Random(one.victim_seed).uniform(0.1, 1.0)
                holds.append(stack.enter_context(Hold(done, span_s)))
        for hold in holds:
            hold.wait()
    return report


def _inflict(
    folder: Path, one: Planned, now_s: float, budget: KillBudget, stack: ExitStack
) -> Inflicted:
    if one.action in KILLS and one.target is not None:
        if not budget.allows(one.target, now_s):
            raise ClusterError(f"{one.target} was started again so often that it may not come back")
        budget.spend(one.target, now_s)
    fault = choose(folder, one.action, one.target, one.victim_seed, signal.SIGKILL)
    done = Inflicted(fault)
    stack.callback(release, done)
    inflict(done)
    return done


def _budget_left(folder: Path, restart: RestartSection) -> KillBudget:
    """`cluster.json` says how often a process was started again, and when last: at worst it was
    always then.
    """
    budget = KillBudget(restart)
    now = time.time()
    for entry in entries(folder):
        budget.spend(entry["name"], min(0.0, entry["started_at"] - now), entry["restarts"])
    return budget
