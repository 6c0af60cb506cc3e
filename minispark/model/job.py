"""What a client asks for: the documented JobRequest, and the input files it resolves to.

Must not know how a request is planned, nor how it looks as JSON.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from minispark.model.function_names import WRITERS


class PlanKind(Enum):
    NAIVE = "naive"
    """One task per operator and partition; every intermediate is a documented file."""
    FUSED = "fused"
    """Chains of narrow operators become one task; only a shuffle ends a stage."""


class Engine(Enum):
    """Who runs a job's tasks."""

    LOCAL = "local"
    """This cluster's workers."""
    SPARK = "spark"
    """Apache Spark, told so by a driver that this cluster supervises."""


@dataclass(frozen=True, slots=True)
class ReaderOptions:
    """Our own additions to a reader node. The defaults are the documented behaviour."""

    encoding: str = "utf-8"
    errors: str = "strict"
    """`strict`: invalid bytes fail the task; `replace`: they become U+FFFD."""
    on_error: str = "fail"
    """read_jsonl: `fail` or `skip` a malformed line (skipped lines are counted)."""
    multiline: bool = False
    """read_csv: rows may hold newlines inside quotes; such a file is not split."""


@dataclass(frozen=True, slots=True)
class DagNode:
    """One operator of the logical DAG, as documented; `fn` is accepted for `fn_name` on the
    wire.
    """

    id: str
    op: str
    path: str | None = None
    partitions: int | None = None
    fn_name: str | None = None
    key: str | None = None
    join_with: str | None = None
    value: str | None = None
    """Ours: the column that a reduce_by_key over CSV or JSONL rows reduces."""
    expr: str | None = None
    """Ours: an expression instead of a function (`expressions.py`)."""
    ascending: bool = True
    """sort_by_key."""
    n: int | None = None
    """take: how many records."""
    fraction: float | None = None
    """sample: the part of the records, from 0 to 1."""
    seed: int = 0
    """sample: which part."""
    cache: bool = False
    """Ours: later jobs find this node's records in the partition cache."""
    reader: ReaderOptions = ReaderOptions()


@dataclass(frozen=True, slots=True)
class Dag:
    nodes: tuple[DagNode, ...]
    edges: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class JobRequest:
    """A validated-by-type request; `plan/validation.py` says whether it makes sense."""

    name: str
    dag: Dag
    parallelism: int
    plan: PlanKind | None = None
    timeout_s: float | None = None
    modules: tuple[tuple[str, str], ...] = ()
    """The user's own code: (module name, source)."""
    engine: Engine | None = None
    """None: the cluster's, until it is submitted."""
    warnings: tuple[str, ...] = field(default=())
    """Fields that were ignored, each as one sentence."""

    @property
    def saved_at(self) -> tuple[str, ...]:
        """The directories that it writes to."""
        return tuple(str(node.path) for node in self.dag.nodes if node.op in WRITERS)

    @property
    def has_user_code(self) -> bool:
        """Whether running it runs what the submitter wrote."""
        return bool(self.modules) or any(node.expr is not None for node in self.dag.nodes)


@dataclass(frozen=True, slots=True)
class InputFile:
    """One regular file that a reader reads. Sizes in bytes, times in nanoseconds."""

    path: str
    """Absolute, symbolic links resolved."""
    size: int
    mtime_ns: int
    data_start: int = 0
    """Offset of the first byte after a BOM and, in read_csv, after the header line
    (uncompressed).
    """
    compression: str | None = None
    """`gz`, `bz2`, `xz` or None. A compressed file is never split."""


@dataclass(frozen=True, slots=True)
class ResolvedInput:
    """What the master found behind one reader's `path`, before planning."""

    node_id: str
    files: tuple[InputFile, ...]
    header: tuple[str, ...] | None = None
    """The column names of read_csv (of the first file)."""
