"""Bugs planted in what the core counts for its readers. Must not know how they are looked for."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from minispark.scheduling.job_run import JobRun
from minispark.scheduling.totals import RunningTotals
from tests.simulation.planting import bug, wrap


@bug("a lost output is not counted", "are counted")
def _uncounted_loss(patch: pytest.MonkeyPatch) -> None:
    def count(original: Any, self: JobRun, attempt: Any) -> None:
        if attempt.id not in self.unreadable:
            original(self, attempt)

    wrap(patch, JobRun, "count_failed", count)


@bug("a committed attempt is counted twice", "the totals say")
def _counted_twice(patch: pytest.MonkeyPatch) -> None:
    def count(original: Any, self: RunningTotals, fact: Any) -> None:
        original(self, replace(fact, is_committed=False))

    wrap(patch, RunningTotals, "_count_attempt", count)
