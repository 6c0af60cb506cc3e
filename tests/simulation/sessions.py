"""Connections of workers to the master: messages are late, come twice, or break a session.

Must not know what workers do with their tasks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from minispark.master.loop import Reply
from minispark.model import effects as fx
from minispark.model import events as ev
from minispark.model.states import WorkerKind
from tests.simulation.driver import Driving, SimulatedDriver
from tests.simulation.tasks import Tasks
from tests.simulation.worker import SimulatedWorker

if TYPE_CHECKING:
    from tests.simulation.simulator import Simulation


HEARTBEAT_S = 0.5
ENDINGS = (ev.AttemptSucceeded, ev.AttemptFailed, ev.OutputsUnreadable, ev.CacheMissed)
"""How our workers say that an attempt ended."""


class Sessions:
    """Of all workers; each has one, or none."""

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation
        self._count = 0
        self._ports = 0

    def rejoin(self, worker: SimulatedWorker) -> None:
        if not worker.is_alive or worker.session != 0:
            return
        if not self._simulation.master.is_up:
            self._simulation.after(0.5, lambda: self.rejoin(worker))
        elif worker.paused_until > self._simulation.now:
            self._simulation.at(worker.paused_until, lambda: self.rejoin(worker))
        else:
            self._register(worker)

    def perform(self, effect: fx.Effect) -> None:
        match effect:
            case fx.LaunchAttempts():
                self._send(effect.worker_id, lambda w: self._simulation.tasks.launched(w, effect))
            case fx.DriveTasks():
                self._send(effect.worker_id, lambda _: self._simulation.driving.drive(effect))
            case fx.WantDriver():
                self._simulation.driving.wanted()
            case fx.TellOutputs():
                self._send(
                    effect.worker_id,
                    lambda w: self._simulation.tasks.told(w, effect.attempt_ids, effect.outputs),
                )
            case fx.CancelAttempts():
                self._send(
                    effect.worker_id,
                    lambda w: self._agent(w).cancelled(w, effect.attempt_ids),
                )
            case fx.CommitOutput():
                self._send(
                    effect.worker_id, lambda w: self._simulation.tasks.commit(w, effect.attempt_id)
                )
            case fx.DropOutputs():
                self._send(
                    effect.worker_id, lambda w: self._simulation.tasks.drop(w, effect.attempt_ids)
                )
            case fx.ForgetTables():
                self._send(
                    effect.worker_id,
                    lambda w: self._agent(w).forget_tables(w, effect.job_id),
                )
            case fx.FindAttempts():
                self._send(effect.worker_id, self._simulation.tasks.find)
            case fx.PublishParts(job_id):
                self._publish(job_id)
            case fx.CloseSession():
                self._closed(self._simulation.workers[effect.worker_id], effect.session)
            case fx.AcceptWorker():
                self._send(effect.worker_id, lambda w: self._accepted(w, effect))
            case _:
                pass

    def _agent(self, worker: SimulatedWorker) -> Tasks | Driving:
        """What its process does with messages."""
        is_driver = worker.kind is WorkerKind.SPARK
        return self._simulation.driving if is_driver else self._simulation.tasks

    def _publish(self, job_id: str) -> None:
        """The master's own thread does it: as much later as a cancellation, a lost worker or a
        killed master may come between.
        """
        event, life = (
            ev.PartsPublished(job_id, None, self._simulation.now),
            self._simulation.master.life,
        )

        def done() -> None:
            if self._simulation.master.life == life:
                self._simulation.master.feed(event)

        if self._simulation.happens(self._simulation.faults.cancel):
            cancel = ev.JobCancelRequested(job_id, "test", self._simulation.now)
            after_s = self._simulation.rng.uniform(0, 2)
            self._simulation.after(after_s, lambda: self._simulation.master.feed(cancel))
        self._simulation.after(self._simulation.rng.uniform(0, 2), done)

    def _send(self, worker_id: str, deliver: Callable[[SimulatedWorker], None]) -> None:
        """Deliver to the worker's present session after a delay, or lose the session."""
        worker = self._simulation.workers[worker_id]
        session = worker.session
        if self._simulation.happens(self._simulation.faults.lose_message):
            self._simulation.after(0.01, lambda: self.break_session(worker, session))
            return

        # the oldest one first, though pauses of the worker overlap
        worker.inbox.append((session, deliver))

        def arrive() -> None:
            if worker.is_alive and worker.paused_until > self._simulation.now:
                self._simulation.at(worker.paused_until, arrive)
                return
            sent_in, take = worker.inbox.popleft()
            if worker.is_alive and sent_in and worker.session == sent_in:
                take(worker)

        worker.arrives_at = max(worker.arrives_at, self._simulation.now + self._simulation.delay())
        self._simulation.at(worker.arrives_at, arrive)

    def start(self, worker: SimulatedWorker) -> None:
        worker.is_alive, worker.is_draining, worker.tables = True, False, {}
        if not (self._simulation.has_fixed_ports and worker.port):
            self._ports += 1
            worker.port = self._ports
        self._register(worker)

    def _register(self, worker: SimulatedWorker) -> None:
        if not worker.is_alive:
            return
        if not self._simulation.master.is_up:
            worker.session = 0
            self._simulation.after(0.5, lambda: self.rejoin(worker))
            return
        self._count += 1
        worker.session = self._count
        worker.said = {}
        identity = ev.WorkerIdentity(
            worker_id=worker.worker_id,
            kind=worker.kind,
            name=worker.name,
            host="h",
            port=worker.port,
            slots=worker.slots,
            pid=1,
            host_id=worker.host,
            state_dir="/s",
        )
        running = worker.held
        waiting = tuple(attempt_id for attempt_id in running if worker.awaited.get(attempt_id))
        session = worker.session
        self._simulation.master.feed(
            ev.WorkerRegistered(identity, session, running, self._simulation.now, waiting)
        )
        self._simulation.after(HEARTBEAT_S, lambda: self._heartbeat(worker, session))
        if worker.kind is WorkerKind.HTTP:
            self._simulation.after(0.2, lambda: self._simulation.foreign.poll(worker, session))

    def _heartbeat(self, worker: SimulatedWorker, session: int) -> None:
        if not worker.is_alive or worker.session != session:
            return
        is_foreign = worker.kind is WorkerKind.HTTP
        if is_foreign and worker.worker_id not in self._simulation.core.state.pool.workers:
            self._register(worker)  # an earlier master knew it: the boundary takes it in again
            return
        if worker.paused_until <= self._simulation.now:
            self._simulation.master.feed(
                ev.HeartbeatReceived(worker.worker_id, len(worker.running), self._simulation.now)
            )
        self._simulation.after(HEARTBEAT_S, lambda: self._heartbeat(worker, session))

    def report(self, worker: SimulatedWorker, event: ev.Event) -> None:
        """A report reaches the master within the session that it was sent in; sometimes twice. The
        end of an attempt is repeated in the next session, until the master calls it durable.
        """
        session = worker.session
        if isinstance(event, ENDINGS):
            worker.unconfirmed[event.attempt_id] = event
        if self._simulation.happens(self._simulation.faults.lose_message):
            self.break_session(worker, session)
            return

        def arrive() -> None:
            if worker.session == session and session:
                self._take_report(worker, session, event)

        delay_s = self._simulation.delay()
        self._simulation.after(delay_s, arrive)
        if self._simulation.happens(self._simulation.faults.duplicate):
            self._simulation.after(
                delay_s + self._simulation.rng.random(),
                lambda: self._simulation.master.feed(event),
            )

    def _take_report(self, worker: SimulatedWorker, session: int, event: ev.Event) -> None:
        def confirmed(reply: Reply) -> None:
            if not (reply.is_complete and self._simulation.master.is_up):
                return
            if worker.session == session:
                attempt_id = getattr(event, "attempt_id", "")
                if isinstance(event, ev.AttemptStarted):
                    worker.said[attempt_id] = None
                else:
                    worker.unconfirmed.pop(attempt_id, None)

        self._simulation.master.feed(event, confirmed)

    def _accepted(self, worker: SimulatedWorker, answer: fx.AcceptWorker) -> None:
        """The master registered it: it forgets what nobody waits for, and repeats itself."""
        worker.tables = {}
        self._agent(worker).cancelled(worker, answer.forget)
        if isinstance(worker, SimulatedDriver):
            self._simulation.driving.accepted(answer.driven)
        else:
            for attempt_id in answer.forget:
                worker.unconfirmed.pop(attempt_id, None)
        for event in list(worker.unconfirmed.values()):
            self.report(worker, event)
        for attempt_id in worker.running:
            self.report(
                worker, ev.AttemptStarted(worker.worker_id, attempt_id, self._simulation.now)
            )
        if worker.is_draining:
            self.report(worker, ev.WorkerDraining(worker.worker_id, self._simulation.now))

    def _closed(self, worker: SimulatedWorker, session: int) -> None:
        """The master closed a silent worker's session: it sees that when it goes on."""
        if worker.is_alive and worker.session == session:
            worker.session = 0
            when = max(self._simulation.now, worker.paused_until) + 0.05
            self._simulation.at(
                when, lambda: self._register(worker) if worker.session == 0 else None
            )

    def break_session(self, worker: SimulatedWorker, session: int) -> None:
        if not worker.is_alive or worker.session != session or worker.kind is WorkerKind.HTTP:
            return
        worker.session = 0
        self.disconnected(worker, session)
        self._simulation.after(0.1, lambda: self._register(worker) if worker.session == 0 else None)

    def disconnected(self, worker: SimulatedWorker, session: int) -> None:
        """The master notices the end of a session soon, or when the next one may have begun."""
        delay_s = self._simulation.delay()
        if self._simulation.happens(self._simulation.faults.late_disconnect):
            delay_s = self._simulation.rng.uniform(0.1, 2.0)

        def notice() -> None:
            gone = ev.WorkerDisconnected(worker.worker_id, session, self._simulation.now)
            self._simulation.master.feed(gone)

        self._simulation.after(delay_s, notice)
