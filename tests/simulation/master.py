"""The real core under the real loop, killed now and then and started again on its journal.

Every event that the core takes in is checked here. Must not know how workers do what they do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from minispark.master.board import SnapshotBoard
from minispark.master.loop import MasterLoop, Reply
from minispark.model import effects as fx
from minispark.model import events as ev
from minispark.model.states import WorkerKind
from minispark.scheduling import invariants
from minispark.scheduling.core import SchedulingCore

if TYPE_CHECKING:
    from tests.simulation.simulator import Simulation


KILLS_AT_SUBMIT = 50
"""Times more often is the master killed at a submit than at another event."""


class MasterKilled(Exception):
    """SIGKILL of the master at this point of its loop."""


class SimulatedMaster:
    """One master after another; `begin` starts the first."""

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation
        self.kills = 0
        self.reply: Reply | None = None
        self.life = 0
        """Which master this is; messages of an earlier one arrive nowhere."""
        self.is_up = False
        self._performed: list[fx.Effect] = []
        self._doom: str | None = None
        """Where in its loop the master will be killed."""

    def begin(self) -> None:
        """A master starts on what the journal holds."""
        self.core = SchedulingCore(self._simulation.limits)
        self._simulation.watch.master_began()
        self._simulation.watch.begin_turn(None)
        self.life += 1
        self.is_up = True
        effects = self.core.restore(
            self._simulation.journal.unfinished(),
            self._simulation.journal.workers,
            self._simulation.now,
            self._simulation.now,
        )
        self.loop = MasterLoop(
            self.core,
            self._write,
            self._carry_out,
            SnapshotBoard(),
            lambda: None,
            lambda: self._simulation.now,
        )
        if self._simulation.is_checked:
            invariants.check(self.core)
        self.loop.carry_out(effects, [])
        self._simulation.watch.end_turn()

    def _kill(self) -> None:
        """Every session ends; another master starts a little later, and workers find it."""
        self.is_up, self._doom = False, None
        self.kills += 1
        self._simulation.after(self._simulation.rng.uniform(0.05, 2.0), self.begin)
        for worker in self._simulation.workers.values():
            if worker.kind is WorkerKind.SOCKET:
                worker.session = 0
                self._simulation.after(
                    2.0 + self._simulation.rng.random(),
                    lambda worker=worker: self._simulation.sessions.rejoin(worker),
                )

    def feed(self, event: ev.Event) -> list[fx.Effect]:
        """Give the master's loop an event, check everything, and carry out what it asks for.

        While no master runs the event is lost; the effects are those that were carried out.
        """
        if not self.is_up:
            return []
        self._performed = []
        self._doom = None
        is_submit = isinstance(event, ev.JobSubmitted)
        if self._simulation.happens(
            self._simulation.faults.kill_master * (KILLS_AT_SUBMIT if is_submit else 1)
        ):
            self._doom = self._simulation.rng.choice(["before", "between"])
        if self._simulation.log is not None:
            self._simulation.log(f"{self._simulation.now:9.3f}  {event}")
        self.reply = Reply() if isinstance(event, ev.JobSubmitted) else None
        self._simulation.watch.begin_turn(event)
        try:
            self.loop.handle([(event, self.reply)])
        except MasterKilled:
            self._simulation.watch.master_died()
            self._kill()
            return []
        self._simulation.watch.end_turn()
        if self._doom is not None:
            # a batch without facts: it dies after it
            self._kill()
        elif self._simulation.is_checked:
            invariants.check(self.core)
        return self._performed

    def _write(self, facts: list[fx.Fact | fx.ForgetJob]) -> None:
        if self._doom == "before":
            raise MasterKilled
        self._simulation.journal.write(facts)
        self._simulation.watch.written(facts)
        if self._doom == "between":
            raise MasterKilled

    def _carry_out(self, effects: list[fx.Effect]) -> None:
        self._performed = effects
        self._simulation.transcript.append(f"{self._simulation.now:.6f} {effects}")
        for effect in effects:
            if self._simulation.log is not None:
                self._simulation.log(f"           -> {effect}")
            self._simulation.watch.see(effect)
            self._simulation.sessions.perform(effect)
