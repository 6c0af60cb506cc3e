"""Every effect that the scheduling core asks for. Imperative; carried out in order, after the
journal.

Must not know who carries them out, nor how.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

from minispark.model.events import WorkerIdentity
from minispark.model.figures import Span, StageFigures
from minispark.model.job import JobRequest
from minispark.model.plan import (
    MadeOutput,
    OutputLocation,
    PhysicalPlan,
    Stage,
    StageProgram,
    TaskOrder,
)
from minispark.model.states import AttemptState, Cause, JobState

# --- facts for the journal ------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class JobAccepted:
    job_id: str
    request: JobRequest
    at_unix_s: float
    idempotency_key: str | None = None
    candidates: tuple[PhysicalPlan, ...] = ()
    """Of these one is chosen later, when a worker is Up; none where one is chosen at once."""


@dataclass(frozen=True, slots=True)
class PlanChosen:
    job_id: str
    plan: PhysicalPlan


@dataclass(frozen=True, slots=True)
class JobMoved:
    """The job entered `state`; `message` says why where that needs saying."""

    job_id: str
    state: JobState
    message: str | None
    at_unix_s: float


@dataclass(frozen=True, slots=True)
class AttemptMoved:
    """The attempt entered `state`. An accepted one carries its figures."""

    attempt_id: str
    job_id: str
    stage_index: int
    partition: int
    attempt: int
    worker_id: str
    state: AttemptState
    at_unix_s: float
    error: str | None = None
    records: int = 0
    bytes_written: int = 0
    cause: Cause | None = None
    """Why it FAILED, is LOST or was CANCELLED."""
    is_committed: bool = False
    """Of a SUCCEEDED one: its files carry their documented names."""
    span: Span | None = None
    """Where and when it ran, in UNIX time, as far as its worker said so."""
    phases_us: dict[str, int] = field(default_factory=dict)
    """Of an accepted one: `TaskOutcome.phases_us`."""


@dataclass(frozen=True, slots=True)
class WorkerSeen:
    """A worker registered, or registered again."""

    worker: WorkerIdentity
    at_unix_s: float


@dataclass(frozen=True, slots=True)
class WorkerLost:
    worker_id: str
    name: str
    reason: str
    at_unix_s: float


@dataclass(frozen=True, slots=True)
class StageMeasured:
    """The stage is complete, perhaps again: what its attempts took."""

    job_id: str
    stage_index: int
    figures: StageFigures


Fact: TypeAlias = (
    JobAccepted | PlanChosen | JobMoved | AttemptMoved | StageMeasured | WorkerSeen | WorkerLost
)

# --- the effects -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class AppendJournal:
    """Make the fact durable before any effect that follows it."""

    fact: Fact


@dataclass(frozen=True, slots=True)
class AcceptWorker:
    """Answer a registration over `session`. `forget`: attempts it holds that nobody waits for.
    `driven`: to a Spark driver, the jobs that go on.
    """

    worker_id: str
    session: int
    forget: tuple[str, ...]
    driven: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CloseSession:
    """Disconnect a silent worker. One that was only stopped sees that, and registers again."""

    worker_id: str
    session: int


@dataclass(frozen=True, slots=True)
class LaunchAttempts:
    """Send the orders to a worker, with what they share (see `messages.Launch`)."""

    worker_id: str
    orders: tuple[TaskOrder, ...]
    programs: dict[str, StageProgram]
    outputs: dict[str, tuple[OutputLocation, ...]] = field(default_factory=dict)
    tables: dict[str, tuple[OutputLocation, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class DriveTasks:
    """Send tasks of a job that Spark runs to its driver, with the programs of their stages, by
    index (see `messages.Drive`).
    """

    worker_id: str
    job_id: str
    job_name: str
    orders: tuple[TaskOrder, ...]
    programs: dict[int, StageProgram]


@dataclass(frozen=True, slots=True)
class WantDriver:
    """Have the supervisor run a Spark driver: tasks wait for one. Idempotent."""


@dataclass(frozen=True, slots=True)
class TellOutputs:
    """Say to attempts that began early that these outputs can be read now."""

    worker_id: str
    attempt_ids: tuple[str, ...]
    outputs: tuple[MadeOutput, ...]


@dataclass(frozen=True, slots=True)
class HttpTask:
    """A task as a foreign worker gets it; the boundary renders it as the documented Task."""

    order: TaskOrder
    stage: Stage
    left_files: tuple[str, ...]
    """Documented names below the state directory: `input_partitions`."""
    right_files: tuple[str, ...]
    """`join_partitions`."""


@dataclass(frozen=True, slots=True)
class AnswerTaskRequest:
    """Answer an HTTP worker's question. `is_known` is false for an unknown or Down worker."""

    request_id: str
    worker_id: str
    is_known: bool
    task: HttpTask | None


@dataclass(frozen=True, slots=True)
class CancelAttempts:
    worker_id: str
    attempt_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CommitOutput:
    """Give the accepted attempt's files their documented names (`messages.Commit`)."""

    worker_id: str
    attempt_id: str
    files: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class DropOutputs:
    """Delete attempts/<attempt id>/ of each; nothing reads them any more."""

    worker_id: str
    attempt_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ForgetTables:
    """The job ended: the worker needs its tables of outputs no more, the driver nothing of it."""

    worker_id: str
    job_id: str


@dataclass(frozen=True, slots=True)
class FindAttempts:
    """Have the worker say which attempts' directories are on its disk (`AttemptsFound`)."""

    worker_id: str


@dataclass(frozen=True, slots=True)
class PartFolder:
    """A directory of the user's, and whose parts it gets, in the order of their partitions."""

    path: str
    format: str
    attempt_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PublishParts:
    """All that the job writes is written: give the parts their names, then write `_SUCCESS`.

    Answered by `PartsPublished`; idempotent.
    """

    job_id: str
    folders: tuple[PartFolder, ...]


@dataclass(frozen=True, slots=True)
class DiscardParts:
    """The job did not succeed: nothing that it wrote stays in these directories of the user's."""

    job_id: str
    paths: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ForgetJob:
    """An old job left the history (`retention.jobs_max`): delete its rows and its files."""

    job_id: str


@dataclass(frozen=True, slots=True)
class Warn:
    """Something that the cluster's owner should read in the log."""

    message: str


Effect: TypeAlias = (
    AppendJournal
    | AcceptWorker
    | CloseSession
    | LaunchAttempts
    | DriveTasks
    | WantDriver
    | TellOutputs
    | AnswerTaskRequest
    | CancelAttempts
    | CommitOutput
    | DropOutputs
    | ForgetTables
    | FindAttempts
    | PublishParts
    | DiscardParts
    | ForgetJob
    | Warn
)
