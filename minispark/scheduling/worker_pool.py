"""The workers that the core knows, and where the next task goes: a round robin that looks at load.

`available` holds the Up workers with a free slot in the order of their turn, `prefetchable` those
whose slots are full but whose queue has room; both are kept, never searched for. They are
OrderedDicts: to find its first key, a dict passes over all that left it since it last grew.
Must not know jobs or tasks beyond the attempts' ids.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from itertools import islice

from minispark.model.events import Disk, WorkerIdentity
from minispark.model.snapshot import WorkerView
from minispark.model.states import (
    WORKER_TRANSITIONS,
    WorkerKind,
    WorkerState,
    check_transition,
)
from minispark.scheduling.limits import HTTP_SLOTS, PLACEMENT_SCAN_MAX, QUICK_PREFETCH
from minispark.scheduling.task_run import Attempt


class Worker:
    """One worker. Up means: it may get tasks."""

    __slots__ = (
        "attempts",
        "committing",
        "expected_until",
        "identity",
        "is_draining",
        "is_pooled",
        "is_pushed",
        "is_refused",
        "last_heartbeat",
        "last_heartbeat_unix_s",
        "session",
        "slots",
        "state",
        "tables",
    )

    def __init__(self, identity: WorkerIdentity, session: int, now: float, at_unix_s: float):
        self.introduce(identity, session)
        self.state = WorkerState.UP
        self.last_heartbeat = now
        self.last_heartbeat_unix_s = at_unix_s
        self.attempts: dict[str, Attempt] = {}
        """Live attempts by id: queued and running."""
        self.committing: dict[str, Attempt] = {}
        """Accepted attempts whose files it was told to name."""
        self.expected_until: float | None = None
        """Down since the master restarted, it may come back with its attempts until then."""
        self.is_draining = False
        """Up, and about to end: it gets no more tasks."""
        self.is_refused = False
        """A foreign worker that writes where nobody looks; it gets no more tasks."""

    def introduce(self, identity: WorkerIdentity, session: int) -> None:
        """What it says of itself when its session begins."""
        self.identity = identity
        self.session = session
        self.slots = HTTP_SLOTS if identity.kind is WorkerKind.HTTP else identity.slots
        self.is_pushed = identity.kind is not WorkerKind.HTTP
        """Whether tasks are pushed to it; a foreign worker asks for them."""
        self.is_pooled = identity.kind is WorkerKind.SOCKET
        """Whether it has slots, and serves what it wrote; a Spark driver does neither."""
        self.tables: dict[str, dict[str, tuple[int, ...]]] = {}
        """Which locations of outputs it was sent in this session: by job and name, the versions
        that they are of.
        """

    @property
    def is_driver(self) -> bool:
        """Of a Spark application."""
        return self.identity.kind is WorkerKind.SPARK

    def view(self) -> WorkerView:
        return WorkerView(self.identity, self.state, len(self.attempts), self.last_heartbeat_unix_s)


@dataclass(frozen=True, slots=True)
class Presence:
    """Which kinds of workers are Up."""

    has_ours: bool = False
    has_foreign: bool = False
    """Trusted ones, that is."""
    has_refused: bool = False
    has_driver: bool = False


@dataclass(slots=True)
class DiskUse:
    """Who is on one disk. Only our own workers count: a foreign one serves and deletes nothing."""

    up: dict[str, Worker] = field(default_factory=dict)
    """Each of them can read, serve and delete everything there."""
    left_at: float | None = None
    """Since when nobody is Up there (monotonic seconds)."""
    version: int = 0
    """The pool's, when somebody came or went last."""


class WorkerPool:
    """All workers, by id in order of first registration."""

    def __init__(self, max_load_diff: int, prefetch: int | None) -> None:
        self.workers: dict[str, Worker] = {}
        self.available: OrderedDict[str, None] = OrderedDict()
        self.prefetchable: OrderedDict[str, None] = OrderedDict()
        self.quickly_prefetchable: OrderedDict[str, None] = OrderedDict()
        """Those whose queue is full, but not for the tasks of quick stages."""
        self.slots_total = 0
        """Slots of Up workers that tasks are pushed to."""
        self.placed = 0
        """Attempts placed so far: where the round robin stands."""
        self.live: dict[str, Attempt] = {}
        """The attempts of all workers."""
        self.waiting: dict[str, Attempt] = {}
        """Those that began early and were not told of all that they read, the last one last."""
        self.disks: dict[Disk, DiskUse] = {}
        self.version = 0
        """Grows when a worker comes or goes: outputs may be read at another place then."""
        self.changed: dict[str, None] = {}
        """Workers that readers have not seen as they are now."""
        self._max_load_diff = max_load_diff
        self._prefetch = prefetch
        self._available_by_load: list[OrderedDict[str, None]] = []

    # --- coming and going --------------------------------------------------------------------

    def register(
        self, identity: WorkerIdentity, session: int, now: float, at_unix_s: float
    ) -> Worker:
        """A new worker, or a known one that came back, with what it said this time."""
        worker = self.workers.get(identity.worker_id)
        if worker is None:
            worker = Worker(identity, session, now, at_unix_s)
            self.workers[identity.worker_id] = worker
        else:
            if worker.state is WorkerState.UP:
                self.take_down(worker, "registered again", now)
            worker.introduce(identity, session)
            worker.expected_until = None
            worker.is_draining = False
        if worker.state is WorkerState.DOWN:
            worker.state = check_transition(
                WORKER_TRANSITIONS, f"worker {identity.name}", worker.state, WorkerState.UP, session
            )
        worker.last_heartbeat, worker.last_heartbeat_unix_s = now, at_unix_s
        if worker.is_pooled:
            self.slots_total += worker.slots
            self._enlist(worker)
            disk = self._change(worker)
            disk.up[identity.worker_id], disk.left_at = worker, None
        return worker

    def bring_up(self, worker: Worker, event: object) -> None:
        """A Down foreign worker sent a heartbeat."""
        worker.expected_until = None
        worker.state = check_transition(
            WORKER_TRANSITIONS,
            f"worker {worker.identity.name}",
            worker.state,
            WorkerState.UP,
            event,
        )

    def expect(self, identity: WorkerIdentity, now: float, until: float) -> Worker:
        """One that an earlier master knew: Down, and waited for until then."""
        worker = Worker(identity, 0, until, 0.0)
        worker.state, worker.expected_until = WorkerState.DOWN, until
        if worker.is_pooled:
            self.disks.setdefault(identity.disk, DiskUse(left_at=now))
        self.workers[identity.worker_id] = worker
        self.changed[identity.worker_id] = None
        return worker

    def restart_deadlines(self, worker: Worker, now: float) -> None:
        """The clock has a gap: what a worker did not do meanwhile is held against nobody."""
        worker.last_heartbeat = now
        for attempt in worker.attempts.values():
            attempt.assigned_at = now

    def presence(self) -> Presence:
        """What kinds of workers are Up. Looks at all workers."""
        up = [w for w in self.workers.values() if w.state is WorkerState.UP]
        return Presence(
            has_ours=any(worker.is_pooled for worker in up),
            has_foreign=any(not worker.is_pushed and not worker.is_refused for worker in up),
            has_refused=any(worker.is_refused for worker in up),
            has_driver=any(worker.is_driver for worker in up),
        )

    def driver(self) -> Worker | None:
        """A Spark driver that is Up. Looks at all workers."""
        for worker in self.workers.values():
            if worker.is_driver and worker.state is WorkerState.UP and not worker.is_draining:
                return worker
        return None

    def take_down(self, worker: Worker, event: object, now: float) -> None:
        """No more tasks for it; its attempts are the caller's to end."""
        worker.state = check_transition(
            WORKER_TRANSITIONS,
            f"worker {worker.identity.name}",
            worker.state,
            WorkerState.DOWN,
            event,
        )
        if not worker.is_pooled:
            return
        disk = self._change(worker)
        del disk.up[worker.identity.worker_id]
        disk.left_at = None if disk.up else now
        if not worker.is_draining:
            self.slots_total -= worker.slots
            self._delist(worker, len(worker.attempts))

    def drain(self, worker: Worker) -> None:
        """It stays Up, and gets no more tasks."""
        worker.is_draining = True
        if worker.is_pooled:
            self.slots_total -= worker.slots
            self._delist(worker, len(worker.attempts))

    # --- disks -----------------------------------------------------------------------------------

    def server(self, worker: Worker) -> Worker | None:
        """Who can read, serve and delete now what the worker wrote: itself, or an Up one on its
        disk.
        """
        if worker.state is WorkerState.UP and worker.is_pushed:
            return worker
        disk = self.disks.get(worker.identity.disk)
        return next(iter(disk.up.values()), None) if disk is not None else None

    def has_changed(self, worker: Worker, version: int) -> bool:
        """Whether somebody came to, or went from, the worker's disk since the pool's version."""
        disk = self.disks.get(worker.identity.disk)
        return disk is not None and disk.version > version

    def _change(self, worker: Worker) -> DiskUse:
        self.version += 1
        disk = self.disks.setdefault(worker.identity.disk, DiskUse())
        disk.version = self.version
        return disk

    # --- load ----------------------------------------------------------------------------------

    def add(self, worker: Worker, attempt: Attempt) -> None:
        before = len(worker.attempts)
        worker.attempts[attempt.id] = self.live[attempt.id] = attempt
        self._relist(worker, before)

    def remove(self, attempt: Attempt) -> None:
        """The attempt no longer occupies its worker."""
        worker = self.workers[attempt.worker_id]
        before = len(worker.attempts)
        del worker.attempts[attempt.id], self.live[attempt.id]
        self.waiting.pop(attempt.id, None)
        self._relist(worker, before)

    def next_available(self) -> Worker | None:
        """The next worker in turn with a free slot, unless its load is too far above the least.

        None when no slot is free.
        """
        least = self.least_load()
        if least is None:
            return None
        for _ in range(min(PLACEMENT_SCAN_MAX, len(self.available))):
            worker = self.workers[next(iter(self.available))]
            if self._is_fair(worker, least):
                return worker
            self._to_the_end(worker)
        return self.workers[next(iter(self._available_by_load[least]))]

    def other_than(self, worker_id: str) -> Worker | None:
        """A worker with a free slot, or else with room in its queue, that is not that one. Nothing
        is queued while attempts wait, for what is queued behind them: they give way.
        """
        free = self.free_other_than(worker_id)
        if free is not None or self.waiting:
            return free
        queues = [other for other in islice(self.prefetchable, 2) if other != worker_id]
        return self.workers[queues[0]] if queues else None

    def free_other_than(self, worker_id: str) -> Worker | None:
        """A worker with a free slot that is not that one."""
        for other in islice(self.available, 2):
            if other != worker_id:
                return self.workers[other]
        return None

    def can_queue(self, worker_id: str) -> bool:
        """Whether that worker may get one more task, as far as its queue and its load go. Nothing
        is queued while attempts wait, as in `other_than`.
        """
        is_fair = self._is_fair(self.workers[worker_id], self.least_load() or 0)
        return is_fair and self.has_room(worker_id)

    def has_room(self, worker_id: str) -> bool:
        """The same, however much more it has to do than others."""
        return worker_id in self.available or (worker_id in self.prefetchable and not self.waiting)

    def may_get(self, worker_id: str) -> bool:
        """Whether tasks are pushed to that worker, now or when it has room."""
        worker = self.workers.get(worker_id)
        if worker is None or not worker.is_pooled:
            return False
        return worker.state is WorkerState.UP and not worker.is_draining

    def _is_fair(self, worker: Worker, least: int) -> bool:
        return len(worker.attempts) - least <= self._max_load_diff

    def has_other(self, worker_id: str) -> bool:
        """Whether tasks are pushed to some other worker that is Up."""
        own = self.workers[worker_id]
        is_counted = own.state is WorkerState.UP and not own.is_draining
        return self.slots_total > (own.slots if is_counted else 0)

    def next_prefetching(self, is_quick: bool) -> Worker | None:
        """The next worker in turn whose slots are full and whose queue has room for a task of a
        stage that is quick, or not.
        """
        for worker_id in self.prefetchable:
            return self.workers[worker_id]
        for worker_id in self.quickly_prefetchable if is_quick else ():
            return self.workers[worker_id]
        return None

    def may_take(self, worker: Worker) -> bool:
        """Whether a foreign worker that asks may get a task now: Up, trusted, not overloaded."""
        if worker.state is not WorkerState.UP or worker.is_refused:
            return False
        load = len(worker.attempts)
        least = self.least_load()
        return load < worker.slots and (least is None or load - least <= self._max_load_diff)

    def least_load(self) -> int | None:
        """The load of the least loaded worker with a free slot."""
        for load, workers in enumerate(self._available_by_load):
            if workers:
                return load
        return None

    def room(self, worker: Worker, is_quick: bool = False) -> int:
        """How many attempts it may hold: its slots and its queue, which is longer for the tasks of
        quick stages.
        """
        return worker.slots + self._queue_room(worker.slots, is_quick)

    def _queue_room(self, slots: int, is_quick: bool) -> int:
        if self._prefetch is not None:
            return self._prefetch
        return QUICK_PREFETCH if is_quick else 2 * slots

    def is_listed_at(self, worker_id: str, load: int) -> bool:
        """Whether the worker stands among the available ones of that load."""
        return load < len(self._available_by_load) and worker_id in self._available_by_load[load]

    # --- the two rings ---------------------------------------------------------------------------

    def _enlist(self, worker: Worker) -> None:
        load, worker_id, slots = len(worker.attempts), worker.identity.worker_id, worker.slots
        if load < slots:
            self.available[worker_id] = None
            while len(self._available_by_load) <= load:
                self._available_by_load.append(OrderedDict())
            self._available_by_load[load][worker_id] = None
        elif load < slots + self._queue_room(slots, is_quick=False):
            self.prefetchable[worker_id] = None
        elif load < slots + self._queue_room(slots, is_quick=True):
            self.quickly_prefetchable[worker_id] = None

    def _delist(self, worker: Worker, load: int) -> None:
        worker_id = worker.identity.worker_id
        self.prefetchable.pop(worker_id, None)
        self.quickly_prefetchable.pop(worker_id, None)
        if worker_id in self.available:
            del self.available[worker_id]
            del self._available_by_load[load][worker_id]

    def _relist(self, worker: Worker, load_before: int) -> None:
        self.changed[worker.identity.worker_id] = None
        # leaving and entering again is what moves a worker to the end of its ring
        if worker.is_pooled and worker.state is WorkerState.UP and not worker.is_draining:
            self._delist(worker, load_before)
            self._enlist(worker)

    def _to_the_end(self, worker: Worker) -> None:
        worker_id = worker.identity.worker_id
        self.available.move_to_end(worker_id)
