"""Attempts that begin before all that they read is made: where they may, what they are told, and
when they give their slot back.

Only a slot that nothing else could use gets one, and any task that could run, or a copy of a slow
one, takes it back: so what an early attempt waits for never waits for it. Must not know how tasks
are placed.
"""

from __future__ import annotations

from minispark.model.effects import Effect, TellOutputs
from minispark.model.events import Event
from minispark.model.plan import MadeOutput
from minispark.model.states import Cause, TaskState
from minispark.scheduling.endings import Endings
from minispark.scheduling.limits import EARLY_OUTPUTS_MAX, EARLY_STARTS_MAX
from minispark.scheduling.locations import location_of
from minispark.scheduling.state import ClusterState
from minispark.scheduling.task_group import TaskGroup
from minispark.scheduling.task_run import Attempt


class EarlyStarts:
    """Keeps who waits in the state, and says what is to be done about it."""

    def __init__(self, state: ClusterState, endings: Endings) -> None:
        self._state = state
        self._endings = endings

    def groups(self) -> list[TaskGroup]:
        """Whose tasks may begin early. Looks at all stages of the jobs that run."""
        stages = (stage for job in self._state.jobs.values() for stage in job.stages)
        return [group for stage in stages for group in stage.groups if may_begin(group)]

    def wait(self, attempt: Attempt) -> None:
        """The attempt begins, and waits for what is not made yet."""
        attempt.awaited = dict.fromkeys(awaited_by(attempt.stage.group_of(attempt.task)))
        attempt.task.early_starts += 1
        attempt.stage.job.waiting[attempt.id] = attempt
        self._state.pool.waiting[attempt.id] = attempt

    def tell(self, made: Attempt, effects: list[Effect]) -> None:
        """The output can be read: say so to who waits for it. Who has heard of all that it reads is
        like any other attempt from then on, and its clock begins.
        """
        job = made.stage.job
        if not job.waiting:
            return
        output = (made.stage.stage.index, made.task.partition)
        told: dict[str, list[str]] = {}
        for attempt in list(job.waiting.values()):
            if output not in attempt.awaited:
                continue
            del attempt.awaited[output]
            told.setdefault(attempt.worker_id, []).append(attempt.id)
            if not attempt.awaited:
                del job.waiting[attempt.id], self._state.pool.waiting[attempt.id]
                attempt.restart_clock(self._state.now)
        place = None if made.is_empty else location_of(self._state.pool, made)
        for worker_id, ids in told.items():
            effects.append(TellOutputs(worker_id, tuple(ids), (MadeOutput(*output, place),)))

    def give_way(self, attempt: Attempt, event: Event, effects: list[Effect]) -> None:
        """It ends, held against nobody, and its task waits again."""
        job = attempt.stage.job
        self._endings.cancel(attempt, Cause.ROOM, event, effects)
        if attempt.task.live is None:
            job.send_back(attempt.stage, attempt.task, event)
        self._state.touch(job)

    def make_room(self, event: Event, effects: list[Effect], beside: str | None = None) -> bool:
        """Who began last gives way, but for those on the worker `beside`; whether somebody did."""
        for attempt in reversed(self._state.pool.waiting.values()):
            if attempt.worker_id != beside:
                self.give_way(attempt, event, effects)
                return True
        return False


def may_begin(group: TaskGroup) -> bool:
    """Whether all that its tasks miss is being made, by attempts that wait for nothing themselves,
    and there is something to fetch meanwhile.
    """
    job = group.stage.job
    if not group.missing or not group.ready or not group.reads.is_shared or job.is_saving:
        return False
    if group.unmade or group.stage.is_skipped:
        return False
    parents = [job.stages[index] for index, _ in group.reads.parts]
    if any(parent.completed + parent.running < len(parent.tasks) for parent in parents):
        return False
    missing = sum(len(parent.tasks) - parent.completed for parent in parents)
    if missing > EARLY_OUTPUTS_MAX or not any(parent.completed for parent in parents):
        return False
    return not any(attempt.stage in parents for attempt in job.waiting.values())


def can_begin(group: TaskGroup, now: float) -> bool:
    """Whether its first task may begin early: it did not so too often, and avoids no worker."""
    if not group.ready:
        return False
    task = group.first_ready
    return task.early_starts < EARLY_STARTS_MAX and now >= task.avoid_until


def awaited_by(group: TaskGroup) -> list[tuple[int, int]]:
    """(stage, partition) of what cannot be read yet."""
    stages = group.stage.job.stages
    return [
        (index, task.partition)
        for index, _ in group.reads.parts
        if not stages[index].is_complete
        for task in stages[index].tasks
        if task.state is not TaskState.SUCCEEDED
    ]
