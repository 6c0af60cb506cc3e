"""What the durable facts add up to, counted anew from nothing but the facts.

Must not know the core's state, nor which rules are checked against this.
"""

from __future__ import annotations

from collections import Counter

from minispark.model import effects as fx
from minispark.model.events import WorkerIdentity
from minispark.model.file_names import partition_file, shuffle_file
from minispark.model.job import Engine, JobRequest
from minispark.model.plan import (
    DocumentedShuffle,
    FetchShuffle,
    Join,
    PartitionFile,
    ReadDocumentedShuffle,
    ReadPartitions,
    Source,
    Stage,
    UnionAll,
)
from minispark.model.states import AttemptState, Cause, JobState, WorkerKind
from minispark.model.steps import Cache as CacheStep
from minispark.model.steps import Step

Task = tuple[str, int, int]
"""Job, stage index, partition."""
LIVE = (AttemptState.ASSIGNED, AttemptState.RUNNING)


def task_of(fact: fx.AttemptMoved) -> Task:
    return (fact.job_id, fact.stage_index, fact.partition)


class Ledger:
    """Jobs, tasks, attempts and workers of all masters so far."""

    def __init__(self) -> None:
        self.requests: dict[str, JobRequest] = {}
        self.accepted_at: dict[str, float] = {}
        """When the job was accepted, monotonic seconds."""
        self.stages: dict[str, tuple[Stage, ...]] = {}
        self.job_states: dict[str, JobState] = {}
        self.forgotten: dict[str, None] = {}
        self.live: dict[str, fx.AttemptMoved] = {}
        """Live attempts by id: the fact that assigned them."""
        self.assigned_at: dict[str, float] = {}
        self.live_of: dict[Task, dict[str, None]] = {}
        self.accepted: dict[Task, fx.AttemptMoved] = {}
        self.accepted_ids: dict[str, Task] = {}
        self.uncommitted: dict[str, str] = {}
        """Accepted attempts whose files have no names yet, and their workers: ours."""
        self.causes: Counter[tuple[Task, Cause]] = Counter()
        self.launches: Counter[Task] = Counter()
        """But for attempts that gave way, or missed what they expected."""
        self.loads: dict[str, dict[str, None]] = {}
        """Live attempts by worker."""
        self.workers: dict[str, WorkerIdentity] = {}
        self.foreign: dict[str, None] = {}
        self.up: dict[str, None] = {}
        """Workers that the present master takes for Up, as far as facts say so."""

    def master_began(self) -> None:
        self.up = {}

    def see(self, fact: fx.Fact | fx.ForgetJob, now: float) -> None:
        match fact:
            case fx.JobAccepted():
                self.requests[fact.job_id] = fact.request
                self.accepted_at[fact.job_id] = now
                self.job_states[fact.job_id] = JobState.PENDING
            case fx.PlanChosen(job_id, plan):
                self.stages[job_id] = plan.stages
            case fx.JobMoved(job_id, state):
                self.job_states[job_id] = state
                if state.is_terminal:
                    self._forget_uncommitted(job_id)
            case fx.ForgetJob(job_id):
                self.forgotten[job_id] = None
            case fx.WorkerSeen(worker):
                self.workers[worker.worker_id] = worker
                self.up[worker.worker_id] = None
                if worker.kind is WorkerKind.HTTP:
                    self.foreign[worker.worker_id] = None
                self.loads.setdefault(worker.worker_id, {})
            case fx.WorkerLost(worker_id):
                self.up.pop(worker_id, None)
            case fx.AttemptMoved():
                self._move(fact, now)
            case _:
                pass

    def _move(self, fact: fx.AttemptMoved, now: float) -> None:
        task, attempt_id = task_of(fact), fact.attempt_id
        if fact.state is AttemptState.RUNNING:
            return
        if fact.state is AttemptState.ASSIGNED:
            self.launches[task] += 1
            self.live[attempt_id] = fact
            self.assigned_at[attempt_id] = now
            self.live_of.setdefault(task, {})[attempt_id] = None
            self.loads.setdefault(fact.worker_id, {})[attempt_id] = None
            return
        if self.live.pop(attempt_id, None) is not None:
            del self.live_of[task][attempt_id]
            del self.loads[fact.worker_id][attempt_id]
        if fact.cause is not None:
            self.causes[task, fact.cause] += 1
            self.launches[task] -= fact.cause in (Cause.ROOM, Cause.CACHE)
        if fact.state is AttemptState.SUCCEEDED:
            self.accepted[task] = fact
            self.accepted_ids[attempt_id] = task
            self.uncommitted.pop(attempt_id, None)
            needs_commit = self.is_ours(fact.worker_id) and bool(self.documented_files(task))
            if needs_commit and not fact.is_committed:
                self.uncommitted[attempt_id] = fact.worker_id
        elif attempt_id in self.accepted_ids:
            del self.accepted[task], self.accepted_ids[attempt_id]
            self.uncommitted.pop(attempt_id, None)

    def _forget_uncommitted(self, job_id: str) -> None:
        for attempt_id in list(self.uncommitted):
            if self.accepted_ids[attempt_id][0] == job_id:
                del self.uncommitted[attempt_id]

    # --- what follows from it ------------------------------------------------------------------

    def is_ours(self, worker_id: str) -> bool:
        """Whether it has a session, as workers of ours and Spark drivers do."""
        return self.workers[worker_id].kind is not WorkerKind.HTTP

    def is_driver(self, worker_id: str) -> bool:
        return self.workers[worker_id].kind is WorkerKind.SPARK

    def is_driven(self, job_id: str) -> bool:
        """Whether Spark runs its tasks."""
        return self.requests[job_id].engine is Engine.SPARK

    def is_running(self, job_id: str) -> bool:
        return job_id in self.job_states and not self.job_states[job_id].is_terminal

    def is_needed(self, attempt_id: str) -> bool:
        """Whether it is the accepted one of a running job."""
        task = self.accepted_ids.get(attempt_id)
        return task is not None and self.is_running(task[0])

    def stage_of(self, job_id: str, index: int) -> Stage:
        return self.stages[job_id][index]

    def tasks_of(self, job_id: str) -> list[Task]:
        stages = self.stages[job_id]
        return [(job_id, stage.index, p) for stage in stages for p in range(stage.partitions)]

    def inputs_of(self, task: Task) -> list[Task]:
        """The tasks whose outputs it reads, each once."""
        job_id, index, partition = task
        stage = self.stage_of(job_id, index)
        parts = _reads(stage.program.source, partition)
        if not isinstance(stage.program.sink, PartitionFile) and stage.program.sink.ranges:
            parts += _reads(stage.program.sink.ranges.samples, partition)
        inputs: dict[Task, None] = {}
        for parent, own in parts:
            width = self.stage_of(job_id, parent).partitions
            for number in range(width) if own is None else (own,):
                inputs[job_id, parent, number] = None
        return list(inputs)

    def caches_of(self, task: Task) -> dict[str, list[int]]:
        """The keys under which the task keeps records, or finds them, and the stages that it need
        not read then. Spark has caches of its own.
        """
        job_id, index, partition = task
        if self.is_driven(job_id):
            return {}
        program = self.stage_of(job_id, index).program
        source = program.source
        caches = {key: _reads(source, partition) for key in _keys(program.steps, partition)}
        if isinstance(source, UnionAll):
            branch, partition = source.locate(partition)
            more = _keys(branch.steps, partition)
            caches |= {k: _reads(branch.source, partition) for k in more if k not in caches}
            source = branch.source
        if isinstance(source, Join):
            more = _keys(source.left_steps, partition)
            caches |= {k: _reads(source.left, partition) for k in more if k not in caches}
        return {key: [stage for stage, _ in reads] for key, reads in caches.items()}

    def documented_files(self, task: Task) -> tuple[str, ...]:
        """The documented names of what the task writes, in the order of API.md."""
        job_id, index, partition = task
        match self.stage_of(job_id, index).program.sink:
            case PartitionFile(node_id):
                return (partition_file(job_id, node_id, partition),)
            case DocumentedShuffle(writer, targets):
                return tuple(shuffle_file(job_id, writer, partition, to) for to in range(targets))
            case _:
                return ()

    def is_readable(self, task: Task) -> bool:
        """Whether its accepted output may be read: its files, if any, have their names."""
        fact = self.accepted.get(task)
        return fact is not None and fact.attempt_id not in self.uncommitted


def _keys(steps: tuple[Step, ...], partition: int) -> list[str]:
    return [f"{step.lineage}:{partition}" for step in steps if isinstance(step, CacheStep)]


def _reads(source: Source, partition: int) -> list[tuple[int, int | None]]:
    """(stage, which of its partitions, or None for all) that the task of a source reads."""
    match source:
        case FetchShuffle() | ReadDocumentedShuffle():
            return [(source.stage_index, None)]
        case ReadPartitions():
            return [(source.stage_index, None if source.every else partition)]
        case Join():
            return _reads(source.left, partition) + _reads(source.right, partition)
        case UnionAll():
            branch, number = source.locate(partition)
            return _reads(branch.source, number)
        case _:
            return []
