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

    def cancel(
        self, attempt: Attempt, cause: Cause | None, event: Event, effects: list[Effect]
    ) -> None:
        """Stop one live attempt: its worker deletes what it wrote."""
        worker = self._state.pool.workers[attempt.worker_id]
        self._state.pool.remove(attempt)
        attempt.stage.job.release(attempt, AttemptState.CANCELLED, event)
        effects.append(attempt_moved(attempt, event.at_unix_s, cause=cause))
        if _can_delete(worker):
            self._tell(worker, CancelAttempts(attempt.worker_id, (attempt.id,)), effects)
        else:
            attempt.task.has_orphans = True

    def _cancel_live(self, job: JobRun, event: Event, effects: list[Effect]) -> dict[str, None]:
        """Cancel every live attempt of the job; returns the ids that their workers clean up."""
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
        cancelled: dict[str, None] = {}
        for worker_id, ids in by_worker.items():
            worker = self._state.pool.workers[worker_id]
            self._state.touch_worker(worker)
            if _can_delete(worker):
                self._tell(worker, CancelAttempts(worker_id, tuple(ids)), effects)
                cancelled.update(dict.fromkeys(ids))
            else:
                self._state.pool.defer_drops(worker, tuple(ids))
        return cancelled

    def _drop_written(self, job: JobRun, cancelled: dict[str, None], effects: list[Effect]) -> None:
        """Delete what attempts wrote, by whoever made them: accepted ones, and those whose worker
        could not.
        """
        by_worker: dict[str, list[str]] = {}
        for stage in job.stages:
            for task in stage.tasks:
                accepted = task.accepted
                if accepted is not None:
                    by_worker.setdefault(accepted.worker_id, []).append(accepted.id)
                if not task.has_orphans:
                    continue
                # whoever made it: any worker on that disk may delete it
                worker_id = accepted.worker_id if accepted is not None else ""
                for number in range(task.attempts_made):
                    written = attempt_id(job.id, stage.stage.id, task.partition, number)
                    is_accepted = accepted is not None and written == accepted.id
                    if written not in cancelled and not is_accepted:
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
                self._tell(other, DropOutputs(other.identity.worker_id, attempt_ids), effects)
                return
        self._state.pool.defer_drops(worker, attempt_ids)

    def _tell(
        self, worker: Worker, what: CancelAttempts | DropOutputs, effects: list[Effect]
    ) -> None:
        worker.told.append((self._state.now, what.attempt_ids))
        effects.append(what)

    def drop_unheard(self, worker: Worker, effects: list[Effect]) -> None:
        """The worker's session ended: what it was told last may have been lost with it."""
        unheard = [attempt_id for _, ids in worker.told for attempt_id in ids]
        worker.told.clear()
        self.drop(worker, tuple(unheard), effects)


def _can_delete(worker: Worker) -> bool:
    return worker.is_pushed and worker.state is WorkerState.UP
