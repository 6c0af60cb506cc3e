"""What a worker's agent knows and decides: its queue, its slots, and when a task must be stopped.
Pure.

Every method takes what happened and returns what is to be done. Must not know processes or sockets.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from minispark.transport.messages import (
    Failed,
    FetchFailed,
    Report,
    Run,
    Started,
    Succeeded,
)


@dataclass(frozen=True, slots=True)
class RunOnSlot:
    slot: int
    run: Run


@dataclass(frozen=True, slots=True)
class KillSlot:
    """SIGKILL the slot's executor; another one takes its place."""

    slot: int


@dataclass(frozen=True, slots=True)
class SendReport:
    report: Report


@dataclass(frozen=True, slots=True)
class DropFiles:
    attempt_id: str


MEMORY_FACTOR = 4
"""A task is stopped at so many times its budget; the budget itself is what it plans with."""

Instruction: TypeAlias = RunOnSlot | KillSlot | SendReport | DropFiles


class Slot:
    """One executor's place."""

    def __init__(self) -> None:
        self.is_ready = False
        self.run: Run | None = None
        self.started_at = 0.0
        self.deadline: float | None = None
        self.killed_for: str | None = None
        """Why its executor was killed: `timeout`, `memory`, or, said to nobody, `cancel`."""
        self.code_of: str | None = None
        """The job whose user code its executor has run: it runs no other job's after that."""
        self.own_bytes = 0
        """What it used when it was killed for that."""


class AgentState:
    """The orders of one worker."""

    def __init__(
        self,
        slots: int,
        task_timeout_s: float,
        task_max_mb: int,
        fail_probability: float,
        draw: Callable[[], float],
    ) -> None:
        """`draw` gives numbers in [0, 100); a task fails on purpose when one is below the
        probability.
        """
        self.slots = [Slot() for _ in range(slots)]
        self.task_timeout_s = task_timeout_s
        self._task_max_mb = task_max_mb
        self._queue: dict[str, Run] = {}
        self._fail_probability = fail_probability
        self._draw = draw

    @property
    def active(self) -> int:
        """Attempts running and queued."""
        return len(self._queue) + sum(slot.run is not None for slot in self.slots)

    @property
    def held(self) -> tuple[str, ...]:
        """The attempts' ids, as a registration names them."""
        return (*self._running, *self._queue)

    @property
    def _running(self) -> tuple[str, ...]:
        runs = [slot.run for slot in self.slots if slot.run is not None and not slot.killed_for]
        return tuple(run.order.attempt_id for run in runs)

    def next_deadline(self) -> float | None:
        deadlines = [slot.deadline for slot in self.slots if slot.deadline is not None]
        return min(deadlines) if deadlines else None

    # --- what happens --------------------------------------------------------------------------

    def launched(self, runs: list[Run], now: float) -> list[Instruction]:
        """The master sent orders. A repeated one changes nothing."""
        held = dict.fromkeys(self.held)
        for run in runs:
            if run.order.attempt_id not in held:
                self._queue[run.order.attempt_id] = run
        return self._fill(now)

    def registered(self, forget: tuple[str, ...]) -> list[Instruction]:
        """A master took this worker in. It is told again what runs, because another one may not
        know: that a task started is in no journal.
        """
        instructions = self.cancelled(forget)
        return [*instructions, *(SendReport(Started(i)) for i in self._running)]

    def executor_ready(self, slot: int, now: float) -> list[Instruction]:
        self.slots[slot].is_ready = True
        return self._fill(now)

    def finished(
        self, slot: int, report: Succeeded | Failed | FetchFailed, now: float
    ) -> list[Instruction]:
        """The slot's executor is done with its order."""
        place = self.slots[slot]
        if place.run is None or place.killed_for or report.attempt_id != place.run.order.attempt_id:
            return []  # it was killed while it said so; its death decides
        instructions: list[Instruction] = [SendReport(report)]
        if not isinstance(report, Succeeded):
            instructions.insert(0, DropFiles(report.attempt_id))
        self._clear(place)
        return [*instructions, *self._fill(now)]

    def retiring(self, slot: int) -> None:
        """The slot's executor ends once it has reported; a clean one takes its place."""
        self.slots[slot].is_ready, self.slots[slot].code_of = False, None

    def executor_died(self, slot: int, how: str, now: float) -> list[Instruction]:
        """The slot's executor is gone: by itself, or because it was killed."""
        place = self.slots[slot]
        place.is_ready, place.code_of = False, None
        run, reason = place.run, place.killed_for
        self._clear(place)
        if run is None:
            return []
        attempt_id = run.order.attempt_id
        instructions: list[Instruction] = [DropFiles(attempt_id)]
        if reason == "timeout":
            error = f"stopped after {self.task_timeout_s:g} s (scheduler.task_timeout_s)"
            instructions.append(SendReport(Failed(attempt_id, "timeout", error)))
        elif reason == "memory":
            error = f"its executor was stopped at {place.own_bytes >> 20} MB, "
            error += f"{MEMORY_FACTOR} times memory.task_max_mb ({self._task_max_mb} MB): "
            error += "raise it, or use more partitions"
            instructions.append(SendReport(Failed(attempt_id, "memory", error)))
        elif reason is None:
            error = f"its executor process ended with {how}"
            instructions.append(SendReport(Failed(attempt_id, "crash", error)))
        return [*instructions, *self._fill(now)]

    def cancelled(self, attempt_ids: tuple[str, ...]) -> list[Instruction]:
        """Stop these, and say nothing of them."""
        instructions: list[Instruction] = []
        for attempt_id in attempt_ids:
            if self._queue.pop(attempt_id, None) is not None:
                continue
            for index, slot in enumerate(self.slots):
                is_it = slot.run is not None and slot.run.order.attempt_id == attempt_id
                if is_it and not slot.killed_for:
                    slot.killed_for, slot.deadline = "cancel", None
                    instructions.append(KillSlot(index))
                    break
            else:
                instructions.append(DropFiles(attempt_id))
        return instructions

    def clock(self, now: float) -> list[Instruction]:
        """Stop what ran too long."""
        instructions: list[Instruction] = []
        for index, slot in enumerate(self.slots):
            if slot.deadline is not None and now >= slot.deadline:
                slot.killed_for, slot.deadline = "timeout", None
                instructions.append(KillSlot(index))
        return instructions

    def measured(self, slot: int, own_bytes: int) -> list[Instruction]:
        """An executor's own memory: stop its task when that is far above its budget."""
        place = self.slots[slot]
        limit = MEMORY_FACTOR * self._task_max_mb << 20
        if place.run is None or place.killed_for or own_bytes <= limit:
            return []
        place.killed_for, place.deadline, place.own_bytes = "memory", None, own_bytes
        return [KillSlot(slot)]

    # --- inside ----------------------------------------------------------------------------------

    def _fill(self, now: float) -> list[Instruction]:
        instructions: list[Instruction] = []
        for index, slot in enumerate(self.slots):
            while slot.is_ready and slot.run is None and self._queue:
                attempt_id = next(iter(self._queue))
                run = self._queue[attempt_id]
                if slot.code_of not in (None, run.order.job_id):
                    slot.is_ready = False
                    instructions.append(KillSlot(index))  # a clean one takes its place
                    break
                del self._queue[attempt_id]
                instructions.append(SendReport(Started(attempt_id)))
                if self._fail_probability and self._draw() < self._fail_probability:
                    error = f"injected failure (FAIL_PROBABILITY={self._fail_probability:g})"
                    instructions.append(SendReport(Failed(attempt_id, "injected", error)))
                    continue
                slot.run = run
                if run.program is not None and run.program.modules:
                    slot.code_of = run.order.job_id
                slot.started_at = now
                slot.deadline = now + self.task_timeout_s
                instructions.append(RunOnSlot(index, run))
        return instructions

    @staticmethod
    def _clear(slot: Slot) -> None:
        slot.run, slot.deadline, slot.killed_for = None, None, None
