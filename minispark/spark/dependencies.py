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
    Source,
    Stage,
    UnionAll,
)


def shuffle_stages(source: SingleSource | Join) -> tuple[int, ...]:
    """The stages whose blocks one shuffle brings to these tasks: both sides of a join together."""
    fetches = _fetches(source)
    return tuple(dict.fromkeys(f.stage_index for f in fetches if not f.broadcast))


def broadcast_stages(stage: Stage) -> tuple[int, ...]:
    """The stages of which every task reads everything: small sides of joins, samples of keys."""
    sink = stage.program.sink
    ranges = sink.ranges if isinstance(sink, ShuffleBlocks) else None
    fetches = _all_fetches(stage.program.source)
    if ranges is not None and isinstance(ranges.samples, FetchShuffle):
        fetches = (*fetches, ranges.samples)
    return tuple(dict.fromkeys(f.stage_index for f in fetches if f.broadcast))


def _all_fetches(source: Source) -> tuple[FetchShuffle, ...]:
    if isinstance(source, UnionAll):
        return tuple(f for branch in source.branches for f in _fetches(branch.source))
    return _fetches(source)


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
