"""The core's mutable state of one stage: its tasks, the groups in which they become ready, and what
was counted of them.

Counters are kept, never counted. Must not know workers, nor what moves its tasks.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from typing import TYPE_CHECKING

from minispark.model.cache_keys import keeps_for_job, uses_cache
from minispark.model.plan import ShuffleBlocks, Stage
from minispark.model.snapshot import StageView
from minispark.model.states import JobState
from minispark.scheduling.limits import DURATIONS_MAX, QUICK_COMPLETED_MIN, QUICK_S_MAX
from minispark.scheduling.reads import Reads, reads_of
from minispark.scheduling.stage_figures import StageSums
from minispark.scheduling.task_group import TaskGroup
from minispark.scheduling.task_run import TaskRun

if TYPE_CHECKING:
    from minispark.scheduling.job_run import JobRun


class StageRun:
    """One stage of a running job."""

    def __init__(self, job: JobRun, stage: Stage) -> None:
        self.job = job
        self.stage = stage
        self.tasks = [TaskRun(partition) for partition in range(stage.partitions)]
        reads = (Reads(0, stage.partitions, ()),) if job.is_driven else reads_of(stage)
        self.groups = [TaskGroup(self, n, one) for n, one in enumerate(reads)]
        self.readers: list[TaskGroup] = []
        """Groups each of whose tasks reads all of this stage."""
        self.own_readers: list[TaskGroup] = []
        """Groups of whose tasks each reads only the output of its own partition."""
        self.is_skipped = False
        """Nobody needs its outputs, so far: what its readers make of them is cached."""
        self.completed = 0
        self.running = 0
        """Tasks with a live attempt, and tasks that commit."""
        self.records = 0
        self.failed_attempts = 0
        self.started_at: float | None = None
        self.ended_at: float | None = None
        self.outputs_version = 0
        """Grows when the set of outputs that can be read changes."""
        self.durations: list[float] = []
        """Seconds that accepted attempts ran, sorted: the first DURATIONS_MAX of them."""
        self.sums = StageSums()
        self.uses_cache = not job.is_driven and uses_cache(stage.program)
        self.keeps_for_job = not job.is_driven and keeps_for_job(stage.program)
        """Its workers have something in their caches until the job ends."""

    def note_duration(self, seconds: float) -> None:
        if len(self.durations) < DURATIONS_MAX:
            insort(self.durations, seconds)

    @property
    def median_s(self) -> float | None:
        """How long its accepted attempts ran; None while there are none."""
        return self.durations[len(self.durations) // 2] if self.durations else None

    @property
    def is_quick(self) -> bool:
        return (
            self.completed >= QUICK_COMPLETED_MIN
            and self.median_s is not None
            and self.median_s <= QUICK_S_MAX
        )

    @property
    def is_kept(self) -> bool:
        """Whether its outputs are documented files, which stay when the job ended."""
        return not isinstance(self.stage.program.sink, ShuffleBlocks)

    @property
    def is_sparks(self) -> bool:
        """Whether its outputs are Spark's: no worker has them, and they go with its driver."""
        return self.job.is_driven and not self.is_kept

    @property
    def is_complete(self) -> bool:
        return self.completed == len(self.tasks)

    def group_of(self, task: TaskRun) -> TaskGroup:
        if len(self.groups) == 1:
            return self.groups[0]
        following = bisect_right(self.groups, task.partition, key=lambda g: g.reads.first)
        return self.groups[following - 1]

    def is_missing(self, task: TaskRun) -> bool:
        """Whether an output that the task reads is still to be made, or to be made again, or is
        made by nobody.
        """
        group = self.group_of(task)
        return bool(task.missing or group.missing or group.unmade)

    @property
    def tasks_skipped(self) -> int:
        """Tasks that are not to run; in a job that succeeded, those that did not. Of one that ended
        otherwise nobody knows.
        """
        if self.job.state is JobState.SUCCEEDED:
            return len(self.tasks) - self.completed
        return len(self.tasks) if self.is_skipped and not self.job.state.is_terminal else 0

    def view(self) -> StageView:
        return StageView(
            index=self.stage.index,
            id=self.stage.id,
            op=self.stage.op,
            tasks_total=len(self.tasks) - self.tasks_skipped,
            tasks_skipped=self.tasks_skipped,
            tasks_completed=self.completed,
            tasks_running=self.running,
            records=self.records,
            failed_attempts=self.failed_attempts,
            started_at=self.started_at,
            ended_at=self.ended_at,
        )
