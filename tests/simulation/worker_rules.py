"""What must never happen to workers: declared lost while they live, given more than their share,
left with work or files that nobody wants.

Each message is the rule. Must not know the core's state.
"""

from __future__ import annotations

from minispark.model import effects as fx
from minispark.model import events as ev
from minispark.model.states import AttemptState, Cause, WorkerKind
from minispark.scheduling.limits import (
    AVOID_S,
    QUICK_COMPLETED_MIN,
    QUICK_PREFETCH,
    QUICK_S_MAX,
    Limits,
)
from tests.simulation.cache_rules import CacheRules
from tests.simulation.ledger import Ledger, Task, task_of

CLOCK_GAP_S_MIN = 1.0


class WorkerRules:
    """Checked at every fact, before the ledger takes it in, and at the end of every turn."""

    def __init__(self, ledger: Ledger, limits: Limits, caches: CacheRules) -> None:
        self._ledger, self._limits, self._caches = ledger, limits, caches
        self._event: ev.Event | None = None
        self._now = 0.0
        self._sessions: dict[str, int] = {}
        self._heard_at: dict[str, float] = {}
        """When each worker was heard of last."""
        self._patience_from = 0.0
        """The present master's start, or the last gap of its clock: silence counts from then."""
        self._last_tick: float | None = None
        self.is_gap = False
        """This turn is a tick that comes so late that all deadlines begin anew."""
        self._draining: dict[str, None] = {}
        self._started: dict[str, None] = {}
        self._begun_at: dict[str, float] = {}
        """When the present master first heard that the attempt runs."""
        self._durations: dict[tuple[str, int], list[float]] = {}
        """Of accepted attempts of each stage, as the present master saw them."""
        self._failed_at: dict[Task, float] = {}
        self._told: dict[tuple[str, str], None] = {}
        """(worker, attempt) that this turn tells to stop."""
        self._to_tell: dict[tuple[str, str], None] = {}
        self._to_close: dict[str, None] = {}
        self._committing: dict[str, None] = {}
        """Attempts that this turn orders to be committed."""
        self._forgotten: tuple[str, ...] | None = None

    def master_began(self, now: float) -> None:
        self._sessions, self._draining = {}, {}
        self._patience_from, self._last_tick = now, None
        self._begun_at, self._durations = {}, {}

    # --- events --------------------------------------------------------------------------------

    def begin_turn(self, event: ev.Event | None, now: float) -> None:
        self._event, self._now = event, now
        self._told, self._to_tell, self._to_close = {}, {}, {}
        self._committing, self._forgotten, self.is_gap = {}, None, False
        match event:
            case ev.WorkerRegistered(worker, session):
                self._sessions[worker.worker_id] = session
                self._heard_at[worker.worker_id] = now
                self._draining.pop(worker.worker_id, None)
            case ev.HeartbeatReceived(worker_id):
                self._heard_at[worker_id] = now
            case ev.WorkerDraining(worker_id):
                if worker_id in self._ledger.up:
                    self._draining[worker_id] = None
            case ev.AttemptStarted(attempt_id=attempt_id):
                self._started[attempt_id] = None
                self._begun_at.setdefault(attempt_id, now)
            case ev.ClockTicked():
                gap_s = max(self._limits.heartbeat_timeout_s / 2, CLOCK_GAP_S_MIN)
                self.is_gap = self._last_tick is not None and now - self._last_tick > gap_s
                if self.is_gap:
                    self._patience_from = now
                self._last_tick = now
            case _:
                pass

    def end_turn(self) -> None:
        untold = [one for one in self._to_tell if one not in self._told]
        assert not untold, f"cancelled, and the worker was not told: {untold}"
        assert not self._to_close, f"lost in silence, and not disconnected: {list(self._to_close)}"
        match self._event:
            case ev.WorkerDraining(worker_id) if worker_id in self._draining:
                held = self._ledger.loads.get(worker_id, {})
                queued = [attempt_id for attempt_id in held if attempt_id not in self._started]
                assert not queued, f"a draining worker keeps what it only queued: {queued}"
            case ev.WorkerRegistered(worker) as event if worker.kind is not WorkerKind.HTTP:
                self._check_forgotten(event)
                owed = [
                    attempt_id
                    for attempt_id, owner in self._ledger.uncommitted.items()
                    if owner == worker.worker_id and attempt_id not in self._committing
                ]
                assert not owed, f"{worker.name} came back, and is not told to commit {owed}"
            case ev.ClockTicked():
                self._check_foreign_limits()
            case _:
                pass

    def _check_foreign_limits(self) -> None:
        """Nobody but the master stops a foreign worker's task."""
        ledger, now = self._ledger, self._now
        for worker_id in ledger.foreign:
            for attempt_id in ledger.loads[worker_id]:
                since = max(ledger.assigned_at[attempt_id], self._patience_from)
                is_late = now - since > self._limits.task_timeout_s
                assert not is_late, f"{attempt_id} takes longer than a task may, and goes on"

    def _check_forgotten(self, event: ev.WorkerRegistered) -> None:
        ledger, worker_id = self._ledger, event.worker.worker_id
        assert self._forgotten is not None, f"{event.worker.name} registered, and got no answer"
        held = ledger.loads.get(worker_id, {})
        wanted = [i for i in event.running if i in held or self._ledger.is_needed(i)]
        kept = [i for i in event.running if i not in self._forgotten]
        assert kept == wanted, f"{event.worker.name} goes on with {kept}; wanted is {wanted}"

    # --- facts ---------------------------------------------------------------------------------

    def see_fact(self, fact: fx.Fact | fx.ForgetJob) -> None:
        match fact:
            case fx.WorkerLost():
                self._see_lost(fact)
            case fx.AttemptMoved(state=AttemptState.ASSIGNED):
                self._see_assigned(fact)
            case fx.AttemptMoved(state=AttemptState.RUNNING):
                said = f"{task_of(fact)} attempt {fact.attempt} runs, and its worker never said so"
                assert fact.attempt_id in self._started, said
            case fx.AttemptMoved():
                self._see_ended(fact)
            case _:
                pass

    def _see_lost(self, fact: fx.WorkerLost) -> None:
        event, worker_id = self._event, fact.worker_id
        if isinstance(event, ev.WorkerDisconnected):
            current = self._sessions.get(worker_id)
            said = f"{fact.name} is lost by the end of session {event.session}; it has {current}"
            assert event.session == current, said
            return
        heard_at = self._heard_at.get(worker_id, 0.0) if worker_id in self._ledger.up else 0.0
        silent_s = self._now - max(heard_at, self._patience_from)
        said = f"{fact.name} is lost after {silent_s:g} s without a sign: {fact.reason}"
        assert silent_s > self._limits.heartbeat_timeout_s, said
        if worker_id in self._ledger.up and self._ledger.is_ours(worker_id):
            self._to_close[worker_id] = None

    def _see_assigned(self, fact: fx.AttemptMoved) -> None:
        ledger, worker_id = self._ledger, fact.worker_id
        who = ledger.workers[worker_id]
        load = len(ledger.loads[worker_id])
        if who.kind is WorkerKind.HTTP:
            return
        assert worker_id in ledger.up, f"{who.name} is Down and gets a task"
        assert worker_id not in self._draining, f"{who.name} drains and gets a task"
        if who.kind is WorkerKind.SPARK:
            return  # it gets all at once
        task = task_of(fact)
        extra = 2 * who.slots if self._limits.prefetch is None else self._limits.prefetch
        if self._limits.prefetch is None and self._is_quick(task):
            extra = QUICK_PREFETCH
        assert load < who.slots + extra, f"{who.name} holds {load} and gets another task"
        is_avoiding = self._now - self._failed_at.get(task, -AVOID_S) < AVOID_S
        if is_avoiding or ledger.live_of.get(task):
            return  # it goes where it is not, whatever the loads
        if self._caches.is_sent_to_cache(fact.attempt_id):
            return  # it goes where its records are
        free = [n for n in map(self._free_load, ledger.up) if n is not None]
        if load >= who.slots:
            is_at_home = self._caches.is_kept_by(worker_id, task)
            said = f"{who.name} queues a task while others have free slots"
            assert is_at_home or not free, said
            return
        excess = load - min(free)
        said = f"{who.name} has {excess} more than the least loaded worker and gets a task"
        assert excess <= self._limits.max_load_diff, said

    def _is_quick(self, task: Task) -> bool:
        """Whether half of the task's stage took no time: starts and ends came in one batch."""
        durations = sorted(self._durations.get(task[:2], []))
        stage = [one for one in self._ledger.accepted if one[:2] == task[:2]]
        is_known = bool(durations) and len(stage) >= QUICK_COMPLETED_MIN
        return is_known and durations[len(durations) // 2] <= QUICK_S_MAX

    def _free_load(self, worker_id: str) -> int | None:
        """How much the worker holds, if it has a free slot."""
        who = self._ledger.workers[worker_id]
        load = len(self._ledger.loads[worker_id])
        is_counted = who.kind is WorkerKind.SOCKET and worker_id not in self._draining
        return load if is_counted and load < who.slots else None

    def _see_ended(self, fact: fx.AttemptMoved) -> None:
        if fact.state is AttemptState.CANCELLED:
            is_there = fact.worker_id in self._ledger.up and self._ledger.is_ours(fact.worker_id)
            if is_there and fact.cause is not Cause.CACHE:  # which the worker itself said
                self._to_tell[fact.worker_id, fact.attempt_id] = None
        elif fact.state is AttemptState.SUCCEEDED and not fact.is_committed:
            begun = self._begun_at.get(fact.attempt_id, self._now)
            if not self._ledger.is_ours(fact.worker_id):
                begun = self._ledger.assigned_at[fact.attempt_id]
            self._durations.setdefault(task_of(fact)[:2], []).append(self._now - begun)
        elif fact.state is not AttemptState.SUCCEEDED:
            self._failed_at[task_of(fact)] = self._now

    # --- what workers are told -----------------------------------------------------------------

    def see(self, effect: fx.Effect) -> None:
        match effect:
            case fx.CancelAttempts(worker_id, attempt_ids):
                self._told.update(dict.fromkeys((worker_id, i) for i in attempt_ids))
                self._check_unneeded(attempt_ids)
            case fx.DropOutputs(_, attempt_ids):
                self._check_unneeded(attempt_ids)
            case fx.AcceptWorker(_, _, forget):
                self._forgotten = forget
                self._check_unneeded(forget)
            case fx.CloseSession(worker_id):
                self._to_close.pop(worker_id, None)
            case fx.CommitOutput(_, attempt_id):
                assert self._ledger.is_needed(attempt_id), (
                    f"{attempt_id} is committed, and not accepted"
                )
                self._committing[attempt_id] = None
            case _:
                pass

    def _check_unneeded(self, attempt_ids: tuple[str, ...]) -> None:
        """What is deleted is neither being made nor going to be read."""
        for attempt_id in attempt_ids:
            is_live = attempt_id in self._ledger.live
            is_needed = is_live or self._ledger.is_needed(attempt_id)
            assert not is_needed, f"the files of {attempt_id} are deleted, and are needed"
