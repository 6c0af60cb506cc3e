"""What befalls workers: they are killed, stopped for a while, or told to drain, again and again.

How often stands in `faults.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from minispark.model import events as ev
from minispark.model.states import WorkerKind
from tests.simulation.worker import SimulatedWorker

if TYPE_CHECKING:
    from tests.simulation.simulator import Simulation


DRIVER_FATAL = 0.3
"""The supervisor gives up a driver that was killed, until it is asked for one."""


class Mishaps:
    """Each one plans the next, until the faults end."""

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation

    def plan(self, worker: SimulatedWorker) -> None:
        if self._simulation.faults.crash_every_s:
            self._plan_crash(worker)
        if self._simulation.faults.pause_every_s:
            when = self._simulation.rng.expovariate(1 / self._simulation.faults.pause_every_s)
            self._simulation.after(when, lambda: self._pause(worker))
        if self._simulation.faults.drain_every_s and worker.kind is WorkerKind.SOCKET:
            when = self._simulation.rng.expovariate(1 / self._simulation.faults.drain_every_s)
            self._simulation.after(when, lambda: self._drain(worker))

    def _drain(self, worker: SimulatedWorker) -> None:
        """It ends once it has nothing to do, and comes back after a while."""
        if not self._simulation.is_faulty:
            return
        if worker.is_alive and not worker.is_draining:
            worker.is_draining = True
            if worker.session:
                self._simulation.sessions.report(
                    worker, ev.WorkerDraining(worker.worker_id, self._simulation.now)
                )
            self._simulation.after(0.3, lambda: self._end_drained(worker))
        when = self._simulation.rng.expovariate(1 / self._simulation.faults.drain_every_s)
        self._simulation.after(when, lambda: self._drain(worker))

    def _end_drained(self, worker: SimulatedWorker) -> None:
        if not (worker.is_alive and worker.is_draining):
            return
        is_busy = worker.running or worker.queue or worker.unconfirmed or not worker.session
        if is_busy or worker.paused_until > self._simulation.now:
            self._simulation.after(0.3, lambda: self._end_drained(worker))
            return
        worker.is_alive, worker.cache = False, {}
        self._simulation.sessions.disconnected(worker, worker.session)
        self._simulation.after(
            self._simulation.rng.uniform(0.2, 6), lambda: self._simulation.sessions.start(worker)
        )

    def _crash(self, worker: SimulatedWorker) -> None:
        """SIGKILL; the process comes back after a while, with what lies on its disk, or without."""
        if not self._simulation.is_faulty:
            return
        if worker.is_alive:
            worker.lose_process()
            if self._simulation.rng.random() < 0.3:
                worker.directories = {}
            if worker.kind is not WorkerKind.HTTP:
                self._simulation.sessions.disconnected(worker, worker.session)
            if worker.kind is WorkerKind.SPARK:
                self._bury_driver()
                self._plan_crash(worker)
                return
            is_first = worker is next(iter(self._simulation.workers.values()))
            if not is_first and self._simulation.happens(self._simulation.faults.for_good):
                return
            self._simulation.after(
                self._simulation.rng.uniform(0.2, 6),
                lambda: self._simulation.sessions.start(worker),
            )
        self._plan_crash(worker)

    def _plan_crash(self, worker: SimulatedWorker) -> None:
        when = self._simulation.rng.expovariate(1 / self._simulation.faults.crash_every_s)
        self._simulation.after(when, lambda: self._crash(worker))

    def _bury_driver(self) -> None:
        """The supervisor starts it again; or, when it gave up, only once somebody asks for it."""
        if not self._simulation.happens(DRIVER_FATAL):
            self._simulation.driving.come(self._simulation.rng.uniform(0.2, 6))

    def _pause(self, worker: SimulatedWorker) -> None:
        """SIGSTOP, then SIGCONT: longer than the heartbeat timeout, sometimes."""
        if not self._simulation.is_faulty:
            return
        worker.paused_until = self._simulation.now + self._simulation.rng.uniform(0.5, 8)
        when = self._simulation.rng.expovariate(1 / self._simulation.faults.pause_every_s)
        self._simulation.after(when, lambda: self._pause(worker))
