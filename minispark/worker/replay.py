"""Runs one task of a job again, in this process: first the tasks whose outputs it reads.

All that is written lies in a folder of the caller's. Must not know where the plan came from, nor
who watches.
"""

from __future__ import annotations

import linecache
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from minispark.compute import documented
from minispark.compute.batch import records, text_of
from minispark.compute.blocks import read_blocks
from minispark.compute.user_functions import NO_SOURCES, UserFunctions
from minispark.model.ids import attempt_id
from minispark.model.plan import (
    OutputLocation,
    PartitionFile,
    PhysicalPlan,
    Stage,
    StageProgram,
    TaskOrder,
    TaskOutcome,
)
from minispark.scheduling.reads import reads_of
from minispark.storage.part_folders import make_staging
from minispark.storage.task_files import SHUFFLE_FILE, attempt_dir, locate_block, range_reader
from minispark.tasks.user_modules import UserModules
from minispark.worker.cache_channel import CacheChannel
from minispark.worker.raw_prints import descriptors
from minispark.worker.task import TaskContext, run_order
from minispark.worker.task_inputs import TaskInputs

PIECE_BYTES = 1 << 16
_HOST = "replay"

Place = tuple[int, int]
"""A stage's index, and a partition of it."""
Shown = tuple[int | None, str | None, str]
"""A record of an output: for which partition of the next stage (None: of a file), key, value."""


@dataclass(frozen=True, slots=True)
class Settings:
    folder: Path
    """Private, and empty."""
    task_max_mb: int
    is_watched: bool = False
    """A debugger looks on: the user's functions are called as they stand in their modules."""


class Replay:
    """Tasks of one job. Each runs once."""

    def __init__(self, job_id: str, plan: PhysicalPlan, settings: Settings) -> None:
        self._job_id = job_id
        self._plan = plan
        self._settings = settings
        self._outcomes: dict[Place, TaskOutcome] = {}
        self._context = TaskContext(
            state_dir=str(settings.folder),
            host_id=_HOST,
            token="",
            short_circuit=True,
            task_max_mb=settings.task_max_mb,
            cache_bytes_max=0,
            address=("", 0),
        )

    def needed(self, place: Place) -> list[Place]:
        """The tasks whose outputs it reads, and what these read, in the order in which they run."""
        found: set[Place] = set()
        waiting = [place]
        while waiting:
            for other in self._reads(waiting.pop()):
                if other not in found:
                    found.add(other)
                    waiting.append(other)
        return sorted(found)

    def run_quietly(self, place: Place) -> None:
        """Run a task whose output is needed. What its functions print is not shown, and no
        breakpoint of theirs stops it. Raises as `run_order` does.
        """
        hook, sys.breakpointhook = sys.breakpointhook, _go_on
        try:
            with open(os.devnull, "w", encoding="utf-8") as nowhere:
                number = nowhere.fileno()
                with redirect_stdout(nowhere), redirect_stderr(nowhere):
                    with descriptors({1: number, 2: number}), self.modules_of(place):
                        self.run(place)
        finally:
            sys.breakpointhook = hook

    @contextmanager
    def modules_of(self, place: Place) -> Iterator[None]:
        """Within the block the user's modules can be imported, and are as they were at first."""
        modules = UserModules(self._stage(place).program.modules)
        modules.unload()
        modules.load()
        if self._settings.is_watched:
            for name, source in modules.modules:
                # a debugger asks for the file that lies here, which may have changed since
                here = os.path.abspath(f"{name}.py")
                linecache.cache[here] = (len(source), None, source.splitlines(True), here)
        try:
            yield
        finally:
            modules.unload()

    def run(self, place: Place) -> TaskOutcome:
        """Within `modules_of`, and once `needed` ran. Raises TaskError, OSError, and what the
        package itself does wrong.
        """
        program = self._private(self._stage(place).program)
        modules = UserModules(program.modules)
        # a function that was written into a loop has no frame of its own
        sources = NO_SOURCES if self._settings.is_watched else dict(program.modules)
        functions = UserFunctions(modules.find, sources)
        inputs = TaskInputs(self._locations(place), (), lambda: ())
        order, channel = self._order(place), CacheChannel(None)
        outcome = run_order(order, program, inputs, self._context, functions, [], channel)
        self._outcomes[place] = outcome
        return outcome

    def head(self, place: Place, count: int) -> list[Shown]:
        """The first records of what the task wrote."""
        return list(islice(self._written(place), count))

    # --- inside ----------------------------------------------------------------------------------

    def _stage(self, place: Place) -> Stage:
        return self._plan.stages[place[0]]

    def _reads(self, place: Place) -> list[Place]:
        found: list[Place] = []
        index, partition = place
        for group in reads_of(self._plan.stages[index]):
            if group.first <= partition < group.first + group.partitions:
                own = group.own_partition(partition)
                for parent, is_every in group.parts:
                    count = self._plan.stages[parent].partitions
                    found += [(parent, p) for p in (range(count) if is_every else (own,))]
        return found

    def _attempt(self, place: Place) -> str:
        return attempt_id(self._job_id, self._stage(place).id, place[1], 0)

    def _order(self, place: Place) -> TaskOrder:
        stage, partition = self._stage(place), place[1]
        return TaskOrder(
            attempt_id=self._attempt(place),
            job_id=self._job_id,
            stage_index=stage.index,
            stage_id=stage.id,
            partition=partition,
            attempt=0,
            total_partitions=stage.partitions,
            splits=stage.splits[partition] if stage.splits else (),
        )

    def _locations(self, place: Place) -> tuple[OutputLocation, ...]:
        """Of all that it reads, but for what has no records and no file."""
        return tuple(
            OutputLocation(
                stage_index=stage_index,
                partition=partition,
                attempt_id=self._attempt((stage_index, partition)),
                worker_id=_HOST,
                host="",
                port=0,
                host_id=_HOST,
                state_dir=str(self._settings.folder),
            )
            for stage_index, partition in self._reads(place)
            if self._outcomes[stage_index, partition].bytes_written
        )

    def _private(self, program: StageProgram) -> StageProgram:
        """The same, but for the user's directory that it writes to."""
        match program.sink:
            case PartitionFile(saved=saved) as sink if saved is not None:
                path = self._settings.folder / "parts"
                if not path.exists():
                    make_staging(str(path), self._job_id)
                return replace(program, sink=replace(sink, saved=replace(saved, path=str(path))))
            case _:
                return program

    def _written(self, place: Place) -> Iterator[Shown]:
        folder = attempt_dir(str(self._settings.folder), self._attempt(place))
        outcome = self._outcomes[place]
        if outcome.files:
            for name, _ in outcome.files:
                with (folder / name).open("rb") as file:
                    pieces = iter(lambda: file.read(PIECE_BYTES), b"")
                    for key, text in documented.read_texts(pieces):
                        yield None, key, text
        elif outcome.bytes_written:
            with (folder / SHUFFLE_FILE).open("rb") as file:
                for target in range(_targets(self._stage(place))):
                    offset, size = locate_block(file.fileno(), target)
                    for batch in read_blocks(range_reader(file.fileno(), offset, size)):
                        for key, value in records(batch):
                            yield target, key, text_of(value)


def changed_inputs(plan: PhysicalPlan, places: list[Place], submitted_at: float) -> list[str]:
    """Of the files that these tasks read, those that are not what they were when the job was
    planned, each as a sentence.
    """
    sizes: dict[str, int] = {}
    for stage in plan.stages:
        for split in (split for task in stage.splits for split in task):
            sizes[split.path] = max(sizes.get(split.path, 0), split.end)
    read: dict[str, None] = {}
    for index, partition in places:
        splits = plan.stages[index].splits
        read.update(dict.fromkeys(split.path for split in (splits[partition] if splits else ())))
    return [line for path in read if (line := _changed(path, sizes[path], submitted_at))]


def _changed(path: str, size: int, submitted_at: float) -> str | None:
    try:
        status = os.stat(path)
    except OSError as error:
        return f"{path} cannot be read any more: {error.strerror}"
    if status.st_size != size:
        return f"{path} has {status.st_size} bytes now, and had {size}"
    if status.st_mtime > submitted_at:
        return f"{path} was written after the job was submitted"
    return None


def _targets(stage: Stage) -> int:
    sink = stage.program.sink
    return 1 if isinstance(sink, PartitionFile) else sink.partitions


def _go_on(*_: object, **__: object) -> None:
    """What `breakpoint()` does where nobody looks on."""
