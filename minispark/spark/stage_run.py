"""One of our tasks inside Spark: what a Python worker of Spark's does with one partition of an RDD.

Must not import pyspark, nor anything beyond the standard library and this package: a host of Spark
has nothing else.
"""

from __future__ import annotations

import os
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, replace
from functools import cached_property, partial
from itertools import chain
from pathlib import Path
from typing import Any, Protocol

from minispark.compute.batch import Batch
from minispark.compute.spill import Memory
from minispark.metrics.phases import PhaseClock
from minispark.model.file_names import part_file, partition_file
from minispark.model.plan import (
    FetchShuffle,
    PartitionFile,
    ReadSplits,
    ShuffleBlocks,
    SingleSource,
    Split,
    StageProgram,
    TaskOutcome,
)
from minispark.spark.arrived import ArrivedBlocks, Piece
from minispark.spark.failed_tasks import MarkedError, TimedOut
from minispark.spark.task_report import Prints, RanAt, Sink, TaskReport
from minispark.spark.time_limit import time_limit
from minispark.storage.part_folders import attempt_part
from minispark.storage.partition_files import write_partition, write_partition_and_part
from minispark.storage.readers import Reader
from minispark.storage.spill_file import SpillFile
from minispark.tasks.stage_task import HELD_BYTES_PER_MB, NothingKept, StageTask, no_collection
from minispark.tasks.user_modules import UserModules
from minispark.transport.host import host_id

Addressed = tuple[int, Piece]
"""What Spark's shuffle moves: the partition that it goes to, and the piece."""


class BroadcastPieces(Protocol):
    """A `pyspark.Broadcast` of all that a stage wrote."""

    @property
    def value(self) -> Sequence[Piece]: ...

    def destroy(self) -> None: ...


class NothingBroadcast:
    """Stands for a broadcast where nothing will run."""

    value: tuple[Piece, ...] = ()

    def destroy(self) -> None:
        pass


@dataclass(frozen=True, slots=True)
class Destination:
    """Where the driver wants the results."""

    host_id: str
    folder: str
    """Absolute, on that host. A task that cannot write there hands the bytes over instead."""


@dataclass(frozen=True, slots=True)
class StageRun:
    """What all tasks of one stage share."""

    job_id: str
    index: int
    program: StageProgram
    task_max_mb: int
    destination: Destination | None = None
    """Of a final stage; None: the bytes are handed over."""
    task_timeout_s: float | None = None


@dataclass(frozen=True, slots=True)
class Written:
    """One final partition, as its task wrote it."""

    stage_index: int
    partition: int
    attempt_id: str
    """Below it lies the part of the user's, where there is one."""
    outcome: TaskOutcome
    data: bytes | None = None
    """The documented file, where the task could not write it; likewise the part of the user's."""
    part: bytes | None = None


def run_partition(
    run: StageRun,
    broadcasts: dict[int, BroadcastPieces],
    sink: Sink,
    partition: int,
    items: Iterator[Any],
) -> Iterator[Any]:
    """Addressed pieces of a stage that ends in a shuffle; one Written of a final one.

    `items`: the task's splits, or the pieces that the shuffle brought it. `broadcasts`: by stage.
    `sink` gets the report. Raises MarkedError, TimedOut.
    """
    prints, begun_s = Prints(), time.monotonic()
    try:
        with ExitStack() as stack:
            timed_out = TimedOut(run.index, partition, run.task_timeout_s)
            stack.enter_context(time_limit(run.task_timeout_s, timed_out))
            if run.program.modules:
                stack.enter_context(redirect_stdout(prints))
                stack.enter_context(redirect_stderr(prints))
            task = stack.enter_context(_opened(run, broadcasts, partition, items))
            wanted = run.program.sink
            written_as, is_in_place = str(uuid.uuid4()), False
            if isinstance(wanted, ShuffleBlocks):
                yield from task.pieces(wanted)
                outcome = task.outcome()
            else:
                assert isinstance(wanted, PartitionFile)
                written = task.written(wanted)
                written_as, is_in_place = written.attempt_id, written.data is None
                outcome = written.outcome
                yield written
            ran = RanAt(host_id(), os.getpid(), begun_s, time.monotonic())
            report = TaskReport(written_as, is_in_place, outcome, ran, prints.text)
            sink.add({(run.index, partition): report})
    except Exception as error:
        raise MarkedError(run.index, partition, error, prints.text) from error


@contextmanager
def _opened(
    run: StageRun,
    broadcasts: dict[int, BroadcastPieces],
    partition: int,
    items: Iterator[Any],
) -> Iterator[_Task]:
    """The task, and a folder of its own while it runs."""
    with no_collection(), tempfile.TemporaryDirectory(dir=_spark_folder()) as folder:
        with closing(SpillFile(folder)) as spill:
            yield _Task(run, broadcasts, partition, items, Path(folder), spill)


def _spark_folder() -> str | None:
    """Where Spark lets its Python workers put what is too large; None: where the system does."""
    return os.environ.get("SPARK_LOCAL_DIRS", "").split(",")[0] or None


_modules = UserModules()
"""Of the job that this process works for now. A Python worker of Spark's runs one task at a time.
"""


class _Task:
    def __init__(
        self,
        run: StageRun,
        broadcasts: dict[int, BroadcastPieces],
        partition: int,
        items: Iterator[Any],
        folder: Path,
        spill: SpillFile,
    ) -> None:
        global _modules
        _modules = _modules.instead(run.program.modules)
        self._run = run
        self._broadcasts = broadcasts
        self._partition = partition
        self._items = items
        self._folder = folder
        self._spill = spill
        self._memory = Memory(run.task_max_mb * HELD_BYTES_PER_MB, spill)
        self._clock = PhaseClock(time.perf_counter)
        self._reader = Reader()
        self._bytes_read = 0
        self._bytes_written = 0
        self._arrivals: list[ArrivedBlocks] = []
        self._stage_task = StageTask(
            run.program,
            partition,
            self._read,
            _modules.functions(),
            self._memory,
            self._clock,
            [],
            NothingKept(),
        )

    # --- source ----------------------------------------------------------------------------

    def _read(self, source: SingleSource, partition: int) -> Iterator[Batch]:
        match source:
            case ReadSplits():
                splits: tuple[Split, ...] = tuple(chain.from_iterable(self._items))
                self._bytes_read += sum(split.end - split.start for split in splits)
                return self._reader.read(source, splits, partition)
            case FetchShuffle(stage_index=stage, broadcast=True):
                return self._arrived(self._broadcasts[stage].value, stage)
            case FetchShuffle(stage_index=stage):
                return self._shuffled.batches(stage)
            case _:
                raise AssertionError(f"{source} is no source of a fused plan")

    @cached_property
    def _shuffled(self) -> ArrivedBlocks:
        """What Spark's shuffle brought: of both sides of a join together."""
        arrived = ArrivedBlocks((piece for _, piece in self._items), self._memory)
        self._arrivals.append(arrived)
        return arrived

    def _arrived(self, pieces: Sequence[Piece], stage: int) -> Iterator[Batch]:
        arrived = ArrivedBlocks(pieces, self._memory)
        self._arrivals.append(arrived)
        return arrived.batches(stage)

    # --- sink ------------------------------------------------------------------------------

    def pieces(self, sink: ShuffleBlocks) -> Iterator[Addressed]:
        """What the task made for each partition of the shuffle."""
        output = self._stage_task.map_output(sink)
        if output.is_empty:
            return
        for target, pieces in enumerate(output.partitions()):
            for number, data in enumerate(pieces):
                self._bytes_written += len(data)
                yield target, (self._run.index, self._partition, number, data)

    def written(self, sink: PartitionFile) -> Written:
        """Write the results: under the name that they keep, or to be handed over."""
        attempt_id = str(uuid.uuid4())
        name = partition_file(self._run.job_id, sink.node_id, self._partition)
        made = partial(Written, self._run.index, self._partition, attempt_id)
        destination = self._run.destination
        if destination is None or not _is_reached(destination, sink):
            file, part = self._folder / name, self._folder / "part"
            self._write(sink, file, part)
            part_data = part.read_bytes() if sink.saved is not None else None
            return made(self._final_outcome(name), file.read_bytes(), part_data)
        # beside its name until it is whole: Spark may run a task twice, or kill it
        file = Path(destination.folder) / f"{name}.{attempt_id}"
        try:
            self._write(sink, file, self._part_of_the_users(sink, attempt_id))
            file.replace(file.with_name(name))
        finally:
            file.unlink(missing_ok=True)
        return made(self._final_outcome(name))

    def _write(self, sink: PartitionFile, file: Path, part: Path | None) -> None:
        batches = self._stage_task.batches()
        with self._clock.phase("write"):
            if sink.saved is None:
                self._bytes_written = write_partition(file, batches)
            else:
                assert part is not None
                self._bytes_written = write_partition_and_part(file, part, sink.saved, batches)

    def _part_of_the_users(self, sink: PartitionFile, attempt_id: str) -> Path | None:
        """Where it is written, in the directory that the job claimed."""
        if sink.saved is None:
            return None
        name = part_file(self._partition, sink.saved.format)
        return attempt_part(sink.saved.path, self._run.job_id, attempt_id, name)

    def _final_outcome(self, name: str) -> TaskOutcome:
        return replace(self.outcome(), files=((name, name),))

    def outcome(self) -> TaskOutcome:
        """Of the task so far."""
        return TaskOutcome(
            records=self._stage_task.records,
            bytes_written=self._bytes_written,
            operators=self._stage_task.operators(),
            bytes_read=self._bytes_read + sum(arrived.bytes_read for arrived in self._arrivals),
            bytes_spilled=self._spill.bytes_written,
            phases_us=self._clock.phases_us(),
            records_skipped=self._reader.records_skipped,
        )


def _is_reached(destination: Destination, sink: PartitionFile) -> bool:
    """Whether this process writes where the driver wants the results: it may run on another host,
    as another user, or see other files.
    """
    folders = [destination.folder, *([] if sink.saved is None else [sink.saved.path])]
    return destination.host_id == host_id() and all(os.access(f, os.W_OK) for f in folders)
