"""Drives the real scheduling core in virtual time, with seeded workers, networks and faults.

One heap of things that will happen; the core's effects add to it. After every event the invariants
are checked, and safety rules that need to remember the past: see `Watch`. The same seed gives the
same run.
"""

from __future__ import annotations

import heapq
import random
import uuid
from collections.abc import Callable

from minispark.master.loop import Reply
from minispark.model import events as ev
from minispark.model.job import Engine, PlanKind
from minispark.model.plan import PhysicalPlan
from minispark.model.states import WorkerKind
from minispark.scheduling.core import SchedulingCore
from minispark.scheduling.limits import Limits
from tests.simulation.driver import Driving, SimulatedDriver
from tests.simulation.faults import Faults
from tests.simulation.foreign import ForeignTasks
from tests.simulation.journal import Journal
from tests.simulation.master import SimulatedMaster
from tests.simulation.mishaps import Mishaps
from tests.simulation.plans import random_plan, request
from tests.simulation.sessions import Sessions
from tests.simulation.tasks import Tasks
from tests.simulation.watch import Watch
from tests.simulation.worker import SimulatedWorker

TICK_S = 0.25
SUBMITTED_S = 25.0
"""Jobs are submitted until then."""
FAULTS_END_S = 60.0
"""Faults stop then; from then on every job must end."""
WORK_S = 540.0
"""What was submitted takes at most so long on one undisturbed slot of full speed."""
SETTLE_S = 15.0
"""So long after the last fault every worker is back, and every message has arrived."""


class Simulation:
    """One seeded run."""

    def __init__(
        self,
        seed: int,
        *,
        workers: int = 3,
        jobs: int = 4,
        faults: Faults | None = None,
        log: Callable[[str], None] | None = None,
        is_checked: bool = True,
        spark: float | None = None,
    ) -> None:
        """`spark`: the share of jobs that Spark runs; drawn, where nobody says it."""
        self.rng = random.Random(seed)
        self.faults = Faults() if faults is None else faults
        self.log = log
        self.is_checked = is_checked
        self.now = 0.0
        self.limits = Limits(
            heartbeat_timeout_s=3.0,
            task_timeout_s=self.rng.choice([5.0, 30.0]),
            task_retries_max=self.rng.choice([2, 50, 50]),
            worker_losses_max=self.rng.choice([3, 200, 200]),
            max_load_diff=self.rng.randint(0, 3),
            prefetch=self.rng.choice([None, 0, 3]),
            jobs_kept_max=self.rng.choice([2, 100]),
        )
        self.hosts = self.rng.choice([1, 1, 2, 3])
        self._spark_share = self.rng.choice([0.0, 0.2, 0.5]) if spark is None else spark
        self.foreign_share = self.rng.choice([0.1, 0.3, 0.6])
        self.is_short_circuit = self.rng.random() < 0.7
        self.has_fixed_ports = self.rng.random() < 0.5
        self._faults_end_s = FAULTS_END_S
        self.journal = Journal()
        self.watch = Watch(self)
        self.master = SimulatedMaster(self)
        self.sessions = Sessions(self)
        self.tasks = Tasks(self)
        self.foreign = ForeignTasks(self)
        self.mishaps = Mishaps(self)
        self.transcript: list[str] = []
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._order = 0
        self.workers = {
            worker.worker_id: worker for worker in (self._new_worker(i) for i in range(workers))
        }
        driver = SimulatedDriver("spark-driver", self._uuid(), slots=0, speed=1.0, host="host0")
        self.driving = Driving(self, driver)
        self.job_ids: list[str] = []
        self.master.begin()
        self._plans: list[PhysicalPlan] = []
        """Of the jobs so far: others like them find what they cached."""
        for _ in range(jobs):
            self.at(self.rng.uniform(0, SUBMITTED_S), self._submit)
        for worker in self.workers.values():
            self.at(self.rng.uniform(0, 1), lambda worker=worker: self.sessions.start(worker))
            self.mishaps.plan(worker)
        self.workers[driver.worker_id] = driver
        self.mishaps.plan(driver)
        self.at(0.0, self._tick)

    def _new_worker(self, index: int) -> SimulatedWorker:
        is_foreign = index > 0 and self.rng.random() < self.foreign_share
        return SimulatedWorker(
            name=f"w{index}",
            worker_id=self._uuid(),
            slots=self.rng.randint(1, 3),
            speed=self.rng.choice([1.0, 1.0, 1.0, 0.1]) if self.faults.crash_every_s else 1.0,
            host=f"host{index % self.hosts}",
            kind=WorkerKind.HTTP if is_foreign and self.faults.fail else WorkerKind.SOCKET,
        )

    @property
    def core(self) -> SchedulingCore:
        """Of the present master, or of the one that was killed last."""
        return self.master.core

    def _uuid(self) -> str:
        return str(uuid.UUID(int=self.rng.getrandbits(128), version=4))

    def at(self, when: float, what: Callable[[], None]) -> None:
        self._order += 1
        heapq.heappush(self._heap, (when, self._order, what))

    def after(self, delay_s: float, what: Callable[[], None]) -> None:
        self.at(self.now + delay_s, what)

    def run(self) -> None:
        """Until every job has ended. Fails when that takes longer than it can."""
        own = [w for w in self.workers.values() if w.kind is WorkerKind.SOCKET]
        end_s = FAULTS_END_S + WORK_S / min(1.0, sum(w.slots * w.speed for w in own))
        while not self._is_over():
            self._step()
            if self.now > end_s:
                states = {i: self.core.state.jobs[i].state for i in self.core.state.jobs}
                raise AssertionError(f"jobs never ended: {states}")
        self.watch.check_end()
        if self.is_checked:
            self._faults_end_s = min(self.now, FAULTS_END_S)
            end = self.now + SETTLE_S
            while self.now < end:
                self._step()
            self.watch.check_disks()

    def _step(self) -> None:
        self.now, _, what = heapq.heappop(self._heap)
        what()

    def _is_over(self) -> bool:
        return self.now > SUBMITTED_S + 1 and self.master.is_up and not self.core.state.jobs

    def pass_time(self, seconds: float) -> None:
        """The master waits; everybody else goes on."""
        end = self.now + seconds
        while self._heap[0][0] <= end:
            self._step()
        self.now = end

    @property
    def is_faulty(self) -> bool:
        return self.now < self._faults_end_s

    def happens(self, chance: float) -> bool:
        return self.is_faulty and self.rng.random() < chance

    def delay(self) -> float:
        return 0.001 + (self.rng.random() * self.faults.delay_s if self.is_faulty else 0.0)

    def _tick(self) -> None:
        if not self.master.is_busy:  # it is its own clock
            self.master.feed(ev.ClockTicked(self.now))
        gap = TICK_S
        if self.happens(self.faults.lose_message):  # a stopped master
            gap = 4.0
        self.after(gap, self._tick)

    def _submit(self) -> None:
        job_id = self._uuid()
        if not self.master.is_open:
            self.after(0.5, self._submit)  # nobody there, or nothing is taken in: it tries again
            return
        if not self._plans or self.rng.random() < 0.3:
            self._plans.append(random_plan(self.rng))
        plan = self.rng.choice(self._plans)
        limit_s = 300.0 if self.rng.random() < 0.2 else None
        is_driven = plan.kind is PlanKind.FUSED and self.rng.random() < self._spark_share
        engine = Engine.SPARK if is_driven else Engine.LOCAL
        wanted = request(f"job{len(self.job_ids)}", limit_s, engine)
        submitted = ev.JobSubmitted(job_id, wanted, (plan,), self.now)
        self.master.feed(submitted, lambda reply: self._answered(job_id, reply))

    def _answered(self, job_id: str, reply: Reply) -> None:
        if not reply.is_complete:
            # not acknowledged. The client repeats it with its key, and gets the job if it is there
            if job_id in self.journal.jobs:
                self.job_ids.append(job_id)
            else:
                self.after(0.5, self._submit)
            return
        self.job_ids.append(job_id)
        if self.rng.random() < self.faults.cancel:
            event = ev.JobCancelRequested(job_id, "test", self.now)
            self.after(self.rng.uniform(0, 5), lambda: self.master.feed(event))
