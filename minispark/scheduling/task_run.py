"""The core's mutable state of one task, and of each attempt at it.

Must not know workers beyond their ids, nor how a stage counts its tasks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from minispark.model.figures import Span
from minispark.model.ids import attempt_id
from minispark.model.plan import TaskOutcome
from minispark.model.states import ATTEMPT_TRANSITIONS, AttemptState, TaskState, check_transition
from minispark.scheduling.limits import HISTORY_MAX

if TYPE_CHECKING:
    from minispark.scheduling.stage_run import StageRun


_NOTHING: dict[tuple[int, int], None] = {}
"""Of most attempts; never written to."""


class Attempt:
    """One try at a task on one worker."""

    __slots__ = (
        "assigned_at",
        "awaited",
        "id",
        "number",
        "outcome",
        "pool_version",
        "span",
        "stage",
        "started_at",
        "state",
        "task",
        "worker_id",
    )

    def __init__(
        self, stage: StageRun, task: TaskRun, number: int, worker_id: str, assigned_at: float
    ) -> None:
        self.id = attempt_id(stage.job.id, stage.stage.id, task.partition, number)
        self.stage = stage
        self.task = task
        self.number = number
        self.worker_id = worker_id
        self.assigned_at = assigned_at
        """Monotonic seconds."""
        self.started_at: float | None = None
        """When an executor took it up; None while it is queued."""
        self.state = AttemptState.ASSIGNED
        self.outcome: TaskOutcome | None = None
        self.span: Span | None = None
        """Where and when it ran, as far as its worker said so; for people only."""
        self.pool_version = 0
        """When it was told where its input lies."""
        self.awaited: dict[tuple[int, int], None] = _NOTHING
        """(stage, partition) of outputs of which it was not told yet: it began early."""

    @property
    def is_empty(self) -> bool:
        """Whether nothing was written: nobody needs to read that, and nothing of it can be lost."""
        is_written = self.outcome is None or self.outcome.bytes_written > 0
        return not is_written and not self.stage.is_kept

    def restart_clock(self, now: float) -> None:
        """What it took so far does not count."""
        self.assigned_at = now
        if self.started_at is not None:
            self.started_at = now

    def move(self, new: AttemptState, event: object) -> None:
        self.state = check_transition(
            ATTEMPT_TRANSITIONS, f"attempt {self.id}", self.state, new, event
        )


class TaskRun:
    """One partition of one stage. `live` works on it, and sometimes a speculative `backup` beside
    it; `accepted` has its output.
    """

    __slots__ = (
        "accepted",
        "attempts_made",
        "avoid_until",
        "avoided_worker",
        "backup",
        "early_starts",
        "failures",
        "fetch_failures",
        "history",
        "is_delayed",
        "live",
        "losses",
        "missing",
        "partition",
        "recomputes",
        "state",
    )

    def __init__(self, partition: int) -> None:
        self.partition = partition
        self.state = TaskState.PENDING
        self.attempts_made = 0
        self.failures = 0
        """Its own, which `task_retries_max` bounds."""
        self.losses = 0
        """Of workers that had it."""
        self.recomputes = 0
        """Of its accepted output, which was lost later."""
        self.fetch_failures = 0
        self.live: Attempt | None = None
        self.backup: Attempt | None = None
        self.accepted: Attempt | None = None
        self.missing = 0
        """Outputs that it alone of its stage reads and that cannot be read yet."""
        self.early_starts = 0
        self.history: tuple[str, ...] = ()
        self.is_delayed = False
        """PENDING and waiting for its retry delay to pass: not among the ready ones."""
        self.avoided_worker: str | None = None
        """Where it failed last; another worker is preferred until `avoid_until`."""
        self.avoid_until = 0.0

    @property
    def attempts(self) -> list[Attempt]:
        """The live ones: none, one, or two while it is speculated on."""
        return [attempt for attempt in (self.live, self.backup) if attempt is not None]

    def remember(self, line: str) -> None:
        self.history = (*self.history, line)[-HISTORY_MAX:]
