"""What the tasks of a stage read: whole stages, and of others only the output of one partition.

Follows from the stage's program alone. Must not know how far a job is, nor where outputs lie.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import assert_never

from minispark.model.plan import (
    FetchShuffle,
    Join,
    PartitionFile,
    ReadDocumentedShuffle,
    ReadPartitions,
    ReadRows,
    ReadSplits,
    SingleSource,
    Stage,
    UnionAll,
)


@dataclass(frozen=True, slots=True)
class Reads:
    """Of tasks `first` to `first + partitions - 1` of a stage."""

    first: int
    partitions: int
    parts: tuple[tuple[int, bool], ...]
    """(stage index, whether all its outputs or only that of the task's own partition)."""

    @property
    def is_shared(self) -> bool:
        """Whether all of these tasks read the same outputs, and some."""
        return bool(self.parts) and all(is_every for _, is_every in self.parts)

    def own_partition(self, partition: int) -> int:
        """Which output a task reads of a stage that it does not read all of: its number in its
        branch.
        """
        return partition - self.first


def reads_of(stage: Stage) -> tuple[Reads, ...]:
    """By branches of a union; of any other stage all tasks read alike. What the sink reads to know
    its ranges counts too.
    """
    source, sink = stage.program.source, stage.program.sink
    ranges = None if isinstance(sink, PartitionFile) else sink.ranges
    samples = () if ranges is None else _parts(ranges.samples)
    if not isinstance(source, UnionAll):
        return (Reads(0, stage.partitions, _once(*_parts(source), *samples)),)
    found: list[Reads] = []
    first = 0
    for branch in source.branches:
        parts = _once(*_parts(branch.source), *samples)
        found.append(Reads(first, branch.partitions, parts))
        first += branch.partitions
    return tuple(found)


def _once(*parts: tuple[int, bool]) -> tuple[tuple[int, bool], ...]:
    """Without repetition: who reads a whole stage has its own partition too."""
    whole = {index for index, is_every in parts if is_every}
    kept = [part for part in parts if part[1] or part[0] not in whole]
    return tuple(dict.fromkeys(kept))


def _parts(source: SingleSource | Join) -> tuple[tuple[int, bool], ...]:
    match source:
        case ReadSplits() | ReadRows():
            return ()
        case FetchShuffle() | ReadDocumentedShuffle():
            return ((source.stage_index, True),)
        case ReadPartitions():
            return ((source.stage_index, source.every),)
        case Join():
            return (*_parts(source.left), *_parts(source.right))
        case _:
            assert_never(source)
