"""The scheduling core: `effects = core.handle(event, now)`, or of several events at once.

`now` is monotonic seconds; wall-clock times in events are only stored for display. Effects come in
the order in which they must be carried out: a fact is journaled before the message that it
justifies.
Must not know sockets, files, clocks, threads or random numbers, and never iterates a set.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import assert_never

from minispark.errors import InvariantViolation
from minispark.model import events as ev
from minispark.model.effects import (
    AcceptWorker,
    AppendJournal,
    CloseSession,
    CommitOutput,
    Effect,
    Fact,
    ForgetJob,
    JobAccepted,
    PlanChosen,
    WorkerLost,
    WorkerSeen,
)
from minispark.model.job import PlanKind
from minispark.model.records import JobRecord
from minispark.model.snapshot import NOTHING_COUNTED, JobView, Snapshot, Totals
from minispark.model.states import AttemptState, JobState, WorkerState
from minispark.scheduling.attempts import AttemptOutcomes
from minispark.scheduling.dispatch import Dispatcher
from minispark.scheduling.driven import DrivenJobs
from minispark.scheduling.early import EarlyStarts
from minispark.scheduling.endings import Endings
from minispark.scheduling.job_run import JobRun
from minispark.scheduling.journal import attempt_moved
from minispark.scheduling.limits import CLOCK_GAP_S_MIN, Limits
from minispark.scheduling.recovery import Recovery
from minispark.scheduling.skipping import Skipping
from minispark.scheduling.state import ClusterState
from minispark.scheduling.worker_pool import Worker


class SchedulingCore:
    """All jobs, tasks and workers of one cluster. Owned by one thread."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.state = ClusterState(limits)
        self._endings = Endings(self.state)
        self._early = EarlyStarts(self.state, self._endings)
        self._skipping = Skipping(self.state)
        self._dispatcher = Dispatcher(self.state, self._early, self._skipping)
        self._driven = DrivenJobs(self.state, self._dispatcher)
        self._attempts = AttemptOutcomes(self.state, self._endings, self._early, self._skipping)
        self._last_tick: float | None = None

    def handle(self, event: ev.Event, now: float) -> list[Effect]:
        """Take the event in; return what is to be done about it, in order."""
        return self.handle_all((event,), now)

    def handle_all(self, events: Sequence[ev.Event], now: float) -> list[Effect]:
        """Take in what happened at once, in order, and then place what is ready: a worker gets its
        orders in one effect.
        """
        effects: list[Effect] = []
        self.state.now = now
        self.state.end_delays(now)
        for event in events:
            self._take_in(event, now, effects)
        if events:
            at_unix_s = events[-1].at_unix_s
            self._dispatcher.dispatch(now, at_unix_s, effects)
            self._driven.dispatch(now, at_unix_s, effects)
            if any(isinstance(e, ev.ClockTicked) for e in events):
                if self.limits.speculation:
                    self._dispatcher.speculate(now, at_unix_s, effects)
                self._dispatcher.start_early(now, at_unix_s, effects)
        self.state.let_ended_go()
        self.state.totals.count(effects)
        return effects

    def _take_in(self, event: ev.Event, now: float, effects: list[Effect]) -> None:
        match event:
            case ev.JobSubmitted():
                self._submit(event, now, effects)
            case ev.JobCancelRequested():
                self._cancel(event, effects)
            case ev.WorkerRegistered():
                self._register(event, now, effects)
            case ev.HeartbeatReceived():
                self._heartbeat(event, now, effects)
            case ev.WorkerDisconnected():
                worker = self.state.pool.workers.get(event.worker_id)
                if worker is not None and worker.session == event.session:
                    self._lose_worker(worker, "its connection closed", event, effects)
            case ev.WorkerDraining():
                self._drain(event, effects)
            case ev.DriverMissing(reason):
                self.state.note_driver_problem(reason)
            case ev.TaskRequested():
                effects.append(self._dispatcher.answer(event, now, effects))
            case ev.AttemptStarted():
                attempt = self._attempts.held(event)
                if attempt is not None and attempt.state is AttemptState.ASSIGNED:
                    attempt.stage.job.start(attempt, now, event)
                    attempt.stage.sums.started(event.at_unix_s)
                    effects.append(attempt_moved(attempt, event.at_unix_s))
                    self.state.touch(attempt.stage.job)
            case ev.AttemptSucceeded():
                attempt = self._attempts.held(event)
                if attempt is None:
                    self._attempts.drop_late(event, effects)
                else:
                    self._attempts.accept(attempt, event.outcome, now, event, effects)
            case ev.AttemptFailed():
                attempt = self._attempts.held(event)
                if attempt is None:
                    self.state.late_results += 1
                else:
                    self._attempts.fail(attempt, event.kind, event.error, now, event, effects)
            case ev.OutputsUnreadable():
                self._attempts.fetch_failed(event, effects)
            case ev.CacheMissed():
                self._attempts.cache_missed(event, effects)
            case ev.OutputCommitted():
                self._attempts.committed(event, effects)
            case ev.CommitRefused():
                self._attempts.commit_refused(event, now, effects)
            case ev.PartsPublished():
                self._endings.published(event, effects)
            case ev.AttemptsFound():
                self._endings.found(event, effects)
            case ev.HttpTaskCompleted():
                self._attempts.http_completed(event, now, effects)
            case ev.ClockTicked():
                self._tick(event, now, effects)
            case _:
                assert_never(event)

    def restore(
        self,
        jobs: Iterable[JobRecord],
        workers: Mapping[str, ev.WorkerIdentity],
        now: float,
        at_unix_s: float,
        ended: Iterable[JobView] = (),
        totals: Totals = NOTHING_COUNTED,
    ) -> list[Effect]:
        """Go on with the jobs of an earlier master, before the first event, and remember those that
        ended. Attempts that were live stay so until their worker says otherwise, or did not come
        back in time. `totals`: what earlier masters counted.
        """
        effects: list[Effect] = [ForgetJob(i) for i in self.state.restore(ended, totals)]
        recovery = Recovery(self.state, self._endings, workers, now)
        for record in jobs:
            recovery.restore(record, ev.ClockTicked(at_unix_s), effects)
        self.state.order_restored()
        self.state.let_ended_go()
        self.state.totals.count(effects)
        return effects

    @property
    def next_due(self) -> float | None:
        """When the core wants to be asked again, by a tick, if nothing happens (monotonic)."""
        return self.state.next_due

    def snapshot(self) -> Snapshot:
        """The picture as it is now, sharing with the last one whatever did not change."""
        return self.state.snapshot()

    @property
    def is_changed(self) -> bool:
        """Whether a new snapshot would differ from the last one."""
        return self.state.is_changed

    # --- jobs ------------------------------------------------------------------------------

    def _submit(self, event: ev.JobSubmitted, now: float, effects: list[Effect]) -> None:
        if event.job_id in self.state.jobs or event.job_id in self.state.finished:
            raise InvariantViolation(f"job {event.job_id} was submitted twice")
        job = JobRun(event.job_id, event.request, event.plans, now, event.at_unix_s)
        self.state.jobs[job.id] = job
        kind = self._kind_of_plan(job)
        candidates = event.plans if kind is None else ()
        fact = JobAccepted(job.id, job.request, event.at_unix_s, event.idempotency_key, candidates)
        self._record(fact, effects)
        if kind is None:
            self.state.undecided[job.id] = None
        else:
            self._choose(job, kind, effects)
        self.state.touch(job)

    def _kind_of_plan(self, job: JobRun) -> PlanKind | None:
        """Which of its plans the job gets: naive when all workers are foreign; None, where there
        is a choice, while no worker is Up.
        """
        present = self.state.pool.presence()
        if len(job.plans) == 1 or present.has_ours:
            return job.plans[0].kind
        return PlanKind.NAIVE if present.has_foreign else None

    def _choose(self, job: JobRun, kind: PlanKind, effects: list[Effect]) -> None:
        plan = next((plan for plan in job.plans if plan.kind is kind), job.plans[0])
        job.choose_plan(plan)
        self._skipping.skip(job)
        self._record(PlanChosen(job.id, plan), effects)
        self.state.touch(job)

    def _decide_plans(self, effects: list[Effect]) -> None:
        """Jobs that named no plan get one as soon as a worker is Up."""
        for job_id in list(self.state.undecided):
            job = self.state.jobs[job_id]
            kind = self._kind_of_plan(job)
            if kind is not None:
                self._choose(job, kind, effects)
                del self.state.undecided[job_id]

    def _cancel(self, event: ev.JobCancelRequested, effects: list[Effect]) -> None:
        job = self.state.jobs.get(event.job_id)
        if job is not None:
            message = f"cancelled: {event.reason}"
            self._endings.end(job, JobState.CANCELLED, message, event, effects)

    # --- workers -----------------------------------------------------------------------------

    def _register(self, event: ev.WorkerRegistered, now: float, effects: list[Effect]) -> None:
        pool = self.state.pool
        known = pool.workers.get(event.worker.worker_id)
        lost: list[str] = []
        if known is not None:
            running = dict.fromkeys(event.running)
            waiting = dict.fromkeys(event.waiting)
            for attempt in [a for a in known.attempts.values() if a.id in waiting]:
                # what it was told in the earlier session may not have reached it
                self._early.give_way(attempt, event, effects)
            for attempt in list(known.attempts.values()):
                if attempt.id not in running and attempt.id in known.attempts:
                    lost.append(attempt.id)
                    self._attempts.lose(attempt, f"{known.identity.name} restarted", event, effects)
        worker = pool.register(event.worker, event.session, now, event.at_unix_s)
        self._record(WorkerSeen(event.worker, event.at_unix_s), effects)
        if worker.is_driver:
            self.state.note_driver_problem(None)
            why, kept = f"{event.worker.name} restarted", dict.fromkeys(event.running)
            driver_id = event.worker.worker_id
            self._attempts.lose_application(driver_id, kept, why, event, effects)
        # an order that reached it after it said what it runs is one of the lost ones
        held = (a for a in event.running if a not in worker.attempts)
        forget = (*(a for a in held if not self.state.is_accepted(a)), *lost)
        if worker.is_pushed:
            jobs = self.state.jobs.values() if worker.is_driver else ()
            driven = tuple(job.id for job in jobs if job.is_driven)
            worker_id = worker.identity.worker_id
            effects.append(AcceptWorker(worker_id, event.session, forget, driven))
        self._endings.sweep(worker, effects)
        for attempt in worker.committing.values():
            assert attempt.outcome is not None
            files = attempt.outcome.files
            effects.append(CommitOutput(worker.identity.worker_id, attempt.id, files))
        self._decide_plans(effects)
        self.state.touch_worker(worker)

    def _heartbeat(self, event: ev.HeartbeatReceived, now: float, effects: list[Effect]) -> None:
        worker = self.state.pool.workers.get(event.worker_id)
        if worker is None:
            return
        worker.last_heartbeat, worker.last_heartbeat_unix_s = now, event.at_unix_s
        if worker.state is WorkerState.DOWN and not worker.is_pushed:
            self.state.pool.bring_up(worker, event)
            self._decide_plans(effects)
        self.state.touch_worker(worker)

    def _drain(self, event: ev.WorkerDraining, effects: list[Effect]) -> None:
        """It keeps what it runs; what it only queued goes elsewhere, as does what only waits for
        outputs, and that is held against nobody.
        """
        worker = self.state.pool.workers.get(event.worker_id)
        if worker is None or worker.state is WorkerState.DOWN or worker.is_draining:
            return
        self.state.pool.drain(worker)
        for attempt in list(worker.attempts.values()):
            if attempt.awaited:
                self._early.give_way(attempt, event, effects)
            elif attempt.state is AttemptState.ASSIGNED and attempt.id in worker.attempts:
                self._endings.cancel(attempt, None, event, effects)
                if attempt.task.live is None:
                    attempt.stage.job.send_back(attempt.stage, attempt.task, event)
                self.state.touch(attempt.stage.job)
        self.state.touch_worker(worker)

    def _lose_worker(
        self, worker: Worker, reason: str, event: ev.Event, effects: list[Effect]
    ) -> None:
        if worker.state is WorkerState.DOWN:
            return
        self.state.pool.take_down(worker, event, self.state.now)
        self._take_from(worker, reason, event, effects)

    def _take_from(
        self, worker: Worker, reason: str, event: ev.Event, effects: list[Effect]
    ) -> None:
        """What the Down worker had is to be done by others."""
        identity = worker.identity
        self._record(
            WorkerLost(identity.worker_id, identity.name, reason, event.at_unix_s), effects
        )
        # losing one attempt may end its job, and with it other attempts of this worker
        why = f"{identity.name} was lost: {reason}"
        while worker.attempts:
            self._attempts.lose(next(iter(worker.attempts.values())), why, event, effects)
        while worker.committing:
            attempt = worker.committing.pop(next(iter(worker.committing)))
            self._attempts.lose_accepted(attempt, why, event, effects)
        if worker.is_driver:
            self._attempts.lose_application(identity.worker_id, (), why, event, effects)
        self._endings.sweep(worker, effects)
        self.state.touch_worker(worker)

    def _tick(self, event: ev.ClockTicked, now: float, effects: list[Effect]) -> None:
        timeout_s = self.limits.heartbeat_timeout_s
        # a suspended machine, or a stopped master, is no reason to declare everybody lost
        gap_s = max(timeout_s / 2, CLOCK_GAP_S_MIN)
        is_gap = self._last_tick is not None and now - self._last_tick > gap_s
        self._last_tick = now
        for worker in self.state.pool.workers.values():
            if worker.state is WorkerState.DOWN:
                self._await(worker, is_gap, event, now, effects)
            elif is_gap:
                self.state.pool.restart_deadlines(worker, now)
            elif now - worker.last_heartbeat > timeout_s:
                self._lose_worker(worker, f"no heartbeat for {timeout_s:g} s", event, effects)
                if worker.is_pushed:
                    effects.append(CloseSession(worker.identity.worker_id, worker.session))
            elif not worker.is_pushed:
                self._time_out_foreign(worker, event, now, effects)
        self._give_up_disks(is_gap, event, now, effects)
        for job in list(self.state.jobs.values()):
            limit_s = job.request.timeout_s
            if limit_s is not None and now - job.submitted_at > limit_s:
                message = f"timed out: it ran longer than timeout_s = {limit_s:g}"
                self._endings.end(job, JobState.FAILED, message, event, effects)

    def _await(
        self, worker: Worker, is_gap: bool, event: ev.Event, now: float, effects: list[Effect]
    ) -> None:
        """A worker that an earlier master knew has so long to come back."""
        if worker.expected_until is None:
            return
        if is_gap:
            worker.expected_until = now + self.limits.heartbeat_timeout_s
        elif now > worker.expected_until:
            worker.expected_until = None
            self._take_from(
                worker, "it did not come back after the master restarted", event, effects
            )

    def _give_up_disks(
        self, is_gap: bool, event: ev.Event, now: float, effects: list[Effect]
    ) -> None:
        """Outputs that nobody can read for so long are made again, where somebody can: readers
        elsewhere shall not run into them first.
        """
        disks = self.state.pool.disks
        for disk, use in list(disks.items()):
            if use.left_at is None:
                continue
            if is_gap:
                use.left_at = now
            elif (
                now - use.left_at > self.limits.heartbeat_timeout_s and self.state.pool.slots_total
            ):
                del disks[disk]
                self._attempts.lose_outputs(disk, event, effects)

    def _time_out_foreign(
        self, worker: Worker, event: ev.ClockTicked, now: float, effects: list[Effect]
    ) -> None:
        # our own agents stop a task themselves; nobody stops a foreign worker's
        for attempt in list(worker.attempts.values()):
            is_live = attempt.id in worker.attempts
            if is_live and now - attempt.assigned_at > self.limits.task_timeout_s:
                error = f"took longer than {self.limits.task_timeout_s:g} s"
                self._attempts.fail(attempt, "timeout", error, now, event, effects)

    # --- journal ---------------------------------------------------------------------------------

    def _record(self, fact: Fact, effects: list[Effect]) -> None:
        effects.append(AppendJournal(fact))
