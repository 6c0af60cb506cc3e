"""Random physical plans for the simulator: chains, shuffles, diamonds, joins, several leaves."""

from __future__ import annotations

import random

from minispark.model.job import Dag, JobRequest, PlanKind, ReaderOptions
from minispark.model.plan import (
    DocumentedShuffle,
    FetchShuffle,
    Join,
    PartitionFile,
    PhysicalPlan,
    ReadDocumentedShuffle,
    ReadPartitions,
    ReadSplits,
    SavedParts,
    ShuffleBlocks,
    Sink,
    Source,
    Stage,
    StageProgram,
)

READ = ReadSplits("read", "text", ReaderOptions())


def request(name: str, timeout_s: float | None = None) -> JobRequest:
    return JobRequest(name, Dag((), ()), 1, None, timeout_s)


def stage(
    index: int,
    partitions: int,
    source: Source,
    sink: Sink,
    parents: tuple[int, ...] = (),
    **more: bool,
) -> Stage:
    return Stage(
        index=index,
        id=f"s{index}",
        node_ids=(f"s{index}",),
        op="pipeline",
        partitions=partitions,
        parents=parents,
        program=StageProgram(source, (), sink),
        **more,
    )


def one_stage(partitions: int) -> PhysicalPlan:
    """Tasks that nobody waits for, whose output needs no commit."""
    only = stage(0, partitions, READ, ShuffleBlocks("n", 1, None), is_final=True)
    return PhysicalPlan(PlanKind.FUSED, (only,))


def one_documented_stage() -> PhysicalPlan:
    """One task that any worker may run, whose file is the result."""
    only = stage(0, 1, READ, PartitionFile("s0"), is_documented=True, is_final=True)
    return PhysicalPlan(PlanKind.NAIVE, (only,))


def map_reduce(maps: int, reduces: int) -> PhysicalPlan:
    return PhysicalPlan(
        PlanKind.FUSED,
        (
            stage(0, maps, READ, ShuffleBlocks("n", reduces, "sum")),
            stage(1, reduces, FetchShuffle(0), PartitionFile("n"), (0,), is_final=True),
        ),
    )


def naive_word_count(partitions: int) -> PhysicalPlan:
    """As the planner makes it: documented stages, each committed."""
    writer = DocumentedShuffle("w", partitions)
    reduce_source = ReadDocumentedShuffle("w", 1)
    return PhysicalPlan(
        PlanKind.NAIVE,
        (
            stage(0, partitions, READ, PartitionFile("s0"), is_documented=True),
            stage(1, partitions, ReadPartitions("s0", 0), writer, (0,), is_documented=True),
            stage(
                2,
                partitions,
                reduce_source,
                PartitionFile("s2"),
                (1,),
                is_documented=True,
                is_final=True,
            ),
        ),
    )


def _results(final: Stage) -> PartitionFile:
    """Every second final stage writes to a directory of the user's too."""
    saved = SavedParts(f"/out{final.index}", "csv", True) if final.index % 2 else None
    return PartitionFile("n", saved=saved)


def random_plan(rng: random.Random) -> PhysicalPlan:
    """Up to six stages; every stage reads earlier ones, and leaves are final."""
    if rng.random() < 0.25:
        return naive_word_count(rng.randint(1, 4))
    count = rng.randint(1, 6)
    stages: list[Stage] = []
    read: set[int] = set()
    for index in range(count):
        partitions = rng.randint(1, 6)
        earlier = list(range(index))
        parents = tuple(sorted(rng.sample(earlier, rng.randint(0, min(2, index)))))
        read.update(parents)
        source: Source = READ
        if len(parents) == 1:
            source = FetchShuffle(parents[0])
        elif len(parents) == 2:
            source = Join("j", FetchShuffle(parents[0]), FetchShuffle(parents[1]))
        stages.append(stage(index, partitions, source, ShuffleBlocks("n", 1, None), parents))
    finals = [
        stage(s.index, s.partitions, s.program.source, _results(s), s.parents, is_final=True)
        if s.index not in read
        else s
        for s in stages
    ]
    return PhysicalPlan(PlanKind.FUSED, tuple(finals))
