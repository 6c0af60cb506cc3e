"""How the scheduling core grows: the real one in one process, no faults, nothing else.

usage: python -m bench.growth [--workers N] [--tasks N]
Prints microseconds an event at growing sizes, and fails when the largest costs FLAT_MAX times the
smallest that is timed well: no event may cost more as the number of tasks or workers grows.
"""

from __future__ import annotations

import argparse
import gc
import sys
import time
import uuid
from collections import deque
from collections.abc import Sequence

from tabulate import tabulate

from minispark.cluster import COLLECT_AFTER
from minispark.master.loop import TICK_S
from minispark.model import effects as fx
from minispark.model import events as ev
from minispark.model.job import Dag, DagNode, JobRequest, PlanKind, ReaderOptions
from minispark.model.plan import (
    PhysicalPlan,
    ReadSplits,
    ShuffleBlocks,
    Stage,
    StageProgram,
    TaskOutcome,
)
from minispark.model.states import WorkerKind
from minispark.scheduling.core import SchedulingCore
from minispark.scheduling.limits import Limits

WORKERS = 10_000
TASKS = 1_000_000
STEPS = 4
"""Sizes: the largest one, and so many times a tenth... of it."""
SLOTS = 2
OUTCOME = TaskOutcome(1, 1, phases_us={"read": 1})
FLAT_MAX = 2.0
TIMED_EVENTS_MIN = 10_000
"""A run of fewer says little about the time of one."""


class Growth:
    """One core, fed with what workers would say that do at once what they are told."""

    def __init__(self) -> None:
        self._core = SchedulingCore(Limits())
        self._launched: deque[tuple[str, str]] = deque()
        self.events = 0

    def run(self, workers: int, tasks: int) -> float:
        """Seconds of one job with that many tasks, without the workers' registration."""
        for number in range(workers):
            identity = ev.WorkerIdentity(
                str(uuid.UUID(int=number)), WorkerKind.SOCKET, f"w{number}", "h", 1, SLOTS, None,
                f"host-{number}", "/s",
            )  # fmt: skip
            self._feed(ev.WorkerRegistered(identity, number + 1, (), 0.0))
        self.events = 0
        job_id = str(uuid.UUID(int=2**64))
        begun = time.perf_counter()
        self._feed(ev.JobSubmitted(job_id, request(), (plan(tasks),), 0.0))
        next_tick = begun + TICK_S
        while self._launched:
            worker_id, attempt_id = self._launched.popleft()
            self._feed(ev.AttemptStarted(worker_id, attempt_id, 0.0))
            self._feed(ev.AttemptSucceeded(worker_id, attempt_id, OUTCOME, 0.0))
            if time.perf_counter() >= next_tick:
                self._feed(ev.ClockTicked(0.0))
                next_tick = time.perf_counter() + TICK_S
        took = time.perf_counter() - begun
        if job_id not in self._core.state.finished:
            raise SystemExit("the job did not end")
        return took

    def _feed(self, event: ev.Event) -> None:
        self.events += 1
        for effect in self._core.handle(event, 0.0):
            if isinstance(effect, fx.LaunchAttempts):
                self._launched.extend((effect.worker_id, o.attempt_id) for o in effect.orders)


def request() -> JobRequest:
    return JobRequest("growth", Dag((DagNode("read", "read_text", path="/x"),), ()), 1)


def plan(tasks: int) -> PhysicalPlan:
    """One stage of tasks that read nothing, and whose output needs no commit."""
    program = StageProgram(
        ReadSplits("read", "text", ReaderOptions()), (), ShuffleBlocks("read", 1, None)
    )
    stage = Stage(
        index=0, id="read", node_ids=("read",), op="pipeline", partitions=tasks, parents=(),
        program=program, is_final=True,
    )  # fmt: skip
    return PhysicalPlan(PlanKind.FUSED, (stage,))


def sizes(workers: int, tasks: int) -> list[tuple[int, int]]:
    """Growing to the largest: first the tasks, then the workers."""
    few = max(1, workers // 100)
    grown = [(few, max(1, tasks // 10**step)) for step in range(STEPS - 1, -1, -1)]
    return [*grown, (max(1, workers // 10), tasks), (workers, tasks)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, default=WORKERS)
    parser.add_argument("--tasks", type=int, default=TASKS)
    args = parser.parse_args()
    gc.set_threshold(*COLLECT_AFTER)  # as in the process of a master
    gc.freeze()
    rows: list[tuple[object, ...]] = []
    costs_us: list[float] = []
    for workers, tasks in sizes(args.workers, args.tasks):
        growth = Growth()
        took = growth.run(workers, tasks)
        cost_us = 1e6 * took / growth.events
        rows.append((workers, tasks, growth.events, f"{took:.2f}", f"{cost_us:.1f}"))
        print("\t".join(map(str, rows[-1])), file=sys.stderr, flush=True)
        if growth.events >= TIMED_EVENTS_MIN:
            costs_us.append(cost_us)
    print(tabulate(rows, headers=("workers", "tasks", "events", "s", "us an event")))
    if growth_of(costs_us) > FLAT_MAX:
        sys.exit(f"an event costs {growth_of(costs_us):.1f} times as much: not flat")


def growth_of(costs_us: Sequence[float]) -> float:
    """How many times the first of them the last one is; 1 for none."""
    return costs_us[-1] / costs_us[0] if costs_us else 1.0


if __name__ == "__main__":
    main()
