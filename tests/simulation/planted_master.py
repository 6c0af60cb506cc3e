"""Bugs that are planted in the master's loop and its recovery, and must be seen by the simulation.

Each says by which rule: a part of the message of the failure. Must not know how runs go.
"""

from __future__ import annotations

import sqlite3
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest

from minispark.master.loop import MasterLoop
from minispark.model import events as ev
from minispark.model.states import AttemptState
from minispark.scheduling.core import SchedulingCore
from minispark.scheduling.recovery import Recovery
from tests.simulation.faults import Faults
from tests.simulation.master import SimulatedLoop
from tests.simulation.planting import bug, wrap


@bug("messages are sent before the journal is written", "is not durable")
def _hasty_sending(patch: pytest.MonkeyPatch) -> None:
    def carry_out(_: Any, self: MasterLoop, effects: Any, replies: Any) -> None:
        self._perform(effects)
        self._make_durable([e.fact for e in effects if hasattr(e, "fact")])
        for reply in replies:
            reply.complete()

    wrap(patch, MasterLoop, "carry_out", carry_out)


@bug("a submit is acknowledged before the journal is written", "was acknowledged, and is unknown")
def _hasty_answer(patch: pytest.MonkeyPatch) -> None:
    def carry_out(original: Any, self: MasterLoop, effects: Any, replies: Any) -> None:
        for reply in replies:
            reply.complete()
        original(self, effects, [])

    wrap(patch, MasterLoop, "carry_out", carry_out)


@bug("readers see a batch before it is durable", "readers see")
def _hasty_publishing(patch: pytest.MonkeyPatch) -> None:
    def carry_out(original: Any, self: MasterLoop, effects: Any, replies: Any) -> None:
        self._publish(effects, is_awaited=True)
        original(self, effects, replies)

    wrap(patch, MasterLoop, "carry_out", carry_out)


@bug("a batch that a full disk refused is carried out all the same", "is not durable")
def _no_holding(patch: pytest.MonkeyPatch) -> None:
    def make_durable(_: Any, self: MasterLoop, facts: Any) -> None:
        with suppress(sqlite3.Error):
            self._write(facts)

    wrap(patch, MasterLoop, "_make_durable", make_durable)


@bug(
    "a batch that a full disk refused is not tried again",
    "the totals say",
    faults=Faults(full_disk=0.05),
)
def _no_second_try(patch: pytest.MonkeyPatch) -> None:
    def carry_out(original: Any, self: MasterLoop, effects: Any, replies: Any) -> None:
        with suppress(sqlite3.Error):
            original(self, effects, replies)

    patch.setattr(SimulatedLoop, "pause", lambda _: True)
    wrap(patch, MasterLoop, "carry_out", carry_out)


@bug("of a batch only the first event is taken in", "jobs never ended")
def _first_only(patch: pytest.MonkeyPatch) -> None:
    def handle(original: Any, self: SchedulingCore, events: Any, now: float) -> Any:
        asked = [e for e in events[1:] if isinstance(e, ev.TaskRequested)]
        return original(self, [*events[:1], *asked], now)

    wrap(patch, SchedulingCore, "handle_all", handle)


@bug("a restarted master forgets accepted outputs", "though it has an output")
def _forget_outputs(patch: pytest.MonkeyPatch) -> None:
    def restore(original: Any, self: Recovery, record: Any, *more: Any) -> None:
        kept = [f for f in record.attempts if f.state is not AttemptState.SUCCEEDED]
        original(self, replace(record, attempts=tuple(kept)), *more)

    wrap(patch, Recovery, "restore", restore)


@bug("a restarted master takes every output for committed", "is not told to commit")
def _all_committed(patch: pytest.MonkeyPatch) -> None:
    def accept(
        original: Any, self: Recovery, stage: Any, task: Any, worker: Any, fact: Any
    ) -> None:
        original(self, stage, task, worker, replace(fact, is_committed=True))

    wrap(patch, Recovery, "_accept", accept)
