"""Runs one task for a worker: what an executor does with an order.

Everything it writes lies in `attempts/<attempt id>/`. Must not know agents, sockets of the master,
or whether its attempt will be accepted.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import assert_never

from minispark.compute.batch import Batch, record_count
from minispark.compute.map_output import MapOutput
from minispark.compute.partition import documented_partitions
from minispark.compute.spill import Memory
from minispark.compute.user_functions import UserFunctions
from minispark.metrics.phases import PhaseClock
from minispark.model.cache_keys import output_key, step_key
from minispark.model.file_names import part_file, partition_file, shuffle_file
from minispark.model.plan import (
    DocumentedShuffle,
    FetchShuffle,
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
)
from minispark.model.steps import Cache
from minispark.storage.input_source import Opener, open_here
from minispark.storage.part_folders import attempt_part
from minispark.storage.partition_files import write_partition, write_partition_and_part
from minispark.storage.readers import Reader
from minispark.storage.spill_file import SpillFile
from minispark.storage.task_files import SHUFFLE_FILE, attempt_dir, write_shuffle_file
from minispark.tasks.stage_task import HELD_BYTES_PER_MB, StageTask, no_collection
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
    cache = TaskCache(channel, context.state_dir, context.cache_bytes_max)
    fetcher = Fetcher(context.host_id, context.token, context.short_circuit, context.tls)
    with no_collection(), fetcher:
        reader = Reader(open_input)
        task = _Task(order, program, inputs, context, functions, fetcher, held, cache, reader)
        with closing(task.spill):
            return task.run()


class _Task:
    """Reads its inputs from where other tasks left them, and leaves what it made for others."""

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
        self._sink = program.sink
        self._inputs = inputs
        self._fetcher = fetcher
        self._cache = cache
        self._reader = reader
        self._clock = PhaseClock(time.perf_counter)
        self._bytes_read = 0
        self._state_dir = context.state_dir
        self._address = context.address
        self.spill = SpillFile(context.state_dir)
        self._memory = Memory(context.task_max_mb * HELD_BYTES_PER_MB, self.spill)
        self._files: list[tuple[str, str]] = []
        self._stage_task = StageTask(
            program,
            order.partition,
            self._read,
            functions,
            self._memory,
            self._clock,
            held,
            self,
        )

    def run(self) -> TaskOutcome:
        written = self._write(self._sink)
        return TaskOutcome(
            records=self._stage_task.records,
            bytes_written=written,
            operators=self._stage_task.operators(),
            files=tuple(self._files),
            records_skipped=self._reader.records_skipped,
            bytes_read=self._bytes_read + self._fetcher.bytes_read + self._cache.bytes_read,
            phases_us=self._clock.phases_us(),
            bytes_spilled=self.spill.bytes_written,
        )

    # --- cache -----------------------------------------------------------------------------

    def find(self, step: Cache, partition: int) -> Iterator[Batch] | None:
        """As `Kept` says."""
        return self._cache.read(step_key(step, self._order.job_id, partition))

    def keep(self, step: Cache, partition: int, batches: Iterator[Batch]) -> Iterator[Batch]:
        """As `Kept` says."""
        key = step_key(step, self._order.job_id, partition)
        attempt_id = self._order.attempt_id if step.lineage is None else None
        return self._cache.keep(key, attempt_id, batches)

    @cached_property
    def _folder(self) -> Path:
        """Where the attempt writes; made when it writes something first."""
        folder = attempt_dir(self._state_dir, self._order.attempt_id)
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    # --- source ----------------------------------------------------------------------------

    def _read(self, source: SingleSource, partition: int) -> Iterator[Batch]:
        match source:
            case ReadSplits() | ReadRows():
                splits = self._order.splits
                self._bytes_read += sum(split.end - split.start for split in splits)
                return self._reader.read(source, splits, partition)
            case FetchShuffle():
                return self._fetch(source, partition)
            case ReadPartitions():
                return self._read_partitions(source, partition)
            case ReadDocumentedShuffle():
                return self._read_shuffle(source, partition)
            case _:
                assert_never(source)

    def _fetch(self, source: FetchShuffle, own: int) -> Iterator[Batch]:
        partition = 0 if source.broadcast else own
        for batch in self._fetcher.blocks(self._of_stage(source.stage_index), partition):
            if record_count(batch):
                yield batch

    def _read_partitions(self, source: ReadPartitions, own: int) -> Iterator[Batch]:
        every = self._of_stage(source.stage_index)
        wanted = (
            (place, partition_file(self._order.job_id, source.node_id, place.partition))
            for place in every
            if source.every or place.partition == own
        )
        cached = partial(self._cached_output, source.node_id, 0)
        return self._fetcher.documented(wanted, 0, cached)

    def _read_shuffle(self, source: ReadDocumentedShuffle, own: int) -> Iterator[Batch]:
        job_id, writer = self._order.job_id, source.writer_node_id
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

    def _write(self, sink: Sink) -> int:
        match sink:
            case ShuffleBlocks():
                output = self._stage_task.map_output(sink)
                with self._clock.phase("shuffle write"):
                    return self._write_output(output)
            case PartitionFile(node_id, is_read, saved):
                name = partition_file(self._order.job_id, node_id, self._order.partition)
                batches = self._stage_task.batches()
                with self._clock.phase("write"):
                    if saved is not None:
                        return self._write_saved(name, saved, batches)
                    if is_read:
                        return self._write_both(
                            node_id, [name], MapOutput(1, self._memory), batches
                        )
                    return self._write_documented(name, batches)
            case DocumentedShuffle(writer, targets, ranges):
                names = [
                    shuffle_file(self._order.job_id, writer, self._order.partition, to)
                    for to in range(targets)
                ]
                targets_of = self._stage_task.range_targets(ranges, targets) or partial(
                    documented_partitions, count=targets
                )
                output = MapOutput(targets, self._memory, targets_of)
                batches = self._stage_task.batches()
                with self._clock.phase("write"):
                    return self._write_both(writer, names, output, batches)
            case _:
                assert_never(sink)

    def _write_output(self, output: MapOutput) -> int:
        """Where there are no records there is no file: nobody is sent to an output of 0 bytes."""
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
        self._files.append((name, name))
        return write_partition_and_part(self._folder / name, path, saved, batches)

    def _write_documented(self, name: str, batches: Iterable[Batch]) -> int:
        self._files.append((name, name))
        return write_partition(self._folder / name, batches)
