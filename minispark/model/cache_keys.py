"""Under which names the partition cache keeps a task's records. Source: the specification, 8.1.

A name is `job:node:partition`, or, for what later jobs may find, `lineage:partition`. Must not know
where anything is kept.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import assert_never

from minispark.model.plan import (
    DocumentedShuffle,
    FetchShuffle,
    Join,
    PartitionFile,
    ReadDocumentedShuffle,
    ReadPartitions,
    ReadRows,
    ReadSplits,
    Source,
    StageProgram,
    UnionAll,
)
from minispark.model.steps import Cache, Step


def output_key(job_id: str, node_id: str, partition: int) -> str:
    """Of a task's whole output."""
    return f"{job_id}:{node_id}:{partition}"


def step_key(step: Cache, job_id: str, partition: int) -> str:
    """Of the records at that place of a chain."""
    partition += step.first_partition
    if step.lineage is None:
        return output_key(job_id, step.node_id, partition)
    return f"{step.lineage}:{partition}"


def kept_keys(program: StageProgram, job_id: str, partition: int) -> tuple[str, ...]:
    """What a task's worker may have in its cache once the task has succeeded."""
    keys = chain_keys(program, job_id, partition)
    match program.sink:
        case PartitionFile(node_id, is_read=True) | DocumentedShuffle(node_id):
            return (*keys, output_key(job_id, node_id, partition))
        case _:
            return keys


def chain_keys(program: StageProgram, job_id: str, partition: int) -> tuple[str, ...]:
    """What a task finds in its worker's cache, or makes and keeps there: the last place first."""
    return tuple(key for key, _ in saved_reads(program, job_id, partition))


def saved_reads(
    program: StageProgram, job_id: str, partition: int
) -> tuple[tuple[str, tuple[int, ...]], ...]:
    """The same keys, each with the stages that a task need not read whose worker has it: a later
    place saves at least what an earlier one does.
    """
    return tuple(_places(program.source, program.steps, job_id, partition))


def wanted_keys(program: StageProgram, job_id: str, partition: int) -> tuple[str, ...]:
    """What a task would rather find in its worker's cache than make or fetch."""
    keys = chain_keys(program, job_id, partition)
    source = program.source.left if isinstance(program.source, Join) else program.source
    if isinstance(source, ReadPartitions) and not source.every:
        return (*keys, output_key(job_id, source.node_id, partition))
    return keys


def _places(
    source: Source, steps: tuple[Step, ...], job_id: str, partition: int
) -> list[tuple[str, tuple[int, ...]]]:
    """The keys of a chain, and what each saves; the last place first."""
    keys = [step_key(s, job_id, partition) for s in reversed(steps) if isinstance(s, Cache)]
    reads = _stages_read(source, partition) if keys else ()
    places = [(key, reads) for key in keys]
    match source:
        case Join(left=left, left_steps=left_steps):
            places += _places(left, left_steps, job_id, partition)
        case UnionAll():
            branch, own = source.locate(partition)
            places += _places(branch.source, branch.steps, job_id, own)
        case _:
            pass
    return places


def _stages_read(source: Source, partition: int) -> tuple[int, ...]:
    match source:
        case ReadSplits() | ReadRows():
            return ()
        case FetchShuffle() | ReadPartitions() | ReadDocumentedShuffle():
            return (source.stage_index,)
        case Join(left=left, right=right):
            return (*_stages_read(left, partition), *_stages_read(right, partition))
        case UnionAll():
            branch, own = source.locate(partition)
            return _stages_read(branch.source, own)
        case _:
            assert_never(source)


def uses_cache(program: StageProgram) -> bool:
    """Whether some of its tasks have such keys."""
    firsts = _firsts(program.source)
    return any(kept_keys(program, "", n) or wanted_keys(program, "", n) for n in firsts)


def keeps_for_job(program: StageProgram) -> bool:
    """Whether some of its tasks keep something in the cache until their job ends."""
    keys = (key for n in _firsts(program.source) for key in kept_keys(program, "", n))
    return any(key.startswith(":") for key in keys)


def _firsts(source: Source) -> Iterator[int]:
    """A partition of each kind: those of one branch of a union have the same steps."""
    if not isinstance(source, UnionAll):
        yield 0
        return
    first = 0
    for branch in source.branches:
        yield first
        first += branch.partitions
