"""Bugs in what is done with skipped stages, as in `planted.py`. Must not know how runs go."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from minispark.scheduling import dispatch
from minispark.scheduling.attempts import AttemptOutcomes
from minispark.scheduling.cache_sites import CacheSites
from minispark.scheduling.skipping import Skipping
from tests.simulation.planting import bug, nothing, wrap


@bug("what a task missed is not made", "waits for what nobody makes", spark=0.0)
def _nothing_opened(patch: pytest.MonkeyPatch) -> None:
    def open_none(original: Any, self: Skipping, job: Any, stages: Any) -> None:
        is_begun = any(run.started_at is not None for run in job.stages)
        original(self, job, () if is_begun else stages)

    wrap(patch, Skipping, "open", open_none)


@bug(
    "a task of which the input is skipped is copied", "is copied, and its input is skipped", jobs=8
)
def _copies_of_expecting(patch: pytest.MonkeyPatch) -> None:
    def is_straggler(original: Any, attempt: Any, *more: Any) -> bool:
        return bool(attempt.stage.group_of(attempt.task).unmade) or original(attempt, *more)

    wrap(patch, dispatch, "is_straggler", is_straggler)


@bug("a task of which the input is skipped goes anywhere", "its records are at")
def _expecting_anywhere(patch: pytest.MonkeyPatch) -> None:
    def place(_: Any, self: Skipping, group: Any) -> Any:
        return self._state.pool.next_available()

    wrap(patch, Skipping, "place", place)


@bug("who is to read skipped outputs is not told", "before")
def _not_told(patch: pytest.MonkeyPatch) -> None:
    def order(original: Any, attempt: Any, outputs_id: Any) -> Any:
        return replace(original(attempt, outputs_id), unmade=())

    wrap(patch, dispatch, "order_of", order)


@bug("a miss forgets nobody", "is sent to a cache again")
def _skips_again(patch: pytest.MonkeyPatch) -> None:
    def missed(original: Any, self: AttemptOutcomes, event: Any, effects: Any) -> None:
        with pytest.MonkeyPatch.context() as inner:
            nothing(inner, CacheSites, "forget")
            nothing(inner, Skipping, "open")
            original(self, event, effects)

    wrap(patch, AttemptOutcomes, "cache_missed", missed)
