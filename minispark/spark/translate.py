"""A fused plan as RDDs: one for each stage, whose partitions are the stage's tasks.

What a task does is `tasks.stage_task`, as in the local engine; Spark only decides where it runs and
moves blocks. Must not know who asked for the job, nor what becomes of its results.
"""

from __future__ import annotations

import gc
import operator
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minispark.errors import ClusterError
from minispark.model.file_names import part_file
from minispark.model.job import PlanKind
from minispark.model.plan import (
    PartitionFile,
    PhysicalPlan,
    Source,
    Split,
    Stage,
    TaskOutcome,
    UnionAll,
)
from minispark.spark.arrived import Piece
from minispark.spark.dependencies import broadcast_stages, shuffle_stages
from minispark.spark.describe import describe
from minispark.spark.failed_tasks import spark_errors_read
from minispark.spark.stage_run import (
    BroadcastPieces,
    Destination,
    NothingBroadcast,
    StageRun,
    Written,
    run_partition,
)
from minispark.spark.task_report import MergedReports, Place, Reports
from minispark.storage.part_folders import attempt_part
from minispark.transport.host import host_id

if TYPE_CHECKING:
    from pyspark import RDD, SparkContext


class SparkJob:
    """One job on Spark. For one thread."""

    def __init__(
        self,
        sc: SparkContext,
        plan: PhysicalPlan,
        job_id: str,
        task_max_mb: int,
        task_timeout_s: float | None = None,
    ) -> None:
        """`sc`: its workers can import this package (`context.spark_context`). `plan`: final stages
        of which nothing is wanted may be missing. `task_max_mb`: what a task plans with, as ADR 10
        says. Raises ClusterError for a naive plan.
        """
        if plan.kind is not PlanKind.FUSED:
            raise ClusterError("the engine spark runs fused plans only")
        self._sc = sc
        self._plan = plan
        self._stages = {stage.index: stage for stage in plan.stages}
        self._job_id = job_id
        self._task_max_mb = task_max_mb
        self._task_timeout_s = task_timeout_s
        self._reports = sc.accumulator({}, MergedReports())
        self._rdds: dict[int, RDD[Any]] = {}
        self._shuffled: dict[tuple[int, ...], RDD[Any]] = {}
        """By the stages whose blocks it brings. Spark shuffles one RDD once, whoever reads it."""
        self._broadcasts: dict[int, BroadcastPieces] = {}

    @property
    def final_partitions(self) -> list[Place]:
        """The partitions of the results, in the order in which `run` numbers them."""
        return [(stage.index, p) for stage in self._finals for p in range(stage.partitions)]

    @property
    def outcomes(self) -> dict[Place, TaskOutcome]:
        """Of all tasks that ended so far."""
        return {place: report.outcome for place, report in self.reports.items()}

    @property
    def reports(self) -> Reports:
        """The same, with where and when they ran; also while `run` goes on in another thread."""
        return dict(self._reports.value)

    def run(self, folder: Path | None, partitions: Sequence[int] | None = None) -> list[Written]:
        """Make these of the `final_partitions`, or all; what they need and Spark still has is not
        made again. Afterwards each has its documented file in `folder`, and its part of the user's
        in the place that the job claimed, below `Written.attempt_id`. `folder` None: the files'
        bytes are returned instead.

        Raises TaskOfStageFailed, ClusterError, OSError.
        """
        destination = None if folder is None else Destination(host_id(), str(folder.absolute()))
        chosen = range(len(self.final_partitions)) if partitions is None else partitions
        with spark_errors_read():  # Spark may have stopped before there is anything to run
            self._build()
            results = _union(self._sc, [self._stage_rdd(s, destination) for s in self._finals])
            found: list[Written] = self._sc.runJob(results, list, list(chosen))
        return [self._received(written, folder) for written in found]

    def rdd(self, stage_index: int) -> RDD[Any]:
        """The stage's RDD: of addressed pieces, or of a final stage Written with the bytes. What a
        stage reads as a broadcast is made now. Raises TaskOfStageFailed, ClusterError.
        """
        if stage_index not in self._rdds:
            self._rdds[stage_index] = self._stage_rdd(self._stages[stage_index], None)
        return self._rdds[stage_index]

    def close(self) -> None:
        """Have Spark forget what it keeps for the job. Its reports stay readable."""
        from pyspark import accumulators

        reports = self.reports
        # pyspark has no public way to say so, and keeps it for ever
        registry: dict[int, Any] = getattr(accumulators, "_accumulatorRegistry", {})
        registry.pop(self._reports.aid, None)
        self._reports.value = reports
        for broadcast in self._broadcasts.values():
            with suppress(Exception):  # whatever Java's end makes of it
                broadcast.destroy()
        self._broadcasts.clear()
        self._rdds.clear()
        self._shuffled.clear()
        gc.collect()  # what Python holds of RDDs, in cycles, Java keeps with their shuffles

    # --- lineage ---------------------------------------------------------------------------

    def _build(self) -> None:
        """All RDDs but the final ones, parents first: otherwise a long plan is a deep recursion."""
        for stage in self._plan.stages:
            if not stage.is_final:
                self.rdd(stage.index)

    @property
    def _finals(self) -> list[Stage]:
        return [stage for stage in self._plan.stages if stage.is_final]

    def _stage_rdd(self, stage: Stage, destination: Destination | None) -> RDD[Any]:
        program = stage.program
        run = StageRun(
            self._job_id,
            stage.index,
            program,
            self._task_max_mb,
            destination,
            self._task_timeout_s,
        )
        broadcasts = {index: self._broadcast(index) for index in broadcast_stages(program)}
        task = partial(run_partition, run, broadcasts, self._reports)
        items = self._input(program.source, stage.partitions, stage.splits)
        made = items.mapPartitionsWithIndex(task)
        return made.setName(f"stage {stage.index}: {stage.id}") if stage.is_final else made

    def _input(
        self, source: Source, partitions: int, splits: tuple[tuple[Split, ...], ...]
    ) -> RDD[Any]:
        """What its tasks get; see `run_partition`."""
        if isinstance(source, UnionAll):
            rdds, first = [], 0
            for branch in source.branches:
                own = splits[first : first + branch.partitions]
                rdd = self._input(branch.source, branch.partitions, own)
                # passed on: Spark lays the partitions of shuffles of one partitioner together
                rdds.append(rdd.mapPartitions(iter))
                first += branch.partitions
            return _union(self._sc, rdds)
        shuffles = shuffle_stages(source)
        if shuffles:
            return self._shuffle(shuffles, partitions)
        return self._sc.parallelize(splits or [()] * partitions, partitions)

    def _shuffle(self, stages: tuple[int, ...], partitions: int) -> RDD[Any]:
        if stages not in self._shuffled:
            pieces = _union(self._sc, [self.rdd(index) for index in stages])
            shuffled = pieces.partitionBy(partitions, operator.index)
            self._shuffled[stages] = shuffled.setName(f"blocks of {' and '.join(map(str, stages))}")
        return self._shuffled[stages]

    def _broadcast(self, stage_index: int) -> BroadcastPieces:
        if stage_index not in self._broadcasts:
            rdd = self.rdd(stage_index)
            with spark_errors_read():
                pieces: list[Piece] = [piece for _, piece in rdd.collect()]
            self._broadcasts[stage_index] = self._sc.broadcast(pieces)
        return self._broadcasts[stage_index]

    # --- results ---------------------------------------------------------------------------

    def _received(self, written: Written, folder: Path | None) -> Written:
        """Put what a task of another host handed over where the others wrote theirs."""
        if folder is None or written.data is None:
            return written
        saved = _sink(self._stages[written.stage_index]).saved
        if saved is not None and written.part is not None:
            name = part_file(written.partition, saved.format)
            part = attempt_part(saved.path, self._job_id, written.attempt_id, name)
            part.write_bytes(written.part)
        ((name, _),) = written.outcome.files
        path = folder / f"{name}.{written.attempt_id}"
        path.write_bytes(written.data)
        path.replace(folder / name)
        return replace(written, data=None, part=None)

    # --- for people ------------------------------------------------------------------------

    def describe(self) -> str:
        """The translation, as stable text."""
        return describe(self._plan)

    def lineage(self) -> str:
        """Spark's own view of the RDDs, `toDebugString`. Runs nothing. Not stable."""
        sketch = _Sketch(self._sc, self._plan, self._job_id, self._task_max_mb)
        sketch._build()
        broadcasts = {
            index for stage in self._plan.stages for index in broadcast_stages(stage.program)
        }
        texts = []
        for stage in self._plan.stages:
            if stage.is_final or stage.index in broadcasts:
                text = sketch.rdd(stage.index).toDebugString() or b""
                role = "final" if stage.is_final else "broadcast"
                texts.append(f"{role} stage {stage.index}:\n{text.decode()}\n")
        return "\n".join(texts)


class _Sketch(SparkJob):
    """The same RDDs, but nothing is collected for broadcasts."""

    def _broadcast(self, stage_index: int) -> BroadcastPieces:
        return NothingBroadcast()


def _union(sc: SparkContext, rdds: list[RDD[Any]]) -> RDD[Any]:
    """The partitions of the first one, then of the second one, and so on."""
    return rdds[0] if len(rdds) == 1 else sc.union(rdds)


def _sink(stage: Stage) -> PartitionFile:
    sink = stage.program.sink
    assert isinstance(sink, PartitionFile)
    return sink
