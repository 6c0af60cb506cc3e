"""What readers see of the scheduling core: an immutable picture with counters, shared structurally.

Lists of tasks are not here (they are paged from the job store), so that a picture costs the same
whatever the number of tasks. Must not know who reads it, nor in which form.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from minispark.model.events import WorkerIdentity
from minispark.model.job import JobRequest, PlanKind
from minispark.model.states import AttemptState, JobState, WorkerState


@dataclass(frozen=True, slots=True)
class StageView:
    """One stage's counters. Times are UNIX seconds."""

    index: int
    id: str
    op: str
    tasks_total: int
    """Of those that run: what is skipped is not among them."""
    tasks_completed: int = 0
    tasks_running: int = 0
    records: int = 0
    """Records that left the stage's accepted attempts."""
    failed_attempts: int = 0
    started_at: float | None = None
    ended_at: float | None = None
    tasks_skipped: int = 0
    """Of which nobody needs the outputs: what would be made of them is cached."""

    @property
    def is_complete(self) -> bool:
        return self.tasks_completed == self.tasks_total


@dataclass(frozen=True, slots=True)
class JobView:
    """One job. `tasks_*` count tasks; `failed_attempts` counts lost ones too, `retries` what
    followed.
    """

    job_id: str
    request: JobRequest
    state: JobState
    message: str | None
    """Why it failed or was cancelled."""
    note: str | None
    """What it waits for, when that needs saying."""
    plan_kind: PlanKind | None
    created_at: float
    updated_at: float
    started_at: float | None = None
    ended_at: float | None = None
    tasks_total: int = 0
    tasks_running: int = 0
    tasks_completed: int = 0
    tasks_failed: int = 0
    failed_attempts: int = 0
    retries: int = 0
    result_bytes: int = 0
    """Of its documented files, which stay when it ended."""
    stages: tuple[StageView, ...] = ()

    @property
    def tasks_pending(self) -> int:
        return self.tasks_total - self.tasks_running - self.tasks_completed - self.tasks_failed

    @property
    def progress(self) -> float:
        """Per cent of the tasks that are complete; 100 only when the job succeeded."""
        if self.state is JobState.SUCCEEDED:
            return 100.0
        return 100.0 * self.tasks_completed / self.tasks_total if self.tasks_total else 0.0

    @property
    def records(self) -> int:
        return sum(stage.records for stage in self.stages)


@dataclass(frozen=True, slots=True)
class WorkerView:
    identity: WorkerIdentity
    state: WorkerState
    load: int
    """Attempts assigned to it: running and queued."""
    last_heartbeat_unix_s: float


@dataclass(frozen=True, slots=True)
class Totals:
    """What was counted so far, also by earlier masters of jobs that are remembered."""

    jobs_submitted: int = 0
    jobs_ended: Mapping[JobState, int] = field(default_factory=dict)
    attempts: Mapping[AttemptState, int] = field(default_factory=dict)
    """How often one entered that state: each was ASSIGNED once. An accepted one whose output was
    lost counts as SUCCEEDED and as LOST.
    """
    records: int = 0
    """Records that left accepted attempts."""
    bytes_written: int = 0


NOTHING_COUNTED = Totals()


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Mappings are in order: jobs by submission, workers by name (`in_order`)."""

    jobs: Mapping[str, JobView] = field(default_factory=dict)
    workers: Mapping[str, WorkerView] = field(default_factory=dict)
    driver: WorkerView | None = None
    """Of Spark, if a job wanted one so far; it is not among the workers."""
    tasks_queued: int = 0
    """Ready to run, not assigned."""
    tasks_running: int = 0
    """Assigned or running."""
    next_index: int = 0
    """Where the round robin stands."""
    retries_total: int = 0
    late_results: int = 0
    """Results of superseded attempts, dropped."""
    totals: Totals = NOTHING_COUNTED
