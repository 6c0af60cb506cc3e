"""What becomes of attempts: accepted, failed, lost, unable to fetch; and of the tasks they worked
on.

A failure counts against `task_retries_max`, a lost worker against `worker_losses_max`, a lost
output against RECOMPUTES_MAX. Must not know how tasks are placed, nor who reports.
"""

from __future__ import annotations

from collections.abc import Container
from typing import TypeAlias

from minispark.model import events as ev
from minispark.model.effects import CommitOutput, Effect, Warn
from minispark.model.file_names import partition_file, shuffle_file
from minispark.model.plan import (
    DocumentedShuffle,
    PartitionFile,
    ShuffleBlocks,
    TaskOutcome,
)
from minispark.model.states import AttemptState, Cause, JobState, TaskState
from minispark.scheduling.early import EarlyStarts
from minispark.scheduling.endings import Endings
from minispark.scheduling.job_run import JobRun
from minispark.scheduling.journal import attempt_moved, stage_measured
from minispark.scheduling.limits import (
    AVOID_S,
    FETCH_FAILURES_MAX,
    RECOMPUTES_MAX,
    retry_delay_s,
)
from minispark.scheduling.skipping import Skipping
from minispark.scheduling.state import ClusterState
from minispark.scheduling.task_run import Attempt

AttemptReport: TypeAlias = (
    ev.AttemptStarted
    | ev.AttemptSucceeded
    | ev.AttemptFailed
    | ev.OutputsUnreadable
    | ev.CacheMissed
)


class AttemptOutcomes:
    """The events that end an attempt, applied to the state."""

    def __init__(
        self, state: ClusterState, endings: Endings, early: EarlyStarts, skipping: Skipping
    ) -> None:
        self.state = state
        self._endings = endings
        self._early = early
        self._skipping = skipping

    def held(self, event: AttemptReport) -> Attempt | None:
        """The live attempt that the event is about, if its worker holds it; None for a superseded
        one. Where and when it ran is noted.
        """
        worker = self.state.pool.workers.get(event.worker_id)
        attempt = worker.attempts.get(event.attempt_id) if worker is not None else None
        if attempt is not None and event.span is not None:
            attempt.span = event.span
        return attempt

    def accept(
        self,
        attempt: Attempt,
        outcome: TaskOutcome,
        now: float,
        event: ev.Event,
        effects: list[Effect],
    ) -> None:
        job, worker = attempt.stage.job, self.state.pool.workers[attempt.worker_id]
        self.state.pool.remove(attempt)
        job.accept(attempt, outcome, event)
        attempt.stage.sums.started(event.at_unix_s)  # which was not told of a brief one
        attempt.stage.sums.accepted(outcome, event.at_unix_s)
        begun = now if attempt.started_at is None else attempt.started_at
        attempt.stage.note_duration(now - begun)
        self.state.cache_sites.learn(attempt)
        if attempt.task.live is not None:
            self._endings.cancel(attempt.task.live, Cause.RACE, event, effects)
        effects.append(attempt_moved(attempt, event.at_unix_s))
        if outcome.files:
            worker.committing[attempt.id] = attempt
            effects.append(CommitOutput(attempt.worker_id, attempt.id, outcome.files))
        else:
            self._complete(attempt, event, effects)
        self.state.touch(job)

    def _complete(self, attempt: Attempt, event: ev.Event, effects: list[Effect]) -> None:
        job = attempt.stage.job
        job.complete(attempt, event, event.at_unix_s)
        self._early.tell(attempt, effects)
        if attempt.stage.is_complete:
            effects.append(stage_measured(attempt.stage, event.at_unix_s))
        self.state.touch(job)
        if job.incomplete_finals == 0:
            self._endings.succeed(job, event, effects)

    def committed(self, event: ev.OutputCommitted, effects: list[Effect]) -> None:
        worker = self.state.pool.workers.get(event.worker_id)
        attempt = worker.committing.pop(event.attempt_id, None) if worker is not None else None
        if attempt is not None:
            effects.append(attempt_moved(attempt, event.at_unix_s, is_committed=True))
            self._complete(attempt, event, effects)

    def commit_refused(self, event: ev.CommitRefused, now: float, effects: list[Effect]) -> None:
        worker = self.state.pool.workers.get(event.worker_id)
        attempt = worker.committing.pop(event.attempt_id, None) if worker is not None else None
        if worker is None or attempt is None:
            return
        attempt.move(AttemptState.LOST, event)
        error = f"its output could not be committed: {event.error}"
        self._count_failure(attempt, "commit", error, now, event, effects)
        self._endings.drop(worker, (attempt.id,), effects)

    def fail(
        self,
        attempt: Attempt,
        kind: str,
        error: str,
        now: float,
        event: ev.Event,
        effects: list[Effect],
    ) -> None:
        self.state.pool.remove(attempt)
        attempt.stage.job.release(attempt, AttemptState.FAILED, event)
        self._count_failure(attempt, kind, error, now, event, effects)

    def _count_failure(
        self,
        attempt: Attempt,
        kind: str,
        error: str,
        now: float,
        event: ev.Event,
        effects: list[Effect],
    ) -> None:
        stage, task = attempt.stage, attempt.task
        effects.append(attempt_moved(attempt, event.at_unix_s, error, Cause.TASK))
        task.failures += 1
        task.avoided_worker, task.avoid_until = attempt.worker_id, now + AVOID_S
        name = self.state.pool.workers[attempt.worker_id].identity.name
        first_line = error.partition("\n")[0]
        task.remember(f"attempt {attempt.number} on {name}: {kind}: {first_line}")
        if task.failures <= self.state.limits.task_retries_max:
            self._retry(attempt, event, now + retry_delay_s(task.failures))
            return
        tries = f"{task.failures} attempts, {self.state.limits.task_retries_max} retries allowed"
        message = f"{error}\n{stage.stage.id} partition {task.partition}: {tries}"
        self._give_up(attempt, message, event, effects)

    def lose(self, attempt: Attempt, reason: str, event: ev.Event, effects: list[Effect]) -> None:
        self.state.pool.remove(attempt)
        attempt.stage.job.release(attempt, AttemptState.LOST, event)
        self._count_loss(attempt, reason, event, effects)

    def lose_accepted(
        self, attempt: Attempt, reason: str, event: ev.Event, effects: list[Effect]
    ) -> None:
        attempt.move(AttemptState.LOST, event)
        self._count_loss(attempt, reason, event, effects)

    def _count_loss(
        self, attempt: Attempt, reason: str, event: ev.Event, effects: list[Effect]
    ) -> None:
        effects.append(attempt_moved(attempt, event.at_unix_s, reason, Cause.WORKER))
        task = attempt.task
        task.losses += 1
        task.remember(f"attempt {attempt.number}: {reason}")
        if task.losses <= self._losses_max(attempt):
            self._retry(attempt, event)
        else:
            self._give_up(attempt, self._too_many_losses(attempt), event, effects)

    def _losses_max(self, attempt: Attempt) -> int:
        """A driver is started again as often as a task is tried again."""
        limits = self.state.limits
        is_driven = attempt.stage.job.is_driven
        return limits.task_retries_max if is_driven else limits.worker_losses_max

    def _too_many_losses(self, attempt: Attempt) -> str:
        task, is_driven = attempt.task, attempt.stage.job.is_driven
        whom, limit = ("driver", "task_retries") if is_driven else ("worker", "worker_losses")
        return (
            f"{attempt.stage.stage.id} partition {task.partition} lost its {whom} "
            f"{task.losses} times; scheduler.{limit}_max is {self._losses_max(attempt)}"
        )

    def _retry(self, attempt: Attempt, event: ev.Event, due: float | None = None) -> None:
        """The task waits again, until `due` where that is said; unless its backup goes on."""
        job, task = attempt.stage.job, attempt.task
        job.count_failed(attempt)
        if task.live is None:
            self._count_retry(job)
            job.send_back(attempt.stage, task, event, is_delayed=due is not None)
            if due is not None:
                self.state.delay(attempt.stage, task, due)
        self.state.touch(job)

    def _count_retry(self, job: JobRun) -> None:
        job.retries += 1
        self.state.retries_total += 1

    def _give_up(
        self, attempt: Attempt, message: str, event: ev.Event, effects: list[Effect]
    ) -> None:
        job, task = attempt.stage.job, attempt.task
        job.count_failed(attempt)
        if task.live is not None:
            self._endings.cancel(task.live, Cause.RACE, event, effects)
        job.fail_task(attempt.stage, task, event)
        history = "\n".join(f"  {line}" for line in task.history)
        self._endings.end(job, JobState.FAILED, f"{message}\n{history}", event, effects)

    def fetch_failed(self, event: ev.OutputsUnreadable, effects: list[Effect]) -> None:
        attempt = self.held(event)
        if attempt is None:
            self.state.late_results += 1
            return
        job, task = attempt.stage.job, attempt.task
        self.state.pool.remove(attempt)
        job.release(attempt, AttemptState.LOST, event)
        effects.append(attempt_moved(attempt, event.at_unix_s, event.error, Cause.FETCH))
        task.remember(f"attempt {attempt.number}: {event.error}")
        task.fetch_failures += 1
        if task.fetch_failures > FETCH_FAILURES_MAX:
            message = f"{event.error}\nit could not fetch its input {task.fetch_failures} times"
            self._give_up(attempt, message, event, effects)
            return
        self._retry(attempt, event)
        for attempt_id in event.lost:
            lost = job.accepted.get(attempt_id)
            if lost is None or lost.task.state is not TaskState.SUCCEEDED:
                continue  # somebody else noticed first, and it is being made again
            cause = self._cause_of_loss(attempt, lost)
            if cause is not None and not self._forget(lost, cause, event.error, event, effects):
                return
        self.state.touch(job)

    def cache_missed(self, event: ev.CacheMissed, effects: list[Effect]) -> None:
        """It was to find its records in its worker's cache: what it would make them from is made
        now, and its task waits for that. It happens once a task and is held against nobody.
        """
        attempt = self.held(event)
        if attempt is None:
            self.state.late_results += 1
            return
        stage, job, task = attempt.stage, attempt.stage.job, attempt.task
        self.state.pool.remove(attempt)
        job.release(attempt, AttemptState.CANCELLED, event)
        effects.append(attempt_moved(attempt, event.at_unix_s, cause=Cause.CACHE))
        self.state.cache_sites.forget(attempt)
        self._skipping.open(job, tuple(stage.group_of(task).unmade))
        if task.live is None:
            job.send_back(stage, task, event)
        self.state.touch(job)

    def _cause_of_loss(self, reader: Attempt, lost: Attempt) -> Cause | None:
        """Whose fault it is that the reader could not read that output; None when it is not lost:
        it lies at another place than the reader was told, or its worker was away for a moment.
        """
        pool = self.state.pool
        owner = pool.workers[lost.worker_id]
        if pool.server(owner) is None:
            return Cause.WORKER
        return None if pool.has_changed(owner, reader.pool_version) else Cause.OUTPUT

    def lose_application(
        self,
        driver_id: str,
        kept: Container[str],
        why: str,
        event: ev.Event,
        effects: list[Effect],
    ) -> None:
        """Of the outputs that Spark had for a driver only these are left: what others would read is
        made again. Results have their names, and stay.
        """
        for job in list(self.state.jobs.values()):
            if not job.is_driven or job.is_saving:
                continue
            for attempt in list(job.accepted.values()):
                is_its = attempt.worker_id == driver_id and attempt.stage.is_sparks
                if is_its and attempt.id not in kept:
                    if not self._forget(attempt, Cause.WORKER, why, event, effects):
                        break
            self.state.touch(job)

    def lose_outputs(self, disk: ev.Disk, event: ev.Event, effects: list[Effect]) -> None:
        """Nobody can read that disk any more: what lies there is made again elsewhere."""
        workers = self.state.pool.workers
        for job in list(self.state.jobs.values()):
            if job.is_saving:
                continue  # nobody reads its outputs any more
            for attempt in list(job.accepted.values()):
                owner = workers[attempt.worker_id]
                is_there = owner.is_pooled and owner.identity.disk == disk
                if is_there and attempt.task.state is TaskState.SUCCEEDED:
                    why = f"{owner.identity.name} is away, and nobody else has its disk"
                    if not self._forget(attempt, Cause.WORKER, why, event, effects):
                        break
            self.state.touch(job)

    def _forget(
        self, lost: Attempt, cause: Cause, why: str, event: ev.Event, effects: list[Effect]
    ) -> bool:
        """The accepted output is gone, and its task runs again; or it did so too often, and its job
        fails. Returns whether the job goes on.
        """
        job, task = lost.stage.job, lost.task
        job.forget_output(lost, event)
        job.count_failed(lost)
        effects.append(attempt_moved(lost, event.at_unix_s, f"lost: {why}", cause))
        if cause is Cause.WORKER:
            task.losses += 1
            is_too_often = task.losses > self._losses_max(lost)
            message = self._too_many_losses(lost)
        else:
            task.recomputes += 1
            is_too_often = task.recomputes > RECOMPUTES_MAX
            message = f"{why}\nthe output of {lost.stage.stage.id} partition "
            message += f"{task.partition} was lost {task.recomputes} times"
        if is_too_often:
            self._endings.end(job, JobState.FAILED, message, event, effects)
        else:
            self._count_retry(job)
        return not is_too_often

    def drop_late(self, event: ev.AttemptSucceeded, effects: list[Effect]) -> None:
        """A superseded attempt went on and wrote its output; nobody will ever read that."""
        if self.state.is_needed(event.attempt_id):
            return  # said twice
        self.state.late_results += 1
        worker = self.state.pool.workers.get(event.worker_id)
        if worker is not None:
            self._endings.drop(worker, (event.attempt_id,), effects)

    # --- foreign workers -----------------------------------------------------------------------

    def http_completed(
        self, event: ev.HttpTaskCompleted, now: float, effects: list[Effect]
    ) -> None:
        attempt = self.state.pool.live.get(event.attempt_id)
        worker = self.state.pool.workers[attempt.worker_id] if attempt is not None else None
        if attempt is None or worker is None or worker.is_pushed:
            self.state.late_results += 1
        elif not event.is_success:
            self.fail(attempt, "error", event.error, now, event, effects)
        elif event.files != expected_files(attempt):
            worker.is_refused = True
            name, job = worker.identity.name, attempt.stage.job
            effects.append(
                Warn(
                    f"worker {name} reported {list(event.files)} for a task whose output is "
                    f"{list(expected_files(attempt))}: it is refused and gets no more tasks; "
                    "a foreign worker must share the master's state_dir"
                )
            )
            self.state.pool.remove(attempt)
            job.release(attempt, AttemptState.LOST, event)
            error = "reported an unexpected path"
            effects.append(attempt_moved(attempt, event.at_unix_s, error, Cause.PEER))
            job.count_failed(attempt)
            # not its task's fault, nor a lost worker: it counts against no budget
            if attempt.task.live is None:
                job.send_back(attempt.stage, attempt.task, event)
            self.state.touch(job)
        else:
            outcome = TaskOutcome(event.records, event.bytes_written)
            self.accept(attempt, outcome, now, event, effects)


def expected_files(attempt: Attempt) -> tuple[str, ...]:
    """The documented files that this task writes, below the state directory, in the order of
    API.md.
    """
    job_id, partition = attempt.stage.job.id, attempt.task.partition
    match attempt.stage.stage.program.sink:
        case PartitionFile(node_id):
            return (partition_file(job_id, node_id, partition),)
        case DocumentedShuffle(writer, targets):
            return tuple(shuffle_file(job_id, writer, partition, to) for to in range(targets))
        case ShuffleBlocks():
            return ()
