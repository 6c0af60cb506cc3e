"""A stage's program as one task runs it: its source, its steps, and what its sink is given.

Both engines run this, so a plan means the same to them. Must not know where the outputs that it
reads lie, nor where what it makes goes.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import chain
from typing import Protocol

from minispark.compute.batch import Batch, TextChunk, record_count, records
from minispark.compute.blocks import TargetsOf
from minispark.compute.join import join
from minispark.compute.map_output import MapOutput
from minispark.compute.partition import range_bounds, range_partitions
from minispark.compute.pipeline import Pipeline
from minispark.compute.reducers import Column
from minispark.compute.spill import Memory
from minispark.compute.user_functions import UserFunctions
from minispark.metrics.phases import PhaseClock
from minispark.model.plan import (
    Join,
    OperatorCount,
    Ranges,
    ReadRows,
    ReadSplits,
    ShuffleBlocks,
    SingleSource,
    StageProgram,
    UnionAll,
)
from minispark.model.steps import Aggregate, Cache, Step

HELD_BYTES_PER_MB = 1 << 19
"""Half of a task's budget may be counted: the rest is for what is on its way."""

Read = Callable[[SingleSource, int], Iterator[Batch]]
"""The records of a source that its task of that partition reads."""


class Kept(Protocol):
    """The records of Cache steps, where they are kept."""

    def find(self, step: Cache, partition: int) -> Iterator[Batch] | None:
        """The step's records; None where nobody has them."""

    def keep(self, step: Cache, partition: int, batches: Iterator[Batch]) -> Iterator[Batch]:
        """Pass the batches on. Once the last one has passed they are kept."""


class NothingKept:
    """An engine without a partition cache: every record is made."""

    def find(self, step: Cache, partition: int) -> None:
        return None

    def keep(self, step: Cache, partition: int, batches: Iterator[Batch]) -> Iterator[Batch]:
        return batches


@contextmanager
def no_collection() -> Iterator[None]:
    """A task makes millions of objects and no cycles: Python need not look for these meanwhile."""
    was_collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_collecting:
            gc.enable()


class StageTask:
    """One run of a stage's program for one partition. Either `batches` or `map_output` is asked
    for, once. `records`: how many left its last step.
    """

    def __init__(
        self,
        program: StageProgram,
        partition: int,
        read: Read,
        functions: UserFunctions,
        memory: Memory,
        clock: PhaseClock,
        held: list[object],
        kept: Kept,
    ) -> None:
        """`held` gets what took much memory: to free it takes time, which the caller may have
        later.
        """
        self._program = program
        self._own_partition = partition
        self._partition = partition
        """Which partition of its inputs it reads: its own number, or that in its union's branch."""
        self._read_source = read
        self._functions = functions
        self._memory = memory
        self._clock = clock
        self._held = held
        self._kept = kept
        self._pipelines: list[Pipeline] = []
        self._counts: dict[str, int] = {}
        """Records by the node of a join, or of what was kept."""
        self.records = 0

    # --- what its sink gets ----------------------------------------------------------------

    def batches(self) -> Iterator[Batch]:
        """The records that leave the steps. Raises what the program raises, as it is used."""
        pipeline, rows = self._begun()
        return self._counted(pipeline.run(rows))

    def map_output(self, sink: ShuffleBlocks) -> MapOutput:
        """All records, dealt out to the sink's partitions. Raises what the program raises."""
        pipeline, rows = self._begun()
        with self._clock.phase("shuffle write"):
            if sink.combine is not None:
                combined = pipeline.combine(sink.combine, rows)
                output = self._combined_output(sink, self._clock.timed(combined, "compute"))
            else:
                targets_of = self.range_targets(sink.ranges, sink.partitions)
                output = MapOutput(sink.partitions, self._memory, targets_of)
                for batch in self._counted(pipeline.run(rows)):
                    output.add(batch)
            output.finish()
        return output

    def range_targets(self, ranges: Ranges | None, partitions: int) -> TargetsOf | None:
        """By which range of keys records go to partitions, where they do."""
        if ranges is None:
            return None
        rows = chain.from_iterable(map(records, self._read(ranges.samples)))
        bounds = range_bounds(((str(key), int(weight)) for key, weight in rows), partitions)
        return partial(
            range_partitions, bounds=bounds, count=partitions, is_descending=ranges.is_descending
        )

    def operators(self) -> tuple[OperatorCount, ...]:
        """What left each operator so far."""
        counts: dict[str, int] = {}
        for pipeline in self._pipelines:
            counts.update(pipeline.counts)
        counts.update(self._counts)
        return tuple(OperatorCount(n, count, self._clock.node_us(n)) for n, count in counts.items())

    # --- steps -----------------------------------------------------------------------------

    def _begun(self) -> tuple[Pipeline, Iterator[Batch]]:
        steps, rows = self._begin(self._program.steps, self._own_partition, self._source)
        return self._pipeline(steps, self._own_partition), rows

    def _pipeline(self, steps: tuple[Step, ...], partition: int) -> Pipeline:
        """The steps, each on its own clock."""
        merging = {
            step.node_id for step in steps if isinstance(step, Aggregate) and step.partial_in
        }

        def watch(node_id: str, batches: Iterator[Batch]) -> Iterator[Batch]:
            phase = "merge" if node_id in merging else "compute"
            return self._clock.timed(batches, phase, node_id)

        def keep(step: Cache, batches: Iterator[Batch]) -> Iterator[Batch]:
            return self._kept.keep(step, partition, batches)

        pipeline = Pipeline(
            steps, self._functions, watch, self._memory, self._held, partition, keep
        )
        self._pipelines.append(pipeline)
        return pipeline

    def _begin(
        self, steps: tuple[Step, ...], partition: int, rows: Callable[[], Iterator[Batch]]
    ) -> tuple[tuple[Step, ...], Iterator[Batch]]:
        """What is left to do, and with which records: after the last step whose records are kept,
        or everything.
        """
        for index in range(len(steps) - 1, -1, -1):
            step = steps[index]
            if isinstance(step, Cache):
                cached = self._kept.find(step, partition)
                if cached is not None:
                    counted = self._counted_for(step.node_id, cached)
                    return steps[index + 1 :], self._clock.timed(counted, "read")
        return steps, rows()

    def _counted_for(self, node_id: str, batches: Iterator[Batch]) -> Iterator[Batch]:
        self._counts.setdefault(node_id, 0)
        for batch in batches:
            if not isinstance(batch, TextChunk):  # lines are counted once they are split
                self._counts[node_id] += record_count(batch)
            yield batch

    def _counted(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        for batch in batches:
            self.records += record_count(batch)
            yield batch

    def _combined_output(
        self, sink: ShuffleBlocks, combined: Iterable[tuple[list[str], Column]]
    ) -> MapOutput:
        output = MapOutput(sink.partitions, self._memory)
        for keys, partials in combined:
            self.records += len(keys)
            output.add_columns(keys, partials)
        return output

    # --- source ----------------------------------------------------------------------------

    def _source(self) -> Iterator[Batch]:
        source = self._program.source
        if not isinstance(source, UnionAll):
            return self._rows(source)
        branch, self._partition = source.locate(self._own_partition)
        return self._run(branch.steps, partial(self._rows, branch.source))

    def _run(self, steps: tuple[Step, ...], rows: Callable[[], Iterator[Batch]]) -> Iterator[Batch]:
        left, begun = self._begin(steps, self._partition, rows)
        return self._pipeline(left, self._partition).run(begun)

    def _rows(self, source: SingleSource | Join) -> Iterator[Batch]:
        if not isinstance(source, Join):
            return self._read(source)
        return self._clock.timed(self._join(source), "compute", source.node_id)

    def _join(self, source: Join) -> Iterator[Batch]:
        left = self._run(source.left_steps, partial(self._read, source.left))
        joined = join(
            source.node_id, left, self._read(source.right), self._memory, self._held, source.kind
        )
        yield from self._counted_for(source.node_id, joined)

    def _read(self, source: SingleSource) -> Iterator[Batch]:
        phase = "read" if isinstance(source, (ReadSplits, ReadRows)) else "fetch"
        return self._clock.timed(self._read_source(source, self._partition), phase)
