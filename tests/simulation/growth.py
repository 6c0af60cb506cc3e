"""How the core grows: many workers, very many tasks, no faults, no checks."""

from __future__ import annotations

import uuid
from collections import deque

from minispark.model import effects as fx
from minispark.model import events as ev
from minispark.model.plan import TaskOutcome
from minispark.model.states import WorkerKind
from minispark.scheduling.core import SchedulingCore
from minispark.scheduling.limits import Limits
from tests.simulation.plans import one_stage, request

OUTCOME = TaskOutcome(1, 1)


def grow(workers: int, tasks: int) -> int:
    """Run that many no-op tasks; returns how many events the core took in."""
    core = SchedulingCore(Limits())
    waiting: deque[tuple[str, str]] = deque()
    events = 0

    def feed(event: ev.Event) -> None:
        nonlocal events
        events += 1
        for effect in core.handle(event, 0.0):
            if isinstance(effect, fx.LaunchAttempts):
                waiting.extend((effect.worker_id, o.attempt_id) for o in effect.orders)

    for i in range(workers):
        worker_id = str(uuid.UUID(int=i))
        identity = ev.WorkerIdentity(
            worker_id, WorkerKind.SOCKET, f"w{i}", "h", 1, 2, None, "host", "/s"
        )
        feed(ev.WorkerRegistered(identity, i + 1, (), 0.0))
    job_id = str(uuid.UUID(int=2**64))
    feed(ev.JobSubmitted(job_id, request("many"), (one_stage(tasks),), 0.0))
    while waiting:
        worker_id, attempt_id = waiting.popleft()
        feed(ev.AttemptSucceeded(worker_id, attempt_id, OUTCOME, 0.0))
    assert job_id in core.state.finished
    return events
