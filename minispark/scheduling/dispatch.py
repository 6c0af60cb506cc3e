"""Which task runs where: fair among jobs, round robin with load awareness among workers.

Must not know how attempts end.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import islice

from minispark.model.effects import (
    AnswerTaskRequest,
    AppendJournal,
    Effect,
    HttpTask,
    JobMoved,
    LaunchAttempts,
)
from minispark.model.events import ClockTicked, TaskRequested
from minispark.model.file_names import partition_file
from minispark.model.plan import (
    Join,
    OutputLocation,
    ReadPartitions,
    StageProgram,
    TaskOrder,
)
from minispark.model.states import JobState, WorkerState
from minispark.scheduling.early import EarlyStarts, can_begin
from minispark.scheduling.job_run import JobRun
from minispark.scheduling.journal import attempt_moved
from minispark.scheduling.limits import (
    AVOIDERS_MAX,
    FAIR_JOBS_MAX,
    SPECULATION_COMPLETED_MIN,
    SPECULATION_RATIO,
    SPECULATION_S_MIN,
)
from minispark.scheduling.locations import Locations
from minispark.scheduling.skipping import Skipping
from minispark.scheduling.stage_run import StageRun
from minispark.scheduling.state import ClusterState
from minispark.scheduling.task_group import TaskGroup
from minispark.scheduling.task_run import Attempt, TaskRun
from minispark.scheduling.worker_pool import Worker


@dataclass(slots=True)
class _Launch:
    """What becomes one LaunchAttempts."""

    orders: list[TaskOrder] = field(default_factory=list)
    programs: dict[str, StageProgram] = field(default_factory=dict)
    outputs: dict[str, tuple[OutputLocation, ...]] = field(default_factory=dict)
    tables: dict[str, tuple[OutputLocation, ...]] = field(default_factory=dict)


class Dispatcher:
    """Gives ready tasks to workers with room."""

    def __init__(self, state: ClusterState, early: EarlyStarts, skipping: Skipping) -> None:
        self._state = state
        self._early = early
        self._skipping = skipping
        self._locations = Locations(state)

    # --- pushed ----------------------------------------------------------------------------

    def dispatch(self, now: float, at_unix_s: float, effects: list[Effect]) -> None:
        """Assign ready tasks while there is room; one LaunchAttempts for each worker."""
        state, pool = self._state, self._state.pool
        launches: dict[str, _Launch] = {}
        passed_over: dict[TaskGroup, None] = {}
        while True:
            group = self._next_group(passed_over)
            if group is None:
                break
            worker = pool.next_available()
            if worker is None and pool.waiting:
                if self._early.make_room(ClockTicked(at_unix_s), effects):
                    continue
            if worker is None and state.ready_count > pool.slots_total:
                worker = pool.next_prefetching(group.stage.is_quick)
            if worker is None:
                break
            placed = self._place_for_first(group, worker, now)
            if not group.is_runnable:
                continue  # what it would read was skipped, and is to be made after all
            if placed is None and pool.waiting:
                beside = worker.identity.worker_id
                if self._early.make_room(ClockTicked(at_unix_s), effects, beside):
                    continue
            if placed is None:
                passed_over[group] = None
                continue
            attempt = self._assign(group, placed, now, at_unix_s, effects)
            self._add_order(launches, attempt)
        self._send(launches, effects)

    def _place_for_first(self, group: TaskGroup, worker: Worker, now: float) -> Worker | None:
        """Where the group's first ready task goes: to that worker, whose turn it is, or to another
        one if it avoids that. One that avoids the only worker with room lets the tasks behind it
        go first; None when AVOIDERS_MAX of them do. First is what the worker has in its cache; what
        another one has there waits in that one's queue, if there is room.
        """
        if group.unmade:
            return self._skipping.place(group)
        pool = self._state.pool
        worker_id = worker.identity.worker_id
        chosen = self._state.cache_sites.choose(group, worker_id)
        if chosen is not None:
            group.ready.move_to_end(chosen, last=False)
        home = self._state.cache_sites.home(group)
        if home is not None and home != worker_id and pool.can_queue(home):
            if not _avoids(group.first_ready, home, now):
                return pool.workers[home]
        for _ in range(min(AVOIDERS_MAX, len(group.ready))):
            task = group.first_ready
            if not _avoids(task, worker_id, now):
                return worker
            other = pool.other_than(worker_id)
            if other is not None or not pool.has_other(worker_id):
                return other or worker
            group.ready.move_to_end(task.partition)  # another worker will have room, and say so
        return None

    def _send(self, launches: dict[str, _Launch], effects: list[Effect]) -> None:
        for worker_id, launch in launches.items():
            orders = tuple(launch.orders)
            effects.append(
                LaunchAttempts(worker_id, orders, launch.programs, launch.outputs, launch.tables)
            )
            self._state.touch_worker(self._state.pool.workers[worker_id])

    def speculate(self, now: float, at_unix_s: float, effects: list[Effect]) -> None:
        """Give free slots a second attempt at tasks that take much longer than their stage's
        others.
        """
        state, pool = self._state, self._state.pool
        if state.ready_count:
            return
        launches: dict[str, _Launch] = {}
        for slow in [w for w in pool.workers.values() if w.attempts and w.is_pooled]:
            for attempt in list(slow.attempts.values()):
                if attempt.task.backup is not None or not is_straggler(attempt, slow, now):
                    continue
                other = pool.free_other_than(attempt.worker_id)
                if other is None:
                    self._early.make_room(ClockTicked(at_unix_s), effects, attempt.worker_id)
                    other = pool.free_other_than(attempt.worker_id)
                if other is None:
                    break
                stage = attempt.stage
                copy = self.place(stage.job, stage, attempt.task, other, now, at_unix_s, effects)
                self._add_order(launches, copy)
        self._send(launches, effects)

    def start_early(self, now: float, at_unix_s: float, effects: list[Effect]) -> None:
        """Give free slots that nothing else could use tasks whose input is still being made."""
        state, pool = self._state, self._state.pool
        if state.ready_count or not pool.available:
            return
        launches: dict[str, _Launch] = {}
        for group in self._early.groups():
            while can_begin(group, now):
                worker = pool.next_available()
                if worker is None:
                    break
                attempt = self._assign(group, worker, now, at_unix_s, effects)
                self._early.wait(attempt)
                self._add_order(launches, attempt)
        self._send(launches, effects)

    def _next_group(self, passed_over: dict[TaskGroup, None]) -> TaskGroup | None:
        """The first runnable group, but for those, of the job with the fewest live attempts among
        the first FAIR_JOBS_MAX that have ready tasks.
        """
        jobs = self._candidates()
        if passed_over:
            jobs = [j for j in jobs if not all(g in passed_over for g in j.open_groups)]
        job = min(jobs, key=lambda job: job.live_count, default=None)
        if job is None:
            return None
        return next(group for group in job.open_groups if group not in passed_over)

    def _candidates(self) -> list[JobRun]:
        return [self._state.jobs[i] for i in islice(self._state.ready_jobs, FAIR_JOBS_MAX)]

    def _assign(
        self,
        group: TaskGroup,
        worker: Worker,
        now: float,
        at_unix_s: float,
        effects: list[Effect],
    ) -> Attempt:
        job = group.stage.job
        task = job.take_first(group)
        return self.place(job, group.stage, task, worker, now, at_unix_s, effects)

    def place(
        self,
        job: JobRun,
        stage: StageRun,
        task: TaskRun,
        worker: Worker,
        now: float,
        at_unix_s: float,
        effects: list[Effect],
    ) -> Attempt:
        """An attempt at the task on that worker, whose order is still to be sent."""
        attempt = job.assign(stage, task, worker.identity.worker_id, now, at_unix_s)
        self._state.pool.add(worker, attempt)
        self._state.pool.placed += 1
        if job.state is JobState.PENDING:
            job.move(JobState.RUNNING, attempt.id, at_unix_s)
            effects.append(AppendJournal(JobMoved(job.id, job.state, None, at_unix_s)))
        effects.append(attempt_moved(attempt, at_unix_s))
        self._state.touch(job)
        return attempt

    def _add_order(self, launches: dict[str, _Launch], attempt: Attempt) -> None:
        stage = attempt.stage
        attempt.pool_version = self._state.pool.version
        launch = launches.get(attempt.worker_id)
        if launch is None:
            launch = launches[attempt.worker_id] = _Launch()
        launch.programs[f"{stage.job.id}/{stage.stage.index}"] = stage.stage.program
        name = self._locations.add(attempt, launch.outputs, launch.tables)
        launch.orders.append(order_of(attempt, name))

    # --- asked for ---------------------------------------------------------------------------

    def answer(self, event: TaskRequested, now: float, effects: list[Effect]) -> AnswerTaskRequest:
        """A task for a foreign worker, of a stage whose meaning is the same there, or none."""
        worker = self._state.pool.workers.get(event.worker_id)
        if worker is None or worker.is_pushed or worker.state is not WorkerState.UP:
            return AnswerTaskRequest(event.request_id, event.worker_id, False, None)
        if self._state.pool.may_take(worker):
            for job in sorted(self._candidates(), key=lambda job: job.live_count):
                for group in job.open_groups:
                    if group.stage.stage.is_documented:
                        attempt = self._assign(group, worker, now, event.at_unix_s, effects)
                        job.start(attempt, now, event)
                        self._state.touch_worker(worker)
                        task = _http_task(attempt)
                        return AnswerTaskRequest(event.request_id, event.worker_id, True, task)
        return AnswerTaskRequest(event.request_id, event.worker_id, True, None)


def _avoids(task: TaskRun, worker_id: str, now: float) -> bool:
    """Whether it failed there just now."""
    return task.avoided_worker == worker_id and now < task.avoid_until


def is_straggler(attempt: Attempt, worker: Worker, now: float) -> bool:
    """Whether it takes much longer than the median of its stage, of which enough is complete.

    A queued attempt counts from when it was assigned, and has as many turns as its worker holds.
    """
    took_s = now - (attempt.assigned_at if attempt.started_at is None else attempt.started_at)
    if took_s <= SPECULATION_S_MIN:  # most of them, at every tick
        return False
    stage = attempt.stage
    if stage.is_missing(attempt.task):  # an output that a copy would read is being made again
        return False
    median_s = stage.median_s
    if median_s is None or stage.completed < SPECULATION_COMPLETED_MIN * len(stage.tasks):
        return False
    patience_s = max(SPECULATION_S_MIN, SPECULATION_RATIO * median_s)
    turns = 1 + len(worker.attempts) / worker.slots if attempt.started_at is None else 1
    return took_s > turns * patience_s


def order_of(attempt: Attempt, outputs_id: str | None) -> TaskOrder:
    """As its worker is told. `outputs_id`: under which name it finds where its input lies."""
    stage, partition = attempt.stage.stage, attempt.task.partition
    unmade = attempt.stage.group_of(attempt.task).unmade
    return TaskOrder(
        attempt_id=attempt.id,
        job_id=attempt.stage.job.id,
        stage_index=stage.index,
        stage_id=stage.id,
        partition=partition,
        attempt=attempt.number,
        total_partitions=stage.partitions,
        splits=stage.splits[partition] if stage.splits else (),
        outputs_id=outputs_id,
        awaited=tuple(attempt.awaited),
        unmade=tuple(unmade),
    )


def _http_task(attempt: Attempt) -> HttpTask:
    """The documented task: what it reads is named by documented names, in partition order."""
    run, partition = attempt.stage, attempt.task.partition
    source = run.stage.program.source
    left: tuple[str, ...] = ()
    right: tuple[str, ...] = ()
    if isinstance(source, ReadPartitions):
        left = _files(run.job, source, partition)
    elif isinstance(source, Join):
        assert isinstance(source.left, ReadPartitions) and isinstance(source.right, ReadPartitions)
        left = _files(run.job, source.left, partition)
        right = _files(run.job, source.right, partition)
    return HttpTask(order_of(attempt, None), run.stage, left, right)


def _files(job: JobRun, source: ReadPartitions, partition: int) -> tuple[str, ...]:
    count = job.stages[source.stage_index].stage.partitions
    partitions = range(count) if source.every else (partition,)
    return tuple(partition_file(job.id, source.node_id, p) for p in partitions)
