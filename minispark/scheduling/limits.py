"""The scheduling core's settings and its own named limits.

Must not know configuration files: `master/` fills it from them.
"""

from __future__ import annotations

from dataclasses import dataclass

RECOMPUTES_MAX = 4
"""How often one task's accepted output may be lost and made again before its job fails."""
FETCH_FAILURES_MAX = 20
"""How often one task may fail to fetch before its job fails: a reader that can reach nobody."""
RETRY_DELAY_S_MIN = 0.05
RETRY_DELAY_S_MAX = 2.0
"""A failed task waits so long before it runs again, twice as long after each further failure."""
AVOID_S = 5.0
"""How long a task prefers other workers than the one on which it just failed."""
AVOIDERS_MAX = 16
"""How many tasks of one stage are passed over because they avoid the only worker with room."""
SPECULATION_COMPLETED_MIN = 0.5
"""Part of a stage's tasks that must be complete before the others are compared with them."""
SPECULATION_RATIO = 4.0
SPECULATION_S_MIN = 1.0
"""A task is copied to another worker once it takes that many times the median, and so long."""
EARLY_OUTPUTS_MAX = 64
"""A task may begin early once no more of what it reads is still being made: each is announced to
every worker that waits.
"""
EARLY_STARTS_MAX = 3
"""How often one task may begin early: to give way costs what it had fetched."""
DURATIONS_MAX = 1001
"""Durations a stage remembers, for its median."""
QUICK_S_MAX = 0.002
"""A stage whose median task is shorter is quick: the way to a worker takes as long as its tasks."""
QUICK_COMPLETED_MIN = 8
QUICK_PREFETCH = 64
"""Attempts of quick stages that a worker may queue beyond its slots, when `prefetch` is automatic:
no more than a few of its turns, so that it can be lost, or another job come, at little cost.
"""
FAIR_JOBS_MAX = 32
"""Among how many jobs with ready tasks, oldest first, the least served one is looked for."""
PLACEMENT_SCAN_MAX = 64
"""How many workers the round robin passes over because of their load, before it takes the least
loaded.
"""
HTTP_SLOTS = 64
"""A foreign worker never says how many tasks it runs at once; it polls when it has room."""
CLOCK_GAP_S_MIN = 1.0
"""Ticks further apart than this, and than half the heartbeat timeout, are a gap of the clock."""
DRIVER_ASKED_S = 2.0
"""How often a Spark driver is asked for, while tasks wait for one and none is Up."""
HISTORY_MAX = 8
"""Failed attempts that a failed job's message names."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Defaults as in CLI.md, section Configuration."""

    heartbeat_timeout_s: float = 10.0
    task_timeout_s: float = 300.0
    task_retries_max: int = 3
    """A task runs at most 1 + this many times, losses of workers aside."""
    worker_losses_max: int = 10
    max_load_diff: int = 2
    prefetch: int | None = None
    """Attempts a worker may queue beyond its slots; None: twice its slots."""
    jobs_kept_max: int = 100
    result_bytes_max: int = 10 * 2**30
    speculation: bool = True


def retry_delay_s(failures: int) -> float:
    """How long a task waits after its n-th failure: it grows, up to RETRY_DELAY_S_MAX."""
    return min(RETRY_DELAY_S_MAX, RETRY_DELAY_S_MIN * 2.0 ** (failures - 1))
