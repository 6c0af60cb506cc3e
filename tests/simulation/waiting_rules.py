"""What must never happen to tasks that nobody works on: wait while they could run.

Each message is the rule. Must not know how a task's attempts end.
"""

from __future__ import annotations

from minispark.model import effects as fx
from minispark.model import events as ev
from minispark.model.states import AttemptState, WorkerKind
from minispark.scheduling.limits import AVOID_S
from tests.simulation.cache_rules import CacheRules
from tests.simulation.early_rules import EarlyRules
from tests.simulation.ledger import LIVE, Ledger, Task, task_of


class WaitingRules:
    """Checked at every tick, when all that it asks for is done."""

    def __init__(self, ledger: Ledger, early: EarlyRules, caches: CacheRules) -> None:
        self._ledger, self._early, self._caches = ledger, early, caches
        self._draining: dict[str, None] = {}
        self._failed_at: dict[Task, float] = {}
        """A task that failed waits, and avoids a worker after that."""

    def master_began(self) -> None:
        self._draining = {}

    def begin_turn(self, event: ev.Event | None) -> None:
        match event:
            case ev.WorkerRegistered(worker):
                self._draining.pop(worker.worker_id, None)
            case ev.WorkerDraining(worker_id):
                self._draining[worker_id] = None
            case _:
                pass

    def see_fact(self, fact: fx.Fact | fx.ForgetJob, now: float) -> None:
        if isinstance(fact, fx.AttemptMoved) and fact.state is AttemptState.FAILED:
            self._failed_at[task_of(fact)] = now
        elif isinstance(fact, fx.AttemptMoved) and fact.state not in LIVE and fact.error:
            self._failed_at[task_of(fact)] = now  # a commit that was refused fails its task too

    def end_turn(self, event: ev.Event | None, now: float) -> None:
        if not isinstance(event, ev.ClockTicked) or not any(map(self._has_room, self._ledger.up)):
            return
        idle = [task for task in self._tasks() if self._is_idle(task, now)]
        waiting = [task for task in idle if self._can_run(task)]
        assert not waiting, f"{waiting} can run, and wait while slots are free"
        for task in idle:
            self._check_expecting(task)

    def _has_room(self, worker_id: str) -> bool:
        """Whether a slot is free, or would be if those that only wait gave way."""
        who = self._ledger.workers[worker_id]
        is_pushed = who.kind is WorkerKind.SOCKET and worker_id not in self._draining
        load = sum(i not in self._early.waiting for i in self._ledger.loads[worker_id])
        return is_pushed and load < who.slots

    def _tasks(self) -> list[Task]:
        """Those of workers."""
        ledger = self._ledger
        return [
            task
            for job_id in ledger.stages
            if ledger.is_running(job_id) and not ledger.is_driven(job_id)
            for task in ledger.tasks_of(job_id)
        ]

    def _is_idle(self, task: Task, now: float) -> bool:
        """Whether nobody works on it, nor should wait before they do; it is not skipped."""
        if task in self._ledger.accepted or self._ledger.live_of.get(task):
            return False
        is_delayed = now - self._failed_at.get(task, -AVOID_S) <= AVOID_S
        return not is_delayed and not self._caches.is_skipped(task)

    def _can_run(self, task: Task) -> bool:
        return all(map(self._ledger.is_readable, self._ledger.inputs_of(task)))

    def _check_expecting(self, task: Task) -> None:
        """It waits for what somebody makes, or for room where its records are cached."""
        inputs = self._ledger.inputs_of(task)
        skipped = [other for other in inputs if self._caches.is_skipped(other)]
        made = [other for other in inputs if other not in skipped]
        if not skipped or not all(map(self._ledger.is_readable, made)):
            return
        homes = self._caches.homes_of(task, dict.fromkeys(index for _, index, _ in skipped))
        there = [home for home in homes if home in self._ledger.up and home not in self._draining]
        assert there, f"{task} waits for what nobody makes, and {homes} cannot take it"
        roomy = list(filter(self._has_room, there))
        assert not roomy, f"{task} waits, and {roomy} have its records and room"
