"""The simulated Spark driver: its process, what its application has, and what it says of its tasks.

It does what `minispark/driver` does: a run makes the final tasks that are waited for, and before
them what they read, unless the application has that. Must not know how messages travel, nor when
faults come.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from minispark.model import effects as fx
from minispark.model import events as ev
from minispark.model.plan import TaskOrder, TaskOutcome
from minispark.model.states import WorkerKind
from tests.simulation.ledger import Task
from tests.simulation.worker import SimulatedWorker

if TYPE_CHECKING:
    from tests.simulation.simulator import Simulation


START_S = 3.0
"""It registers so long after somebody asked for it, at most."""
STEP_S = 0.2
"""The next task of a run ends so long after the last one, at most."""

Place = tuple[int, int]
"""Of a task in its job: the stage's index, and the partition."""


@dataclass
class DrivenJob:
    """What the driver knows of a job, and what its application has of it."""

    job_id: str
    waiting: dict[Place, TaskOrder] = field(default_factory=dict)
    """The attempts that nobody was told the end of."""
    kept: dict[Place, tuple[str, TaskOutcome]] = field(default_factory=dict)
    """What others read, and was reported: the attempts that it was reported for."""
    known: dict[Place, None] = field(default_factory=dict)
    """Tasks that were ordered so far."""
    made: dict[Place, None] = field(default_factory=dict)
    """Outputs that the application has."""
    run: dict[Place, list[Place]] = field(default_factory=dict)
    """Of the final tasks that are being made: what each of them reads, directly or not."""
    runs: int = 0


@dataclass
class SimulatedDriver(SimulatedWorker):
    """A worker's session and disk, without slots."""

    kind: WorkerKind = WorkerKind.SPARK
    jobs: dict[str, DrivenJob] = field(default_factory=dict)
    registered_in: int = 0
    """The session of which it heard that the master took it in."""
    is_coming: bool = False
    """The supervisor starts its process soon."""

    @property
    def held(self) -> tuple[str, ...]:
        attempts: list[str] = []
        for job in self.jobs.values():
            attempts += [order.attempt_id for order in job.waiting.values()]
            attempts += [attempt_id for attempt_id, _ in job.kept.values()]
        return (*attempts, *self.unconfirmed)

    def lose_process(self) -> None:
        super().lose_process()
        self.jobs = {}


class Driving:
    """What the one driver of a run does."""

    def __init__(self, simulation: Simulation, driver: SimulatedDriver) -> None:
        self._simulation = simulation
        self._driver = driver
        self.ordered = 0
        """Orders so far, and among them those of which the application had the output."""
        self.ordered_again = 0
        self.java_deaths = 0

    # --- the supervisor ------------------------------------------------------------------------

    def wanted(self) -> None:
        """The master asks for a driver."""
        if not self._driver.is_alive:
            self.come(self._simulation.rng.uniform(0.2, START_S))

    def come(self, delay_s: float) -> None:
        """Its process starts then, unless it starts anyway."""
        if self._driver.is_coming:
            return
        self._driver.is_coming = True

        def start() -> None:
            self._driver.is_coming = False
            self._simulation.sessions.start(self._driver)

        self._simulation.after(delay_s, start)

    # --- the master ----------------------------------------------------------------------------

    def accepted(self, job_ids: tuple[str, ...]) -> None:
        """The master took it in. Jobs that are not among these ended meanwhile."""
        driver = self._driver
        driver.registered_in = driver.session
        for job_id in [job_id for job_id in driver.jobs if job_id not in job_ids]:
            self.forget_tables(driver, job_id)

    def drive(self, order: fx.DriveTasks) -> None:
        """Take them on; what the application has, and was reported, is reported at once."""
        driver = self._driver
        if driver.registered_in != driver.session:
            return  # for an earlier session; the master counts these orders as lost
        job = driver.jobs.setdefault(order.job_id, DrivenJob(order.job_id))
        for one in order.orders:
            place = (one.stage_index, one.partition)
            job.known[place] = None
            self.ordered += 1
            if place in job.kept:
                self.ordered_again += 1
                outcome = job.kept[place][1]
                job.kept[place] = (one.attempt_id, outcome)
                self._say_ended(one, outcome)
            else:
                job.waiting[place] = one
        self._start(job)

    def cancelled(self, _: SimulatedWorker, attempt_ids: tuple[str, ...]) -> None:
        """Nobody waits for these. What they wrote is the master's to find."""
        gone = dict.fromkeys(attempt_ids)
        for job in self._driver.jobs.values():
            kept = [(p, order) for p, order in job.waiting.items() if order.attempt_id not in gone]
            job.waiting = dict(kept)

    def forget_tables(self, _: SimulatedWorker, job_id: str) -> None:
        """The job ended."""
        job = self._driver.jobs.pop(job_id, None)
        if job is not None:
            job.run = {}

    # --- Spark ---------------------------------------------------------------------------------

    def _is_final(self, job: DrivenJob, place: Place) -> bool:
        return self._simulation.watch.ledger.stage_of(job.job_id, place[0]).is_final

    def _start(self, job: DrivenJob) -> None:
        """A run makes the final tasks that are waited for, once all is known that they read."""
        finals = sorted(place for place in job.waiting if self._is_final(job, place))
        if job.run or not finals or not self._is_whole(job):
            return
        job.run = {place: self._read_by(job, place) for place in finals}
        job.runs += 1
        self._plan_step(job)

    def _is_whole(self, job: DrivenJob) -> bool:
        """Whether all tasks were ordered that tasks of the known stages read."""
        ledger = self._simulation.watch.ledger
        for index in dict.fromkeys(index for index, _ in job.known):
            stage = ledger.stage_of(job.job_id, index)
            parents = [ledger.stage_of(job.job_id, parent) for parent in stage.parents]
            for needed in (*parents, *(() if stage.is_final else (stage,))):
                if any((needed.index, p) not in job.known for p in range(needed.partitions)):
                    return False
        return True

    def _read_by(self, job: DrivenJob, final: Place) -> list[Place]:
        found: dict[Task, None] = {}
        waiting: list[Task] = [(job.job_id, *final)]
        while waiting:
            for task in self._simulation.watch.ledger.inputs_of(waiting.pop()):
                if task not in found:
                    found[task] = None
                    waiting.append(task)
        return [(index, partition) for _, index, partition in found]

    def _plan_step(self, job: DrivenJob) -> None:
        number, delay_s = job.runs, self._simulation.rng.uniform(0.01, STEP_S)
        self._simulation.after(delay_s, lambda: self._step(job, number))

    def _step(self, job: DrivenJob, number: int) -> None:
        """One task of that run ends: any that has what it reads, as Spark brings it."""
        simulation, driver = self._simulation, self._driver
        is_its = driver.is_alive and driver.jobs.get(job.job_id) is job
        if not is_its or not job.run or job.runs != number:
            return
        if driver.paused_until > simulation.now:
            simulation.at(driver.paused_until, lambda: self._step(job, number))
            return
        if simulation.happens(simulation.faults.kill_java):
            self._lose_application()
            return
        missing = dict.fromkeys(p for needs in job.run.values() for p in needs if p not in job.made)
        finals = [place for place, needs in job.run.items() if missing.keys().isdisjoint(needs)]
        place = simulation.rng.choice([*missing, *finals])
        if simulation.happens(simulation.faults.fail):
            self._fail(job, place)
            return
        self._end_task(job, place)
        if job.run:
            self._plan_step(job)
        else:
            self._start(job)  # with what was ordered meanwhile

    def _end_task(self, job: DrivenJob, place: Place) -> None:
        order = job.waiting.pop(place, None)
        is_final = job.run.pop(place, None) is not None
        if not is_final:
            job.made[place] = None
        if order is None:
            return  # nobody waits for it, or heard of it before the application had it again
        outcome = self._simulation.tasks.outcome(order)
        if is_final:
            self._driver.directories[order.attempt_id] = True
        else:
            job.kept[place] = (order.attempt_id, outcome)
        if self._simulation.rng.random() < 0.7:  # a brief one is told as an end only
            self._report(ev.AttemptStarted(self._driver.worker_id, order.attempt_id, self._now))
        self._say_ended(order, outcome)

    def _fail(self, job: DrivenJob, place: Place | None) -> None:
        """The run ends. One attempt failed: at that task, or the first final one that is waited
        for. The others go on with the next order.
        """
        job.run = {}
        finals = sorted(place for place in job.waiting if self._is_final(job, place))
        for candidate in ([place] if place is not None else []) + finals:
            order = job.waiting.pop(candidate, None)
            if order is not None:
                who, attempt_id = self._driver.worker_id, order.attempt_id
                self._report(ev.AttemptFailed(who, attempt_id, "error", "boom", self._now))
                return

    def _lose_application(self) -> None:
        """Java was killed: its outputs are made again with the next runs, and nobody is told."""
        self.java_deaths += 1
        for job in self._driver.jobs.values():
            job.made = {}
            if job.run:
                self._fail(job, None)

    # --- reports -------------------------------------------------------------------------------

    @property
    def _now(self) -> float:
        return self._simulation.now

    def _report(self, event: ev.Event) -> None:
        self._simulation.sessions.report(self._driver, event)

    def _say_ended(self, order: TaskOrder, outcome: TaskOutcome) -> None:
        who = self._driver.worker_id
        self._report(ev.AttemptSucceeded(who, order.attempt_id, outcome, self._now))
