"""Jobs that Spark runs, as the scheduling core sees them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from minispark.model import effects as fx
from minispark.model import events as ev
from minispark.model.job import Engine
from minispark.model.plan import PartitionFile, PhysicalPlan, SavedParts
from minispark.model.records import JobRecord
from minispark.model.states import JobState, WorkerKind
from minispark.scheduling import invariants
from minispark.scheduling.core import SchedulingCore
from minispark.scheduling.limits import DRIVER_ASKED_S, Limits
from tests.simulation.plans import map_reduce, request
from tests.unit.test_core import COMMITTED, DONE, Dialogue, name_of

JOB = name_of(2000)
DRIVER = 9


class Driven(Dialogue):
    """With what was sent to a driver."""

    def tell(self, event: ev.Event) -> list[fx.Effect]:
        effects = super().tell(event)
        for effect in effects:
            if isinstance(effect, fx.DriveTasks):
                self.driven += [order.attempt_id for order in effect.orders]
                self.places.update(
                    {
                        order.attempt_id: (order.stage_index, order.partition)
                        for order in effect.orders
                    }
                )
        return effects

    def __init__(self, **limits: object) -> None:
        self.driven: list[str] = []
        """Attempts, not yet answered."""
        self.places: dict[str, tuple[int, int]] = {}
        super().__init__(**limits)

    def on_spark(self, plan: PhysicalPlan) -> list[fx.Effect]:
        wanted = replace(request("sparks"), engine=Engine.SPARK)
        return self.tell(ev.JobSubmitted(JOB, wanted, (plan,), 0.0))

    def driver(self, running: tuple[str, ...] = ()) -> str:
        return self.worker(DRIVER, slots=0, kind=WorkerKind.SPARK, port=0, running=running)

    def end(self, attempt_id: str) -> list[fx.Effect]:
        """The attempt succeeds; a final one's files get their names."""
        self.driven.remove(attempt_id)
        is_final = self.places[attempt_id][0] == 1
        outcome = COMMITTED if is_final else DONE
        driver = name_of(DRIVER)
        effects = self.tell(ev.AttemptSucceeded(driver, attempt_id, outcome, 0.0))
        if is_final:
            effects += self.tell(ev.OutputCommitted(driver, attempt_id, 0.0))
        return effects

    def lose_driver(self) -> list[fx.Effect]:
        return self.tell(ev.WorkerDisconnected(name_of(DRIVER), DRIVER, 0.0))


def kinds(effects: list[fx.Effect], kind: type[fx.Effect]) -> list[fx.Effect]:
    return [effect for effect in effects if isinstance(effect, kind)]


def test_all_tasks_go_to_the_driver_at_once_and_none_to_a_worker() -> None:
    talk = Driven()
    talk.worker(1)
    talk.driver()
    (sent,) = kinds(talk.on_spark(map_reduce(3, 2)), fx.DriveTasks)
    assert isinstance(sent, fx.DriveTasks)
    assert [talk.places[i] for i in talk.driven] == [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1)]
    assert (sent.job_id, sent.job_name, sorted(sent.programs)) == (JOB, "sparks", [0, 1])
    assert talk.launched == []
    talk.job(1, map_reduce(1, 1))
    assert [worker for worker, _ in talk.launched] == [name_of(1)]


def test_it_succeeds_as_any_other_and_the_driver_may_forget_it() -> None:
    talk = Driven()
    talk.driver()
    talk.on_spark(map_reduce(2, 1))
    ended = [effect for attempt in list(talk.driven) for effect in talk.end(attempt)]
    assert talk.view(JOB).state is JobState.SUCCEEDED
    assert kinds(ended, fx.ForgetTables) == [fx.ForgetTables(name_of(DRIVER), JOB)]
    # what maps made is Spark's: only the directory of the final one is on a disk
    (dropped,) = kinds(ended, fx.DropOutputs)
    assert isinstance(dropped, fx.DropOutputs)
    assert [talk.places[i][0] for i in dropped.attempt_ids] == [1]


def test_a_driver_is_asked_for_while_none_is_up_and_not_too_often() -> None:
    talk = Driven()
    talk.worker(1)
    assert kinds(talk.on_spark(map_reduce(1, 1)), fx.WantDriver)
    assert talk.view(JOB).note == "waits: the Spark driver starts"
    talk.effects.clear()
    talk.let_pass(3 * DRIVER_ASKED_S)
    assert len(kinds(talk.effects, fx.WantDriver)) == 3
    talk.driver()
    assert talk.driven and talk.view(JOB).note is None
    talk.effects.clear()
    talk.let_pass(3 * DRIVER_ASKED_S)
    assert kinds(talk.effects, fx.WantDriver) == []


def test_a_driver_that_does_not_come_is_said_until_one_does() -> None:
    talk = Driven()
    talk.on_spark(map_reduce(1, 1))
    talk.tell(ev.DriverMissing("spark-driver does not start: no room", 0.0))
    assert talk.view(JOB).note == "waits: spark-driver does not start: no room"
    talk.driver()
    assert talk.view(JOB).note is None
    talk.lose_driver()
    assert talk.view(JOB).note == "waits: the Spark driver starts"


def test_nobody_asks_for_a_driver_without_such_a_job() -> None:
    talk = Driven()
    talk.worker(1)
    talk.job(1, map_reduce(1, 1))
    talk.let_pass(5)
    assert kinds(talk.effects, fx.WantDriver) == []


def test_with_the_driver_go_the_outputs_that_were_sparks_and_results_stay() -> None:
    talk = Driven(task_retries_max=3)
    talk.driver()
    talk.on_spark(map_reduce(2, 2))
    first_final = next(i for i in talk.driven if talk.places[i] == (1, 0))
    for attempt in [i for i in talk.driven if talk.places[i][0] == 0]:
        talk.end(attempt)
    talk.end(first_final)
    talk.lose_driver()
    view = talk.view(JOB)
    assert [stage.tasks_completed for stage in view.stages] == [0, 1]
    talk.driven.clear()
    talk.driver()
    assert sorted(talk.places[i] for i in talk.driven) == [(0, 0), (0, 1), (1, 1)]


def test_a_driver_that_comes_back_with_them_keeps_them() -> None:
    talk = Driven()
    talk.driver()
    talk.on_spark(map_reduce(2, 1))
    maps = [i for i in talk.driven if talk.places[i][0] == 0]
    for attempt in maps:
        talk.end(attempt)
    (final,) = talk.driven
    talk.driven.clear()
    # its connection broke, and the master sees the new one first
    talk.driver(running=(*maps, final))
    assert talk.driven == []
    assert talk.view(JOB).stages[0].tasks_completed == 2
    # another process under the same name has nothing
    talk.driver()
    assert sorted(talk.places[i] for i in talk.driven) == [(0, 0), (0, 1), (1, 0)]


def test_a_driver_that_comes_back_hears_which_jobs_go_on() -> None:
    talk = Driven()
    talk.driver()
    talk.on_spark(map_reduce(1, 1))
    talk.lose_driver()
    talk.job(1, map_reduce(1, 1))
    talk.effects.clear()
    talk.driver()
    (answer,) = kinds(talk.effects, fx.AcceptWorker)
    assert isinstance(answer, fx.AcceptWorker) and answer.driven == (JOB,)
    talk.lose_driver()
    talk.tell(ev.JobCancelRequested(JOB, "test", 0.0))
    talk.effects.clear()
    talk.driver()
    (answer,) = kinds(talk.effects, fx.AcceptWorker)
    assert isinstance(answer, fx.AcceptWorker) and answer.driven == ()


@pytest.mark.parametrize("retries", [0, 2])
def test_lost_drivers_count_against_task_retries_max(retries: int) -> None:
    talk = Driven(task_retries_max=retries, worker_losses_max=100)
    for _ in range(retries):
        talk.driver()
        if JOB not in talk.core.state.jobs:
            talk.on_spark(map_reduce(1, 1))
        talk.lose_driver()
        assert talk.view(JOB).state is JobState.RUNNING
    talk.driver()
    if JOB not in talk.core.state.jobs:
        talk.on_spark(map_reduce(1, 1))
    talk.lose_driver()
    view = talk.view(JOB)
    assert view.state is JobState.FAILED
    assert f"lost its driver {retries + 1} times" in view.message
    assert f"scheduler.task_retries_max is {retries}" in view.message


def test_a_driver_that_is_lost_while_parts_get_their_names_fails_nothing() -> None:
    """Spark made all results, and did not say yet that a task of an earlier stage ended."""
    talk = Driven(task_retries_max=0)
    talk.driver()
    plan = map_reduce(2, 1)
    sink = PartitionFile("n", saved=SavedParts("/out", "csv", True))
    final = replace(plan.stages[1], program=replace(plan.stages[1].program, sink=sink))
    talk.on_spark(replace(plan, stages=(plan.stages[0], final)))
    for attempt in [i for i in talk.driven if talk.places[i] != (0, 1)]:
        effects = talk.end(attempt)
    assert kinds(effects, fx.PublishParts)
    talk.lose_driver()
    assert talk.core.snapshot().tasks_running == 0
    talk.tell(ev.PartsPublished(JOB, None, 0.0))
    assert talk.view(JOB).state is JobState.SUCCEEDED


def test_a_failed_task_is_tried_again_after_its_delay_alone() -> None:
    talk = Driven()
    talk.driver()
    talk.on_spark(map_reduce(2, 1))
    failed = talk.driven[0]
    talk.tell(ev.AttemptFailed(name_of(DRIVER), failed, "error", "boom", 0.0))
    talk.driven.clear()
    talk.let_pass(1)
    assert [talk.places[i] for i in talk.driven] == [talk.places[failed]]
    assert talk.driven != [failed]


def test_a_cancelled_job_is_cancelled_at_the_driver() -> None:
    talk = Driven()
    talk.driver()
    talk.on_spark(map_reduce(2, 1))
    effects = talk.tell(ev.JobCancelRequested(JOB, "test", 0.0))
    (cancelled,) = kinds(effects, fx.CancelAttempts)
    assert isinstance(cancelled, fx.CancelAttempts)
    assert sorted(cancelled.attempt_ids) == sorted(talk.driven)
    assert kinds(effects, fx.ForgetTables)


def test_the_driver_is_no_worker_in_pictures_and_in_counts() -> None:
    talk = Driven()
    worker = talk.worker(1)
    talk.driver()
    talk.on_spark(map_reduce(2, 1))
    seen = talk.core.snapshot()
    assert list(seen.workers) == [worker]
    assert seen.driver is not None and seen.driver.load == 3
    assert (seen.tasks_running, seen.tasks_queued) == (3, 0)
    assert talk.core.state.pool.slots_total == 2
    talk.lose_driver()
    seen = talk.core.snapshot()
    assert (seen.tasks_running, seen.tasks_queued) == (0, 3)


def test_a_master_that_restarts_finds_the_jobs_attempts_at_their_driver() -> None:
    talk = Driven()
    talk.driver()
    plan = map_reduce(1, 1)
    talk.on_spark(plan)
    map_attempt, final = talk.driven
    talk.end(map_attempt)
    facts = [e.fact for e in talk.effects if isinstance(e, fx.AppendJournal)]
    moves = [fact for fact in facts if isinstance(fact, fx.AttemptMoved)]
    last = {fact.attempt_id: fact for fact in moves}
    seen = next(fact for fact in facts if isinstance(fact, fx.WorkerSeen))
    wanted = replace(request("sparks"), engine=Engine.SPARK)
    record = JobRecord(JOB, wanted, (plan,), True, 0.0, 0.0, tuple(last.values()))
    after = Driven()
    after.core = SchedulingCore(Limits())
    after.places = talk.places
    after.core.restore([record], {seen.worker.worker_id: seen.worker}, 0.0, 0.0)
    invariants.check(after.core)
    after.driver(running=(map_attempt, final))
    assert after.driven == []
    after.driven = [final]
    after.end(final)
    assert after.view(JOB).state is JobState.SUCCEEDED
