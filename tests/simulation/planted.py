"""Bugs that are planted in the real code, one at a time, and must be seen by the simulation.

Each says by which rule: a part of the message of the failure. Must not know how runs go.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from minispark.model import effects as fx
from minispark.model import events as ev
from minispark.model.states import AttemptState, Cause
from minispark.scheduling import attempts, core, early, recovery, stage_run
from minispark.scheduling.attempts import AttemptOutcomes, expected_files
from minispark.scheduling.core import SchedulingCore
from minispark.scheduling.dispatch import Dispatcher
from minispark.scheduling.early import EarlyStarts
from minispark.scheduling.endings import Endings
from minispark.scheduling.job_run import JobRun
from minispark.scheduling.locations import Locations
from minispark.scheduling.skipping import Skipping
from minispark.scheduling.stage_run import StageRun
from minispark.scheduling.state import ClusterState
from minispark.scheduling.task_group import TaskGroup
from minispark.scheduling.worker_pool import WorkerPool
from tests.simulation.faults import Faults
from tests.simulation.planting import bug, nothing, without, wrap

# --- results ---------------------------------------------------------------------------------


@bug("the result of a superseded attempt is kept", "never reported its output")
def _keep_late_result(patch: pytest.MonkeyPatch) -> None:
    everything: dict[str, Any] = {}

    def remember(assign: Any, *args: Any) -> Any:
        attempt = assign(*args)
        everything[attempt.id] = attempt
        return attempt

    def find(held: Any, self: AttemptOutcomes, event: Any) -> Any:
        found = held(self, event)
        late = everything.get(event.attempt_id)
        is_late = found is None and late is not None
        return late.task.live if is_late and late is not None else found

    wrap(patch, JobRun, "assign", remember)
    wrap(patch, AttemptOutcomes, "held", find)


@bug(
    "any path of a foreign worker is accepted",
    "never reported its output",
    faults=Faults(wrong_path=0.5),
)
def _accept_any_path(patch: pytest.MonkeyPatch) -> None:
    def completed(original: Any, self: AttemptOutcomes, event: Any, *more: Any) -> None:
        for worker in self.state.pool.workers.values():
            if event.attempt_id in worker.attempts:
                event = replace(event, files=expected_files(worker.attempts[event.attempt_id]))
        original(self, event, *more)

    wrap(patch, AttemptOutcomes, "http_completed", completed)


@bug("a task is complete before its files have their names", "succeeded without")
def _complete_before_commit(patch: pytest.MonkeyPatch) -> None:
    def accept(original: Any, self: AttemptOutcomes, attempt: Any, *more: Any) -> None:
        original(self, attempt, *more)
        worker = self.state.pool.workers[attempt.worker_id]
        if worker.committing.pop(attempt.id, None) is not None:
            self._complete(attempt, *more[2:])

    wrap(patch, AttemptOutcomes, "accept", accept)


@bug("a worker that comes back is not told to commit again", "is not told to commit")
def _no_second_commit(patch: pytest.MonkeyPatch) -> None:
    without(patch, SchedulingCore, "_register", fx.CommitOutput)


# --- what readers are sent to ----------------------------------------------------------------


@bug("readers get one map output too few", "accepted is")
def _one_too_few(patch: pytest.MonkeyPatch) -> None:
    def collect(original: Any, *args: Any) -> Any:
        places = original(*args)
        return places[:-1] if len(places) > 2 else places

    wrap(patch, Locations, "_collect", collect)


@bug("locations are sent once, though they changed", "somebody could not read")
def _stale_places(patch: pytest.MonkeyPatch) -> None:
    constant = property(lambda _: 0, lambda _, __: None)
    patch.setattr(StageRun, "outputs_version", constant, raising=False)


@bug("readers get the earlier address of a worker", "is served at")
def _stale_address(patch: pytest.MonkeyPatch) -> None:
    constant = property(lambda _: 0, lambda _, __: None)
    patch.setattr(WorkerPool, "version", constant, raising=False)


@bug("one of the lost map outputs is forgotten", "somebody could not read")
def _forget_a_loss(patch: pytest.MonkeyPatch) -> None:
    def failed(original: Any, self: AttemptOutcomes, event: Any, effects: Any) -> None:
        original(self, replace(event, lost=event.lost[1:]), effects)

    wrap(patch, AttemptOutcomes, "fetch_failed", failed)


@bug("readers are sent to a lost disk for ever", "somebody could not read")
def _no_cause_of_loss(patch: pytest.MonkeyPatch) -> None:
    nothing(patch, AttemptOutcomes, "_cause_of_loss")


@bug(
    "outputs of a disk that is gone are not given up",
    "is gone since",
    faults=Faults(crash_every_s=8.0, for_good=0.4),
)
def _no_giving_up(patch: pytest.MonkeyPatch) -> None:
    nothing(patch, AttemptOutcomes, "lose_outputs")


# --- who may be launched ---------------------------------------------------------------------


@bug("tasks do not wait for the one output that they read", "is launched before")
def _no_own_reads(patch: pytest.MonkeyPatch) -> None:
    def without_own(original: Any, stage: Any) -> Any:
        kept = [tuple(part for part in reads.parts if part[1]) for reads in original(stage)]
        return tuple(replace(r, parts=p) for r, p in zip(original(stage), kept, strict=True))

    wrap(patch, stage_run, "reads_of", without_own)


@bug(
    "a task that is tried again does not wait for its own input",
    "has ready",
    faults=Faults(fail=0.25),
)
def _hasty_retry(patch: pytest.MonkeyPatch) -> None:
    def first(_: Any, self: JobRun, stage: Any, task: Any) -> None:
        group = stage.group_of(task)
        if not task.is_delayed:
            self._make_ready(group, task)

    wrap(patch, JobRun, "_make_first", first)


@bug("a lost output holds nobody back who alone reads it", "has ready")
def _no_taking_back(patch: pytest.MonkeyPatch) -> None:
    def forget(original: Any, self: JobRun, attempt: Any, event: Any) -> None:
        kept = [(group, dict(group.ready)) for group in attempt.stage.own_readers]
        original(self, attempt, event)
        for group, ready in kept:
            for partition in ready:
                if partition not in group.ready:
                    self._make_ready(group, group.stage.tasks[partition])

    wrap(patch, JobRun, "forget_output", forget)


@bug("a stage that waits keeps the others of its job waiting", "wait while slots are free")
def _one_group_a_job(patch: pytest.MonkeyPatch) -> None:
    def next_group(original: Any, self: Dispatcher, passed_over: Any) -> Any:
        group = original(self, passed_over)
        jobs = [passed.stage.job for passed in passed_over]
        return None if group is not None and group.stage.job in jobs else group

    wrap(patch, Dispatcher, "_next_group", next_group)


@bug("a complete output wakes nobody who alone reads it", "has ready")
def _no_waking(patch: pytest.MonkeyPatch) -> None:
    wrap(
        patch,
        TaskGroup,
        "can_be_ready",
        lambda original, self, task: original(self, task) and not self.reads.first,
    )


# --- attempts that begin early ---------------------------------------------------------------


@bug("who waits is not told of what was made", "and is not told")
def _no_telling(patch: pytest.MonkeyPatch) -> None:
    without(patch, EarlyStarts, "tell", fx.TellOutputs)


@bug("who waits never gives way", "wait while slots are free")
def _no_giving_way(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(EarlyStarts, "make_room", lambda *_: False)


@bug("giving way counts as a lost worker", "lost its worker, which is Up")
def _giving_way_is_a_loss(patch: pytest.MonkeyPatch) -> None:
    def give_way(_: Any, self: EarlyStarts, attempt: Any, event: Any, effects: Any) -> None:
        outcomes = AttemptOutcomes(self._state, self._endings, self, Skipping(self._state))
        outcomes.lose(attempt, "no room", event, effects)

    wrap(patch, EarlyStarts, "give_way", give_way)


@bug(
    "who waits goes on in another session",
    "wait on for what they may have been told",
    faults=Faults(60.0, pause_every_s=5.0),
)
def _waiting_on(patch: pytest.MonkeyPatch) -> None:
    def register(original: Any, self: SchedulingCore, event: Any, *more: Any) -> None:
        original(self, replace(event, waiting=()), *more)

    wrap(patch, SchedulingCore, "_register", register)


@bug("a task begins early though nobody makes what it reads", "nobody makes")
def _hasty_beginning(patch: pytest.MonkeyPatch) -> None:
    def may_begin(original: Any, group: Any) -> bool:
        return bool(group.missing and group.ready and group.reads.is_shared)

    wrap(patch, early, "may_begin", may_begin)


@bug(
    "a task that avoids a worker is queued behind who waits",
    "which wait for others",
    faults=Faults(fail=0.25),
)
def _queued_behind(patch: pytest.MonkeyPatch) -> None:
    def other_than(_: Any, self: WorkerPool, worker_id: str) -> Any:
        queues = [other for other in self.prefetchable if other != worker_id]
        queued = self.workers[queues[0]] if queues else None
        return self.free_other_than(worker_id) or queued

    wrap(patch, WorkerPool, "other_than", other_than)


@bug("a task that waits is copied", "is copied while it waits", spark=0.0)
def _copies_of_waiting(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(StageRun, "is_missing", lambda *_: False)


# --- budgets and retries ---------------------------------------------------------------------


@bug("a lost worker counts against the retries", "its worker never said so")
def _loss_is_failure(patch: pytest.MonkeyPatch) -> None:
    def count(_: Any, self: AttemptOutcomes, attempt: Any, reason: str, *more: Any) -> None:
        self._count_failure(attempt, "lost", reason, self.state.now, *more)

    wrap(patch, AttemptOutcomes, "_count_loss", count)


@bug(
    "a restarted master forgets budgets",
    "were allowed",
    faults=Faults(crash_every_s=3.0, kill_master=0.02),
)
def _forget_budgets(patch: pytest.MonkeyPatch) -> None:
    wrap(
        patch,
        recovery,
        "_count",
        lambda original, stage, task, fact: original(stage, task, replace(fact, cause=None)),
    )


@bug("a job fails one retry too early", "no budget was used up", faults=Faults(fail=0.5))
def _one_retry_less(patch: pytest.MonkeyPatch) -> None:
    def count(original: Any, self: AttemptOutcomes, attempt: Any, *more: Any) -> None:
        is_first = attempt.task.failures == 0
        attempt.task.failures += is_first
        original(self, attempt, *more)

    wrap(patch, AttemptOutcomes, "_count_failure", count)


@bug("a task is retried at once", "too early")
def _retry_at_once(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(attempts, "retry_delay_s", lambda _: 0.0)


@bug(
    "the time limit of a foreign worker's task never passes",
    "takes longer than a task may",
    faults=Faults(crash_every_s=60.0, hang=0.6),
)
def _no_foreign_limit(patch: pytest.MonkeyPatch) -> None:
    nothing(patch, SchedulingCore, "_time_out_foreign")


@bug("the loser of a race is not journaled", "are needed")
def _silent_loser(patch: pytest.MonkeyPatch) -> None:
    def cancel(original: Any, self: Endings, attempt: Any, cause: Any, *more: Any) -> None:
        effects = more[-1]
        before = len(effects)
        original(self, attempt, cause, *more)
        if cause is Cause.RACE:
            effects[before:] = [e for e in effects[before:] if isinstance(e, fx.CancelAttempts)]

    wrap(patch, Endings, "cancel", cancel)


# --- workers ---------------------------------------------------------------------------------


@bug("the end of an earlier session takes a worker down", "is lost by the end of session")
def _stale_disconnect(patch: pytest.MonkeyPatch) -> None:
    def take_in(original: Any, self: SchedulingCore, event: ev.Event, *more: Any) -> None:
        if isinstance(event, ev.WorkerDisconnected):
            worker = self.state.pool.workers.get(event.worker_id)
            event = replace(event, session=worker.session if worker is not None else 0)
        original(self, event, *more)

    wrap(patch, SchedulingCore, "_take_in", take_in)


@bug("a gap of the clock is ignored", "without a sign")
def _no_gap(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(core, "CLOCK_GAP_S_MIN", float("inf"))


@bug("max_load_diff is ignored", "more than the least loaded worker", workers=5)
def _any_load(patch: pytest.MonkeyPatch) -> None:
    wrap(patch, WorkerPool, "__init__", lambda original, self, _, *more: original(self, 99, *more))


@bug("a draining worker keeps what it only queued", "keeps what it only queued")
def _drain_keeps(patch: pytest.MonkeyPatch) -> None:
    def drain(_: Any, self: SchedulingCore, event: ev.WorkerDraining, __: Any) -> None:
        worker = self.state.pool.workers.get(event.worker_id)
        if worker is not None and worker.state.value == "UP" and not worker.is_draining:
            self.state.pool.drain(worker)

    wrap(patch, SchedulingCore, "_drain", drain)


@bug("a draining worker is told to stop what it runs", "were running")
def _drain_stops(patch: pytest.MonkeyPatch) -> None:
    def drain(original: Any, self: SchedulingCore, event: ev.WorkerDraining, *more: Any) -> None:
        worker = self.state.pool.workers.get(event.worker_id)
        for attempt in worker.attempts.values() if worker is not None else ():
            attempt.state = AttemptState.ASSIGNED
        original(self, event, *more)

    wrap(patch, SchedulingCore, "_drain", drain)


@bug("a silent worker is not disconnected", "not disconnected")
def _no_close(patch: pytest.MonkeyPatch) -> None:
    without(patch, SchedulingCore, "_tick", fx.CloseSession)


@bug("an ended job's attempts go on", "the worker was not told")
def _no_cancel(patch: pytest.MonkeyPatch) -> None:
    without(patch, Endings, "end", fx.CancelAttempts)


@bug(
    "a job is cancelled while its parts are published",
    "its parts are there",
    faults=Faults(cancel=0.8),
    jobs=8,
)
def _cancel_while_saving(patch: pytest.MonkeyPatch) -> None:
    def end(original: Any, self: Endings, job: JobRun, *more: Any) -> None:
        job.is_saving = False
        original(self, job, *more)

    wrap(patch, Endings, "end", end)


# --- what is left on disks -------------------------------------------------------------------


@bug("outputs are never deleted", "directories of attempts are left")
def _no_drops(patch: pytest.MonkeyPatch) -> None:
    nothing(patch, Endings, "drop")


@bug("nobody looks at a disk again", "nobody is asked what lies on")
def _no_sweep(patch: pytest.MonkeyPatch) -> None:
    nothing(patch, Endings, "sweep")


@bug("drops are forgotten when a worker registers again", "nobody is asked what lies on")
def _no_sweep_at_registration(patch: pytest.MonkeyPatch) -> None:
    without(patch, SchedulingCore, "_register", fx.FindAttempts)


@bug("drops are forgotten when a worker is lost", "nobody is asked what lies on")
def _no_sweep_at_loss(patch: pytest.MonkeyPatch) -> None:
    without(patch, SchedulingCore, "_take_from", fx.FindAttempts)


@bug("workers keep the tables of ended jobs", "keeps locations of outputs")
def _no_forgetting_of_tables(patch: pytest.MonkeyPatch) -> None:
    nothing(patch, Endings, "_forget_tables")


@bug("an output that is still read is deleted", "are needed")
def _drop_accepted(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(ClusterState, "is_accepted", lambda *_: False)


@bug(
    "an old job leaves the history, and its files stay",
    "ended jobs are kept",
    faults=Faults(60.0, pause_every_s=0.0, kill_master=0.0),
)
def _no_forgetting(patch: pytest.MonkeyPatch) -> None:
    without(patch, Endings, "end", fx.ForgetJob)
