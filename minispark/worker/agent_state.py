"""What a worker's agent knows and decides: its queue, its slots, and when a task must be stopped.
Pure.

Every method takes what happened and returns what is to be done. Must not know processes or sockets.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import islice
from typing import TypeAlias

from minispark.model.figures import Span
from minispark.transport.messages import (
    Ending,
    Failed,
    OutputsMade,
    Report,
    Run,
    Started,
    Succeeded,
)


@dataclass(frozen=True, slots=True)
class RunOnSlot:
    """Send the order to the slot's executor, which runs one after the other."""

    slot: int
    run: Run


@dataclass(frozen=True, slots=True)
class TellSlot:
    """Say it to the slot's executor, whose task waits for it."""

    slot: int
    made: OutputsMade


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
AHEAD_MAX = 16
"""Orders that an executor holds beside the one that it runs, while they are quick."""
AHEAD_QUICK_S = 0.002
"""After a task that took no longer an executor is sent more of that stage before it asks: the way
to it and back takes as long as its tasks.
"""

Instruction: TypeAlias = RunOnSlot | TellSlot | KillSlot | SendReport | DropFiles


class Slot:
    """One executor's place."""

    def __init__(self) -> None:
        self.is_ready = False
        self.runs: deque[Run] = deque()
        """What its executor was sent and has not reported: it runs the first one."""
        self.unwanted: dict[str, None] = {}
        """Of those behind the first one: cancelled, and to be stopped when their turn comes."""
        self.quick: Run | None = None
        """What it ran last, if that was quick: more like it is sent ahead."""
        self.started_at = 0.0
        self.deadline: float | None = None
        self.killed_for: str | None = None
        """Why its executor was killed: `timeout`, `memory`, or, said to nobody, `cancel`."""
        self.code_of: str | None = None
        """The job whose user code its executor has run: it runs no other job's after that."""
        self.own_bytes = 0
        """What it used when it was killed for that."""

    @property
    def run(self) -> Run | None:
        """What its executor runs now."""
        return self.runs[0] if self.runs else None

    def holds(self, attempt_id: str) -> bool:
        return any(run.order.attempt_id == attempt_id for run in self.runs)

    def runs_now(self, attempt_id: str) -> bool:
        return bool(self.runs) and self.runs[0].order.attempt_id == attempt_id

    def has_room_for(self, run: Run) -> bool:
        """Whether the order may be sent while another one runs: it is of the same quick stage, and
        neither waits for outputs.
        """
        return (
            self.is_ready
            and self.quick is not None
            and not self.killed_for
            and 0 < len(self.runs) <= AHEAD_MAX
            and self.quick.program is run.program
            and self.quick.outputs is run.outputs
            and not self.runs[0].order.awaited
            and not run.order.awaited
        )


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
        return len(self._queue) + sum(len(slot.runs) for slot in self.slots)

    @property
    def is_full(self) -> bool:
        """Whether orders wait here: the master need not hurry to send more."""
        return bool(self._queue)

    @property
    def held(self) -> tuple[str, ...]:
        """The attempts' ids, as a registration names them."""
        ahead = [
            run.order.attempt_id
            for slot in self.slots
            for run in islice(slot.runs, 1, None)
            if run.order.attempt_id not in slot.unwanted
        ]
        running = [self._run_on(slot).order.attempt_id for slot in self._running]
        return (*running, *ahead, *self._queue)

    @property
    def waiting(self) -> tuple[str, ...]:
        """Attempts that have not heard of all that they read, as a registration names them."""
        runs = (*(slot.run for slot in self.slots), *self._queue.values())
        return tuple(run.order.attempt_id for run in runs if run is not None and run.order.awaited)

    @property
    def _running(self) -> list[int]:
        """The slots whose task goes on."""
        slots = enumerate(self.slots)
        return [i for i, slot in slots if slot.run is not None and not slot.killed_for]

    def _run_on(self, index: int) -> Run:
        return self.slots[index].runs[0]

    def _started(self, index: int) -> Started:
        span = Span(index, self.slots[index].started_at)
        return Started(self._run_on(index).order.attempt_id, span)

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

    def outputs_made(self, made: OutputsMade, now: float) -> list[Instruction]:
        """Outputs for which attempts wait can be read. Who has heard of all that it reads has as
        long as any other one from now on.
        """
        instructions: list[Instruction] = []
        for attempt_id in made.attempt_ids:
            if attempt_id in self._queue:
                self._queue[attempt_id] = _informed(self._queue[attempt_id], made)
            for index, slot in enumerate(self.slots):
                if slot.runs_now(attempt_id) and not slot.killed_for:
                    slot.runs[0] = _informed(slot.runs[0], made)
                    instructions.append(TellSlot(index, made))
                    if not slot.runs[0].order.awaited:
                        slot.started_at, slot.deadline = now, now + self.task_timeout_s
        return instructions

    def registered(self, forget: tuple[str, ...]) -> list[Instruction]:
        """A master took this worker in. It is told again what runs, because another one may not
        know: that a task started is in no journal.
        """
        instructions = self.cancelled(forget)
        return [*instructions, *(SendReport(self._started(slot)) for slot in self._running)]

    def executor_ready(self, slot: int, now: float) -> list[Instruction]:
        self.slots[slot].is_ready = True
        return self._fill(now)

    def finished(self, slot: int, report: Ending, now: float) -> list[Instruction]:
        """The slot's executor is done with its order, and runs the next one if it has one."""
        place = self.slots[slot]
        if place.run is None or place.killed_for or report.attempt_id != place.run.order.attempt_id:
            return []  # it was killed while it said so; its death decides
        instructions: list[Instruction] = [SendReport(report)]
        if not isinstance(report, Succeeded):
            instructions.insert(0, DropFiles(report.attempt_id))
        run = place.runs.popleft()
        place.quick = run if now - place.started_at <= AHEAD_QUICK_S else None
        place.deadline = None
        if not place.is_ready:
            instructions += self._take_back(place)
        elif place.runs:
            instructions += self._begin(slot, now)
        return [*instructions, *self._fill(now)]

    def retiring(self, slot: int) -> None:
        """The slot's executor ends once it has reported; a clean one takes its place."""
        self.slots[slot].is_ready, self.slots[slot].code_of = False, None

    def executor_died(self, slot: int, how: str, now: float) -> list[Instruction]:
        """The slot's executor is gone: by itself, or because it was killed. Only the order that it
        ran has to do with that; what it was sent ahead waits again.
        """
        place = self.slots[slot]
        place.is_ready, place.code_of, place.quick = False, None, None
        reason, place.killed_for, place.deadline = place.killed_for, None, None
        if not place.runs:
            return []
        run = place.runs.popleft()
        attempt_id = run.order.attempt_id
        instructions: list[Instruction] = [DropFiles(attempt_id)]
        span = Span(slot, place.started_at, now)
        if reason == "timeout":
            error = f"stopped after {self.task_timeout_s:g} s (scheduler.task_timeout_s)"
            instructions.append(SendReport(Failed(attempt_id, "timeout", error, span)))
        elif reason == "memory":
            error = f"its executor was stopped at {place.own_bytes >> 20} MB, "
            error += f"{MEMORY_FACTOR} times memory.task_max_mb ({self._task_max_mb} MB): "
            error += "raise it, or use more partitions"
            instructions.append(SendReport(Failed(attempt_id, "memory", error, span)))
        elif reason is None:
            error = f"its executor process ended with {how}"
            instructions.append(SendReport(Failed(attempt_id, "crash", error, span)))
        return [*instructions, *self._take_back(place), *self._fill(now)]

    def cancelled(self, attempt_ids: tuple[str, ...]) -> list[Instruction]:
        """Stop these, and say nothing of them."""
        instructions: list[Instruction] = []
        for attempt_id in attempt_ids:
            if self._queue.pop(attempt_id, None) is not None:
                continue
            index = next((i for i, s in enumerate(self.slots) if s.holds(attempt_id)), None)
            if index is None:
                instructions.append(DropFiles(attempt_id))
            elif not self.slots[index].runs_now(attempt_id):
                self.slots[index].unwanted[attempt_id] = None
            elif self.slots[index].killed_for:
                instructions.append(DropFiles(attempt_id))
            else:
                instructions.append(self._stop(index, "cancel"))
        return instructions

    def clock(self, now: float) -> list[Instruction]:
        """Stop what ran too long."""
        late = [i for i, s in enumerate(self.slots) if s.deadline is not None and now >= s.deadline]
        return [self._stop(index, "timeout") for index in late]

    def measured(self, slot: int, own_bytes: int) -> list[Instruction]:
        """An executor's own memory: stop its task when that is far above its budget."""
        place = self.slots[slot]
        limit = MEMORY_FACTOR * self._task_max_mb << 20
        if place.run is None or place.killed_for or own_bytes <= limit:
            return []
        place.own_bytes = own_bytes
        return [self._stop(slot, "memory")]

    # --- inside ----------------------------------------------------------------------------------

    def _fill(self, now: float) -> list[Instruction]:
        """Give every free executor an order; what is quick then goes ahead, to each in turn."""
        instructions: list[Instruction] = []
        for index, slot in enumerate(self.slots):
            while slot.is_ready and not slot.runs and self._queue:
                run = next(iter(self._queue.values()))
                if slot.code_of not in (None, run.order.job_id):
                    slot.is_ready = False
                    instructions.append(KillSlot(index))  # a clean one takes its place
                    break
                if self._take(index, now, instructions):
                    if run.program is not None and run.program.modules:
                        slot.code_of = run.order.job_id
                    slot.runs.append(run)
                    instructions += [*self._begin(index, now), RunOnSlot(index, run)]
        while self._queue and self._send_ahead(now, instructions):
            pass
        return instructions

    def _send_ahead(self, now: float, instructions: list[Instruction]) -> bool:
        """One order to each executor that takes it; whether there was one."""
        is_some = False
        for index, slot in enumerate(self.slots):
            run = next(iter(self._queue.values()), None)
            if run is not None and slot.has_room_for(run):
                is_some = True
                if self._take(index, now, instructions):
                    slot.runs.append(run)
                    instructions.append(RunOnSlot(index, run))
        return is_some

    def _take(self, index: int, now: float, instructions: list[Instruction]) -> bool:
        """Take the first order off the queue for that slot; whether it is to run there, and not to
        fail on purpose.
        """
        attempt_id = next(iter(self._queue))
        del self._queue[attempt_id]
        if self._fail_probability and self._draw() < self._fail_probability:
            error = f"injected failure (FAIL_PROBABILITY={self._fail_probability:g})"
            instructions.append(SendReport(Started(attempt_id, Span(index, now))))
            failed = Failed(attempt_id, "injected", error, Span(index, now, now))
            instructions.append(SendReport(failed))
            return False
        return True

    def _begin(self, index: int, now: float) -> list[Instruction]:
        """The executor takes up the first order that it has."""
        slot = self.slots[index]
        order = slot.runs[0].order
        attempt_id = order.attempt_id
        slot.started_at = now
        slot.deadline = None if order.awaited else now + self.task_timeout_s
        if attempt_id in slot.unwanted:
            del slot.unwanted[attempt_id]
            return [self._stop(index, "cancel")]
        return [SendReport(self._started(index))]

    def _stop(self, index: int, reason: str) -> KillSlot:
        self.slots[index].killed_for, self.slots[index].deadline = reason, None
        return KillSlot(index)

    def _take_back(self, slot: Slot) -> list[Instruction]:
        """The executor ended before these had their turn, or within it: they wait, first."""
        again = {run.order.attempt_id: run for run in slot.runs}
        dropped: list[Instruction] = [DropFiles(attempt_id) for attempt_id in again]
        for attempt_id in slot.unwanted:
            del again[attempt_id]
        slot.runs.clear()
        slot.unwanted.clear()
        self._queue = {**again, **self._queue}
        return dropped


def _informed(run: Run, made: OutputsMade) -> Run:
    """The order, as if those outputs had been there when it was given."""
    there = {(output.stage_index, output.partition) for output in made.outputs}
    awaited = tuple(one for one in run.order.awaited if one not in there)
    places = (output.place for output in made.outputs if output.place is not None)
    outputs = (*(run.outputs or ()), *places)
    return Run(replace(run.order, awaited=awaited), run.program, outputs)
