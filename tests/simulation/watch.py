"""Sees every event, every durable fact and every effect in order, and knows what must never happen.

The rules stand in the modules `*_rules.py`. Must not know how the simulated processes come to do
what they do.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from minispark.model import effects as fx
from minispark.model import events as ev
from minispark.model.states import JobState, WorkerKind
from tests.simulation.cache_rules import CacheRules
from tests.simulation.count_rules import CountRules
from tests.simulation.driven_rules import DrivenRules
from tests.simulation.driver import SimulatedDriver
from tests.simulation.early_rules import EarlyRules
from tests.simulation.ledger import Ledger
from tests.simulation.place_rules import PlaceRules
from tests.simulation.task_rules import TaskRules
from tests.simulation.waiting_rules import WaitingRules
from tests.simulation.worker_rules import WorkerRules

if TYPE_CHECKING:
    from tests.simulation.simulator import Simulation


class Watch:
    """The ledger, and the rules that are checked against it.

    A turn is one event that the core takes in, and what it asks for; the last one of a batch has
    the launches of all. None for what a master asks for when it starts.
    """

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation
        self.ledger = Ledger()
        self.tasks = TaskRules(self.ledger, simulation.limits)
        self.caches = CacheRules(simulation, self.ledger)
        self.workers = WorkerRules(self.ledger, simulation.limits, self.caches)
        self.places = PlaceRules(simulation, self.ledger)
        self.early = EarlyRules(self.ledger)
        self.waiting = WaitingRules(self.ledger, self.early, self.caches)
        self.driven = DrivenRules(self.ledger, self.tasks)
        self.counts = CountRules()
        self._event: ev.Event | None = None
        self.now = 0.0
        self._kept: dict[str, None] = {}
        """What a worker that drains in this turn runs, and said so."""
        self._durable: deque[fx.Fact | fx.ForgetJob] = deque()
        """Written, and not carried out yet."""

    def master_began(self) -> None:
        self.now = self._simulation.now
        self.ledger.master_began()
        self.tasks.master_began(self.now)
        self.workers.master_began(self.now)
        self.places.master_began()
        self.early.master_began()
        self.caches.master_began()
        self.waiting.master_began()
        self.driven.master_began()
        self.counts.master_began()

    def begin_turn(self, event: ev.Event | None, now: float) -> None:
        """`now`: when the core took it in, which is earlier than this while a batch was held."""
        self._event, self.now = event, now
        self._kept = {}
        if isinstance(event, ev.WorkerDraining):
            worker = self._simulation.workers[event.worker_id]
            running = (i for i in worker.running if i in worker.said)
            self._kept = dict.fromkeys(i for i in running if i not in self.early.waiting)
        self.tasks.begin_turn(event, self.now)
        self.workers.begin_turn(event, self.now)
        self.places.begin_turn(event)
        if self.workers.is_gap:
            self.places.see_gap()
        self.early.begin_turn(event)
        self.waiting.begin_turn(event)
        self.driven.begin_turn(event, self.now)

    def written(self, facts: list[fx.Fact | fx.ForgetJob]) -> None:
        """They are durable."""
        self._durable.extend(facts)

    def master_died(self, turns: list[tuple[ev.Event | None, list[fx.Effect]]], now: float) -> None:
        """Nothing of these turns is carried out; what is durable stays so."""
        for event, effects in turns:
            self.begin_turn(event, now)
            for _ in filter(_fact_of, effects):
                self._see_fact(self._durable.popleft())

    def see(self, effect: fx.Effect) -> None:
        """It is about to be carried out."""
        fact = _fact_of(effect)
        if fact is not None:
            is_durable = bool(self._durable) and self._durable[0] is fact
            assert is_durable, f"{fact} is carried out, and is not durable"
            self._see_fact(self._durable.popleft())
            return
        if isinstance(effect, fx.CancelAttempts):
            told = [i for i in effect.attempt_ids if i in self._kept]
            assert not told, f"{told} were running when their worker was to end what it runs"
        self.driven.see(effect)
        self.tasks.see(effect)
        self.workers.see(effect)
        self.places.see(effect)
        self.early.see(effect, self.places.empty)
        self.caches.see(effect)

    def _see_fact(self, fact: fx.Fact | fx.ForgetJob) -> None:
        self.driven.see_fact(fact)
        self.tasks.see_fact(fact)
        self.workers.see_fact(fact)
        self.early.see_fact(fact)
        self.caches.see_fact(fact)
        self.ledger.see(fact, self.now)
        self.places.see_fact(fact)
        self.waiting.see_fact(fact, self.now)
        self.counts.see_fact(fact)

    def end_turn(self) -> None:
        self.tasks.end_turn()
        self.workers.end_turn()
        self.places.end_turn(self._event)
        self.early.end_turn()
        self.waiting.end_turn(self._event, self.now)
        self.driven.end_turn()

    def begin_batch(self, effects: list[fx.Effect]) -> None:
        """What all its events led to, before any of that is seen."""
        self.caches.begin_batch(effects)

    def end_batch(self) -> None:
        """What the core counts, it counts for a batch."""
        self.counts.end_batch(self._simulation.core)

    # --- when all is over ------------------------------------------------------------------------

    def check_end(self) -> None:
        """Every acknowledged job ended; the journal says the same of it as the last snapshot."""
        snapshot = self._simulation.core.snapshot()
        for job_id in self._simulation.job_ids:
            state = self.ledger.job_states.get(job_id)
            assert state is not None, f"job {job_id} was acknowledged, and is unknown"
            assert state.is_terminal
            view = snapshot.jobs.get(job_id)  # None: it ended under an earlier master
            assert view is None or state is view.state
            if state is JobState.SUCCEEDED:
                assert view is None or view.progress == 100.0
        assert all(worker.load == 0 for worker in snapshot.workers.values())
        assert snapshot.driver is None or snapshot.driver.load == 0
        self._check_history()

    def _check_history(self) -> None:
        """Of ended jobs. A simulated master is not told of those of an earlier one."""
        ended = [i for i, state in self.ledger.job_states.items() if state.is_terminal]
        kept = sum(job_id not in self.ledger.forgotten for job_id in ended)
        most = self._simulation.limits.jobs_kept_max
        assert kept <= most or self._simulation.master.kills, f"{kept} ended jobs are kept"

    def check_disks(self) -> None:
        """Every fault is over, and so is every job: nothing of them is left on a disk that somebody
        can reach.
        """
        workers = self._simulation.workers.values()
        hosts = {w.host for w in workers if w.is_alive and w.kind is WorkerKind.SOCKET}
        left = {w.name: list(w.directories) for w in workers if w.host in hosts and w.directories}
        assert not left, f"directories of attempts are left: {left}"
        tables = {w.name: list(w.tables) for w in workers if w.is_alive and w.tables}
        assert not tables, f"locations of outputs are left: {tables}"
        at_work = {w.name: list(w.running) for w in workers if w.is_alive and w.running}
        ours = {w.name for w in workers if w.kind is WorkerKind.SOCKET}
        busy = {name: held for name, held in at_work.items() if name in ours}
        assert not busy, f"workers go on with what nobody waits for: {busy}"
        driven = [w for w in workers if isinstance(w, SimulatedDriver) and w.is_alive]
        jobs = [job for driver in driven for job in driver.jobs.values()]
        kept = [job.job_id for job in jobs if job.waiting or job.kept or job.run]
        assert not kept, f"the driver keeps what nobody reads, of {kept}"


def _fact_of(effect: fx.Effect) -> fx.Fact | fx.ForgetJob | None:
    match effect:
        case fx.AppendJournal(fact):
            return fact
        case fx.ForgetJob():
            return effect
        case _:
            return None
