"""Takes up the jobs that an earlier master left unfinished, from what its journal says of them.

Accepted outputs are kept, budgets go on where they stood, and attempts that were live stay so:
their workers are expected back. Must not know how the journal is stored.
"""

from __future__ import annotations

from collections.abc import Mapping

from minispark.model.effects import AttemptMoved, Effect
from minispark.model.events import Event, WorkerIdentity
from minispark.model.plan import TaskOutcome
from minispark.model.records import JobRecord
from minispark.model.states import AttemptState, Cause, JobState
from minispark.scheduling.attempts import expected_files
from minispark.scheduling.endings import Endings
from minispark.scheduling.job_run import JobRun
from minispark.scheduling.stage_run import StageRun
from minispark.scheduling.state import ClusterState
from minispark.scheduling.task_run import Attempt, TaskRun
from minispark.scheduling.worker_pool import Worker

_LIVE = (AttemptState.ASSIGNED, AttemptState.RUNNING)


class Recovery:
    """Puts jobs back into an empty state."""

    def __init__(
        self,
        state: ClusterState,
        endings: Endings,
        workers: Mapping[str, WorkerIdentity],
        now: float,
    ) -> None:
        self._state = state
        self._endings = endings
        self._workers = workers
        self._now = now

    def restore(self, record: JobRecord, event: Event, effects: list[Effect]) -> None:
        """One job. Its deadlines begin anew; one that nobody can go on with ends here."""
        job = JobRun(record.job_id, record.request, record.plans, self._now, record.created_at)
        self._state.jobs[job.id] = job
        if record.failure is not None:
            self._endings.end(job, JobState.FAILED, record.failure, event, effects)
            return
        if not record.is_planned:
            self._state.undecided[job.id] = None
            self._state.touch(job)
            return
        job.choose_plan(record.plans[0])
        if record.started_at is not None:
            job.move(JobState.RUNNING, "an earlier master started it", record.started_at)
        for fact in record.attempts:
            self._replay(job, fact, effects)
        self._state.touch(job)
        self._state.retries_total += job.retries
        if job.incomplete_finals == 0:
            self._endings.succeed(job, event, effects)

    def _replay(self, job: JobRun, fact: AttemptMoved, effects: list[Effect]) -> None:
        stage = job.stages[fact.stage_index]
        task = stage.tasks[fact.partition]
        worker = self._worker(fact.worker_id)
        if fact.state in _LIVE and worker is not None:
            attempt = self._assign(stage, task, fact)
            self._state.pool.add(worker, attempt)
        elif fact.state is AttemptState.SUCCEEDED and worker is not None:
            self._accept(stage, task, worker, fact)
        else:
            _count(stage, task, fact)
            task.attempts_made = max(task.attempts_made, fact.attempt + 1)

    def _assign(self, stage: StageRun, task: TaskRun, fact: AttemptMoved) -> Attempt:
        """The task leaves the ready ones, if it is not live already, for that attempt."""
        job = stage.job
        task.attempts_made = fact.attempt
        if task.live is None:
            job.take(stage, task)
        return job.assign(stage, task, fact.worker_id, self._now, fact.at_unix_s)

    def _accept(self, stage: StageRun, task: TaskRun, worker: Worker, fact: AttemptMoved) -> None:
        job = stage.job
        attempt = self._assign(stage, task, fact)
        names = expected_files(attempt) if worker.is_pushed else ()
        files = tuple((name, name) for name in names)
        outcome = TaskOutcome(fact.records, fact.bytes_written, files=files)
        job.accept(attempt, outcome, "an earlier master accepted it")
        if files and not fact.is_committed:
            worker.committing[attempt.id] = attempt
        else:
            job.complete(attempt, "an earlier master saw it complete", fact.at_unix_s)

    def _worker(self, worker_id: str) -> Worker | None:
        """The worker, expected back. None for one that the journal does not know."""
        worker = self._state.pool.workers.get(worker_id)
        if worker is None and worker_id in self._workers:
            until = self._now + self._state.limits.heartbeat_timeout_s
            worker = self._state.pool.expect(self._workers[worker_id], self._now, until)
        return worker


def _count(stage: StageRun, task: TaskRun, fact: AttemptMoved) -> None:
    """An attempt that ended without an output, against the budget that it was counted against."""
    match fact.cause:
        case Cause.TASK:
            task.failures += 1
        case Cause.WORKER:
            task.losses += 1
        case Cause.FETCH:
            task.fetch_failures += 1
        case Cause.OUTPUT:
            task.recomputes += 1
        case _:
            pass
    if fact.state in (AttemptState.FAILED, AttemptState.LOST):
        task.remember(f"attempt {fact.attempt}: {fact.error}")
        stage.failed_attempts += 1
        stage.job.failed_attempts += 1
        stage.job.retries += fact.cause is not Cause.PEER
