"""What must never happen to jobs that Spark runs: tasks that wait though the driver is Up, or that
workers get; outputs that outlive their application, or that are lost while it has them.

Each message is the rule. Must not know what a driver does.
"""

from __future__ import annotations

from minispark.model import effects as fx
from minispark.model import events as ev
from minispark.model.plan import TaskOrder
from minispark.model.states import AttemptState, Cause, WorkerKind
from minispark.scheduling.limits import DRIVER_ASKED_S
from tests.simulation.ledger import Ledger, Task, task_of
from tests.simulation.task_rules import EPSILON_S, TaskRules

CAUSES = (None, Cause.TASK, Cause.WORKER)
"""How attempts at such tasks may end: nobody fetches, skips, copies, or begins early."""


class DrivenRules:
    """Checked at every fact, before the ledger takes it in, and at the end of every turn."""

    def __init__(self, ledger: Ledger, tasks: TaskRules) -> None:
        self._ledger, self._tasks = ledger, tasks
        self._event: ev.Event | None = None
        self._now = 0.0
        self._asked_at: float | None = None
        """When the present master asked for a driver last."""
        self._lost: dict[str, None] = {}
        """Drivers that this turn takes for lost."""
        self._committed: dict[Task, None] = {}
        self._saving: dict[str, None] = {}
        """Jobs whose results are all there: what goes on with their outputs is of no matter."""
        self._sent: dict[str, None] = {}
        """Jobs of which this turn sends tasks."""
        self._to_forget: dict[tuple[str, str], None] = {}
        """(driver, job) that ended in this turn, while that driver is Up."""
        self.lost = 0
        """Outputs that went with their application."""
        self.kept = 0
        """Outputs that a driver still had when it came back."""

    def master_began(self) -> None:
        self._asked_at = None

    def begin_turn(self, event: ev.Event | None, now: float) -> None:
        self._event, self._now = event, now
        self._lost, self._sent, self._to_forget = {}, {}, {}
        if isinstance(event, ev.WorkerRegistered) and event.worker.kind is WorkerKind.SPARK:
            self.kept += sum(map(self._ledger.is_needed, event.running))

    # --- facts ---------------------------------------------------------------------------------

    def see_fact(self, fact: fx.Fact | fx.ForgetJob) -> None:
        match fact:
            case fx.WorkerLost(worker_id) if self._ledger.is_driver(worker_id):
                self._lost[worker_id] = None
            case fx.JobMoved(job_id, state) if state.is_terminal:
                if self._ledger.is_driven(job_id):
                    up = self._drivers_up()
                    self._to_forget.update(dict.fromkeys((driver, job_id) for driver in up))
            case fx.AttemptMoved():
                self._see_attempt(fact)
            case _:
                pass

    def _see_attempt(self, fact: fx.AttemptMoved) -> None:
        ledger, task = self._ledger, task_of(fact)
        is_driven = ledger.is_driven(fact.job_id)
        if fact.state is AttemptState.ASSIGNED:
            is_right = is_driven == ledger.is_driver(fact.worker_id)
            assert is_right, f"{task} is of the other engine than {fact.worker_id}, which gets it"
        if not is_driven:
            return
        if fact.state is AttemptState.ASSIGNED:
            assert task not in self._committed, f"{task} is made again, and was committed"
            assert not ledger.live_of.get(task), f"{task} is tried twice at once, by Spark"
        elif fact.is_committed:
            self._committed[task] = None
        assert fact.cause in CAUSES, f"{task} of Spark's ended by {fact.cause}"
        if fact.state is AttemptState.LOST and fact.attempt_id in ledger.accepted_ids:
            self._see_output_lost(fact)

    def _see_output_lost(self, fact: fx.AttemptMoved) -> None:
        """Only with its application, unless the commit was refused."""
        task, event = task_of(fact), self._event
        assert task not in self._committed, f"the result of {task} is lost, and was committed"
        if isinstance(event, ev.CommitRefused):
            return
        has_it = fact.worker_id not in self._lost
        if isinstance(event, ev.WorkerRegistered) and event.worker.worker_id == fact.worker_id:
            has_it = fact.attempt_id in event.running
        assert not has_it, f"the output of {task} is lost, and its driver has it"
        self.lost += 1

    # --- orders --------------------------------------------------------------------------------

    def see(self, effect: fx.Effect) -> None:
        match effect:
            case fx.DriveTasks():
                self._see_orders(effect)
            case fx.LaunchAttempts(worker_id, orders):
                self._check_engine(worker_id, orders)
            case fx.AnswerTaskRequest(_, worker_id, _, fx.HttpTask() as task):
                self._check_engine(worker_id, (task.order,))
            case fx.WantDriver():
                self._see_wanted()
            case fx.ForgetTables(worker_id, job_id):
                self._to_forget.pop((worker_id, job_id), None)
                is_over = not self._ledger.is_running(job_id)
                assert is_over, f"job {job_id} is forgotten by {worker_id}, and runs"
            case fx.PublishParts(job_id):
                self._saving[job_id] = None
            case _:
                pass

    def _check_engine(self, worker_id: str, orders: tuple[TaskOrder, ...]) -> None:
        wrong = [order for order in orders if self._ledger.is_driven(order.job_id)]
        assert not wrong, f"{worker_id} is sent {wrong}, which is Spark's"

    def _see_orders(self, effect: fx.DriveTasks) -> None:
        ledger, job_id = self._ledger, effect.job_id
        assert job_id not in self._sent, f"tasks of job {job_id} are sent twice at once"
        self._sent[job_id] = None
        assert effect.job_name == ledger.requests[job_id].name
        for order in effect.orders:
            assert order.job_id == job_id, f"{order} is sent with those of job {job_id}"
            self._tasks.check_addressee(order, effect.worker_id)
            is_alone = not (order.awaited or order.unmade or order.outputs_id)
            assert is_alone, f"{order} is to read something that is not Spark's"
        stages = dict.fromkeys(order.stage_index for order in effect.orders)
        programs = {index: ledger.stage_of(job_id, index).program for index in stages}
        assert effect.programs == programs, f"{effect} is sent with other programs"

    def _see_wanted(self) -> None:
        now, asked_at = self._now, self._asked_at
        said = f"a driver is asked for at {now}, and was at {asked_at}"
        assert asked_at is None or now - asked_at > DRIVER_ASKED_S - EPSILON_S, said
        assert not self._drivers_up(), "a driver is asked for, and one is Up"
        assert self._waiting(), "a driver is asked for, and no task waits for it"
        self._asked_at = now

    # --- turns ---------------------------------------------------------------------------------

    def end_turn(self) -> None:
        untold = list(self._to_forget)
        assert not untold, f"ended, and the driver is not told that it may forget: {untold}"
        for driver_id in self._lost:
            self._check_gone(driver_id, ())
        match self._event:
            case ev.WorkerRegistered(worker, _, running) if worker.kind is WorkerKind.SPARK:
                self._check_gone(worker.worker_id, running)
            case ev.ClockTicked():
                self._check_waiting()
            case _:
                pass

    def _check_gone(self, driver_id: str, kept: tuple[str, ...]) -> None:
        """Of what Spark had for that driver only what it still has may be read."""
        for task, fact in self._ledger.accepted.items():
            if fact.worker_id != driver_id or not self._ledger.is_running(task[0]):
                continue
            is_result = self._ledger.stage_of(*task[:2]).is_final
            is_there = is_result or task[0] in self._saving or fact.attempt_id in kept
            assert is_there, f"the output of {task} went with its driver, and counts as readable"

    def _check_waiting(self) -> None:
        """All that can run was sent to the driver; where none is Up, one is asked for."""
        # where all results are there, a task may have failed for good, and is of no matter
        waiting = [task for task in self._waiting() if task[0] not in self._saving]
        if not waiting:
            return
        assert not self._drivers_up(), f"{waiting} wait, and a driver is Up"
        is_asked = self._asked_at is not None and self._now - self._asked_at < DRIVER_ASKED_S
        assert is_asked, f"{waiting} wait for a driver, and it was asked for at {self._asked_at}"

    def _waiting(self) -> list[Task]:
        """Tasks that nobody works on, and that wait for no retry."""
        ledger = self._ledger
        return [
            task
            for job_id in ledger.stages
            if ledger.is_running(job_id) and ledger.is_driven(job_id)
            for task in ledger.tasks_of(job_id)
            if task not in ledger.accepted
            and not ledger.live_of.get(task)
            and self._now > self._tasks.not_before(task) - EPSILON_S
        ]

    def _drivers_up(self) -> list[str]:
        return [worker_id for worker_id in self._ledger.up if self._ledger.is_driver(worker_id)]
