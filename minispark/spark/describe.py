"""The translation of a fused plan to RDDs as stable text. Needs no Spark: nothing is made.

Must not know what Spark makes of the RDDs.
"""

from __future__ import annotations

from minispark.model.plan import Join, PhysicalPlan, ShuffleBlocks, SingleSource, Stage, UnionAll
from minispark.spark.dependencies import broadcast_stages, shuffle_stages


def describe(plan: PhysicalPlan) -> str:
    """A paragraph for each stage; ends with a newline."""
    rdds = f"{len(plan.stages)} RDD{'' if len(plan.stages) == 1 else 's'}"
    lines = [f"{plan.kind.value} plan on Spark: {rdds}, {_partitions(plan.tasks_total)}"]
    for stage in plan.stages:
        lines += ["", *_stage(stage)]
    return "\n".join(lines) + "\n"


def _stage(stage: Stage) -> list[str]:
    source, sink = stage.program.source, stage.program.sink
    final = ", final" if stage.is_final else ""
    lines = [f"stage {stage.index}: {stage.id} ({_partitions(stage.partitions)}{final})"]
    if isinstance(source, UnionAll):
        lines.append(f"  union of {len(source.branches)} branches")
        for branch in source.branches:
            lines.append(f"    {_input(branch.source, branch.partitions)}")
    else:
        lines.append(f"  {_input(source, stage.partitions)}")
    lines += [f"  broadcast: all of stage {index}" for index in broadcast_stages(stage.program)]
    made = "pieces of blocks" if isinstance(sink, ShuffleBlocks) else "one result file"
    lines.append(f"  mapPartitionsWithIndex: the stage's program -> {made}")
    return lines


def _input(source: SingleSource | Join, partitions: int) -> str:
    shuffles = shuffle_stages(source)
    if not shuffles:
        return f"parallelize: byte ranges for {_partitions(partitions)}"
    if len(shuffles) == 1:
        return f"partitionBy({partitions}) of stage {shuffles[0]}"
    both = " and ".join(map(str, shuffles))
    return f"partitionBy({partitions}) of the union of stages {both}"


def _partitions(count: int) -> str:
    return f"{count} partition{'' if count == 1 else 's'}"
