"""Random physical plans for the simulator: chains, shuffles, diamonds, joins, unions, several
leaves.
"""

from __future__ import annotations

import random
from dataclasses import replace

from minispark.model.job import Dag, Engine, JobRequest, PlanKind, ReaderOptions
from minispark.model.plan import (
    Branch,
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
    SingleSource,
    Sink,
    Source,
    Stage,
    StageProgram,
    UnionAll,
)
from minispark.model.steps import Cache, Step

READ = ReadSplits("read", "text", ReaderOptions())


def request(name: str, timeout_s: float | None = None, engine: Engine | None = None) -> JobRequest:
    return JobRequest(name, Dag((), ()), 1, None, timeout_s, engine=engine)


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


def union(*branches: tuple[SingleSource | Join, int]) -> UnionAll:
    """Of sources, each with its number of tasks."""
    return UnionAll("u", tuple(Branch(source, (), count) for source, count in branches))


def naive_chain(partitions: int, length: int) -> PhysicalPlan:
    """Stages of which each task reads the one output of its own partition."""
    stages = [stage(0, partitions, READ, PartitionFile("s0"), is_documented=True)]
    for index in range(1, length):
        source = ReadPartitions(f"s{index - 1}", index - 1)
        sink, is_last = PartitionFile(f"s{index}"), index == length - 1
        parents = (index - 1,)
        stages.append(
            stage(index, partitions, source, sink, parents, is_documented=True, is_final=is_last)
        )
    return PhysicalPlan(PlanKind.NAIVE, tuple(stages))


def union_of_three(reads: int, maps: int) -> PhysicalPlan:
    """A union of a file, of what a shuffle gives, and of single partitions of a third stage."""
    source = union((READ, reads), (FetchShuffle(0), 2), (ReadPartitions("s1", 1), maps))
    return PhysicalPlan(
        PlanKind.FUSED,
        (
            stage(0, maps, READ, ShuffleBlocks("n", 2, None)),
            stage(1, maps, READ, ShuffleBlocks("n", 1, None)),
            stage(2, reads + 2 + maps, source, PartitionFile("n"), (0, 1), is_final=True),
        ),
    )


def _results(final: Stage) -> PartitionFile:
    """Every second final stage writes to a directory of the user's too."""
    saved = SavedParts(f"/out{final.index}", "csv", True) if final.index % 2 else None
    return PartitionFile("n", saved=saved)


def random_plan(rng: random.Random) -> PhysicalPlan:
    """Up to six stages; every stage reads earlier ones, and leaves are final."""
    kind = rng.random()
    if kind < 0.15:
        return naive_word_count(rng.randint(1, 4))
    if kind < 0.3:
        return naive_chain(rng.randint(1, 5), rng.randint(2, 4))
    count = rng.randint(1, 6)
    stages: list[Stage] = []
    read: set[int] = set()
    for index in range(count):
        partitions = rng.randint(1, 6)
        earlier = list(range(index))
        parents = tuple(sorted(rng.sample(earlier, rng.randint(0, min(2, index)))))
        read.update(parents)
        source: Source = READ
        if parents and rng.random() < 0.4:
            source = _random_union(rng, stages, parents)
            partitions = sum(branch.partitions for branch in source.branches)
        elif len(parents) == 1:
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
    return PhysicalPlan(PlanKind.FUSED, tuple(_with_caches(rng, s) for s in finals))


def _with_caches(rng: random.Random, plain: Stage) -> Stage:
    """Some stages, and branches of unions, keep records that later jobs find: nobody looks at
    records here, so those of any stage pass for those of another.
    """
    program = plain.program
    source, steps = program.source, _cache_steps(rng)
    if isinstance(source, UnionAll):
        branches = [replace(branch, steps=_cache_steps(rng)) for branch in source.branches]
        source = replace(source, branches=tuple(branches))
    elif isinstance(source, Join):
        source = replace(source, left_steps=_cache_steps(rng))
    return replace(plain, program=replace(program, source=source, steps=steps))


def _cache_steps(rng: random.Random) -> tuple[Step, ...]:
    count = rng.choice((0, 0, 1, 1, 2))
    return tuple(Cache("c", f"lineage{rng.randint(0, 1)}") for _ in range(count))


def _random_union(rng: random.Random, stages: list[Stage], parents: tuple[int, ...]) -> UnionAll:
    """A branch for each parent, some for both, and one that reads a file; in any order."""
    branches: list[tuple[SingleSource | Join, int]] = [(READ, rng.randint(1, 3))]
    for parent in parents:
        width = stages[parent].partitions
        own = ReadPartitions(f"s{parent}", parent), width
        branches.append(rng.choice([own, (FetchShuffle(parent), rng.randint(1, 3))]))
        every = ReadPartitions(f"s{parent}", parent, every=True)
        if rng.random() < 0.2:
            branches.append((Join("j", own[0], every), width))
    rng.shuffle(branches)
    return union(*branches)
