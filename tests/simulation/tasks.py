"""What our own workers do with their orders, and with what lies on their disks.

Must not know how messages travel.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from minispark.model import effects as fx
from minispark.model import events as ev
from minispark.model.plan import (
    DocumentedShuffle,
    MadeOutput,
    OutputLocation,
    PartitionFile,
    TaskOrder,
    TaskOutcome,
)
from minispark.model.states import WorkerKind
from tests.simulation.ledger import Task
from tests.simulation.worker import SimulatedWorker

if TYPE_CHECKING:
    from tests.simulation.simulator import Simulation


EMPTY = 0.1
"""Of the outputs of shuffles, those without any record."""


class Tasks:
    """Queued, run, committed and deleted, by the worker that each call names."""

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation

    def launched(self, worker: SimulatedWorker, launch: fx.LaunchAttempts) -> None:
        worker.tables.update(launch.tables)
        known = {**worker.tables, **launch.outputs}
        named = [order.outputs_id for order in launch.orders if order.outputs_id is not None]
        if any(name not in known for name in named):
            # sent before the master took in that the worker began anew: it breaks the protocol
            self._simulation.sessions.break_session(worker, worker.session)
            return
        for order in launch.orders:
            if order.outputs_id is not None:
                worker.outputs_of[order.attempt_id] = known[order.outputs_id]
            if order.awaited:
                worker.awaited[order.attempt_id] = dict.fromkeys(order.awaited)
            worker.queue.append(order)
        self._fill(worker)

    @staticmethod
    def forget_tables(worker: SimulatedWorker, job_id: str) -> None:
        for name in [name for name in worker.tables if name.startswith(job_id)]:
            del worker.tables[name]

    def _fill(self, worker: SimulatedWorker) -> None:
        while worker.queue and len(worker.running) < worker.slots:
            order = worker.queue.pop(0)
            worker.running[order.attempt_id] = order
            worker.directories[order.attempt_id] = False
            self._simulation.sessions.report(
                worker, ev.AttemptStarted(worker.worker_id, order.attempt_id, self._simulation.now)
            )
            if order.attempt_id in worker.awaited:
                delay_s = self._simulation.rng.uniform(0.05, 0.5)
                self._simulation.after(delay_s, lambda order=order: self._finish(worker, order))
            else:
                self._work(worker, order)

    def _work(self, worker: SimulatedWorker, order: TaskOrder) -> None:
        duration_s = self._simulation.rng.uniform(0.05, 1.0) / worker.speed
        self._simulation.after(duration_s, lambda: self._finish(worker, order))

    def told(
        self,
        worker: SimulatedWorker,
        attempt_ids: tuple[str, ...],
        outputs: tuple[MadeOutput, ...],
    ) -> None:
        """Outputs can be read for which attempts wait."""
        for attempt_id in attempt_ids:
            awaited = worker.awaited.get(attempt_id)
            if awaited is None:
                continue
            for made in outputs:
                del awaited[made.stage_index, made.partition]
                places = (made.place,) if made.place is not None else ()
                worker.outputs_of[attempt_id] = (*worker.outputs_of[attempt_id], *places)
            if not awaited:
                del worker.awaited[attempt_id]
                if attempt_id in worker.running:
                    self._work(worker, worker.running[attempt_id])

    def _finish(self, worker: SimulatedWorker, order: TaskOrder) -> None:
        """It read what is there. It ends now, unless it waits for more."""
        if not worker.is_alive or order.attempt_id not in worker.running:
            return
        if worker.paused_until > self._simulation.now:
            self._simulation.at(worker.paused_until, lambda: self._finish(worker, order))
            return
        places = worker.outputs_of.get(order.attempt_id, ())
        lost = tuple(p.attempt_id for p in places if self._is_unreadable(worker, p))
        if order.attempt_id in worker.awaited and not lost:
            return
        del worker.running[order.attempt_id]
        worker.awaited.pop(order.attempt_id, None)
        worker.outputs_of.pop(order.attempt_id, None)
        who, attempt_id = worker.worker_id, order.attempt_id
        found = self._look_into_cache(worker, order)
        event: ev.Event
        if not found.issuperset(order.unmade):
            event = ev.CacheMissed(who, attempt_id, self._simulation.now)
        elif lost:
            event = ev.OutputsUnreadable(who, attempt_id, lost, "gone", self._simulation.now)
        elif self._simulation.happens(self._simulation.faults.fail):
            event = ev.AttemptFailed(who, attempt_id, "error", "boom", self._simulation.now)
        else:
            worker.cache.update(
                dict.fromkeys(self._simulation.watch.ledger.caches_of(_task_of(order)))
            )
            outcome = self.outcome(order)
            if outcome.bytes_written:
                worker.directories[attempt_id] = True
            else:
                self._simulation.watch.places.empty[attempt_id] = None
                self._delete(worker, (attempt_id,))
            event = ev.AttemptSucceeded(who, attempt_id, outcome, self._simulation.now)
        if not isinstance(event, ev.AttemptSucceeded):
            self._delete(worker, (attempt_id,))
        self._simulation.sessions.report(worker, event)
        self._fill(worker)

    def _look_into_cache(self, worker: SimulatedWorker, order: TaskOrder) -> set[int]:
        """The stages that it need not read, for what it makes of them is there."""
        found: set[int] = set()
        for key, saved in self._simulation.watch.ledger.caches_of(_task_of(order)).items():
            if self._simulation.happens(self._simulation.faults.evict):
                worker.cache.pop(key, None)
            if key in worker.cache:
                found.update(saved)
        return found

    def _is_unreadable(self, reader: SimulatedWorker, place: OutputLocation) -> bool:
        """Not on the reader's own disk, nor served at that address."""
        owner = self._simulation.workers[place.worker_id]
        if owner.kind is WorkerKind.HTTP:
            return False
        if self._simulation.happens(self._simulation.faults.lose_output):
            owner.directories.pop(place.attempt_id, None)
        is_near = self._simulation.is_short_circuit and reader.host == place.host_id
        is_served = any(
            other.is_alive and (other.host, other.port) == (place.host_id, place.port)
            for other in self._simulation.workers.values()
        )
        return not (is_near or is_served) or not owner.directories.get(place.attempt_id)

    def outcome(self, order: TaskOrder) -> TaskOutcome:
        """What its task made."""
        sink = self._simulation.watch.ledger.stage_of(order.job_id, order.stage_index).program.sink
        files = (("f", f"{order.job_id}-{order.stage_id}-{order.partition}"),)
        if isinstance(sink, (PartitionFile, DocumentedShuffle)):
            return TaskOutcome(5, 100, files=files)
        return TaskOutcome(0, 0) if self._simulation.happens(EMPTY) else TaskOutcome(5, 100)

    def commit(self, worker: SimulatedWorker, attempt_id: str) -> None:
        if self._simulation.happens(self._simulation.faults.fail / 5):
            event: ev.Event = ev.CommitRefused(
                worker.worker_id, attempt_id, "full", self._simulation.now
            )
        else:
            event = ev.OutputCommitted(worker.worker_id, attempt_id, self._simulation.now)
        self._simulation.sessions.report(worker, event)

    def cancelled(self, worker: SimulatedWorker, attempt_ids: tuple[str, ...]) -> None:
        gone = dict.fromkeys(attempt_ids)
        worker.queue = [order for order in worker.queue if order.attempt_id not in gone]
        for attempt_id in gone:
            worker.running.pop(attempt_id, None)
            worker.awaited.pop(attempt_id, None)
        self._delete(worker, attempt_ids)
        self._fill(worker)

    def drop(self, worker: SimulatedWorker, attempt_ids: tuple[str, ...]) -> None:
        needed = [i for i in attempt_ids if self._simulation.watch.ledger.is_needed(i)]
        assert not needed, f"{needed} are deleted, and are what running jobs read"
        self._delete(worker, attempt_ids)

    def _delete(self, worker: SimulatedWorker, attempt_ids: tuple[str, ...]) -> None:
        for other in self._on_disk_of(worker):
            for attempt_id in attempt_ids:
                other.directories.pop(attempt_id, None)

    def find(self, worker: SimulatedWorker) -> None:
        found = tuple(i for other in self._on_disk_of(worker) for i in other.directories)
        self._simulation.sessions.report(
            worker, ev.AttemptsFound(worker.worker_id, found, self._simulation.now)
        )

    def _on_disk_of(self, worker: SimulatedWorker) -> list[SimulatedWorker]:
        return [other for other in self._simulation.workers.values() if other.host == worker.host]


def _task_of(order: TaskOrder) -> Task:
    return order.job_id, order.stage_index, order.partition
