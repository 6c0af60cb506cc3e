"""What must be true of the scheduling core after every event. For tests and the simulator.

Recounts everything that the core only keeps, so it costs as much as there are tasks.
Must not know how the state came about.
"""

from __future__ import annotations

from minispark.errors import InvariantViolation
from minispark.model.states import TaskState, WorkerState
from minispark.scheduling.core import SchedulingCore
from minispark.scheduling.job_run import JobRun
from minispark.scheduling.stage_run import StageRun
from minispark.scheduling.state import ClusterState
from minispark.scheduling.task_group import TaskGroup
from minispark.scheduling.task_run import Attempt, TaskRun
from minispark.scheduling.worker_pool import Worker, WorkerPool

_BUSY = (TaskState.ASSIGNED, TaskState.RUNNING)


def check(core: SchedulingCore) -> None:
    """Raise InvariantViolation that says which two things contradict each other."""
    state = core.state
    for job in state.jobs.values():
        _check_job(job, state)
    _check_totals(state)
    _check_pool(state.pool, state)


def _require(is_true: bool, message: str) -> None:
    if not is_true:
        raise InvariantViolation(message)


def _check_job(job: JobRun, state: ClusterState) -> None:
    name = f"job {job.id}"
    _require(not job.state.is_terminal, f"{name} is {job.state.value} and still kept as running")
    _require(job.id not in state.finished, f"{name} is both running and finished")
    for stage in job.stages:
        _check_stage(stage)
    tasks = [task for stage in job.stages for task in stage.tasks]
    live = sum((task.live is not None) + (task.backup is not None) for task in tasks)
    _require(job.live_count == live, f"{name} counts {job.live_count} live attempts, has {live}")
    runnable = [group for stage in job.stages for group in stage.groups if group.is_runnable]
    places, opened = [g.place for g in runnable], [g.place for g in job.open_groups]
    _require(opened == places, f"{name} has open {opened}, runnable {places}")
    ready = sum(len(group.ready) for group in runnable)
    _require(job.ready_count == ready, f"{name} counts {job.ready_count} ready tasks, has {ready}")
    completed = sum(stage.completed for stage in job.stages)
    _require(job.tasks_completed == completed, f"{name} counts {job.tasks_completed} complete")
    finals = sum(stage.stage.is_final and not stage.is_complete for stage in job.stages)
    _require(job.incomplete_finals == finals, f"{name} counts {job.incomplete_finals} finals")
    accepted = {
        task.accepted.id: task.accepted
        for stage in job.stages
        for task in stage.tasks
        if task.accepted is not None
    }
    _require(job.accepted == accepted, f"{name} keeps other accepted attempts than its tasks")
    waiting = {i: a for i, a in state.pool.live.items() if a.stage.job is job and a.awaited}
    _require(job.waiting == waiting, f"{name} keeps other waiting attempts than those that wait")
    for attempt in waiting.values():
        _check_waiting(attempt)
    is_ready = job.id in (state.driven_jobs if job.is_driven else state.ready_jobs)
    _require(is_ready == bool(ready), f"{name} with {ready} ready tasks, in ready_jobs: {is_ready}")


def _check_stage(stage: StageRun) -> None:
    name = f"stage {stage.job.id}/{stage.stage.id}"
    for group in stage.groups:
        _check_group(group)
    states = [task.state for task in stage.tasks]
    completed = states.count(TaskState.SUCCEEDED)
    _require(stage.completed == completed, f"{name} counts {stage.completed} of {completed}")
    running = sum(map(states.count, (*_BUSY, TaskState.COMMITTING)))
    _require(stage.running == running, f"{name} counts {stage.running} running, has {running}")
    records = sum(
        task.accepted.outcome.records
        for task in stage.tasks
        if task.state is TaskState.SUCCEEDED
        and task.accepted is not None
        and task.accepted.outcome is not None
    )
    _require(stage.records == records, f"{name} counts {stage.records} records, has {records}")
    is_idle = states.count(TaskState.PENDING) == len(states)
    can_skip = is_idle and not stage.stage.is_final
    _require(not stage.is_skipped or can_skip, f"{name} is skipped, and runs or must run")
    for task in stage.tasks:
        if contradiction := _contradiction(task):
            raise InvariantViolation(
                f"{name}/{task.partition} is {task.state.value}, {contradiction}"
            )


def _contradiction(task: TaskRun) -> str | None:
    """Said only where it is needed: there are many tasks."""
    if (task.live is not None) != (task.state in _BUSY):
        return f"live {task.live}"
    if task.live is None and task.backup is not None:
        return "with a backup only"
    has_output = task.state in (TaskState.COMMITTING, TaskState.SUCCEEDED)
    return None if (task.accepted is not None) == has_output else f"accepted {task.accepted}"


def _check_group(group: TaskGroup) -> None:
    stages, reads = group.stage.job.stages, group.reads
    name = f"group {group.place} of {group.stage.job.id}"
    whole = [stages[index] for index, is_every in reads.parts if is_every]
    missing = sum(not (parent.is_complete or parent.is_skipped) for parent in whole)
    unmade = [parent.stage.index for parent in whole if parent.is_skipped]
    _require(sorted(group.unmade) == unmade, f"{name} takes {list(group.unmade)} for skipped")
    _require(group.missing == missing, f"{name} misses {missing} stages, counts {group.missing}")
    parts = [stages[index] for index, is_every in reads.parts if not is_every]
    waiting: list[int] = []
    for task in group.stage.tasks[reads.first : reads.first + reads.partitions]:
        if group.stage.group_of(task) is not group:
            raise InvariantViolation(f"{name} has a task of another group")
        missing = 0
        if parts:
            own = reads.own_partition(task.partition)
            missing = sum(parent.tasks[own].state is not TaskState.SUCCEEDED for parent in parts)
        if task.missing != missing:
            said = f"{name}/{task.partition} misses {missing} outputs, counts {task.missing}"
            raise InvariantViolation(said)
        if task.state is TaskState.PENDING and not task.is_delayed and not missing:
            waiting.append(task.partition)
    ready = sorted(group.ready)
    _require(ready == waiting, f"{name} has ready {ready} != {waiting}")


def _check_waiting(attempt: Attempt) -> None:
    stages, group = attempt.stage.job.stages, attempt.stage.group_of(attempt.task)
    read = {index for index, is_every in group.reads.parts if is_every}
    for index, partition in attempt.awaited:
        _require(index in read, f"{attempt.id} waits for stage {index}, which it does not read")
        is_made = stages[index].tasks[partition].state is TaskState.SUCCEEDED
        _require(not is_made, f"{attempt.id} waits for {index}/{partition}, which is made")


def _check_totals(state: ClusterState) -> None:
    ready = sum(job.ready_count for job in state.jobs.values() if not job.is_driven)
    driven = sum(job.ready_count for job in state.jobs.values() if job.is_driven)
    live = sum(job.live_count for job in state.jobs.values())
    _require(state.ready_count == ready, f"{state.ready_count} ready tasks counted, {ready} exist")
    _require(state.driven_count == driven, f"{state.driven_count} counted, {driven} for Spark")
    _require(state.live_count == live, f"{state.live_count} live attempts counted, {live} exist")
    _require(state.counted_jobs <= len(state.jobs), "an ended job is still counted")
    _require(
        all(job_id in state.jobs for job_id in (*state.ready_jobs, *state.driven_jobs)),
        "a finished job has ready tasks",
    )
    _require(
        all(state.jobs[job_id].plan is None for job_id in state.undecided),
        "a job with a plan waits for one",
    )


def _check_pool(pool: WorkerPool, state: ClusterState) -> None:
    slots = 0
    held = 0
    for worker_id, worker in pool.workers.items():
        _check_worker(pool, worker_id, worker, state)
        held += len(worker.attempts)
        if worker.state is WorkerState.UP and worker.is_pooled and not worker.is_draining:
            slots += worker.slots
    _require(pool.slots_total == slots, f"{pool.slots_total} slots counted, {slots} exist")
    _require(state.live_count == held, f"{state.live_count} live attempts, workers hold {held}")
    _require(len(pool.live) == held, f"{len(pool.live)} attempts by id, workers hold {held}")
    waiting = {i: a for i, a in pool.live.items() if a.awaited}
    _require(pool.waiting == waiting, "other attempts are kept as waiting than those that wait")
    up = [w for w in pool.workers.values() if w.is_pooled and w.state is WorkerState.UP]
    for disk, use in pool.disks.items():
        there = {w.identity.worker_id for w in up if w.identity.disk == disk}
        _require(use.up.keys() == there, f"on {disk} are {there} Up, and {list(use.up)} are known")
        _require(bool(use.up) != (use.left_at is not None), f"{disk} was left at {use.left_at}")
    _require(all(w.identity.disk in pool.disks for w in up), "an Up worker is on no known disk")


def _check_worker(pool: WorkerPool, worker_id: str, worker: Worker, state: ClusterState) -> None:
    name, load = f"worker {worker.identity.name}", len(worker.attempts)
    for attempt in worker.attempts.values():
        is_its = attempt in attempt.task.attempts
        _require(is_its, f"{name} holds {attempt.id}, its task another one")
        _require(attempt.worker_id == worker_id, f"{name} holds {attempt.id} of another worker")
        _require(pool.live.get(attempt.id) is attempt, f"{name} holds {attempt.id}, unknown by id")
        _require(attempt.stage.job.id in state.jobs, f"{name} holds an attempt of an ended job")
        is_right = attempt.stage.job.is_driven == worker.is_driver
        _require(is_right, f"{name} holds {attempt.id}, of a job of the other engine")
    waiting = [i for i, attempt in worker.attempts.items() if attempt.awaited]
    is_queueing = load > worker.slots and bool(waiting)
    _require(not is_queueing, f"{name} queues attempts behind {waiting}, which wait for others")
    for attempt in worker.committing.values():
        is_it = attempt.task.accepted is attempt and attempt.task.state is TaskState.COMMITTING
        _require(is_it, f"{name} commits {attempt.id}, its task does not")
    for job_id in worker.tables:
        is_reader = job_id in state.jobs and worker_id in state.jobs[job_id].readers
        _require(is_reader, f"{name} keeps locations of outputs of {job_id}")
    if worker.state is WorkerState.DOWN and worker.expected_until is None:
        if worker.is_driver:
            _check_gone(worker_id, name, state)
        _require(load == 0, f"{name} is Down and holds {load} attempts")
        _require(not worker.committing, f"{name} is Down and commits")
    is_listed = worker.state is WorkerState.UP and worker.is_pooled and not worker.is_draining
    is_free = is_listed and load < worker.slots
    has_room = is_listed and worker.slots <= load < pool.room(worker)
    _require((worker_id in pool.available) == is_free, f"{name} with load {load}: available?")
    _require((worker_id in pool.prefetchable) == has_room, f"{name} with load {load}: prefetch?")
    if is_listed:
        room = max(pool.room(worker), pool.room(worker, is_quick=True))
        _require(load <= room, f"{name} holds {load}, more than its room")
    _require(pool.is_listed_at(worker_id, load) == is_free, f"{name} is listed at another load")


def _check_gone(driver_id: str, name: str, state: ClusterState) -> None:
    """Outputs that were Spark's are gone with the driver."""
    for job in state.jobs.values():
        for attempt in job.accepted.values() if job.is_driven and not job.is_saving else ():
            is_gone = attempt.worker_id == driver_id and attempt.stage.is_sparks
            _require(not is_gone, f"{name} is Down, and {attempt.id} counts as readable")
