"""Every event that the scheduling core takes in. Past tense: each one is a fact already.

Must not know who observed it, nor how. Ids are minted by whoever reports the event;
`at_unix_s` is wall-clock time for display only, and no decision depends on it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from minispark.model.figures import Span
from minispark.model.job import JobRequest
from minispark.model.plan import PhysicalPlan, TaskOutcome
from minispark.model.states import WorkerKind

Disk: TypeAlias = tuple[str, str]
"""Where workers keep what they write: a state directory on a host, which several may share."""


@dataclass(frozen=True, slots=True)
class WorkerIdentity:
    """What a worker says of itself when it registers."""

    worker_id: str
    kind: WorkerKind
    name: str
    host: str
    port: int
    """Of the data server; what an HTTP worker says it is, and never connected to."""
    slots: int
    pid: int | None
    host_id: str
    state_dir: str
    metrics_url: str | None = None

    @property
    def disk(self) -> Disk:
        return self.host_id, self.state_dir


@dataclass(frozen=True, slots=True)
class JobSubmitted:
    """A valid job was accepted. With two plans the core chooses once a worker is Up.

    `plans`: the plan to use, or (the default one, the naive one for a cluster of HTTP workers
    only).
    """

    job_id: str
    request: JobRequest
    plans: tuple[PhysicalPlan, ...]
    at_unix_s: float
    idempotency_key: str | None = None


@dataclass(frozen=True, slots=True)
class JobCancelRequested:
    job_id: str
    reason: str
    at_unix_s: float


@dataclass(frozen=True, slots=True)
class WorkerRegistered:
    """A worker came (back). `session` tells its connections apart; 0 for HTTP workers."""

    worker: WorkerIdentity
    session: int
    running: tuple[str, ...]
    """Attempts that it still holds from an earlier session; of a Spark driver also those whose
    outputs its application has.
    """
    at_unix_s: float
    waiting: tuple[str, ...] = ()
    """Those of them that began early and have not heard of all that they read."""


@dataclass(frozen=True, slots=True)
class HeartbeatReceived:
    worker_id: str
    active_tasks: int
    at_unix_s: float


@dataclass(frozen=True, slots=True)
class WorkerDisconnected:
    """The connection `session` of a worker closed. A later session makes it stale."""

    worker_id: str
    session: int
    at_unix_s: float


@dataclass(frozen=True, slots=True)
class WorkerDraining:
    """It finishes what it runs, takes nothing new, and then ends."""

    worker_id: str
    at_unix_s: float


@dataclass(frozen=True, slots=True)
class DriverMissing:
    """A Spark driver was wanted, and none is going to run."""

    reason: str
    at_unix_s: float


@dataclass(frozen=True, slots=True)
class TaskRequested:
    """An HTTP worker asks for a task; `request_id` names the question in the answer."""

    worker_id: str
    request_id: str
    at_unix_s: float


@dataclass(frozen=True, slots=True)
class AttemptStarted:
    worker_id: str
    attempt_id: str
    at_unix_s: float
    span: Span | None = None


@dataclass(frozen=True, slots=True)
class AttemptSucceeded:
    worker_id: str
    attempt_id: str
    outcome: TaskOutcome
    at_unix_s: float
    span: Span | None = None


@dataclass(frozen=True, slots=True)
class AttemptFailed:
    """`kind`: `error`, `timeout`, `memory`, `crash`, `injected` or `internal`."""

    worker_id: str
    attempt_id: str
    kind: str
    error: str
    at_unix_s: float
    span: Span | None = None


@dataclass(frozen=True, slots=True)
class OutputsUnreadable:
    """An attempt could not fetch the outputs of the attempts `lost`."""

    worker_id: str
    attempt_id: str
    lost: tuple[str, ...]
    error: str
    at_unix_s: float
    span: Span | None = None


@dataclass(frozen=True, slots=True)
class CacheMissed:
    """What an attempt was expected to find in its worker's cache is not there."""

    worker_id: str
    attempt_id: str
    at_unix_s: float
    span: Span | None = None


@dataclass(frozen=True, slots=True)
class AttemptsFound:
    """The directories of these attempts, of whatever worker, are on the worker's disk."""

    worker_id: str
    attempt_ids: tuple[str, ...]
    at_unix_s: float


@dataclass(frozen=True, slots=True)
class OutputCommitted:
    worker_id: str
    attempt_id: str
    at_unix_s: float


@dataclass(frozen=True, slots=True)
class CommitRefused:
    """The worker could not give an accepted attempt's files their names."""

    worker_id: str
    attempt_id: str
    error: str
    at_unix_s: float


@dataclass(frozen=True, slots=True)
class PartsPublished:
    """The job's part files carry their names, and `_SUCCESS` is there; or why that failed."""

    job_id: str
    error: str | None
    at_unix_s: float


@dataclass(frozen=True, slots=True)
class HttpTaskCompleted:
    """A completion from a foreign worker, which names its task only by the attempt's id.

    `files`: names below the state directory, in the order reported; a path that lies elsewhere is
    kept as it was sent, and so matches no documented name. `bytes_written`: of these files, as they
    lie there.
    """

    attempt_id: str
    is_success: bool
    error: str
    files: tuple[str, ...]
    records: int
    at_unix_s: float
    bytes_written: int = 0


@dataclass(frozen=True, slots=True)
class ClockTicked:
    at_unix_s: float


Event: TypeAlias = (
    JobSubmitted
    | JobCancelRequested
    | WorkerRegistered
    | HeartbeatReceived
    | WorkerDisconnected
    | WorkerDraining
    | DriverMissing
    | TaskRequested
    | AttemptStarted
    | AttemptSucceeded
    | AttemptFailed
    | OutputsUnreadable
    | CacheMissed
    | AttemptsFound
    | OutputCommitted
    | CommitRefused
    | PartsPublished
    | HttpTaskCompleted
    | ClockTicked
)
