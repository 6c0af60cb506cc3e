"""What must never happen to attempts that begin before all that they read is made: wait for what
nobody makes, or for what they are not told, or in the place of somebody else.

Each message is the rule. Must not know how the core keeps them.
"""

from __future__ import annotations

from minispark.model import effects as fx
from minispark.model import events as ev
from minispark.model.plan import MadeOutput, TaskOrder
from minispark.model.states import AttemptState, Cause
from tests.simulation.ledger import Ledger, Task, task_of


class EarlyRules:
    """Checked at every launch and every message, and at the end of every turn."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._event: ev.Event | None = None
        self.waiting: dict[str, dict[Task, None]] = {}
        """Of live attempts that the present master launched early: what they were not told of."""
        self.begun = 0
        self.given_way = 0

    def master_began(self) -> None:
        """It cancels those of the one before it when their workers come."""
        self.waiting = {}

    def begin_turn(self, event: ev.Event | None) -> None:
        self._event = event

    def see_fact(self, fact: fx.Fact | fx.ForgetJob) -> None:
        if not isinstance(fact, fx.AttemptMoved):
            return
        task = task_of(fact)
        if fact.state is AttemptState.RUNNING:
            return
        if fact.state is AttemptState.ASSIGNED:
            first = [i for i in self._ledger.live_of.get(task, {}) if i in self.waiting]
            assert not first, f"{first} of {task} is copied while it waits"
            return
        is_waiting = self.waiting.pop(fact.attempt_id, None) is not None
        self.given_way += fact.cause is Cause.ROOM
        if is_waiting and fact.cause is Cause.WORKER:
            is_there = fact.worker_id in self._ledger.up
            is_back = isinstance(self._event, ev.WorkerRegistered)
            assert is_back or not is_there, f"{task} lost its worker, which is Up"

    def see(self, effect: fx.Effect, empty: dict[str, None]) -> None:
        """`empty`: attempts whose output has no records."""
        match effect:
            case fx.LaunchAttempts(_, orders):
                for order in orders:
                    self._see_order(order)
            case fx.TellOutputs(_, attempt_ids, outputs):
                for attempt_id in attempt_ids:
                    for made in outputs:
                        self._see_told(attempt_id, made, empty)
            case _:
                pass

    def _see_order(self, order: TaskOrder) -> None:
        if not order.awaited:
            return
        ledger, waiting = self._ledger, {}
        for index, partition in order.awaited:
            task = (order.job_id, index, partition)
            makers = [i for i in ledger.live_of.get(task, {}) if i not in self.waiting]
            assert makers or task in ledger.accepted, f"{order} begins early; nobody makes {task}"
            waiting[task] = None
        self.waiting[order.attempt_id] = waiting
        self.begun += 1

    def _see_told(self, attempt_id: str, made: MadeOutput, empty: dict[str, None]) -> None:
        fact = self._ledger.live.get(attempt_id)
        assert fact is not None, f"{attempt_id} is told of {made}, and is not live"
        task = (fact.job_id, made.stage_index, made.partition)
        waiting = self.waiting.get(attempt_id, {})
        assert task in waiting, f"{attempt_id} is told of {made}, for which it does not wait"
        assert self._ledger.is_readable(task), f"{attempt_id} is told of {made} too early"
        accepted = self._ledger.accepted[task].attempt_id
        told = made.place.attempt_id if made.place is not None else None
        wanted = None if accepted in empty else accepted
        assert told == wanted, f"{attempt_id} is told of {made}; accepted is {accepted}"
        del waiting[task]
        if not waiting:
            del self.waiting[attempt_id]

    def end_turn(self) -> None:
        for attempt_id, awaited in self.waiting.items():
            made = [task for task in awaited if self._ledger.is_readable(task)]
            assert not made, f"{attempt_id} waits for {made}, and is not told"
        if isinstance(self._event, ev.WorkerDraining):
            held = self._ledger.loads.get(self._event.worker_id, {})
            kept = [i for i in held if i in self.waiting]
            assert not kept, f"a draining worker keeps {kept}, which only wait"
        if isinstance(self._event, ev.WorkerRegistered):
            left = [i for i in self._event.waiting if i in self._ledger.live]
            assert not left, f"{left} wait on for what they may have been told before"
