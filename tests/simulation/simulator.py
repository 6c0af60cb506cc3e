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

from minispark.master.board import SnapshotBoard
from minispark.master.loop import MasterLoop, Reply
from minispark.model import effects as fx
from minispark.model import events as ev
from minispark.model.plan import (
    DocumentedShuffle,
    OutputLocation,
    PartitionFile,
    TaskOrder,
    TaskOutcome,
)
from minispark.model.states import WorkerKind
from minispark.scheduling import invariants
from minispark.scheduling.core import SchedulingCore
from minispark.scheduling.limits import Limits
from tests.simulation.faults import Faults
from tests.simulation.journal import Journal
from tests.simulation.plans import random_plan, request
from tests.simulation.watch import Watch
from tests.simulation.worker import SimulatedWorker

TICK_S = 0.25
HEARTBEAT_S = 0.5
HANG_S = 60.0
"""A foreign worker that hangs forgets its task after that."""
EMPTY = 0.1
"""Of the outputs of shuffles, those without any record."""
KILLS_AT_SUBMIT = 50
"""Times more often is the master killed at a submit than at another event."""
FAULTS_END_S = 60.0
"""Faults stop then; from then on every job must end."""
END_S = 600.0
SETTLE_S = 15.0
"""So long after the last fault every worker is back, and every message has arrived."""


class MasterKilled(Exception):
    """SIGKILL of the master at this point of its loop."""


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
    ) -> None:
        self.rng = random.Random(seed)
        self.faults = Faults() if faults is None else faults
        self.log = log
        self.is_checked = is_checked
        self.now = 0.0
        self.limits = Limits(
            heartbeat_timeout_s=3.0,
            task_timeout_s=self.rng.choice([5.0, 30.0]),
            task_retries_max=50,
            worker_losses_max=200,
            max_load_diff=self.rng.randint(0, 3),
            prefetch=self.rng.choice([None, 0, 3]),
        )
        self.hosts = self.rng.choice([1, 1, 2, 3])
        self.foreign_share = self.rng.choice([0.1, 0.1, 0.6])
        self.is_short_circuit = self.rng.random() < 0.7
        self.has_fixed_ports = self.rng.random() < 0.5
        self._ports = 0
        self._faults_end_s = FAULTS_END_S
        self.journal = Journal()
        self.watch = Watch(self)
        self.kills = 0
        self.reply: Reply | None = None
        self._performed: list[fx.Effect] = []
        self._doom: str | None = None
        """Where in its loop the master will be killed."""
        self._life = 0
        """Which master this is; messages of an earlier one arrive nowhere."""
        self._is_up = False
        self.transcript: list[str] = []
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._order = 0
        self._sessions = 0
        self.workers = {
            worker.worker_id: worker for worker in (self._new_worker(i) for i in range(workers))
        }
        self.job_ids: list[str] = []
        self._begin_master()
        for _ in range(jobs):
            self.at(self.rng.uniform(0, 10), self._submit)
        for worker in self.workers.values():
            self.at(self.rng.uniform(0, 1), lambda worker=worker: self._start(worker))
            self._plan_faults(worker)
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

    def _uuid(self) -> str:
        return str(uuid.UUID(int=self.rng.getrandbits(128), version=4))

    # --- time ------------------------------------------------------------------------------

    def at(self, when: float, what: Callable[[], None]) -> None:
        self._order += 1
        heapq.heappush(self._heap, (when, self._order, what))

    def after(self, delay_s: float, what: Callable[[], None]) -> None:
        self.at(self.now + delay_s, what)

    def run(self) -> None:
        """Until every job has ended. Fails when that takes longer than END_S of virtual time."""
        while not self._is_over():
            self._step()
            if self.now > END_S:
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
        return self.now > 11 and self._is_up and not self.core.state.jobs

    @property
    def is_faulty(self) -> bool:
        return self.now < self._faults_end_s

    def happens(self, chance: float) -> bool:
        return self.is_faulty and self.rng.random() < chance

    # --- the core ----------------------------------------------------------------------------

    def _begin_master(self) -> None:
        """A master starts on what the journal holds."""
        self.core = SchedulingCore(self.limits)
        self.watch.see_master()
        self._life += 1
        self._is_up = True
        effects = self.core.restore(
            self.journal.unfinished(), self.journal.workers, self.now, self.now
        )
        self.loop = MasterLoop(
            self.core, self._write, self._carry_out, SnapshotBoard(), lambda: None, lambda: self.now
        )
        if self.is_checked:
            invariants.check(self.core)
        self.loop.carry_out(effects, [])

    def _kill_master(self) -> None:
        """Every session ends; another master starts a little later, and workers find it."""
        self._is_up = False
        self.kills += 1
        self.after(self.rng.uniform(0.05, 2.0), self._begin_master)
        for worker in self.workers.values():
            if worker.kind is WorkerKind.SOCKET:
                worker.session = 0
                self.after(2.0 + self.rng.random(), lambda worker=worker: self._rejoin(worker))

    def _rejoin(self, worker: SimulatedWorker) -> None:
        if not worker.is_alive or worker.session != 0:
            return
        if not self._is_up:
            self.after(0.5, lambda: self._rejoin(worker))
        elif worker.paused_until > self.now:
            self.at(worker.paused_until, lambda: self._rejoin(worker))
        else:
            self._register(worker)

    def feed(self, event: ev.Event) -> list[fx.Effect]:
        """Give the master's loop an event, check everything, and carry out what it asks for.

        While no master runs the event is lost; the effects are those that were carried out.
        """
        if not self._is_up:
            return []
        self._performed = []
        self._doom = None
        if isinstance(event, (ev.AttemptSucceeded, ev.HttpTaskCompleted)):
            self.watch.reported[event.attempt_id] = None
        is_submit = isinstance(event, ev.JobSubmitted)
        if self.happens(self.faults.kill_master * (KILLS_AT_SUBMIT if is_submit else 1)):
            self._doom = self.rng.choice(["before", "between"])
        if self.log is not None:
            self.log(f"{self.now:9.3f}  {event}")
        self.reply = Reply() if isinstance(event, ev.JobSubmitted) else None
        lost = self.watch.newly_unreadable(event)
        kept = self.watch.keeps_running(event)
        try:
            self.loop.handle([(event, self.reply)])
        except MasterKilled:
            self._kill_master()
            return []
        self.watch.unreadable.update(lost)
        if isinstance(event, ev.WorkerDraining):
            self.watch.see_drained(event.worker_id)
        if isinstance(event, ev.ClockTicked):
            self.watch.see_tick()
        cancelled = [e for e in self._performed if isinstance(e, fx.CancelAttempts)]
        for effect in cancelled:
            told = [i for i in effect.attempt_ids if i in kept]
            assert not told, f"{told} were running when their worker was to end what it runs"
        if self._doom is not None:
            # a batch without facts: it dies after it
            self._kill_master()
        elif self.is_checked:
            invariants.check(self.core)
        return self._performed

    def _write(self, facts: list[fx.Fact | fx.ForgetJob]) -> None:
        if self._doom == "before":
            raise MasterKilled
        self.journal.write(facts)
        for fact in facts:
            self.watch.see_fact(fact)
        if self._doom == "between":
            raise MasterKilled

    def _carry_out(self, effects: list[fx.Effect]) -> None:
        self._performed = effects
        self.transcript.append(f"{self.now:.6f} {effects}")
        for effect in effects:
            if self.log is not None:
                self.log(f"           -> {effect}")
            if isinstance(effect, fx.LaunchAttempts):
                self.watch.see_launch(effect)
            self._perform(effect)

    def _perform(self, effect: fx.Effect) -> None:
        match effect:
            case fx.LaunchAttempts():
                self._send(effect.worker_id, lambda w: self._launched(w, effect))
            case fx.CancelAttempts():
                self._send(effect.worker_id, lambda w: self._cancelled(w, effect.attempt_ids))
            case fx.CommitOutput():
                self._send(effect.worker_id, lambda w: self._commit(w, effect.attempt_id))
            case fx.DropOutputs():
                self._send(effect.worker_id, lambda w: self._drop(w, effect.attempt_ids))
            case fx.ForgetTables():
                self._send(effect.worker_id, lambda w: self._forget_tables(w, effect.job_id))
            case fx.FindAttempts():
                self._send(effect.worker_id, self._find)
            case fx.PublishParts():
                self.watch.see_publication(effect)
                event, life = ev.PartsPublished(effect.job_id, None, self.now), self._life
                # as much later as a cancellation, a lost worker or a killed master may come between
                after_s = self.rng.uniform(0, 2)
                self.after(after_s, lambda: self._life == life and self.feed(event) and None)
            case fx.CloseSession():
                self._closed(self.workers[effect.worker_id], effect.session)
            case fx.AcceptWorker():
                self._send(effect.worker_id, lambda w: self._accepted(w, effect.forget))
            case _:
                pass

    def _send(self, worker_id: str, deliver: Callable[[SimulatedWorker], None]) -> None:
        """Deliver to the worker's present session after a delay, or lose the session."""
        worker = self.workers[worker_id]
        session = worker.session
        if self.happens(self.faults.lose_message):
            self.after(0.01, lambda: self._break_session(worker, session))
            return

        # the oldest one first, though pauses of the worker overlap
        worker.inbox.append((session, deliver))

        def arrive() -> None:
            if worker.is_alive and worker.paused_until > self.now:
                self.at(worker.paused_until, arrive)
                return
            sent_in, take = worker.inbox.popleft()
            if worker.is_alive and worker.session == sent_in:
                take(worker)

        worker.arrives_at = max(worker.arrives_at, self.now + self._delay())
        self.at(worker.arrives_at, arrive)

    def _delay(self) -> float:
        return 0.001 + (self.rng.random() * self.faults.delay_s if self.is_faulty else 0.0)

    def _tick(self) -> None:
        self.feed(ev.ClockTicked(self.now))
        gap = TICK_S
        if self.happens(self.faults.lose_message):  # a stopped master
            gap = 4.0
            self.after(gap, self.watch.see_gap)
        self.after(gap, self._tick)

    def _submit(self) -> None:
        job_id = self._uuid()
        if not self._is_up:
            self.after(0.5, self._submit)  # the client could not connect: it tries again
            return
        plan = random_plan(self.rng)
        limit_s = 300.0 if self.rng.random() < 0.2 else None
        wanted = request(f"job{len(self.job_ids)}", limit_s)
        self.feed(ev.JobSubmitted(job_id, wanted, (plan,), self.now))
        assert self.reply is not None
        if not self.reply.is_complete:
            # not acknowledged. The client repeats it with its key, and gets the job if it is there
            if job_id in self.journal.jobs:
                self.job_ids.append(job_id)
            else:
                self.after(0.5, self._submit)
            return
        self.job_ids.append(job_id)
        if self.rng.random() < self.faults.cancel:
            event = ev.JobCancelRequested(job_id, "test", self.now)
            self.after(self.rng.uniform(0, 5), lambda: self.feed(event) and None)

    # --- workers -------------------------------------------------------------------------------

    def _start(self, worker: SimulatedWorker) -> None:
        worker.is_alive, worker.is_draining = True, False
        if not (self.has_fixed_ports and worker.port):
            self._ports += 1
            worker.port = self._ports
        self._register(worker)

    def _register(self, worker: SimulatedWorker) -> None:
        if not worker.is_alive:
            return
        if not self._is_up:
            worker.session = 0
            self.after(0.5, lambda: self._rejoin(worker))
            return
        self._sessions += 1
        worker.session = self._sessions
        worker.said, worker.tables = {}, {}
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
        queued = (order.attempt_id for order in worker.queue)
        running = (*worker.running, *queued, *worker.unconfirmed)
        session = worker.session
        self.feed(ev.WorkerRegistered(identity, session, running, self.now))
        self.after(HEARTBEAT_S, lambda: self._heartbeat(worker, session))
        if worker.kind is WorkerKind.HTTP:
            self.after(0.2, lambda: self._poll(worker, session))

    def _heartbeat(self, worker: SimulatedWorker, session: int) -> None:
        if not worker.is_alive or worker.session != session:
            return
        is_foreign = worker.kind is WorkerKind.HTTP
        if is_foreign and worker.worker_id not in self.core.state.pool.workers:
            self._register(worker)  # an earlier master knew it: the boundary takes it in again
            return
        if worker.paused_until <= self.now:
            self.feed(ev.HeartbeatReceived(worker.worker_id, len(worker.running), self.now))
        self.after(HEARTBEAT_S, lambda: self._heartbeat(worker, session))

    def _poll(self, worker: SimulatedWorker, session: int) -> None:
        if not worker.is_alive or worker.session != session:
            return
        if worker.paused_until <= self.now and len(worker.running) < worker.slots:
            event = ev.TaskRequested(worker.worker_id, str(self.now), self.now)
            for effect in self.feed(event):
                if isinstance(effect, fx.AnswerTaskRequest) and effect.task is not None:
                    self._run_foreign(worker, effect.task)
        self.after(0.3, lambda: self._poll(worker, session))

    def _run_foreign(self, worker: SimulatedWorker, task: fx.HttpTask) -> None:
        order = task.order
        worker.running[order.attempt_id] = order
        attempt = self.core.state.jobs[order.job_id].stages[order.stage_index].tasks
        files = self.watch.documented_files(attempt[order.partition].live)

        does_hang = self.happens(self.faults.hang)

        def end() -> None:
            if worker.running.pop(order.attempt_id, None) is None or not worker.is_alive:
                return
            if does_hang:
                return
            is_wrong = self.happens(0.05)
            event = ev.HttpTaskCompleted(
                order.attempt_id,
                not self.happens(self.faults.fail),
                "boom",
                ("/elsewhere",) if is_wrong else files,
                7,
                self.now,
            )
            self.feed(event)
            if self.happens(self.faults.duplicate):
                self.feed(event)

        self.after(HANG_S if does_hang else self.rng.uniform(0.05, 1.0), end)

    def _launched(self, worker: SimulatedWorker, launch: fx.LaunchAttempts) -> None:
        worker.tables.update(launch.tables)
        known = {**worker.tables, **launch.outputs}
        for order in launch.orders:
            if order.outputs_id is not None:
                worker.outputs_of[order.attempt_id] = known[order.outputs_id]
            worker.queue.append(order)
        self._fill(worker)

    @staticmethod
    def _forget_tables(worker: SimulatedWorker, job_id: str) -> None:
        for name in [name for name in worker.tables if name.startswith(job_id)]:
            del worker.tables[name]

    def _fill(self, worker: SimulatedWorker) -> None:
        while worker.queue and len(worker.running) < worker.slots:
            order = worker.queue.pop(0)
            worker.running[order.attempt_id] = order
            worker.directories[order.attempt_id] = False
            self._report(worker, ev.AttemptStarted(worker.worker_id, order.attempt_id, self.now))
            duration_s = self.rng.uniform(0.05, 1.0) / worker.speed
            self.after(duration_s, lambda order=order: self._finish(worker, order))

    def _finish(self, worker: SimulatedWorker, order: TaskOrder) -> None:
        if not worker.is_alive or order.attempt_id not in worker.running:
            return
        if worker.paused_until > self.now:
            self.at(worker.paused_until, lambda: self._finish(worker, order))
            return
        del worker.running[order.attempt_id]
        places = worker.outputs_of.pop(order.attempt_id, ())
        lost = tuple(p.attempt_id for p in places if self._is_unreadable(worker, p))
        who, attempt_id = worker.worker_id, order.attempt_id
        event: ev.Event
        if lost:
            event = ev.OutputsUnreadable(who, attempt_id, lost, "gone", self.now)
        elif self.happens(self.faults.fail):
            event = ev.AttemptFailed(who, attempt_id, "error", "boom", self.now)
        else:
            outcome = self._outcome(order)
            if outcome.bytes_written:
                worker.directories[attempt_id] = True
            else:
                self.watch.empty[attempt_id] = None
                self._delete(worker, (attempt_id,))
            event = ev.AttemptSucceeded(who, attempt_id, outcome, self.now)
        if not isinstance(event, ev.AttemptSucceeded):
            self._delete(worker, (attempt_id,))
        self._report(worker, event)
        self._fill(worker)

    def _is_unreadable(self, reader: SimulatedWorker, place: OutputLocation) -> bool:
        """Not on the reader's own disk, nor served at that address."""
        owner = self.workers[place.worker_id]
        if owner.kind is WorkerKind.HTTP:
            return False
        if self.happens(self.faults.lose_output):
            owner.directories.pop(place.attempt_id, None)
        is_near = self.is_short_circuit and reader.host == place.host_id
        is_served = any(
            other.is_alive and (other.host, other.port) == (place.host_id, place.port)
            for other in self.workers.values()
        )
        return not (is_near or is_served) or not owner.directories.get(place.attempt_id)

    def _outcome(self, order: TaskOrder) -> TaskOutcome:
        sink = self.watch.stage_of(order).program.sink
        files = (("f", f"{order.job_id}-{order.stage_id}-{order.partition}"),)
        if isinstance(sink, (PartitionFile, DocumentedShuffle)):
            return TaskOutcome(5, 100, files=files)
        return TaskOutcome(0, 0) if self.happens(EMPTY) else TaskOutcome(5, 100)

    def _report(self, worker: SimulatedWorker, event: ev.Event) -> None:
        """A report reaches the master within the session that it was sent in; sometimes twice. The
        end of an attempt is repeated in the next session, until the master calls it durable.
        """
        session = worker.session
        if isinstance(event, (ev.AttemptSucceeded, ev.AttemptFailed, ev.OutputsUnreadable)):
            worker.unconfirmed[event.attempt_id] = event
        if self.happens(self.faults.lose_message):
            self._break_session(worker, session)
            return

        def arrive() -> None:
            if worker.session == session and session:
                self._take_report(worker, session, event)

        delay_s = self._delay()
        self.after(delay_s, arrive)
        if self.happens(self.faults.duplicate):
            self.after(delay_s + self.rng.random(), lambda: self.feed(event) and None)

    def _take_report(self, worker: SimulatedWorker, session: int, event: ev.Event) -> None:
        life = self._life
        self.feed(event)
        if self._is_up and self._life == life and worker.session == session:
            attempt_id = getattr(event, "attempt_id", "")
            if isinstance(event, ev.AttemptStarted):
                worker.said[attempt_id] = None
            else:
                worker.unconfirmed.pop(attempt_id, None)

    def _accepted(self, worker: SimulatedWorker, forget: tuple[str, ...]) -> None:
        """The master registered it: it forgets what nobody waits for, and repeats itself."""
        self._cancelled(worker, forget)
        for attempt_id in forget:
            worker.unconfirmed.pop(attempt_id, None)
        for event in list(worker.unconfirmed.values()):
            self._report(worker, event)
        for attempt_id in worker.running:
            self._report(worker, ev.AttemptStarted(worker.worker_id, attempt_id, self.now))
        if worker.is_draining:
            self._report(worker, ev.WorkerDraining(worker.worker_id, self.now))

    def _commit(self, worker: SimulatedWorker, attempt_id: str) -> None:
        if self.happens(self.faults.fail / 5):
            event: ev.Event = ev.CommitRefused(worker.worker_id, attempt_id, "full", self.now)
        else:
            event = ev.OutputCommitted(worker.worker_id, attempt_id, self.now)
        self._report(worker, event)

    def _cancelled(self, worker: SimulatedWorker, attempt_ids: tuple[str, ...]) -> None:
        gone = dict.fromkeys(attempt_ids)
        worker.queue = [order for order in worker.queue if order.attempt_id not in gone]
        for attempt_id in gone:
            worker.running.pop(attempt_id, None)
        self._delete(worker, attempt_ids)
        self._fill(worker)

    def _drop(self, worker: SimulatedWorker, attempt_ids: tuple[str, ...]) -> None:
        needed = [i for i in attempt_ids if i in self.watch.accepted_attempts]
        assert not needed, f"{needed} are deleted, and are what running jobs read"
        self._delete(worker, attempt_ids)

    def _delete(self, worker: SimulatedWorker, attempt_ids: tuple[str, ...]) -> None:
        for other in self._on_disk_of(worker):
            for attempt_id in attempt_ids:
                other.directories.pop(attempt_id, None)

    def _find(self, worker: SimulatedWorker) -> None:
        found = tuple(i for other in self._on_disk_of(worker) for i in other.directories)
        self._report(worker, ev.AttemptsFound(worker.worker_id, found, self.now))

    def _on_disk_of(self, worker: SimulatedWorker) -> list[SimulatedWorker]:
        return [other for other in self.workers.values() if other.host == worker.host]

    # --- faults --------------------------------------------------------------------------------

    def _plan_faults(self, worker: SimulatedWorker) -> None:
        if self.faults.crash_every_s:
            when = self.rng.expovariate(1 / self.faults.crash_every_s)
            self.after(when, lambda: self._crash(worker))
        if self.faults.pause_every_s:
            when = self.rng.expovariate(1 / self.faults.pause_every_s)
            self.after(when, lambda: self._pause(worker))
        if self.faults.drain_every_s and worker.kind is WorkerKind.SOCKET:
            when = self.rng.expovariate(1 / self.faults.drain_every_s)
            self.after(when, lambda: self._drain(worker))

    def _drain(self, worker: SimulatedWorker) -> None:
        """It ends once it has nothing to do, and comes back after a while."""
        if not self.is_faulty:
            return
        if worker.is_alive and not worker.is_draining:
            worker.is_draining = True
            if worker.session:
                self._report(worker, ev.WorkerDraining(worker.worker_id, self.now))
            self.after(0.3, lambda: self._end_drained(worker))
        when = self.rng.expovariate(1 / self.faults.drain_every_s)
        self.after(when, lambda: self._drain(worker))

    def _end_drained(self, worker: SimulatedWorker) -> None:
        if not (worker.is_alive and worker.is_draining):
            return
        is_busy = worker.running or worker.queue or worker.unconfirmed or not worker.session
        if is_busy or worker.paused_until > self.now:
            self.after(0.3, lambda: self._end_drained(worker))
            return
        worker.is_alive = False
        event = ev.WorkerDisconnected(worker.worker_id, worker.session, self.now)
        self.after(self._delay(), lambda: self.feed(event) and None)
        self.after(self.rng.uniform(0.2, 6), lambda: self._start(worker))

    def _crash(self, worker: SimulatedWorker) -> None:
        """SIGKILL; the process comes back after a while, with what lies on its disk, or without."""
        if not self.is_faulty:
            return
        if worker.is_alive:
            worker.is_alive = False
            worker.running, worker.queue, worker.unconfirmed = {}, [], {}
            if self.rng.random() < 0.3:
                worker.directories = {}
            if worker.kind is WorkerKind.SOCKET:
                event = ev.WorkerDisconnected(worker.worker_id, worker.session, self.now)
                self.after(self._delay(), lambda: self.feed(event) and None)
            self.after(self.rng.uniform(0.2, 6), lambda: self._start(worker))
        when = self.rng.expovariate(1 / self.faults.crash_every_s)
        self.after(when, lambda: self._crash(worker))

    def _pause(self, worker: SimulatedWorker) -> None:
        """SIGSTOP, then SIGCONT: longer than the heartbeat timeout, sometimes."""
        if not self.is_faulty:
            return
        worker.paused_until = self.now + self.rng.uniform(0.5, 8)
        when = self.rng.expovariate(1 / self.faults.pause_every_s)
        self.after(when, lambda: self._pause(worker))

    def _closed(self, worker: SimulatedWorker, session: int) -> None:
        """The master closed a silent worker's session: it sees that when it goes on."""
        if worker.is_alive and worker.session == session:
            worker.session = 0
            when = max(self.now, worker.paused_until) + 0.05
            self.at(when, lambda: self._register(worker) if worker.session == 0 else None)

    def _break_session(self, worker: SimulatedWorker, session: int) -> None:
        if not worker.is_alive or worker.session != session or worker.kind is WorkerKind.HTTP:
            return
        worker.session = 0
        self.feed(ev.WorkerDisconnected(worker.worker_id, session, self.now))
        self.after(0.1, lambda: self._register(worker) if worker.session == 0 else None)
