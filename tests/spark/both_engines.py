"""The same plan on both engines."""

from __future__ import annotations

import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minispark.compute import documented
from minispark.compute.batch import Record
from minispark.model.file_names import partition_file
from minispark.model.plan import PartitionFile, PhysicalPlan
from minispark.spark.translate import SparkJob
from tests.in_process import JOB_ID, Ran, plan_of, run_plan

if TYPE_CHECKING:
    from pyspark import SparkContext

TASK_MAX_MB = 256


@dataclass
class Both:
    plan: PhysicalPlan
    local: Ran
    spark: Ran


def run_both(sc: SparkContext, request: dict[str, Any], task_max_mb: int = TASK_MAX_MB) -> Both:
    """Raises what a task raises."""
    plan = plan_of(request)
    with tempfile.TemporaryDirectory() as folder:
        local = run_plan(plan, Path(folder), task_max_mb)
    with tempfile.TemporaryDirectory() as folder:
        job = SparkJob(sc, plan, JOB_ID, task_max_mb)
        job.run(Path(folder))
        return Both(plan, local, as_ran(job, plan, Path(folder)))


def as_ran(job: SparkJob, plan: PhysicalPlan, folder: Path) -> Ran:
    """What the job on Spark left behind, as the local engine's is shown."""
    ran = Ran()
    for stage in plan.stages:
        counts: Counter[str] = Counter()
        for partition in range(stage.partitions):
            outcome = job.outcomes[stage.index, partition]
            for count in outcome.operators:
                counts[count.node_id] += count.records
        ran.counts.append(dict(counts))
        if isinstance(stage.program.sink, PartitionFile):
            node_id = stage.program.sink.node_id
            ran.results[node_id] = [
                read_partition(folder, node_id, p) for p in range(stage.partitions)
            ]
    return ran


def read_partition(folder: Path, node_id: str, partition: int) -> list[Record]:
    return documented.parse((folder / partition_file(JOB_ID, node_id, partition)).read_bytes())
