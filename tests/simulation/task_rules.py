"""What must never happen to jobs and tasks: a second output, a lost one, a budget that is
overdrawn, a job that fails without need.

Each message is the rule. Must not know workers beyond what the ledger says of them.
"""

from __future__ import annotations

from minispark.model import effects as fx
from minispark.model import events as ev
from minispark.model.plan import PartitionFile, Stage, TaskOrder
from minispark.model.states import AttemptState, Cause, JobState
from minispark.scheduling.limits import FETCH_FAILURES_MAX, RECOMPUTES_MAX, Limits
from tests.simulation.ledger import Ledger, Task, task_of

EPSILON_S = 1e-9
RETRY_DELAY_S = (0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 2.0)
"""How long a task waits at least after its n-th failure."""


class TaskRules:
    """Checked at every fact, before the ledger takes it in, and at every order."""

    def __init__(self, ledger: Ledger, limits: Limits) -> None:
        self._ledger, self._limits = ledger, limits
        self._retries = limits.task_retries_max + 1
        self._budgets = {
            Cause.TASK: limits.task_retries_max + 1,
            Cause.WORKER: limits.worker_losses_max + 1,
            Cause.FETCH: FETCH_FAILURES_MAX + 1,
            Cause.OUTPUT: RECOMPUTES_MAX + 1,
        }
        self._event: ev.Event | None = None
        self._now = 0.0
        self._master_began_at = 0.0
        self._succeeded: dict[str, None] = {}
        """Attempts whose worker said so, with the right files."""
        self._failed: dict[str, None] = {}
        self._committed: dict[str, None] = {}
        self._published: dict[str, tuple[fx.PartFolder, ...]] = {}
        """Jobs whose parts were given their names."""
        self._not_before: dict[Task, float] = {}
        self._unsent: dict[str, None] = {}
        """Attempts that this turn assigned, and that nobody was sent yet."""
        self._ended: dict[str, None] = {}
        """Jobs that this turn ended."""

    def master_began(self, now: float) -> None:
        self._master_began_at = now
        self._not_before = {}

    # --- events --------------------------------------------------------------------------------

    def begin_turn(self, event: ev.Event | None, now: float) -> None:
        self._event, self._now = event, now
        self._unsent, self._ended = {}, {}
        match event:
            case ev.AttemptSucceeded(attempt_id=attempt_id):
                self._succeeded[attempt_id] = None
            case ev.AttemptFailed(attempt_id=attempt_id) | ev.CommitRefused(attempt_id=attempt_id):
                self._failed[attempt_id] = None
            case ev.OutputCommitted(attempt_id=attempt_id):
                self._committed[attempt_id] = None
            case ev.HttpTaskCompleted():
                self._hear_foreign(event)
            case _:
                pass

    def _hear_foreign(self, event: ev.HttpTaskCompleted) -> None:
        fact = self._ledger.live.get(event.attempt_id)
        if fact is None:
            return
        if not event.is_success:
            self._failed[event.attempt_id] = None
        elif event.files == self._ledger.documented_files(task_of(fact)):
            self._succeeded[event.attempt_id] = None

    def end_turn(self) -> None:
        assert not self._unsent, f"assigned, and sent to nobody: {list(self._unsent)}"
        for fact in self._ledger.live.values() if self._ended else ():
            assert fact.job_id not in self._ended, f"job {fact.job_id} ended, and {fact} did not"

    # --- facts ---------------------------------------------------------------------------------

    def see_fact(self, fact: fx.Fact | fx.ForgetJob) -> None:
        match fact:
            case fx.AttemptMoved():
                self._see_attempt(fact)
            case fx.JobMoved():
                self._see_job(fact)
            case fx.ForgetJob(job_id):
                assert not self._ledger.is_running(job_id), f"job {job_id} is forgotten and runs"
            case _:
                pass

    def _see_attempt(self, fact: fx.AttemptMoved) -> None:
        ledger, task, attempt_id = self._ledger, task_of(fact), fact.attempt_id
        where = f"{task} attempt {fact.attempt}"
        accepted = ledger.accepted.get(task)
        is_over = fact.job_id in self._ended and fact.state is AttemptState.CANCELLED
        assert ledger.is_running(fact.job_id) or is_over, f"{where} moved after its job's end"
        if fact.state is AttemptState.ASSIGNED:
            self._see_assigned(fact)
            return
        is_accepted = accepted is not None and accepted.attempt_id == attempt_id
        assert is_accepted or attempt_id in ledger.live, f"{where} moved again after it ended"
        match fact.state:
            case AttemptState.RUNNING:
                assert not is_accepted, f"{where} starts after it ended"
            case AttemptState.SUCCEEDED if fact.is_committed:
                assert is_accepted, f"{where} was committed, and another one accepted"
                assert attempt_id in self._committed, f"{where} never said that it was committed"
            case AttemptState.SUCCEEDED:
                said = f"{where} is accepted, and never reported its output"
                assert attempt_id in self._succeeded, said
                assert accepted is None, f"two outputs were accepted for {task}"
            case _:
                self._check_cause(fact)

    def _see_assigned(self, fact: fx.AttemptMoved) -> None:
        ledger, task = self._ledger, task_of(fact)
        assert task not in ledger.accepted, f"{task} is launched though it has an output"
        live = ledger.live_of.get(task, {})
        assert len(live) < 2, f"{task} is tried a third time at once"
        early_s = self.not_before(task) - self._now
        assert early_s < EPSILON_S, f"{task} is tried again {early_s:g} s too early"
        self._unsent[fact.attempt_id] = None

    def _check_cause(self, fact: fx.AttemptMoved) -> None:
        ledger, task, cause = self._ledger, task_of(fact), fact.cause
        limit = self._budget(task[0], cause)
        if cause is None or limit is None:
            return
        count = ledger.causes[task, cause] + 1
        assert count <= limit, f"{task}: {cause.value} {count} times, and {limit} were allowed"
        if cause is Cause.TASK:
            said = f"{task} attempt {fact.attempt} failed, and its worker never said so"
            assert fact.attempt_id in self._failed or self._is_overdue(fact), said
            if list(ledger.live_of.get(task, {})) in ([], [fact.attempt_id]):
                delay_s = RETRY_DELAY_S[min(count, len(RETRY_DELAY_S)) - 1]
                self._not_before[task] = self._now + delay_s

    def _budget(self, job_id: str, cause: Cause | None) -> int | None:
        """How often a task may end so; the last time its job fails."""
        if cause is Cause.WORKER and self._ledger.is_driven(job_id):
            return self._retries
        return self._budgets.get(cause) if cause is not None else None

    def not_before(self, task: Task) -> float:
        """Until when it waits for its retry."""
        return self._not_before.get(task, 0.0)

    def _is_overdue(self, fact: fx.AttemptMoved) -> bool:
        """Of a foreign worker, which nobody else stops."""
        if self._ledger.is_ours(fact.worker_id):
            return False
        took_s = self._now - self._ledger.assigned_at[fact.attempt_id]
        return took_s > self._limits.task_timeout_s

    def _see_job(self, fact: fx.JobMoved) -> None:
        ledger, job_id = self._ledger, fact.job_id
        old = ledger.job_states[job_id]
        assert not old.is_terminal, f"job {job_id} moved after {old}"
        if fact.state.is_terminal:
            self._ended[job_id] = None
        is_there = job_id in self._published
        match fact.state:
            case JobState.SUCCEEDED:
                assert is_there or not self._saved(job_id), f"job {job_id} left no parts"
                for stage in ledger.stages[job_id]:
                    tasks = [(job_id, stage.index, p) for p in range(stage.partitions)]
                    missing = [t for t in tasks if stage.is_final and not ledger.is_readable(t)]
                    assert not missing, f"job {job_id} succeeded without {missing}"
            case JobState.FAILED:
                said = f"job {job_id} failed, and no budget was used up: {fact.message}"
                assert self._may_fail(job_id), said
            case JobState.CANCELLED:
                assert not is_there, f"job {job_id} is cancelled, and its parts are there"
                event = self._event
                is_asked = isinstance(event, ev.JobCancelRequested) and event.job_id == job_id
                assert is_asked, f"nobody asked for the end of job {job_id}"
            case _:
                pass

    def _may_fail(self, job_id: str) -> bool:
        """Whether a budget of one of its tasks is used up, or its time."""
        limit_s = self._ledger.requests[job_id].timeout_s
        since = max(self._ledger.accepted_at[job_id], self._master_began_at)
        if limit_s is not None and self._now - since > limit_s:
            return True
        return any(
            task[0] == job_id and count >= (self._budget(job_id, cause) or count + 1)
            for (task, cause), count in self._ledger.causes.items()
        )

    # --- orders --------------------------------------------------------------------------------

    def see(self, effect: fx.Effect) -> None:
        match effect:
            case fx.LaunchAttempts(worker_id, orders, programs):
                for order in orders:
                    stage = self._check_order(order, worker_id)
                    program = programs[f"{order.job_id}/{order.stage_index}"]
                    assert program == stage.program, f"{order} is sent with another program"
            case fx.PublishParts():
                self._check_parts(effect)
            case fx.AnswerTaskRequest(_, worker_id, _, fx.HttpTask() as task):
                stage = self._check_order(task.order, worker_id)
                assert stage.is_documented, f"{task.order} means something else to a foreign worker"
            case _:
                pass

    def _check_order(self, order: TaskOrder, worker_id: str):  # type: ignore[no-untyped-def]
        ledger = self._ledger
        self.check_addressee(order, worker_id)
        stage = ledger.stage_of(order.job_id, order.stage_index)
        inputs = ledger.inputs_of((order.job_id, order.stage_index, order.partition))
        awaited = {(order.job_id, *output): None for output in order.awaited}
        missing = [t for t in inputs if not ledger.is_readable(t) and t[1] not in order.unmade]
        unsaid = [task for task in missing if task not in awaited]
        assert not unsaid, f"{order} is launched before {unsaid} can be read"
        assert len(missing) == len(awaited), f"{order} waits for more than {missing}"
        return stage

    def check_addressee(self, order: TaskOrder, worker_id: str) -> None:
        """It is sent to who holds its attempt."""
        fact = self._ledger.live.get(order.attempt_id)
        is_its = fact is not None and fact.worker_id == worker_id
        assert is_its, f"{order} is sent to a worker to which it is not assigned"
        self._unsent.pop(order.attempt_id, None)

    def _saved(self, job_id: str) -> list[Stage]:
        """The stages that write to directories of the user's."""
        stages: list[Stage] = []
        for stage in self._ledger.stages[job_id]:
            sink = stage.program.sink
            if isinstance(sink, PartitionFile) and sink.saved is not None:
                stages.append(stage)
        return stages

    def _check_parts(self, order: fx.PublishParts) -> None:
        """Parts get their names: of accepted attempts, one of each partition."""
        job_id = order.job_id
        for stage, folder in zip(self._saved(job_id), order.folders, strict=True):
            tasks = [(job_id, stage.index, p) for p in range(stage.partitions)]
            accepted = tuple(self._ledger.accepted[task].attempt_id for task in tasks)
            said = f"of {job_id}/{stage.index} {folder.attempt_ids}, accepted {accepted}"
            assert folder.attempt_ids == accepted, said
        before = self._published.setdefault(job_id, order.folders)
        assert before == order.folders, f"job {job_id} has other parts than before"
