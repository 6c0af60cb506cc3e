"""The core's mutable state of a job: its stages, and how their tasks and attempts move.

Counters are kept, never counted, so that no event costs more as the number of tasks grows.
Must not know workers beyond their ids, nor effects.
"""

from __future__ import annotations

from bisect import insort

from minispark.model.effects import PartFolder
from minispark.model.job import Engine, JobRequest
from minispark.model.plan import (
    PartitionFile,
    PhysicalPlan,
    TaskOutcome,
)
from minispark.model.snapshot import JobView
from minispark.model.states import (
    JOB_TRANSITIONS,
    TASK_TRANSITIONS,
    AttemptState,
    JobState,
    TaskState,
    check_transition,
)
from minispark.scheduling.stage_run import StageRun
from minispark.scheduling.task_group import TaskGroup
from minispark.scheduling.task_run import Attempt, TaskRun


class JobRun:
    """A job that has not ended. Its stages exist once its plan is chosen."""

    def __init__(
        self,
        job_id: str,
        request: JobRequest,
        plans: tuple[PhysicalPlan, ...],
        now: float,
        at_unix_s: float,
    ) -> None:
        self.id = job_id
        self.request = request
        self.is_driven = request.engine is Engine.SPARK
        """Spark runs its tasks: they go to a driver at once, whatever they read of one another."""
        self.plans = plans
        self.plan: PhysicalPlan | None = None
        self.state = JobState.PENDING
        self.message: str | None = None
        self.stages: list[StageRun] = []
        self.open_groups: list[TaskGroup] = []
        """The runnable ones, by their place."""
        self.accepted: dict[str, Attempt] = {}
        """Accepted attempts by id: whose outputs can be read, or are being committed."""
        self.unreadable: dict[str, str] = {}
        """Attempts that were accepted until somebody could not read their outputs, and their
        workers. Others may be reading them, so their files stay as long as the job.
        """
        self.readers: dict[str, None] = {}
        """Workers that were sent locations of its outputs to keep."""
        self.waiting: dict[str, Attempt] = {}
        """Live attempts that began early and were not told of all that they read."""
        self.incomplete_finals = 0
        self.is_saving = False
        """Its part files get their names: the one thing that decides how it ends from now on."""
        self.live_count = 0
        """Attempts assigned or running: what fair sharing compares."""
        self.ready_count = 0
        """Ready tasks of runnable groups."""
        self.tasks_completed = 0
        self.tasks_failed = 0
        self.failed_attempts = 0
        self.retries = 0
        self.result_bytes = 0
        """Of accepted documented files."""
        self.submitted_at = now
        """Monotonic seconds, for `timeout_s`."""
        self.created_at = at_unix_s
        self.updated_at = at_unix_s
        self.started_at: float | None = None
        self.ended_at: float | None = None

    # --- moves ---------------------------------------------------------------------------

    def move(self, new: JobState, event: object, at_unix_s: float) -> None:
        self.state = check_transition(JOB_TRANSITIONS, f"job {self.id}", self.state, new, event)
        self.updated_at = at_unix_s
        if new is JobState.RUNNING:
            self.started_at = at_unix_s
        elif new.is_terminal:
            self.ended_at = at_unix_s

    def choose_plan(self, plan: PhysicalPlan) -> None:
        self.plan = plan
        self.plans = ()
        self.stages = [StageRun(self, stage) for stage in plan.stages]
        for run in self.stages:
            self.incomplete_finals += run.stage.is_final
            for group in run.groups:
                for index, is_every in group.reads.parts:
                    parent = self.stages[index]
                    (parent.readers if is_every else parent.own_readers).append(group)
                if group.is_runnable:
                    self._open(group)

    def skip(self, stage: StageRun) -> None:
        """The stage, which has not begun, need not run: its readers wait for it no longer."""
        for group in stage.groups:
            if group.is_runnable:
                self._close(group)
        stage.is_skipped = True
        for group in stage.readers:
            group.missing -= 1
            group.unmade[stage.stage.index] = None
            if group.is_runnable:
                self._open(group)

    def unskip(self, stage: StageRun) -> None:
        """The skipped stage is to run after all, and its readers wait for it."""
        stage.is_skipped = False
        for group in stage.groups:
            if group.is_runnable:
                self._open(group)
        for group in stage.readers:
            if group.is_runnable:
                self._close(group)
            group.missing += 1
            del group.unmade[stage.stage.index]

    def take_first(self, group: TaskGroup) -> TaskRun:
        """Remove and return the first ready task of a runnable group."""
        task = group.first_ready
        self._take(group, task)
        return task

    def take(self, stage: StageRun, task: TaskRun) -> None:
        """Remove that task from the ready ones, if it is among them."""
        group = stage.group_of(task)
        if task.partition in group.ready:
            self._take(group, task)

    def assign(
        self, stage: StageRun, task: TaskRun, worker_id: str, now: float, at_unix_s: float
    ) -> Attempt:
        """An attempt at a task that waited, or beside the live one of a task that runs."""
        attempt = Attempt(stage, task, task.attempts_made, worker_id, now)
        task.attempts_made += 1
        self.live_count += 1
        if task.live is not None:
            task.backup = attempt
            return attempt
        task.live = attempt
        self._move_task(stage, task, TaskState.ASSIGNED, worker_id)
        stage.running += 1
        if stage.started_at is None:
            stage.started_at = at_unix_s
        self.updated_at = at_unix_s
        return attempt

    def release(self, attempt: Attempt, new: AttemptState, event: object) -> None:
        """The live attempt ended. A backup takes its place; without one the task's next state is
        the caller's to choose.
        """
        attempt.move(new, event)
        task = attempt.task
        if task.live is attempt:
            task.live = task.backup
        task.backup = None
        self.waiting.pop(attempt.id, None)
        self.live_count -= 1

    def start(self, attempt: Attempt, now: float, event: object) -> None:
        attempt.move(AttemptState.RUNNING, event)
        attempt.started_at = now
        if attempt.task.state is TaskState.ASSIGNED:
            self._move_task(attempt.stage, attempt.task, TaskState.RUNNING, event)

    def accept(self, attempt: Attempt, outcome: TaskOutcome, event: object) -> None:
        """The task's one output from now on; it is complete when `complete` is called."""
        self.release(attempt, AttemptState.SUCCEEDED, event)
        attempt.outcome = outcome
        attempt.task.accepted = attempt
        self.accepted[attempt.id] = attempt
        if outcome.files:
            self._move_task(attempt.stage, attempt.task, TaskState.COMMITTING, event)

    def complete(self, attempt: Attempt, event: object, at_unix_s: float) -> None:
        """The accepted output can be read: the task SUCCEEDED, and its readers may be ready."""
        stage, outcome = attempt.stage, attempt.outcome
        assert outcome is not None
        self._move_task(stage, attempt.task, TaskState.SUCCEEDED, event)
        stage.running -= 1
        stage.completed += 1
        stage.outputs_version += 1
        stage.records += outcome.records
        self.result_bytes += outcome.bytes_written if stage.is_kept else 0
        self.tasks_completed += 1
        self.updated_at = at_unix_s
        for group in stage.own_readers:
            reader = group.reader_of(attempt.task.partition)
            reader.missing -= 1
            if group.can_be_ready(reader):
                self._make_ready(group, reader)
        if not stage.is_complete:
            return
        stage.ended_at = at_unix_s
        self.incomplete_finals -= stage.stage.is_final
        for group in stage.readers:
            group.missing -= 1
            if group.is_runnable:
                self._open(group)

    def send_back(
        self, stage: StageRun, task: TaskRun, event: object, is_delayed: bool = False
    ) -> None:
        """The task that was assigned, running or committing waits again, first in its stage; or,
        delayed, until `end_delay`.
        """
        self._move_task(stage, task, TaskState.PENDING, event)
        stage.running -= 1
        if task.accepted is not None:
            del self.accepted[task.accepted.id]
            task.accepted = None
        task.is_delayed = is_delayed
        self._make_first(stage, task)

    def end_delay(self, stage: StageRun, task: TaskRun) -> None:
        """The task's retry delay has passed."""
        task.is_delayed = False
        self._make_first(stage, task)

    def forget_output(self, attempt: Attempt, event: object) -> None:
        """The accepted output of a SUCCEEDED task is gone: the task runs again, and its readers
        wait.
        """
        stage, task, outcome = attempt.stage, attempt.task, attempt.outcome
        assert outcome is not None and task.accepted is attempt
        attempt.move(AttemptState.LOST, event)
        self._move_task(stage, task, TaskState.PENDING, event)
        task.accepted = None
        del self.accepted[attempt.id]
        self.unreadable[attempt.id] = attempt.worker_id
        stage.outputs_version += 1
        if stage.is_complete:
            stage.ended_at = None
            self.incomplete_finals += stage.stage.is_final
            for group in stage.readers:
                if group.is_runnable:
                    self._close(group)
                group.missing += 1
        for group in stage.own_readers:
            reader = group.reader_of(task.partition)
            self.take(group.stage, reader)
            reader.missing += 1
        stage.completed -= 1
        stage.records -= outcome.records
        self.result_bytes -= outcome.bytes_written if stage.is_kept else 0
        self.tasks_completed -= 1
        self._make_first(stage, task)

    def count_failed(self, attempt: Attempt) -> None:
        """The attempt FAILED or is LOST: its job and its stage count exactly those."""
        self.failed_attempts += 1
        attempt.stage.failed_attempts += 1

    def fail_task(self, stage: StageRun, task: TaskRun, event: object) -> None:
        """The task ran out of attempts."""
        self._move_task(stage, task, TaskState.FAILED, event)
        stage.running -= 1
        self.tasks_failed += 1

    def part_folders(self) -> tuple[PartFolder, ...]:
        """Where its parts go, and of which attempts; all finals must be complete."""
        folders: list[PartFolder] = []
        for stage in self.stages:
            sink = stage.stage.program.sink
            if isinstance(sink, PartitionFile) and sink.saved is not None:
                ids = tuple(task.accepted.id for task in stage.tasks if task.accepted is not None)
                folders.append(PartFolder(sink.saved.path, sink.saved.format, ids))
        return tuple(folders)

    def let_go(self) -> None:
        """The job ended, and nobody looks at it any more. Tasks, attempts and stages know one
        another: without that they are freed now, and not when the collector finds them.
        """
        for stage in self.stages:
            for task in stage.tasks:
                task.accepted = task.live = task.backup = None
            stage.tasks, stage.groups, stage.readers, stage.own_readers = [], [], [], []
        self.stages, self.open_groups, self.accepted, self.waiting = [], [], {}, {}

    # --- inside ----------------------------------------------------------------------------

    def _move_task(self, stage: StageRun, task: TaskRun, new: TaskState, event: object) -> None:
        name = f"task {self.id}/{stage.stage.id}/{task.partition}"
        task.state = check_transition(TASK_TRANSITIONS, name, task.state, new, event)

    def _make_first(self, stage: StageRun, task: TaskRun) -> None:
        """The task waits again, before the others of its group, unless it misses something."""
        group = stage.group_of(task)
        if group.can_be_ready(task):
            self._make_ready(group, task)
            group.ready.move_to_end(task.partition, last=False)

    def _make_ready(self, group: TaskGroup, task: TaskRun) -> None:
        was_runnable = group.is_runnable
        group.ready[task.partition] = None
        if was_runnable:
            self.ready_count += 1
        elif group.is_runnable:
            self._open(group)

    def _take(self, group: TaskGroup, task: TaskRun) -> None:
        was_runnable = group.is_runnable
        del group.ready[task.partition]
        if was_runnable:
            self.ready_count -= 1
            if not group.ready:
                self.open_groups.remove(group)

    def _open(self, group: TaskGroup) -> None:
        insort(self.open_groups, group, key=lambda one: one.place)
        self.ready_count += len(group.ready)

    def _close(self, group: TaskGroup) -> None:
        self.open_groups.remove(group)
        self.ready_count -= len(group.ready)

    # --- what readers see --------------------------------------------------------------------

    def view(self, old: JobView | None, note: str | None) -> JobView:
        """The job as it is now; stages that did not change are shared with `old`."""
        stages = tuple(stage.view() for stage in self.stages)
        if old is not None and len(old.stages) == len(stages):
            pairs = zip(old.stages, stages, strict=True)
            stages = tuple(before if before == after else after for before, after in pairs)
        return JobView(
            job_id=self.id,
            request=self.request,
            state=self.state,
            message=self.message,
            note=note,
            plan_kind=self.plan.kind if self.plan is not None else None,
            created_at=self.created_at,
            updated_at=self.updated_at,
            started_at=self.started_at,
            ended_at=self.ended_at,
            tasks_total=sum(stage.tasks_total for stage in stages),
            tasks_running=sum(stage.running for stage in self.stages),
            tasks_completed=self.tasks_completed,
            tasks_failed=self.tasks_failed,
            failed_attempts=self.failed_attempts,
            retries=self.retries,
            result_bytes=self.result_bytes,
            stages=stages,
        )
