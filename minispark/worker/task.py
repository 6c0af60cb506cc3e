"""Runs one task: its source, its steps, its sink. What an executor does with an order.

Everything it writes lies in `attempts/<attempt id>/`. Must not know agents, sockets of the master,
or whether its attempt will be accepted.
"""

from __future__ import annotations

import gc
import ssl
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import chain
from pathlib import Path
from typing import assert_never

from minispark.compute import documented, parts
from minispark.compute.batch import Batch, TextChunk, record_count, records
from minispark.compute.blocks import TargetsOf
from minispark.compute.join import join
from minispark.compute.map_output import MapOutput
from minispark.compute.partition import documented_partitions, range_bounds, range_partitions
from minispark.compute.pipeline import Pipeline
from minispark.compute.reducers import Column
from minispark.compute.spill import Memory
from minispark.compute.user_functions import UserFunctions
from minispark.metrics.phases import PhaseClock
from minispark.model.cache_keys import output_key, step_key
from minispark.model.file_names import part_file, partition_file, shuffle_file
from minispark.model.plan import (
    DocumentedShuffle,
    FetchShuffle,
    Join,
    OperatorCount,
    OutputLocation,
    PartitionFile,
    ReadDocumentedShuffle,
    ReadPartitions,
    ReadRows,
    ReadSplits,
    SavedParts,
    ShuffleBlocks,
    SingleSource,
    Sink,
    StageProgram,
    TaskOrder,
    TaskOutcome,
    UnionAll,
)
from minispark.model.steps import Aggregate, Cache, Step
from minispark.storage.input_source import Opener, open_here
from minispark.storage.part_folders import attempt_part
from minispark.storage.readers import Reader
from minispark.storage.spill_file import SpillFile
from minispark.storage.task_files import (
    SHUFFLE_FILE,
    attempt_dir,
    write_documented_file,
    write_shuffle_file,
)
from minispark.worker.cache_channel import CacheChannel
from minispark.worker.fetch import Fetcher
from minispark.worker.task_cache import TaskCache
from minispark.worker.task_inputs import TaskInputs


@dataclass(frozen=True, slots=True)
class TaskContext:
    """What every task of one worker shares."""

    state_dir: str
    host_id: str
    token: str
    short_circuit: bool
    task_max_mb: int
    """What a task plans with; see ADR 10."""
    cache_bytes_max: int
    address: tuple[str, int]
    """Host and port of the worker's data server."""
    name: str = "worker"
    log_format: str = "text"
    tls: ssl.SSLContext | None = None
    """For connections to other workers, where the cluster uses it."""


HELD_BYTES_PER_MB = 1 << 19
"""Half of a task's budget may be counted: the rest is for what is on its way."""


def run_order(
    order: TaskOrder,
    program: StageProgram,
    inputs: TaskInputs,
    context: TaskContext,
    functions: UserFunctions,
    held: list[object],
    channel: CacheChannel,
    open_input: Opener = open_here,
) -> TaskOutcome:
    """Run the attempt to its end. `functions`: of the program's modules. `held` gets what took
    much memory: to free it takes time, which the caller may have later. `channel`: to the worker's
    cache. `open_input`: opens what its splits name.

    Raises TaskError, FetchError, CacheMissed, OSError.
    """
    was_collecting = gc.isenabled()
    gc.disable()  # a task makes millions of objects and no cycles
    try:
        cache = TaskCache(channel, context.state_dir, context.cache_bytes_max)
        with Fetcher(context.host_id, context.token, context.short_circuit, context.tls) as fetcher:
            task = _Task(
                order, program, inputs, context, functions, fetcher, held, cache, Reader(open_input)
            )
            with closing(task.spill):
                return task.run()
    finally:
        if was_collecting:
            gc.enable()


class _Task:
    def __init__(
        self,
        order: TaskOrder,
        program: StageProgram,
        inputs: TaskInputs,
        context: TaskContext,
        functions: UserFunctions,
        fetcher: Fetcher,
        held: list[object],
        cache: TaskCache,
        reader: Reader,
    ) -> None:
        self._order = order
        self._program = program
        self._inputs = inputs
        self._functions = functions
        self._fetcher = fetcher
        self._held = held
        self._cache = cache
        self._reader = reader
        self._clock = PhaseClock(time.perf_counter)
        self._bytes_read = 0
        self._pipelines: list[Pipeline] = []
        self._counts: dict[str, int] = {}
        """Records by the node of a join, or of what was in the cache."""
        self._partition = order.partition
        """Which partition of its inputs it reads."""
        self._state_dir = context.state_dir
        self._address = context.address
        self.spill = SpillFile(context.state_dir)
        self._memory = Memory(context.task_max_mb * HELD_BYTES_PER_MB, self.spill)
        self._records = 0
        self._files: list[tuple[str, str]] = []

    def run(self) -> TaskOutcome:
        steps, rows = self._begin(self._program.steps, self._partition, self._source)
        pipeline = self._pipeline(steps, self._order.partition)
        written = self._write(self._program.sink, pipeline, rows)
        return TaskOutcome(
            records=self._records,
            bytes_written=written,
            operators=self._operators(),
            files=tuple(self._files),
            records_skipped=self._reader.records_skipped,
            bytes_read=self._bytes_read + self._fetcher.bytes_read + self._cache.bytes_read,
            phases_us=self._clock.phases_us(),
            bytes_spilled=self.spill.bytes_written,
        )

    def _operators(self) -> tuple[OperatorCount, ...]:
        counts: dict[str, int] = {}
        for pipeline in self._pipelines:
            counts.update(pipeline.counts)
        counts.update(self._counts)
        return tuple(OperatorCount(n, count, self._clock.node_us(n)) for n, count in counts.items())

    def _pipeline(self, steps: tuple[Step, ...], partition: int) -> Pipeline:
        """The steps, each on its own clock."""
        merging = {
            step.node_id for step in steps if isinstance(step, Aggregate) and step.partial_in
        }

        def watch(node_id: str, batches: Iterator[Batch]) -> Iterator[Batch]:
            phase = "merge" if node_id in merging else "compute"
            return self._clock.timed(batches, phase, node_id)

        def keep(step: Cache, batches: Iterator[Batch]) -> Iterator[Batch]:
            key = step_key(step, self._order.job_id, partition)
            attempt_id = self._order.attempt_id if step.lineage is None else None
            return self._cache.keep(key, attempt_id, batches)

        pipeline = Pipeline(
            steps, self._functions, watch, self._memory, self._held, partition, keep
        )
        self._pipelines.append(pipeline)
        return pipeline

    def _begin(
        self, steps: tuple[Step, ...], partition: int, rows: Callable[[], Iterator[Batch]]
    ) -> tuple[tuple[Step, ...], Iterator[Batch]]:
        """What is left to do, and with which records: after the last step whose records are in the
        cache, or everything.
        """
        for index in range(len(steps) - 1, -1, -1):
            step = steps[index]
            if isinstance(step, Cache):
                cached = self._cache.read(step_key(step, self._order.job_id, partition))
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

    @cached_property
    def _folder(self) -> Path:
        """Where the attempt writes; made when it writes something first."""
        folder = attempt_dir(self._state_dir, self._order.attempt_id)
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    # --- source ----------------------------------------------------------------------------

    def _source(self) -> Iterator[Batch]:
        source = self._program.source
        if not isinstance(source, UnionAll):
            return self._rows(source)
        branch, self._partition = source.locate(self._order.partition)
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
        return self._clock.timed(self._batches(source), phase)

    def _batches(self, source: SingleSource) -> Iterator[Batch]:
        match source:
            case ReadSplits() | ReadRows():
                splits = self._order.splits
                self._bytes_read += sum(split.end - split.start for split in splits)
                return self._reader.read(source, splits, self._partition)
            case FetchShuffle():
                return self._fetch(source)
            case ReadPartitions():
                return self._read_partitions(source)
            case ReadDocumentedShuffle():
                return self._read_shuffle(source)
            case _:
                assert_never(source)

    def _fetch(self, source: FetchShuffle) -> Iterator[Batch]:
        partition = 0 if source.broadcast else self._partition
        for batch in self._fetcher.blocks(self._of_stage(source.stage_index), partition):
            if record_count(batch):
                yield batch

    def _read_partitions(self, source: ReadPartitions) -> Iterator[Batch]:
        every, own = self._of_stage(source.stage_index), self._partition
        wanted = (
            (place, partition_file(self._order.job_id, source.node_id, place.partition))
            for place in every
            if source.every or place.partition == own
        )
        cached = partial(self._cached_output, source.node_id, 0)
        return self._fetcher.documented(wanted, 0, cached)

    def _read_shuffle(self, source: ReadDocumentedShuffle) -> Iterator[Batch]:
        job_id, writer, own = self._order.job_id, source.writer_node_id, self._partition
        wanted = (
            (place, shuffle_file(job_id, writer, place.partition, own))
            for place in self._of_stage(source.stage_index)
        )
        return self._fetcher.documented(wanted, own, partial(self._cached_output, writer, own))

    def _cached_output(
        self, node_id: str, partition: int, place: OutputLocation
    ) -> Iterator[Batch] | None:
        """What this worker itself wrote may be in its cache."""
        if (place.host, place.port) != self._address:
            return None
        return self._cache.read(output_key(self._order.job_id, node_id, place.partition), partition)

    def _of_stage(self, stage_index: int) -> Iterator[OutputLocation]:
        """In the order of their partitions; waits for those that are still being made."""
        for partition in self._inputs.partitions(stage_index):
            while self._inputs.is_awaited(stage_index, partition) and not self._fetcher.has_failed:
                with self._clock.phase("wait"):
                    self._inputs.hear()
            place = self._inputs.place(stage_index, partition)
            if place is not None:
                yield place

    # --- sink ------------------------------------------------------------------------------

    def _write(self, sink: Sink, pipeline: Pipeline, rows: Iterator[Batch]) -> int:
        match sink:
            case ShuffleBlocks(combine=str(combine)):
                combined = pipeline.combine(combine, rows)
                with self._clock.phase("shuffle write"):
                    return self._write_combined(sink, self._clock.timed(combined, "compute"))
            case ShuffleBlocks():
                with self._clock.phase("shuffle write"):
                    return self._write_blocks(sink, pipeline.run(rows))
            case PartitionFile(node_id, is_read, saved):
                name = partition_file(self._order.job_id, node_id, self._order.partition)
                batches = self._counted(pipeline.run(rows))
                with self._clock.phase("write"):
                    if saved is not None:
                        return self._write_saved(name, saved, batches)
                    if is_read:
                        return self._write_both(
                            node_id, [name], MapOutput(1, self._memory), batches
                        )
                    return self._write_documented(name, batches)
            case DocumentedShuffle(writer, targets, _):
                names = [
                    shuffle_file(self._order.job_id, writer, self._order.partition, to)
                    for to in range(targets)
                ]
                targets_of = self._range_targets(sink) or partial(
                    documented_partitions, count=targets
                )
                output = MapOutput(targets, self._memory, targets_of)
                batches = self._counted(pipeline.run(rows))
                with self._clock.phase("write"):
                    return self._write_both(writer, names, output, batches)
            case _:
                assert_never(sink)

    def _counted(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        for batch in batches:
            self._records += record_count(batch)
            yield batch

    def _write_combined(
        self, sink: ShuffleBlocks, combined: Iterable[tuple[list[str], Column]]
    ) -> int:
        output = MapOutput(sink.partitions, self._memory)
        for keys, partials in combined:
            self._records += len(keys)
            output.add_columns(keys, partials)
        return self._write_output(output)

    def _write_blocks(self, sink: ShuffleBlocks, batches: Iterator[Batch]) -> int:
        output = MapOutput(sink.partitions, self._memory, self._range_targets(sink))
        for batch in self._counted(batches):
            output.add(batch)
        return self._write_output(output)

    def _range_targets(self, sink: ShuffleBlocks | DocumentedShuffle) -> TargetsOf | None:
        """By which range of keys records go to partitions, where they do."""
        if sink.ranges is None:
            return None
        rows = chain.from_iterable(map(records, self._read(sink.ranges.samples)))
        bounds = range_bounds(((str(key), int(weight)) for key, weight in rows), sink.partitions)
        return partial(
            range_partitions,
            bounds=bounds,
            count=sink.partitions,
            is_descending=sink.ranges.is_descending,
        )

    def _write_output(self, output: MapOutput) -> int:
        """Where there are no records there is no file: nobody is sent to an output of 0 bytes."""
        output.finish()
        if output.is_empty:
            return 0
        return write_shuffle_file(self._folder / SHUFFLE_FILE, output.partitions())

    def _write_both(
        self, node_id: str, names: list[str], output: MapOutput, batches: Iterable[Batch]
    ) -> int:
        """Records as blocks, for our own readers, which are cached, and each partition's as a
        documented file.
        """
        for batch in batches:
            output.add(batch)
        output.finish()
        write_shuffle_file(self._folder / SHUFFLE_FILE, output.partitions())
        key = output_key(self._order.job_id, node_id, self._order.partition)
        self._cache.keep_copy(key, self._order.attempt_id, self._folder / SHUFFLE_FILE)
        return sum(
            self._write_documented(name, output.batches(partition))
            for partition, name in enumerate(names)
        )

    def _write_saved(self, name: str, saved: SavedParts, batches: Iterable[Batch]) -> int:
        """Records for the job's results, and on their way there as a part of the user's."""
        part = part_file(self._order.partition, saved.format)
        path = attempt_part(saved.path, self._order.job_id, self._order.attempt_id, part)
        with path.open("wb", buffering=1 << 20) as file:
            file.write(parts.head(saved).encode())

            def copied() -> Iterator[Batch]:
                for batch in batches:
                    file.write(parts.lines(saved, batch).encode())
                    yield batch

            return self._write_documented(name, copied()) + file.tell()

    def _write_documented(self, name: str, batches: Iterable[Batch]) -> int:
        self._files.append((name, name))
        return write_documented_file(self._folder / name, documented.render(batches))
