"""What the tasks of a stage read of other stages, as Spark knows dependencies: shuffles and
broadcasts.

Must not know RDDs.
"""

from __future__ import annotations

from typing import assert_never

from minispark.model.plan import (
    FetchShuffle,
    Join,
    ReadDocumentedShuffle,
    ReadPartitions,
    ReadRows,
    ReadSplits,
    ShuffleBlocks,
    SingleSource,
    StageProgram,
    UnionAll,
)


def shuffle_stages(source: SingleSource | Join) -> tuple[int, ...]:
    """The stages whose blocks one shuffle brings to these tasks: both sides of a join together."""
    fetches = _fetches(source)
    return tuple(dict.fromkeys(f.stage_index for f in fetches if not f.broadcast))


def broadcast_stages(program: StageProgram) -> tuple[int, ...]:
    """The stages of which every task reads everything: small sides of joins, samples of keys."""
    return tuple(dict.fromkeys(f.stage_index for f in _all_fetches(program) if f.broadcast))


def read_stages(program: StageProgram) -> tuple[int, ...]:
    """All stages of which tasks read something, in one way or the other."""
    return tuple(dict.fromkeys(f.stage_index for f in _all_fetches(program)))


def _all_fetches(program: StageProgram) -> tuple[FetchShuffle, ...]:
    source, sink = program.source, program.sink
    if isinstance(source, UnionAll):
        fetches = tuple(f for branch in source.branches for f in _fetches(branch.source))
    else:
        fetches = _fetches(source)
    ranges = sink.ranges if isinstance(sink, ShuffleBlocks) else None
    if ranges is not None and isinstance(ranges.samples, FetchShuffle):
        return (*fetches, ranges.samples)
    return fetches


def _fetches(source: SingleSource | Join) -> tuple[FetchShuffle, ...]:
    match source:
        case FetchShuffle():
            return (source,)
        case Join():
            return (*_fetches(source.left), *_fetches(source.right))
        case ReadSplits():
            return ()
        case ReadRows() | ReadPartitions() | ReadDocumentedShuffle():
            raise AssertionError(f"{source} is no source of a fused plan")
        case _:
            assert_never(source)
