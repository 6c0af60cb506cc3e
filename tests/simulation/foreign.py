"""Foreign workers: they poll over HTTP, hold no connection, and serve nothing.

Must not know sessions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from minispark.master.loop import Reply
from minispark.model import effects as fx
from minispark.model import events as ev
from tests.simulation.worker import SimulatedWorker

if TYPE_CHECKING:
    from tests.simulation.simulator import Simulation


HANG_S = 60.0
"""A foreign worker that hangs forgets its task after that."""


class ForeignTasks:
    """Asked for, run, and reported by the worker that each call names."""

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation

    def poll(self, worker: SimulatedWorker, session: int) -> None:
        if not worker.is_alive or worker.session != session:
            return
        is_free = len(worker.running) < worker.slots and self._simulation.master.is_open
        if is_free and worker.paused_until <= self._simulation.now:
            now = self._simulation.now
            event = ev.TaskRequested(worker.worker_id, f"{worker.name} {now}", now)
            self._simulation.master.feed(event, lambda reply: self._answered(worker, reply))
        self._simulation.after(0.3, lambda: self.poll(worker, session))

    def _answered(self, worker: SimulatedWorker, reply: Reply) -> None:
        if reply.is_complete and reply.answer is not None and reply.answer.task is not None:
            self._run_foreign(worker, reply.answer.task)

    def _run_foreign(self, worker: SimulatedWorker, task: fx.HttpTask) -> None:
        order = task.order
        worker.running[order.attempt_id] = order
        task_key = (order.job_id, order.stage_index, order.partition)
        files = self._simulation.watch.ledger.documented_files(task_key)
        does_hang = self._simulation.happens(self._simulation.faults.hang)

        def end() -> None:
            if worker.running.pop(order.attempt_id, None) is None or not worker.is_alive:
                return
            if does_hang:
                return
            is_wrong = self._simulation.happens(self._simulation.faults.wrong_path)
            event = ev.HttpTaskCompleted(
                order.attempt_id,
                not self._simulation.happens(self._simulation.faults.fail),
                "boom",
                ("/elsewhere",) if is_wrong else files,
                7,
                self._simulation.now,
            )
            self._simulation.master.feed(event)
            if self._simulation.happens(self._simulation.faults.duplicate):
                self._simulation.master.feed(event)

        self._simulation.after(
            HANG_S if does_hang else self._simulation.rng.uniform(0.05, 1.0), end
        )
