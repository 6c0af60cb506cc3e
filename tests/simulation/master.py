"""The real core under the real loop, killed now and then and started again on its journal.

What arrives is queued, and taken in in batches of any size; now and then the journal cannot be
written for a while, and a batch is held. Every batch is checked here. Must not know how workers do
what they do.
"""

from __future__ import annotations

import sqlite3
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from minispark.master.board import SnapshotBoard
from minispark.master.loop import WRITE_RETRY_S, MasterLoop, Reply
from minispark.model import effects as fx
from minispark.model import events as ev
from minispark.model.snapshot import Snapshot
from minispark.model.states import WorkerKind
from minispark.scheduling import invariants
from minispark.scheduling.core import SchedulingCore

if TYPE_CHECKING:
    from tests.simulation.simulator import Simulation


KILLS_AT_SUBMIT = 50
"""Times more often is the master killed at a submit than at another event."""
REFUSALS_MAX = 2
"""So often is one batch refused by a full disk: for less than what is a gap of the clock."""
QUEUE_S_MAX = 0.02
"""So long do events wait for others, at most."""


class MasterKilled(Exception):
    """SIGKILL of the master at this point of its loop."""


class ObservedCore(SchedulingCore):
    """Says where in a batch's effects those of each of its events end."""

    ends: list[tuple[ev.Event, int]]

    def _take_in(self, event: ev.Event, now: float, effects: list[fx.Effect]) -> None:
        super()._take_in(event, now, effects)
        self.ends.append((event, len(effects)))

    def turns(self, effects: list[fx.Effect]) -> list[tuple[ev.Event | None, list[fx.Effect]]]:
        """Each event with what it led to; the last one also with what was placed after it."""
        turns: list[tuple[ev.Event | None, list[fx.Effect]]] = []
        begin = 0
        for index, (event, end) in enumerate(self.ends):
            is_last = index == len(self.ends) - 1
            turns.append((event, effects[begin:] if is_last else effects[begin:end]))
            begin = end
        return turns or [(None, effects)]


class SimulatedLoop(MasterLoop):
    """Waits in virtual time."""

    hold: Callable[[float], None]
    effects: list[fx.Effect]
    """Of the present batch."""

    def carry_out(self, effects: list[fx.Effect], replies: list[Reply]) -> None:
        self.effects = effects
        super().carry_out(effects, replies)

    def pause(self) -> bool:
        self.hold(WRITE_RETRY_S)
        return False


class WatchedBoard(SnapshotBoard):
    """Readers see nothing that a killed master would have forgotten."""

    def __init__(self, see: Callable[[Snapshot], None]) -> None:
        super().__init__()
        self._see = see

    def publish(self, snapshot: Snapshot) -> None:
        self._see(snapshot)
        super().publish(snapshot)


Done = Callable[[Reply], None]


class SimulatedMaster:
    """One master after another; `begin` starts the first."""

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation
        self.kills = 0
        self.held = 0
        """Batches that a full disk held."""
        self.batched = 0
        """Events that were taken in with others."""
        self.life = 0
        """Which master this is; messages of an earlier one arrive nowhere."""
        self.is_up = False
        self.is_busy = False
        """It handles a batch: what arrives meanwhile, because it is held, is queued."""
        self._queue: deque[tuple[ev.Event, Reply, Done | None]] = deque()
        self._taken: list[tuple[ev.Event, Reply, Done | None]] = []
        self._taken_at = 0.0
        self._refusals = 0
        """How often the journal will refuse the present batch."""
        self._doom: str | None = None
        """Where in its loop the master will be killed."""

    @property
    def is_open(self) -> bool:
        """Whether it takes in what somebody waits for."""
        return self.is_up and self.loop.blocked_by is None

    def begin(self) -> None:
        """A master starts on what the journal holds."""
        self.core = ObservedCore(self._simulation.limits)
        self.core.ends = []
        self._taken_at = self._simulation.now
        self._simulation.watch.master_began()
        self.life += 1
        self.is_up = True
        effects = self.core.restore(
            self._simulation.journal.unfinished(),
            self._simulation.journal.workers,
            self._simulation.now,
            self._simulation.now,
        )
        self.loop = SimulatedLoop(
            self.core,
            self._write,
            self._carry_out,
            WatchedBoard(self._simulation.journal.check_published),
            lambda: None,
            lambda: self._simulation.now,
        )
        self.loop.hold = self._simulation.pass_time
        if self._simulation.is_checked:
            invariants.check(self.core)
        self.loop.carry_out(effects, [])

    def _kill(self) -> None:
        """Every session ends; another master starts a little later, and workers find it."""
        self.is_up, self._doom, self._refusals = False, None, 0
        self.kills += 1
        self._simulation.after(self._simulation.rng.uniform(0.05, 2.0), self.begin)
        for worker in self._simulation.workers.values():
            if worker.kind is not WorkerKind.HTTP:
                worker.session = 0
                self._simulation.after(
                    2.0 + self._simulation.rng.random(),
                    lambda worker=worker: self._simulation.sessions.rejoin(worker),
                )
        self._taken += self._queue
        self._queue.clear()

    def feed(self, event: ev.Event, done: Done | None = None) -> None:
        """Queue an event for the master's loop. While no master runs it is lost.

        `done` is called when it was handled, or lost with its master: then the reply is not
        complete.
        """
        if not self.is_up:
            return
        self._queue.append((event, Reply(), done))
        if len(self._queue) == 1 and not self.is_busy:
            self._wake()

    def _wake(self) -> None:
        life, rng = self.life, self._simulation.rng
        delay_s = rng.choice([0.0, rng.uniform(0, QUEUE_S_MAX)])
        self._simulation.after(delay_s, lambda: self._drain(life))

    def _drain(self, life: int) -> None:
        """Handle some of what is queued, in one batch; a tick ends it, as in the loop."""
        if life != self.life or not self.is_up:
            return
        for _ in range(self._simulation.rng.randint(1, len(self._queue))):
            self._taken.append(self._queue.popleft())
            if isinstance(self._taken[-1][0], ev.ClockTicked):
                break
        self.batched += len(self._taken) if len(self._taken) > 1 else 0
        self.is_busy = True
        self._handle([event for event, _, _ in self._taken])
        self.is_busy = False
        taken, self._taken = self._taken, []
        if self.is_up and self._queue:
            self._wake()
        for _, reply, done in taken:
            if done is not None:
                done(reply)

    def _handle(self, events: list[ev.Event]) -> None:
        """Give the master's loop a batch, check everything, and carry out what it asks for."""
        simulation = self._simulation
        self._doom = None
        self._refusals = 0
        is_submit = any(isinstance(event, ev.JobSubmitted) for event in events)
        if simulation.happens(
            simulation.faults.kill_master * (KILLS_AT_SUBMIT if is_submit else 1)
        ):
            self._doom = simulation.rng.choice(["before", "between"])
        if simulation.happens(simulation.faults.full_disk):
            self._refusals = simulation.rng.randint(1, REFUSALS_MAX)
        for event in events if simulation.log is not None else ():
            simulation.log(f"{simulation.now:9.3f}  {event}")
        self._taken_at, self.core.ends = simulation.now, []
        try:
            self.loop.handle([(event, reply) for event, reply, _ in self._taken])
        except MasterKilled:
            self._kill()
            return
        if self._doom is not None:
            # a batch without facts: it dies after it
            self._kill()
        elif simulation.is_checked:
            invariants.check(self.core)

    def _write(self, facts: list[fx.Fact | fx.ForgetJob]) -> None:
        if self._refusals:
            self._refusals -= 1
            self.held += 1
            full = sqlite3.OperationalError("database or disk is full")
            full.sqlite_errorcode = sqlite3.SQLITE_FULL
            raise full
        if self._doom == "before":
            raise MasterKilled
        self._simulation.journal.write(facts)
        self._simulation.watch.written(facts)
        if self._doom == "between":
            turns = self.core.turns(self.loop.effects)
            self._simulation.watch.begin_batch(self.loop.effects)
            self._simulation.watch.master_died(turns, self._taken_at)
            raise MasterKilled

    def _carry_out(self, effects: list[fx.Effect]) -> None:
        simulation = self._simulation
        simulation.transcript.append(f"{simulation.now:.6f} {effects}")
        simulation.watch.begin_batch(effects)
        for event, own in self.core.turns(effects):
            simulation.watch.begin_turn(event, self._taken_at)
            for effect in own:
                if simulation.log is not None:
                    simulation.log(f"           -> {effect}")
                simulation.watch.see(effect)
                simulation.sessions.perform(effect)
            simulation.watch.end_turn()
        simulation.watch.end_batch()
