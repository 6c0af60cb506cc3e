"""The physical plan: stages, each with a source, narrow steps and a sink. Data only.

A plan is made by `plan/`, scheduled by `scheduling/`, and carried out by `compute/`, `storage/`
and `worker/`. It must not know any of them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

from minispark.model.job import PlanKind, ReaderOptions
from minispark.model.steps import SelectColumns, Step

# --- where a task's records come from -------------------------------------------------


@dataclass(frozen=True, slots=True)
class Split:
    """Bytes [start, end) of a file. Owns every line that *begins* in it, the header excluded.

    A compressed (`compression`) or multiline file is one split: start 0, end = its size on disk.
    """

    path: str
    start: int
    end: int
    data_start: int = 0
    """Bytes before this offset (BOM, header) belong to no record. 0 also means: no BOM, no
    header.
    """
    compression: str | None = None
    size: int | None = None
    """Of the whole file on disk when the job was planned, in bytes. None, here and below: a version
    before ADR 21 planned it.
    """
    mtime_ns: int | None = None
    """Its last change then, in nanoseconds since 1970: so a worker of another host knows whether
    the file that it sees at this path is the same one.
    """


@dataclass(frozen=True, slots=True)
class ReadSplits:
    """Task p reads `TaskOrder.splits`, in order. Both plans; for read_csv the fused plan only."""

    node_id: str
    format: str
    """`csv`, `jsonl` or `text`."""
    options: ReaderOptions
    header: tuple[str, ...] | None = None
    select: SelectColumns | None = None
    """What its records become at once: key and value, without the rows between."""


@dataclass(frozen=True, slots=True)
class ReadRows:
    """Naive read_csv: task p of n reads all files and keeps row i (after the headers) when i % n
    == p.
    """

    node_id: str
    options: ReaderOptions
    total_partitions: int
    header: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class ReadPartitions:
    """Naive: the documented file `{job}_{node}_p{p}.json` of the parent, p being the task's
    partition, or the blocks beside it.

    `every` reads all the parent's partitions in order instead (the right side of a naive join).
    """

    node_id: str
    """The node whose files they are."""
    stage_index: int
    every: bool = False


@dataclass(frozen=True, slots=True)
class ReadDocumentedShuffle:
    """Naive: the documented shuffle files `{job}_{writer}_shuffle_p{from}_to_p{to}.json` for this
    p, or the blocks beside them.
    """

    writer_node_id: str
    stage_index: int


@dataclass(frozen=True, slots=True)
class FetchShuffle:
    """Fused: the block for this partition of every map output of stage `stage_index`.

    `broadcast` reads block 0 of each instead: the whole output, whatever the task's partition.
    """

    stage_index: int
    combined: bool = False
    """The values are partial aggregates of the reducer that follows, not raw values."""
    broadcast: bool = False


SingleSource: TypeAlias = (
    ReadSplits | ReadRows | ReadPartitions | ReadDocumentedShuffle | FetchShuffle
)


@dataclass(frozen=True, slots=True)
class Join:
    """Join by key: hashes the right side, streams the left one. A value is `(left,right)`.

    Left order; for one left record the right records in their order.
    `left_steps` apply before the join: a broadcast join streams its left side straight from its
    source; the right side's steps ran in the stage that wrote its blocks.
    """

    node_id: str
    left: SingleSource
    right: SingleSource
    left_steps: tuple[Step, ...] = ()
    kind: str = "inner"
    """`inner`, or whose records stay although the other side lacks their key: `left`, `right`,
    `full`.
    """


@dataclass(frozen=True, slots=True)
class Branch:
    """One parent of a union: so many of the stage's tasks, which read it and apply the steps."""

    source: SingleSource | Join
    steps: tuple[Step, ...]
    partitions: int


@dataclass(frozen=True, slots=True)
class UnionAll:
    """The records of all branches: tasks 0 to n-1 are the partitions of the first one, and so on.

    In its own branch a task has the number that it would have there.
    """

    node_id: str
    branches: tuple[Branch, ...]

    def locate(self, partition: int) -> tuple[Branch, int]:
        """The branch of a task, and which of its partitions it is."""
        for branch in self.branches:
            if partition < branch.partitions:
                return branch, partition
            partition -= branch.partitions
        raise AssertionError(f"a union has no partition {partition} more")


Source: TypeAlias = SingleSource | Join | UnionAll

# --- where its records go ----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Ranges:
    """Records go to partitions by ranges of keys. The bounds follow from the keys that SampleKeys
    chose in the stage that `samples` reads, all of it: every task finds the same.
    """

    samples: FetchShuffle | ReadPartitions
    is_descending: bool


@dataclass(frozen=True, slots=True)
class ShuffleBlocks:
    """Fused: one columnar block per output partition (crc32 of the key), in one file per
    attempt.
    """

    node_id: str
    """The node on whose behalf the shuffle happens (the reduce, join or shuffle_write)."""
    partitions: int
    combine: str | None
    """A reducer to apply on the map side first; its partial aggregates are what is written."""
    ranges: Ranges | None = None
    """Instead of the crc32."""


@dataclass(frozen=True, slots=True)
class SavedParts:
    """A directory of the user's gets the records too: one part file a partition."""

    path: str
    """Absolute, symbolic links resolved."""
    format: str
    """`csv`, `jsonl` or `txt`."""
    has_keys: bool
    """Whether some record may have a key: what the header of a csv file says."""


@dataclass(frozen=True, slots=True)
class PartitionFile:
    """The documented `{job}_{node}_p{n}.json`: naive intermediates, and every final result."""

    node_id: str
    is_read: bool = False
    """By later stages: the same records lie beside it as blocks, which our own readers prefer."""
    saved: SavedParts | None = None
    """Of a write_csv, write_jsonl or write_text."""


@dataclass(frozen=True, slots=True)
class DocumentedShuffle:
    """Naive: `{job}_{writer}_shuffle_p{from}_to_p{to}.json` per target (31-multiplier hash), and
    the same records as blocks.
    """

    writer_node_id: str
    partitions: int
    ranges: Ranges | None = None
    """Instead of the hash."""


Sink: TypeAlias = ShuffleBlocks | PartitionFile | DocumentedShuffle

# --- the stage and the plan ----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class StageProgram:
    """What every task of one stage does. Small, sent once per worker, the same for all
    partitions.
    """

    source: Source
    steps: tuple[Step, ...]
    sink: Sink
    modules: tuple[tuple[str, str], ...] = ()
    """The user's own code, where the stage runs some: (module name, source)."""


@dataclass(frozen=True, slots=True)
class Stage:
    """Tasks that differ only in their partition. Fields that the documented Task shows are kept."""

    index: int
    id: str
    """Its nodes' ids joined by `+` (fused), or its one node's id (naive)."""
    node_ids: tuple[str, ...]
    op: str
    """The documented operator (naive), or `pipeline`."""
    partitions: int
    """Number of tasks."""
    parents: tuple[int, ...]
    """Indices of the stages that its tasks read, some all of them and some but one; all smaller
    than `index`.
    """
    program: StageProgram
    splits: tuple[tuple[Split, ...], ...] = ()
    """Per partition, where the source (or a broadcast join's left side) is ReadSplits or
    ReadRows.
    """
    is_final: bool = False
    fn_name: str | None = None
    key: str | None = None
    is_documented: bool = False
    """A foreign HTTP worker gives it the same meaning, so it may run it (API.md)."""
    input_path: str | None = None
    """The reader's path as the request spells it (naive readers only)."""


@dataclass(frozen=True, slots=True)
class PhysicalPlan:
    kind: PlanKind
    stages: tuple[Stage, ...]

    @property
    def tasks_total(self) -> int:
        return sum(stage.partitions for stage in self.stages)


# --- one task, as a worker gets it ------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class OutputLocation:
    """Where an accepted attempt's output lies. `host` and `port` are of the data server that has
    it: its worker's, or that of another one on its disk.
    """

    stage_index: int
    partition: int
    """The map task's partition: fetch order is (stage, partition)."""
    attempt_id: str
    worker_id: str
    host: str
    port: int
    host_id: str
    state_dir: str
    """The owner's state directory; a process with the same host id may read there directly."""
    is_foreign: bool = False
    """An HTTP worker wrote it: documented files, without blocks beside them."""


@dataclass(frozen=True, slots=True)
class MadeOutput:
    """An output for which attempts waited that began early."""

    stage_index: int
    partition: int
    place: OutputLocation | None
    """None: it has no records, and nobody needs to read it."""


@dataclass(frozen=True, slots=True)
class TaskOrder:
    """One attempt to run. Everything that differs between tasks of a stage."""

    attempt_id: str
    job_id: str
    stage_index: int
    stage_id: str
    partition: int
    attempt: int
    total_partitions: int
    splits: tuple[Split, ...] = ()
    outputs_id: str | None = None
    """Names the locations of all outputs that this task reads (see `messages.Launch`)."""
    awaited: tuple[tuple[int, int], ...] = ()
    """(stage, partition) of outputs that it reads and that are still being made: it begins early,
    and is told of each (`messages.OutputsMade`).
    """
    unmade: tuple[int, ...] = ()
    """Stages that it would read if its worker's cache did not have what it makes of them: they are
    skipped, and where the cache misses the task ends with CacheMissed.
    """


@dataclass(frozen=True, slots=True)
class OperatorCount:
    """Records that left one operator of one attempt."""

    node_id: str
    records: int
    us: int = 0
    """Time spent in it, in microseconds."""


@dataclass(frozen=True, slots=True)
class TaskOutcome:
    """What an executor reports of a finished attempt."""

    records: int
    """Records that left the task's last operator."""
    bytes_written: int
    operators: tuple[OperatorCount, ...] = ()
    files: tuple[tuple[str, str], ...] = ()
    """(name below attempts/<attempt id>/, documented name below the state directory), to be
    committed. Of a shuffle they are in the order of their target.
    """
    bytes_read: int = 0
    """Of its splits, or of the outputs that it fetched."""
    bytes_spilled: int = 0
    phases_us: dict[str, int] = field(default_factory=dict)
    """Where its time went, in microseconds, by `figures.PHASES` and `other`."""
    records_skipped: int = 0
    """Malformed JSONL lines under `on_error: skip`."""
