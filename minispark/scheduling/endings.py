"""How a job ends: what still runs is cancelled, what it wrote on the way is deleted.

Must not know why it ends.
"""

from __future__ import annotations

from minispark.model.effects import (
    AppendJournal,
    CancelAttempts,
    DiscardParts,
    DropOutputs,
    Effect,
    FindAttempts,
    ForgetJob,
    ForgetTables,
    JobMoved,
    PublishParts,
)
from minispark.model.events import AttemptsFound, Event, PartsPublished
from minispark.model.states import AttemptState, Cause, JobState, WorkerState
from minispark.scheduling.job_run import JobRun
from minispark.scheduling.journal import attempt_moved
from minispark.scheduling.state import ClusterState
from minispark.scheduling.task_run import Attempt
from minispark.scheduling.worker_pool import Worker


class Endings:
    """Ends jobs in the state, and says what is to be done about it."""

    def __init__(self, state: ClusterState) -> None:
        self._state = state

    def succeed(self, job: JobRun, event: Event, effects: list[Effect]) -> None:
        """All final tasks are complete. What goes to directories of the user's is published first:
        whoever sees the job SUCCEEDED finds it there.
        """
        folders = job.part_folders()
        if not folders:
            self.end(job, JobState.SUCCEEDED, None, event, effects)
        elif not job.is_saving:
            job.is_saving = True
            effects.append(PublishParts(job.id, folders))

    def published(self, event: PartsPublished, effects: list[Effect]) -> None:
        job = self._state.jobs.get(event.job_id)
        if job is None:
            return
        job.is_saving = False
        new = JobState.SUCCEEDED if event.error is None else JobState.FAILED
        self.end(job, new, event.error, event, effects)

    def end(
        self,
        job: JobRun,
        new: JobState,
        message: str | None,
        event: Event,
        effects: list[Effect],
    ) -> None:
        """Move the job to a terminal state. Its final files stay; everything else of it goes.

        Not while it is saving: then `published` decides, so that `_SUCCESS` never lies.
        """
        if job.is_saving:
            self._state.touch(job)  # what its caller did to its tasks counts all the same
            return
        job.message = message
        job.move(new, event, event.at_unix_s)
        effects.append(AppendJournal(JobMoved(job.id, new, message, event.at_unix_s)))
        self._cancel_live(job, event, effects)
        self._drop_written(job, effects)
        self._forget_tables(job, effects)
        if new is not JobState.SUCCEEDED and job.request.saved_at:
            effects.append(DiscardParts(job.id, job.request.saved_at))
        for job_id in self._state.retire(job):
            effects.append(ForgetJob(job_id))

    def cancel(
        self, attempt: Attempt, cause: Cause | None, event: Event, effects: list[Effect]
    ) -> None:
        """Stop one live attempt: its worker deletes what it wrote, now or when it is back."""
        worker = self._state.pool.workers[attempt.worker_id]
        self._state.pool.remove(attempt)
        attempt.stage.job.release(attempt, AttemptState.CANCELLED, event)
        effects.append(attempt_moved(attempt, event.at_unix_s, cause=cause))
        if _can_cancel(worker):
            effects.append(CancelAttempts(attempt.worker_id, (attempt.id,)))

    def _cancel_live(self, job: JobRun, event: Event, effects: list[Effect]) -> None:
        """Cancel every live attempt of the job."""
        by_worker: dict[str, list[str]] = {}
        for stage in job.stages:
            if not stage.running:
                continue
            for task in stage.tasks:
                for attempt in task.attempts:
                    self._state.pool.remove(attempt)
                    job.release(attempt, AttemptState.CANCELLED, event)
                    by_worker.setdefault(attempt.worker_id, []).append(attempt.id)
                    effects.append(attempt_moved(attempt, event.at_unix_s))
                if task.accepted is not None:
                    worker = self._state.pool.workers[task.accepted.worker_id]
                    worker.committing.pop(task.accepted.id, None)
            stage.running = 0
        for worker_id, ids in by_worker.items():
            worker = self._state.pool.workers[worker_id]
            self._state.touch_worker(worker)
            if _can_cancel(worker):
                effects.append(CancelAttempts(worker_id, tuple(ids)))

    def _drop_written(self, job: JobRun, effects: list[Effect]) -> None:
        """Delete what the job's attempts wrote."""
        by_worker: dict[str, list[str]] = {}
        for attempt in job.accepted.values():
            is_on_disk = not attempt.is_empty and not attempt.stage.is_sparks
            if is_on_disk or attempt.stage.keeps_for_job:
                by_worker.setdefault(attempt.worker_id, []).append(attempt.id)
        for attempt_id, worker_id in job.unreadable.items() if not job.is_driven else ():
            by_worker.setdefault(worker_id, []).append(attempt_id)
        for worker_id, ids in by_worker.items():
            self.drop(self._state.pool.workers[worker_id], tuple(ids), effects)

    def _forget_tables(self, job: JobRun, effects: list[Effect]) -> None:
        driver = self._state.pool.driver() if job.is_driven else None
        if driver is not None:
            effects.append(ForgetTables(driver.identity.worker_id, job.id))
        for worker_id in job.readers:
            worker = self._state.pool.workers[worker_id]
            if worker.tables.pop(job.id, None) is not None and _can_cancel(worker):
                effects.append(ForgetTables(worker_id, job.id))

    def drop(self, worker: Worker, attempt_ids: tuple[str, ...], effects: list[Effect]) -> None:
        """Have what attempts of that worker wrote deleted, by whoever is Up on its disk. Where
        nobody is, the next one that comes there finds it.
        """
        server = self._state.pool.server(worker)
        if server is not None and worker.is_pushed:  # a foreign worker writes no such directories
            effects.append(DropOutputs(server.identity.worker_id, attempt_ids))

    def sweep(self, worker: Worker, effects: list[Effect]) -> None:
        """Ask which attempts' directories are on the worker's disk: it came, or went, and what it
        was told before may not have reached it.
        """
        server = self._state.pool.server(worker)
        if server is not None and worker.is_pushed:
            effects.append(FindAttempts(server.identity.worker_id))

    def found(self, event: AttemptsFound, effects: list[Effect]) -> None:
        """The directories on a worker's disk; those that nobody needs are deleted."""
        worker = self._state.pool.workers.get(event.worker_id)
        waste = tuple(i for i in event.attempt_ids if not self._state.is_needed(i))
        if worker is not None and waste:
            self.drop(worker, waste, effects)


def _can_cancel(worker: Worker) -> bool:
    return worker.is_pushed and worker.state is WorkerState.UP
