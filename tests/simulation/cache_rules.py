"""What must never happen to tasks whose input was skipped, as a cache has what they would make of
it: sent to anybody else, told the wrong thing, or sent so again once they missed.

Each message is the rule. Must not know how the core keeps sites.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from minispark.model import effects as fx
from minispark.model.plan import TaskOrder
from minispark.model.states import AttemptState, Cause
from tests.simulation.ledger import Ledger, Task, task_of

if TYPE_CHECKING:
    from tests.simulation.simulator import Simulation


class CacheRules:
    """Checked at every fact and every launch. Which stages are skipped is the core's to say."""

    def __init__(self, simulation: Simulation, ledger: Ledger) -> None:
        self._simulation, self._ledger = simulation, ledger
        self._sites: dict[str, str] = {}
        """As the present master may know them: who was accepted last under a key."""
        self._expecting: dict[str, None] = {}
        """Live attempts that the present master launched so."""
        self._sent_to_caches: dict[str, None] = {}
        """Attempts of this batch that are told of skipped stages. One that was placed later may
        have opened these, so the core's state does not say it any more.
        """
        self._missed: dict[Task, None] = {}
        self.expected = 0
        self.missed = 0

    def master_began(self) -> None:
        self._sites, self._expecting = {}, {}

    def begin_batch(self, effects: list[fx.Effect]) -> None:
        launches = [effect for effect in effects if isinstance(effect, fx.LaunchAttempts)]
        orders = [order for launch in launches for order in launch.orders if order.unmade]
        self._sent_to_caches = dict.fromkeys(order.attempt_id for order in orders)

    def is_sent_to_cache(self, attempt_id: str) -> bool:
        """Whether the attempt, which this batch places, is to find something in a cache."""
        return attempt_id in self._sent_to_caches

    def is_skipped(self, task: Task) -> bool:
        job_id, index, _ = task
        job = self._simulation.core.state.jobs.get(job_id)
        return job is not None and job.stages[index].is_skipped

    def is_expecting(self, task: Task) -> bool:
        """Whether something that it would read is skipped."""
        return any(map(self.is_skipped, self._ledger.inputs_of(task)))

    def is_kept_by(self, worker_id: str, task: Task) -> bool:
        """Whether the worker has something in its cache that the task would make."""
        return any(self._sites.get(key) == worker_id for key in self._ledger.caches_of(task))

    def homes_of(self, task: Task, skipped: Iterable[int]) -> list[str]:
        """The workers that have what saves the task from reading all these stages."""
        wanted = set(skipped)
        keys = [k for k, saved in self._ledger.caches_of(task).items() if wanted.issubset(saved)]
        return [self._sites[key] for key in keys if key in self._sites]

    def see_fact(self, fact: fx.Fact | fx.ForgetJob) -> None:
        if not isinstance(fact, fx.AttemptMoved):
            return
        task = task_of(fact)
        if fact.state is AttemptState.RUNNING:
            return
        if fact.state is AttemptState.ASSIGNED:
            beside = [i for i in self._ledger.live_of.get(task, {}) if i in self._expecting]
            is_lone = not beside or not self.is_expecting(task)
            assert is_lone, f"{beside} of {task} is copied, and its input is skipped"
            return
        self._expecting.pop(fact.attempt_id, None)
        if fact.cause is Cause.CACHE:
            assert task not in self._missed, f"{task} missed what it expected a second time"
            self._missed[task] = None
            self.missed += 1
        for key in self._ledger.caches_of(task):
            if fact.cause is Cause.CACHE and self._sites.get(key) == fact.worker_id:
                del self._sites[key]
            elif fact.state is AttemptState.SUCCEEDED and not fact.is_committed:
                self._sites[key] = fact.worker_id

    def see(self, effect: fx.Effect) -> None:
        if isinstance(effect, fx.LaunchAttempts):
            for order in effect.orders:
                if order.unmade:
                    self._see_order(order, effect.worker_id)

    def _see_order(self, order: TaskOrder, worker_id: str) -> None:
        task = (order.job_id, order.stage_index, order.partition)
        assert task not in self._missed, f"{task} is sent to a cache again, where it missed"
        inputs = self._ledger.inputs_of(task)
        for index in order.unmade:
            made = [t for t in inputs if t[1] == index and self._ledger.is_readable(t)]
            assert not made, f"{order} is told that {made} are not made"
        saving = [k for k, s in self._ledger.caches_of(task).items() if set(order.unmade) <= set(s)]
        homes = [self._sites.get(key) for key in saving]
        assert worker_id in homes, f"{order} is sent to {worker_id}; its records are at {homes}"
        self._expecting[order.attempt_id] = None
        self.expected += 1
