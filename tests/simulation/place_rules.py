"""What must never happen to readers: sent to too few outputs or to other ones, to one that is known
to be bad, or to a disk where nobody is.

Each message is the rule. Must not know budgets, nor how jobs end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from minispark.model import effects as fx
from minispark.model import events as ev
from minispark.model.plan import OutputLocation, TaskOrder
from minispark.model.states import WorkerKind
from tests.simulation.ledger import Ledger

if TYPE_CHECKING:
    from tests.simulation.simulator import Simulation


class PlaceRules:
    """Checked at every launch. A disk is that of a host."""

    def __init__(self, simulation: Simulation, ledger: Ledger) -> None:
        self._simulation, self._ledger = simulation, ledger
        self.empty: dict[str, None] = {}
        """Attempts whose output has no records: nobody is sent there."""
        self._unreadable: dict[str, None] = {}
        """Outputs that a live attempt could not read, and said so, though nobody had come to their
        disk, or gone, since it was launched.
        """
        self._now_unreadable: dict[str, None] = {}
        """Those of this turn: what it launches may still name them."""
        self._changes: dict[str, int] = {}
        """How often somebody came to, or went from, a disk."""
        self._up: dict[str, dict[str, None]] = {}
        self._left_at: dict[str, float] = {}
        """Since when no worker of ours is Up on a disk, as far as a master knows."""
        self._looked_at = 0.0
        self._launched_at: dict[str, dict[str, int]] = {}
        """`_changes` when the attempt was launched."""
        self._tables: dict[str, dict[str, tuple[OutputLocation, ...]]] = {}
        """What each worker was sent in its session."""

        self._to_ask: dict[str, None] = {}
        """Disks to which somebody came, or from which somebody went, in this turn."""
        self._driver_came: str | None = None
        """The disk of the driver that came in this turn, where it can look itself."""

    def master_began(self) -> None:
        """It has seen nobody come yet."""
        self._up, self._looked_at = {}, 0.0
        for host in self._changes:
            self._change(host)

    def see_gap(self) -> None:
        """The master was stopped: all deadlines begin anew."""
        self._left_at = dict.fromkeys(self._left_at, self._simulation.watch.now)

    def _change(self, host: str) -> None:
        self._changes[host] = self._changes.get(host, 0) + 1
        if self._up.get(host):
            self._left_at.pop(host, None)
        else:
            self._left_at[host] = self._simulation.watch.now

    # --- turns ---------------------------------------------------------------------------------

    def begin_turn(self, event: ev.Event | None) -> None:
        self._now_unreadable, self._to_ask, self._driver_came = {}, {}, None
        if isinstance(event, ev.OutputsUnreadable) and event.attempt_id in self._ledger.live:
            before = self._launched_at.get(event.attempt_id, {})
            hosts = {i: self._host_of(i) for i in event.lost}
            self._now_unreadable = dict.fromkeys(
                i for i, host in hosts.items() if before.get(host) == self._changes.get(host)
            )

    def _host_of(self, attempt_id: str) -> str:
        """On whose disk its accepted output is."""
        task = self._ledger.accepted_ids.get(attempt_id)
        if task is None:
            return ""
        return self._ledger.workers[self._ledger.accepted[task].worker_id].host_id

    def end_turn(self, event: ev.Event | None) -> None:
        self._unreadable.update(self._now_unreadable)
        unasked = [h for h in self._to_ask if self._up.get(h) or h == self._driver_came]
        assert not unasked, f"nobody is asked what lies on {unasked}"
        if isinstance(event, ev.ClockTicked) and self._simulation.core.state.pool.slots_total:
            self._looked_at = self._simulation.watch.now

    def see_fact(self, fact: fx.Fact | fx.ForgetJob) -> None:
        match fact:
            case fx.WorkerSeen(worker) if worker.kind is WorkerKind.SOCKET:
                self._up.setdefault(worker.host_id, {})[worker.worker_id] = None
                self._tables.pop(worker.worker_id, None)  # a session that was sent nothing yet
                self._change(worker.host_id)
                self._to_ask[worker.host_id] = None
            case fx.WorkerSeen(worker) if worker.kind is WorkerKind.SPARK:
                self._driver_came = worker.host_id
                self._to_ask[worker.host_id] = None
            case fx.WorkerLost(worker_id) if self._ledger.is_driver(worker_id):
                self._to_ask[self._ledger.workers[worker_id].host_id] = None
            case fx.WorkerLost(worker_id):
                host = self._ledger.workers[worker_id].host_id
                self._up.get(host, {}).pop(worker_id, None)
                self._change(host)
                if self._ledger.is_ours(worker_id):
                    self._to_ask[host] = None
            case _:
                pass

    # --- launches ------------------------------------------------------------------------------

    def see(self, effect: fx.Effect) -> None:
        match effect:
            case fx.FindAttempts(worker_id):
                self._to_ask.pop(self._ledger.workers[worker_id].host_id, None)
            case fx.LaunchAttempts():
                self._see_launch(effect)
            case fx.TellOutputs(_, _, outputs):
                self._check_places(tuple(o.place for o in outputs if o.place is not None))
            case _:
                pass

    def _see_launch(self, effect: fx.LaunchAttempts) -> None:
        tables = self._tables.setdefault(effect.worker_id, {})
        tables.update(effect.tables)
        known = {**tables, **effect.outputs}
        named = [order.outputs_id for order in effect.orders if order.outputs_id is not None]
        for name in dict.fromkeys(named):
            self._check_places(known[name])
        for order in effect.orders:
            self._launched_at[order.attempt_id] = dict(self._changes)
            if order.outputs_id is not None:
                self._check_outputs(order, known[order.outputs_id])

    def _check_places(self, places: tuple[OutputLocation, ...]) -> None:
        stale = [p.attempt_id for p in places if p.attempt_id in self._unreadable]
        assert not stale, f"readers are sent to {stale}, which somebody could not read"
        given_up = self._looked_at - self._simulation.limits.heartbeat_timeout_s
        for place in places:
            if not self._ledger.is_ours(place.worker_id):
                continue
            left_at = self._left_at.get(place.host_id, self._simulation.watch.now)
            assert left_at >= given_up, f"{place} is gone since {left_at}"
            up = self._up.get(place.host_id, {})
            ports = [self._ledger.workers[worker_id].port for worker_id in up]
            assert not ports or place.port in ports, f"{place} is served at {ports} only"

    def _check_outputs(self, order: TaskOrder, places: tuple[OutputLocation, ...]) -> None:
        """A reader is sent to exactly the accepted outputs of what it reads, but for empty ones."""
        wanted: list[tuple[int, int, str]] = []
        inputs = self._ledger.inputs_of((order.job_id, order.stage_index, order.partition))
        for _, index, partition in sorted(inputs):
            if (index, partition) in order.awaited or index in order.unmade:
                continue
            accepted = self._ledger.accepted[order.job_id, index, partition].attempt_id
            if accepted not in self.empty:
                wanted.append((index, partition, accepted))
        sent = sorted((p.stage_index, p.partition, p.attempt_id) for p in places)
        assert sent == wanted, f"{order} is sent to {sent}; accepted is {wanted}"
