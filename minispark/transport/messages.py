"""Every message of the socket protocol, as frozen dataclasses. JSON form: `codec.py`.

On the wire a message is a JSON object whose `type` is the class's name in snake_case.
Must not know who sends which, beyond the comments, nor how bytes travel.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

from minispark.metrics.worker_load import WorkerLoad
from minispark.model.figures import Span
from minispark.model.plan import (
    MadeOutput,
    OutputLocation,
    StageProgram,
    TaskOrder,
    TaskOutcome,
)

PROTOCOL_VERSION = 1
REPORTS_MAX = 1000
"""Reports in one page."""
ERROR_CHARS_MAX = 8000
"""Of a report's error."""
ATTEMPTS_PER_PAGE = 10_000
"""Attempt ids in one message: 400 kB, far below a frame's limit."""

RUNNING_MAX = 400_000
"""Attempts that a worker may come back with: what a frame has room for."""

# --- handshake (both directions; `handshake.py` drives it) ---------------------------------


@dataclass(frozen=True, slots=True)
class Hello:
    """Client -> server, first frame."""

    protocol: int
    version: str
    python: str
    nonce: str


@dataclass(frozen=True, slots=True)
class Challenge:
    """Server -> client: its own nonce, and its proof that it knows the token."""

    protocol: int
    version: str
    python: str
    nonce: str
    proof: str


@dataclass(frozen=True, slots=True)
class Proof:
    """Client -> server: the client's proof."""

    proof: str


@dataclass(frozen=True, slots=True)
class Welcome:
    """Server -> client: the session is authenticated."""


@dataclass(frozen=True, slots=True)
class Refused:
    """Either direction, last frame before the connection closes."""

    code: str
    message: str


# --- worker -> master ----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Register:
    worker_id: str
    """The nil UUID on first contact; afterwards the id the master gave, kept in the state
    directory.
    """
    name: str
    host: str
    port: int
    """The data server's port."""
    slots: int
    pid: int
    host_id: str
    state_dir: str
    metrics_url: str | None = None
    running: tuple[str, ...] = ()
    """Attempt ids that it still holds (queued or running) from an earlier session; of a Spark
    driver also those whose outputs its application has.
    """
    waiting: tuple[str, ...] = ()
    """Those of them that began early and have not heard of all that they read: what they were told
    in that session may be lost, so the master cancels them.
    """
    is_driver: bool = False
    """Of a Spark application: it serves no data, has no slots, and gets `Drive`."""


@dataclass(frozen=True, slots=True)
class Heartbeat:
    worker_id: str
    active_tasks: int
    load: WorkerLoad | None = None


@dataclass(frozen=True, slots=True)
class Started:
    """An executor took the attempt up."""

    attempt_id: str
    span: Span | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Succeeded:
    attempt_id: str
    outcome: TaskOutcome
    span: Span | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Failed:
    attempt_id: str
    kind: str
    """`error` (data or function), `timeout`, `crash` (the executor died), `injected`,
    `internal`.
    """
    error: str
    """For people; a traceback of the user's own code comes first where there is one."""
    span: Span | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class FetchFailed:
    attempt_id: str
    lost: tuple[str, ...]
    """Attempt ids of the parent outputs that could not be read."""
    error: str
    span: Span | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class CacheMissed:
    """What the order expected in the worker's cache is not there (`TaskOrder.unmade`)."""

    attempt_id: str
    span: Span | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Committed:
    """The files of the attempt carry their documented names."""

    attempt_id: str


@dataclass(frozen=True, slots=True)
class CommitFailed:
    attempt_id: str
    error: str


@dataclass(frozen=True, slots=True)
class AttemptsFound:
    """The directories of these attempts are on this worker's disk; at most ATTEMPTS_PER_PAGE."""

    attempt_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Draining:
    """The worker finishes what it runs and then ends: it gets no more orders."""


Ending: TypeAlias = Succeeded | Failed | FetchFailed | CacheMissed
"""How an executor answers an order."""
Report: TypeAlias = Started | Ending | Committed | CommitFailed


@dataclass(frozen=True, slots=True)
class Reports:
    """What happened since the last message, in order; at most REPORTS_MAX entries."""

    reports: tuple[Report, ...]
    number: int
    """Of this page within the session, from 1; `Confirmed` names it."""
    sent_s: float = 0.0
    """When it was sent, by the clock of its spans: so the master knows how long ago they were."""


# --- master -> worker ----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Registered:
    worker_id: str
    heartbeat_interval_s: float
    task_timeout_s: float
    host_id: str
    """The master's own."""
    http_port: int
    """Where inputs are read through it, on the address at which the worker reached it."""
    forget: tuple[str, ...] = ()
    """Of `Register.running`: attempts that nobody waits for; stop them and delete what they
    wrote.
    """
    driven: tuple[str, ...] = ()
    """To a Spark driver: the jobs that go on. Of others it may have missed the end: they are to be
    forgotten.
    """


@dataclass(frozen=True, slots=True)
class Confirmed:
    """The pages of reports up to that number are durable; a worker repeats others to the next
    session, so that a master that is killed in between loses none.
    """

    number: int


@dataclass(frozen=True, slots=True)
class Launch:
    """Tasks to queue, in order, and what several orders share.

    `programs`: key `{job_id}/{stage_index}`, the same for all tasks of a stage.
    `outputs`: key TaskOrder.outputs_id -> the parents' output locations.
    `tables`: the same, for later messages of the session as well: what all tasks of a stage read is
    sent once. It holds until another one comes under its key, or ForgetTables for its job.
    """

    orders: tuple[TaskOrder, ...]
    programs: dict[str, StageProgram]
    outputs: dict[str, tuple[OutputLocation, ...]] = field(default_factory=dict)
    tables: dict[str, tuple[OutputLocation, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Drive:
    """To a Spark driver: tasks of one job, all that can be run now; what they read of one another
    is Spark's to bring.

    A page of them; `is_last` says that they are all there. `programs`: of the stages of these
    orders, by index.
    """

    job_id: str
    job_name: str
    orders: tuple[TaskOrder, ...]
    programs: dict[str, StageProgram]
    is_last: bool


@dataclass(frozen=True, slots=True)
class OutputsMade:
    """Attempts that began early (`TaskOrder.awaited`) read these outputs, which can be read now.

    Agent -> executor too: it waits for it within a task.
    """

    attempt_ids: tuple[str, ...]
    outputs: tuple[MadeOutput, ...]


@dataclass(frozen=True, slots=True)
class ForgetTables:
    """The job ended: no order will name its tables of outputs, and a driver may forget it."""

    job_id: str


@dataclass(frozen=True, slots=True)
class Cancel:
    """Stop these attempts (queued or running), delete what they wrote, and report nothing of
    them.
    """

    attempt_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Commit:
    """Link files of an accepted attempt to their documented names, atomically; idempotent.

    `files`: (name below attempts/<attempt id>/, documented name below the state directory).
    """

    attempt_id: str
    files: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Drop:
    """Delete attempts/<attempt id>/ of each: its job ended, or it was superseded."""

    attempt_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FindAttempts:
    """Say which attempts' directories are on the disk, in one AttemptsFound or more."""


# --- data port (executor or master -> worker) -------------------------------------------------


@dataclass(frozen=True, slots=True)
class FetchBlock:
    """Ask for one shuffle block of an accepted attempt."""

    attempt_id: str
    partition: int


@dataclass(frozen=True, slots=True)
class FetchFile:
    """Ask for a documented partition file below the state directory, by name, from a byte on."""

    name: str
    offset: int = 0


@dataclass(frozen=True, slots=True)
class Bulk:
    """The answer's head: exactly `bytes` raw bytes follow this frame."""

    bytes: int


@dataclass(frozen=True, slots=True)
class Missing:
    """The answer when there is no such block or file, or it is damaged."""

    message: str


# --- agent <-> executor (parent and child; the same framing) -----------------------------------


@dataclass(frozen=True, slots=True)
class MasterPlace:
    """Agent -> executor: whose inputs it reads, before its first order and when that changed."""

    host_id: str
    host: str
    http_port: int


@dataclass(frozen=True, slots=True)
class Run:
    """Agent -> executor: run one order. It answers with an `Ending`."""

    order: TaskOrder
    program: StageProgram | None
    outputs: tuple[OutputLocation, ...] | None = ()
    """None, here and for the program: what the executor was sent last."""


@dataclass(frozen=True, slots=True)
class Retiring:
    """Executor -> agent, before a report: it ends after that, and takes no order any more."""


Message: TypeAlias = (
    Hello
    | Challenge
    | Proof
    | Welcome
    | Refused
    | Register
    | Heartbeat
    | Reports
    | AttemptsFound
    | Draining
    | Registered
    | Confirmed
    | Launch
    | Drive
    | OutputsMade
    | ForgetTables
    | Cancel
    | Commit
    | Drop
    | FindAttempts
    | FetchBlock
    | FetchFile
    | Bulk
    | Missing
    | MasterPlace
    | Run
    | Retiring
    | Succeeded
    | Failed
    | FetchFailed
    | CacheMissed
)
