"""A simulated worker's state: what its process knows, and what lies on its disk."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from minispark.model import events as ev
from minispark.model.plan import OutputLocation, TaskOrder
from minispark.model.states import WorkerKind


@dataclass
class SimulatedWorker:
    """A worker process: its session, its slots and queue, and what it wrote on its host's disk."""

    name: str
    worker_id: str
    slots: int
    speed: float
    host: str
    port: int = 0
    """Of its data server: another one after each start, where ports are not configured."""
    kind: WorkerKind = WorkerKind.SOCKET
    is_alive: bool = False
    session: int = 0
    paused_until: float = 0.0
    queue: list[TaskOrder] = field(default_factory=list)
    running: dict[str, TaskOrder] = field(default_factory=dict)
    directories: dict[str, bool] = field(default_factory=dict)
    """Of attempts, and whether the attempt wrote all of its output."""
    tables: dict[str, tuple[OutputLocation, ...]] = field(default_factory=dict)
    """Locations of outputs that it was sent in this session."""
    inbox: deque[tuple[int, Callable[[SimulatedWorker], None]]] = field(default_factory=deque)
    """What is on its way to it, and the session in which it was sent."""
    arrives_at: float = 0.0
    """When the last message of the master reaches it: none overtakes another."""
    is_draining: bool = False
    said: dict[str, None] = field(default_factory=dict)
    """Attempts of which a master was told in this session that they started."""
    outputs_of: dict[str, tuple[OutputLocation, ...]] = field(default_factory=dict)
    awaited: dict[str, dict[tuple[int, int], None]] = field(default_factory=dict)
    """What attempts that began early have not heard of, by attempt."""
    cache: dict[str, None] = field(default_factory=dict)
    """Under which keys it keeps records."""
    unconfirmed: dict[str, ev.Event] = field(default_factory=dict)
    """Ends of attempts that the master has not called durable, by attempt."""

    @property
    def held(self) -> tuple[str, ...]:
        """The attempts that are this process's, as it says when it registers."""
        queued = (order.attempt_id for order in self.queue)
        return (*self.running, *queued, *self.unconfirmed)

    def lose_process(self) -> None:
        """It is dead; what lies on its disk stays."""
        self.is_alive = False
        self.running, self.queue, self.unconfirmed = {}, [], {}
        self.awaited, self.cache = {}, {}
