"""Runs a whole fused plan in this process, task after task, and shows what came out."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from minispark.compute import documented
from minispark.compute.batch import Record
from minispark.compute.user_functions import UserFunctions
from minispark.model.job import PlanKind
from minispark.model.plan import (
    OutputLocation,
    PartitionFile,
    PhysicalPlan,
    TaskOrder,
)
from minispark.plan.parsing import parse_request
from minispark.plan.planner import plan
from minispark.storage.inputs import resolve_inputs
from minispark.storage.task_files import attempt_dir
from minispark.tasks.user_modules import UserModules
from minispark.worker.cache_channel import CacheChannel
from minispark.worker.task import TaskContext, run_order
from minispark.worker.task_inputs import TaskInputs

JOB_ID = str(uuid.UUID(int=7))


@dataclass
class Ran:
    """`results`: by leaf, the records of each partition. `counts`: by stage, records by node."""

    results: dict[str, list[list[Record]]] = field(default_factory=dict)
    counts: list[dict[str, int]] = field(default_factory=list)

    def rows(self) -> list[Record]:
        """The records of the only leaf, one partition after the other."""
        (parts,) = self.results.values()
        return [row for part in parts for row in part]


def plan_of(request: dict[str, Any]) -> PhysicalPlan:
    parsed = parse_request(request)
    inputs = resolve_inputs(parsed, base_dir="/", input_roots=None)
    return plan(parsed, inputs, PlanKind.FUSED)


def run_plan(
    made: PhysicalPlan,
    state_dir: Path,
    task_max_mb: int = 256,
    channel: CacheChannel | None = None,
) -> Ran:
    """Raises what a task raises. `channel`: to the cache of the one worker."""
    ran = Ran()
    context = TaskContext(str(state_dir), "here", "", True, task_max_mb, 1 << 20, ("here", 0))
    outputs: list[OutputLocation] = []
    for stage in made.stages:
        parents = tuple(place for place in outputs if place.stage_index in stage.parents)
        counts: dict[str, int] = {}
        for p in range(stage.partitions):
            attempt = str(uuid.uuid4())
            order = TaskOrder(
                attempt_id=attempt,
                job_id=JOB_ID,
                stage_index=stage.index,
                stage_id=stage.id,
                partition=p,
                attempt=0,
                total_partitions=stage.partitions,
                splits=stage.splits[p] if stage.splits else (),
            )
            inputs, cache = TaskInputs(parents, (), tuple), channel or CacheChannel(None)
            with loaded(stage.program.modules) as functions:
                outcome = run_order(order, stage.program, inputs, context, functions, [], cache)
            for count in outcome.operators:
                counts[count.node_id] = counts.get(count.node_id, 0) + count.records
            if isinstance(stage.program.sink, PartitionFile):
                text = (attempt_dir(str(state_dir), attempt) / outcome.files[0][0]).read_bytes()
                leaf = ran.results.setdefault(stage.program.sink.node_id, [])
                leaf.append(documented.parse(text))
            elif outcome.bytes_written:
                place = (stage.index, p, attempt, "w", "", 0, "here", str(state_dir))
                outputs.append(OutputLocation(*place))
        ran.counts.append(counts)
    return ran


@contextmanager
def loaded(modules: tuple[tuple[str, str], ...]) -> Iterator[UserFunctions]:
    """The functions of the user's; within the block their modules can be imported."""
    theirs = UserModules(modules)
    theirs.load()
    try:
        yield theirs.functions()
    finally:
        theirs.unload()
