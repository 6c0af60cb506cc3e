"""How a job ends: what still runs is cancelled, what it wrote on the way is deleted.

Must not know why it ends.
"""

from __future__ import annotations

from minispark.model.effects import (
    AppendJournal,
    CancelAttempts,
    DropOutputs,
    Effect,
    ForgetJob,
    JobMoved,
)
from minispark.model.events import Event
from minispark.model.ids import attempt_id
from minispark.model.states import AttemptState, JobState, WorkerState
from minispark.scheduling.job_run import JobRun
from minispark.scheduling.journal import attempt_moved
from minispark.scheduling.state import ClusterState
from minispark.scheduling.worker_pool import Worker


class Endings:
    """Ends jobs in the state, and says what is to be done about it."""

    def __init__(self, state: ClusterState) -> None:
        self._state = state

    def end(
        self,
        job: JobRun,
        new: JobState,
        message: str | None,
        event: Event,
        effects: list[Effect],
    ) -> None:
        """Move the job to a terminal state. Its final files stay; everything else of it goes."""
        job.message = message
        job.move(new, event, event.at_unix_s)
        effects.append(AppendJournal(JobMoved(job.id, new, message, event.at_unix_s)))
        cancelled = self._cancel_live(job, event, effects)
        self._drop_written(job, cancelled, effects)
        for job_id in self._state.retire(job):
            effects.append(ForgetJob(job_id))

    def _cancel_live(self, job: JobRun, event: Event, effects: list[Effect]) -> dict[str, None]:
        """Cancel every live attempt of the job; returns their ids."""
        by_worker: dict[str, list[str]] = {}
        for stage in job.stages:
            if not stage.running:
                continue
            for task in stage.tasks:
                attempt = task.live
                if attempt is not None:
                    self._state.pool.remove(attempt)
                    job.release(attempt, AttemptState.CANCELLED, event)
                    by_worker.setdefault(attempt.worker_id, []).append(attempt.id)
                    effects.append(attempt_moved(attempt, event.at_unix_s))
                elif task.accepted is not None:
                    worker = self._state.pool.workers[task.accepted.worker_id]
                    worker.committing.pop(task.accepted.id, None)
            stage.running = 0
        cancelled: dict[str, None] = {}
        for worker_id, ids in by_worker.items():
            worker = self._state.pool.workers[worker_id]
            self._state.touch_worker(worker)
            if worker.is_pushed and worker.state is WorkerState.UP:
                effects.append(CancelAttempts(worker_id, tuple(ids)))
                cancelled.update(dict.fromkeys(ids))
        return cancelled

    def _drop_written(self, job: JobRun, cancelled: dict[str, None], effects: list[Effect]) -> None:
        """Delete what attempts wrote, by whoever made them: accepted ones, and those of lost
        workers.
        """
        by_worker: dict[str, list[str]] = {}
        for stage in job.stages:
            for task in stage.tasks:
                accepted = task.accepted
                for number in range(job.first_attempt, task.attempts_made):
                    if accepted is not None and number == accepted.number:
                        written, worker_id = accepted.id, accepted.worker_id
                    elif task.losses or task.fetch_failures or task.recomputes or task.failures:
                        # whoever made it: any worker on that disk may delete it
                        written = attempt_id(job.id, stage.stage.id, task.partition, number)
                        worker_id = accepted.worker_id if accepted is not None else ""
                    else:
                        continue
                    if written not in cancelled:
                        by_worker.setdefault(worker_id, []).append(written)
        anybody = next((w for w in self._state.pool.workers.values() if _can_delete(w)), None)
        for worker_id, ids in by_worker.items():
            worker = self._state.pool.workers.get(worker_id, anybody)
            if worker is not None:
                self.drop(worker, tuple(ids), effects)

    def drop(self, worker: Worker, attempt_ids: tuple[str, ...], effects: list[Effect]) -> None:
        """Have the attempts' files deleted: by their worker, by one on the same disk, or later."""
        if not attempt_ids or not worker.is_pushed:
            return
        disk = (worker.identity.host_id, worker.identity.state_dir)
        candidates = [worker, *self._state.pool.workers.values()]
        for other in candidates:
            if _can_delete(other) and disk == (other.identity.host_id, other.identity.state_dir):
                effects.append(DropOutputs(other.identity.worker_id, attempt_ids))
                return
        self._state.pool.defer_drops(worker, attempt_ids)


def _can_delete(worker: Worker) -> bool:
    return worker.is_pushed and worker.state is WorkerState.UP
