"""The scheduling core as a dialogue: given this event, expect these effects."""

from __future__ import annotations

import itertools
import uuid
from collections import Counter
from dataclasses import replace

import pytest

from minispark.errors import IllegalTransition
from minispark.model import effects as fx
from minispark.model import events as ev
from minispark.model.job import PlanKind
from minispark.model.plan import PhysicalPlan, ShuffleBlocks, TaskOutcome
from minispark.model.records import JobRecord
from minispark.model.states import Cause, JobState, WorkerKind, WorkerState
from minispark.model.steps import Cache
from minispark.scheduling import invariants
from minispark.scheduling.core import SchedulingCore
from minispark.scheduling.limits import (
    QUICK_COMPLETED_MIN,
    QUICK_PREFETCH,
    QUICK_S_MAX,
    RECOMPUTES_MAX,
    RETRY_DELAY_S_MAX,
    RETRY_DELAY_S_MIN,
    Limits,
)
from tests.simulation.plans import (
    READ,
    map_reduce,
    naive_word_count,
    one_documented_stage,
    one_stage,
    request,
    stage,
)

DONE = TaskOutcome(1, 1)
COMMITTED = TaskOutcome(1, 1, files=(("f", "g"),))


def name_of(number: int) -> str:
    return str(uuid.UUID(int=number))


class Dialogue:
    """A core, a clock, and what was launched where."""

    def __init__(self, **limits: object) -> None:
        self.core = SchedulingCore(Limits(**limits))  # type: ignore[arg-type]
        self.now = 0.0
        self.launched: list[tuple[str, str]] = []
        """(worker, attempt), not yet answered."""
        self.effects: list[fx.Effect] = []

    def tell(self, event: ev.Event) -> list[fx.Effect]:
        effects = self.core.handle(event, self.now)
        invariants.check(self.core)
        for effect in effects:
            if isinstance(effect, fx.LaunchAttempts):
                self.launched += [(effect.worker_id, o.attempt_id) for o in effect.orders]
        self.effects += effects
        return effects

    def worker(
        self, number: int, slots: int = 2, kind: WorkerKind = WorkerKind.SOCKET, **more: object
    ) -> str:
        host, port = str(more.get("host", "host")), int(more.get("port", 1))  # type: ignore[call-overload]
        identity = ev.WorkerIdentity(
            name_of(number), kind, f"w{number}", "h", port, slots, 1, host, "/s"
        )
        running = more.get("running", ())
        self.tell(ev.WorkerRegistered(identity, number, running, 0.0))  # type: ignore[arg-type]
        return identity.worker_id

    def job(self, number: int, *plans: PhysicalPlan, **more: object) -> str:
        wanted = request(f"j{number}", more.get("timeout_s"))  # type: ignore[arg-type]
        self.tell(ev.JobSubmitted(name_of(1000 + number), wanted, plans, 0.0))
        return name_of(1000 + number)

    def succeed(self, count: int = 1, outcome: TaskOutcome = DONE) -> list[fx.Effect]:
        effects: list[fx.Effect] = []
        for _ in range(count):
            worker, attempt = self.launched.pop(0)
            effects += self.tell(ev.AttemptSucceeded(worker, attempt, outcome, 0.0))
            if outcome.files:
                effects += self.tell(ev.OutputCommitted(worker, attempt, 0.0))
        return effects

    def let_pass(self, seconds: float) -> list[fx.Effect]:
        """Time, in steps in which every worker shows that it lives."""
        effects: list[fx.Effect] = []
        end = self.now + seconds
        while self.now < end:
            self.now = min(end, self.now + 0.25)
            for worker_id in self.core.state.pool.workers:
                self.tell(ev.HeartbeatReceived(worker_id, 0, 0.0))
            effects += self.tell(ev.ClockTicked(0.0))
        return effects

    def fail(self, kind: str = "error", error: str = "boom") -> list[fx.Effect]:
        worker, attempt = self.launched.pop(0)
        return self.tell(ev.AttemptFailed(worker, attempt, kind, error, 0.0))

    def view(self, job_id: str):  # type: ignore[no-untyped-def]
        return self.core.snapshot().jobs[job_id]


# --- placement ------------------------------------------------------------------------------


def test_f07_twelve_equal_tasks_on_three_equal_workers_spread_evenly() -> None:
    talk = Dialogue()
    for number in range(3):
        talk.worker(number)
    talk.job(1, one_stage(12))
    placed: Counter[str] = Counter()
    while talk.launched:  # equal durations: a round of them ends together
        now, talk.launched = talk.launched, []
        placed.update(worker for worker, _ in now)
        for worker, attempt in now:
            talk.tell(ev.AttemptSucceeded(worker, attempt, DONE, 0.0))
    assert set(placed.values()) == {4}


def test_f07_an_overloaded_worker_gets_none() -> None:
    talk = Dialogue(max_load_diff=2, prefetch=0)
    big = talk.worker(0, slots=8)
    talk.job(1, one_stage(5))
    small = talk.worker(1, slots=8)
    talk.launched.clear()
    talk.job(2, one_stage(4))
    # 5 and 0: the small one is served until their loads differ by no more than 2
    assert [worker for worker, _ in talk.launched] == [small, small, small, big]


def test_tasks_queue_on_workers_only_under_backlog() -> None:
    talk = Dialogue()
    talk.worker(0, slots=1)
    talk.worker(1, slots=1)
    talk.job(1, one_stage(4))
    assert len(talk.launched) == 2  # two wait here, where any worker may still take them
    talk.job(2, one_stage(6))
    assert len(talk.launched) > 2


@pytest.mark.parametrize("task_s", [0.001, 0.1])
def test_workers_queue_many_tasks_of_a_quick_stage_and_few_of_others(task_s: float) -> None:
    talk = Dialogue()
    for number in range(2):
        talk.worker(number, slots=1)
    talk.job(1, one_stage(500))
    for _ in range(2 * QUICK_COMPLETED_MIN):
        worker, attempt = talk.launched.pop(0)
        talk.tell(ev.AttemptStarted(worker, attempt, 0.0))
        talk.now += task_s
        talk.tell(ev.AttemptSucceeded(worker, attempt, DONE, 0.0))
    held = 1 + QUICK_PREFETCH if task_s < QUICK_S_MAX else 3
    assert Counter(worker for worker, _ in talk.launched) == {name_of(0): held, name_of(1): held}
    other = talk.job(2, one_stage(1))  # waits until a queue is short again, and no longer
    talk.launched.sort(key=lambda order: talk.core.state.pool.live[order[1]].assigned_at)
    for _ in range(2 * held):
        worker, attempt = talk.launched.pop(0)
        talk.tell(ev.AttemptSucceeded(worker, attempt, DONE, 0.0))
        if talk.view(other).tasks_running:
            return
    raise AssertionError("the other job was never served")


def test_nobody_reads_or_deletes_an_empty_output() -> None:
    talk = Dialogue(prefetch=0)
    talk.worker(0, slots=3)
    talk.job(1, map_reduce(3, 1))
    empty = talk.launched[1][1]
    for size in (5, 0, 7):
        effects = talk.succeed(1, TaskOutcome(1, size))
    (launch,) = [e for e in effects if isinstance(e, fx.LaunchAttempts)]
    ((_, places),) = launch.tables.items()
    assert [place.partition for place in places] == [0, 2]
    dropped = [i for e in talk.succeed(1) if isinstance(e, fx.DropOutputs) for i in e.attempt_ids]
    assert dropped and empty not in dropped


def test_orders_for_one_worker_travel_together() -> None:
    talk = Dialogue()
    talk.worker(0, slots=4)
    effects = talk.tell(ev.JobSubmitted(name_of(9), request("j"), (one_stage(4),), 0.0))
    launches = [e for e in effects if isinstance(e, fx.LaunchAttempts)]
    assert [len(launch.orders) for launch in launches] == [4]
    assert list(launches[0].programs) == [f"{name_of(9)}/0"]


def test_what_happened_at_once_is_answered_with_one_launch_a_worker() -> None:
    talk = Dialogue(prefetch=4)
    worker = talk.worker(1, slots=2)
    talk.job(1, one_stage(20))
    told = [ev.AttemptSucceeded(worker, attempt, DONE, 0.0) for _, attempt in talk.launched]
    effects = talk.core.handle_all(told, 0.0)
    invariants.check(talk.core)
    launches = [e for e in effects if isinstance(e, fx.LaunchAttempts)]
    assert [len(launch.orders) for launch in launches] == [len(told)]
    assert launches == effects[-1:]  # after every fact


def test_an_attempt_of_which_only_the_end_was_told_took_no_time() -> None:
    talk = Dialogue()
    talk.worker(1)
    job = talk.job(1, one_stage(3))
    stage = talk.core.state.jobs[job].stages[0]
    talk.now = 5.0
    talk.succeed()
    assert stage.median_s == 0.0
    assert stage.sums.figures(1.0).first_started_at == 0.0


def test_jobs_share_the_slots_fairly() -> None:
    talk = Dialogue(prefetch=0)
    talk.worker(0, slots=4)
    first = talk.job(1, one_stage(100))
    second = talk.job(2, one_stage(100))
    talk.succeed(20)
    assert (talk.view(first).tasks_running, talk.view(second).tasks_running) == (2, 2)


def test_nothing_is_launched_before_its_parents_are_complete() -> None:
    talk = Dialogue()
    talk.worker(0)
    job = talk.job(1, map_reduce(2, 2))
    talk.succeed(1)
    assert talk.view(job).stages[1].tasks_running == 0
    talk.succeed(1)
    assert talk.view(job).stages[1].tasks_running == 2
    launch = [e for e in talk.effects if isinstance(e, fx.LaunchAttempts)][-1]
    (places,) = launch.tables.values()
    assert [place.partition for place in places] == [0, 1]


def test_what_all_tasks_of_a_stage_read_is_sent_once_in_a_session() -> None:
    talk = Dialogue(prefetch=0)
    worker = talk.worker(0, slots=1)
    job = talk.job(1, map_reduce(2, 6))
    made = [talk.launched[0][1]]
    talk.succeed()
    made.append(talk.launched[0][1])
    talk.succeed()

    def sent() -> list[list[str]]:
        launches = [e for e in talk.effects if isinstance(e, fx.LaunchAttempts)]
        talk.effects.clear()
        return [[p.attempt_id for t in e.tables.values() for p in t] for e in launches]

    assert sent()[-1] == made
    talk.succeed(1, COMMITTED)
    talk.succeed(1, COMMITTED)
    assert sent() == [[], []]
    # it changed: the first output is lost and made again
    talk.tell(ev.OutputsUnreadable(*talk.launched.pop(), (made[0],), "gone", 0.0))
    made[0] = talk.launched[0][1]
    talk.succeed()
    assert sent() == [[], made]
    # another session knows nothing
    talk.tell(ev.WorkerDisconnected(worker, 0, 0.0))
    talk.launched.clear()
    talk.worker(0, slots=1)
    assert sent() == [made]
    while talk.launched:
        talk.succeed(1, COMMITTED)
    assert talk.view(job).state is JobState.SUCCEEDED
    assert fx.ForgetTables(worker, job) in talk.effects
    assert not talk.core.state.pool.workers[worker].tables


# --- failures --------------------------------------------------------------------------------


def test_f05_without_faults_every_task_is_launched_once() -> None:
    talk = Dialogue()
    talk.worker(0)
    job = talk.job(1, map_reduce(3, 2))
    while talk.launched:
        talk.succeed(1, COMMITTED if talk.view(job).stages[0].is_complete else DONE)
    assert talk.view(job).state is JobState.SUCCEEDED
    launched = [o for e in talk.effects if isinstance(e, fx.LaunchAttempts) for o in e.orders]
    assert len(launched) == 5


def test_a_task_is_retried_and_its_job_fails_with_its_history() -> None:
    talk = Dialogue(task_retries_max=2)
    talk.worker(0)
    job = talk.job(1, one_stage(1))
    for number in range(3):
        assert talk.view(job).state is JobState.RUNNING
        talk.fail(error=f"reason {number}")
        talk.let_pass(RETRY_DELAY_S_MAX)
    view = talk.view(job)
    assert view.state is JobState.FAILED
    assert (view.failed_attempts, view.retries, view.tasks_failed) == (3, 2, 1)
    assert view.message.startswith("reason 2\n")
    assert all(f"reason {number}" in view.message for number in range(3))


def test_retry_delays_grow() -> None:
    talk = Dialogue(task_retries_max=3)
    talk.worker(0)
    talk.job(1, one_stage(1))
    for delay_s in (RETRY_DELAY_S_MIN, 2 * RETRY_DELAY_S_MIN, 4 * RETRY_DELAY_S_MIN):
        talk.fail()
        assert talk.core.next_due == pytest.approx(talk.now + delay_s)
        talk.now += 0.9 * delay_s
        talk.tell(ev.ClockTicked(0.0))
        assert talk.launched == []
        talk.now += 0.2 * delay_s
        talk.tell(ev.ClockTicked(0.0))
        assert len(talk.launched) == 1


def test_a_task_avoids_the_worker_on_which_it_just_failed() -> None:
    talk = Dialogue(task_retries_max=9)
    talk.worker(0, slots=1)
    talk.worker(1, slots=1)
    talk.job(1, one_stage(1))
    where = []
    for _ in range(4):
        where.append(talk.launched[0][0])
        talk.fail()
        talk.let_pass(RETRY_DELAY_S_MAX)
    assert all(before != after for before, after in itertools.pairwise(where))


def test_a_task_that_avoids_the_only_free_worker_keeps_nobody_else_waiting() -> None:
    talk = Dialogue(task_retries_max=9, prefetch=0)
    first, second = talk.worker(0, slots=1), talk.worker(1, slots=1)
    failing = talk.job(1, one_stage(1))
    talk.job(2, one_stage(50))
    busy = talk.launched.pop()
    talk.fail()  # its worker is free, and the other one busy
    talk.now += RETRY_DELAY_S_MIN
    talk.succeed()
    # the failed task is ready again, the least served job's, and still avoids the free worker
    assert [worker for worker, _ in talk.launched] == [first]
    assert talk.view(failing).tasks_running == 0
    talk.launched = [busy]
    talk.succeed()
    assert [worker for worker, _ in talk.launched] == [second]
    assert talk.view(failing).tasks_running == 1


def test_a_task_that_avoids_a_worker_lets_the_ones_behind_it_go_first() -> None:
    talk = Dialogue(task_retries_max=9, prefetch=0)
    first = talk.worker(0, slots=1)
    talk.worker(1, slots=1)
    talk.job(1, one_stage(10))
    failed = talk.launched[0]
    assert failed[0] == first
    talk.launched = [failed]
    talk.fail()  # another task of the job takes its slot
    for _ in range(4):
        talk.now += RETRY_DELAY_S_MIN
        assert [worker for worker, _ in talk.launched] == [first]
        talk.succeed()


def test_a_task_returns_to_the_only_worker() -> None:
    talk = Dialogue(task_retries_max=9)
    worker = talk.worker(0, slots=1)
    talk.job(1, one_stage(1))
    talk.fail()
    talk.let_pass(RETRY_DELAY_S_MAX)
    assert talk.launched[0][0] == worker


def slow_stage(**limits: object) -> tuple[Dialogue, str, tuple[str, str]]:
    """Two workers; three of four tasks took 1 s, the fourth still runs."""
    talk = Dialogue(prefetch=0, heartbeat_timeout_s=1000.0, **limits)
    talk.worker(0)
    talk.worker(1)
    job = talk.job(1, one_stage(4))
    for worker, attempt in talk.launched:
        talk.tell(ev.AttemptStarted(worker, attempt, 0.0))
    talk.now += 1.0
    talk.succeed(3)
    return talk, job, talk.launched[0]


def test_f19_a_straggler_gets_a_copy_elsewhere_and_the_loser_is_cancelled() -> None:
    talk, job, slow = slow_stage()
    talk.let_pass(2.9)
    assert talk.launched == [slow]
    talk.let_pass(0.5)
    assert len(talk.launched) == 2
    copy = talk.launched[1]
    assert copy[0] != slow[0]
    effects = talk.tell(ev.AttemptSucceeded(*copy, DONE, 0.0))
    assert fx.CancelAttempts(slow[0], (slow[1],)) in effects
    assert talk.view(job).state is JobState.SUCCEEDED
    # too late: it wrote its output before it heard
    late = talk.tell(ev.AttemptSucceeded(*slow, DONE, 0.0))
    assert fx.DropOutputs(slow[0], (slow[1],)) in late
    assert talk.core.snapshot().late_results == 1


def test_f19_when_the_copy_dies_the_first_attempt_goes_on() -> None:
    talk, job, slow = slow_stage(task_retries_max=0, worker_losses_max=1)
    talk.let_pass(4.0)
    copy = talk.launched[1]
    talk.tell(ev.WorkerDisconnected(copy[0], 1 if copy[0] == name_of(1) else 0, 0.0))
    assert talk.view(job).state is JobState.RUNNING
    assert talk.view(job).retries == 0
    talk.launched = [slow]
    talk.succeed()
    assert talk.view(job).state is JobState.SUCCEEDED


def test_f19_speculation_can_be_turned_off() -> None:
    talk, _, slow = slow_stage(speculation=False)
    talk.let_pass(30.0)
    assert talk.launched == [slow]


def facts_of(talk: Dialogue, job: str) -> tuple[fx.AttemptMoved, ...]:
    """The last fact of each attempt, as a store keeps it."""
    last: dict[str, fx.AttemptMoved] = {}
    for effect in talk.effects:
        if isinstance(effect, fx.AppendJournal) and isinstance(effect.fact, fx.AttemptMoved):
            if effect.fact.job_id == job:
                last[effect.fact.attempt_id] = effect.fact
    return tuple(sorted(last.values(), key=lambda f: (f.stage_index, f.partition, f.attempt)))


def restarted(talk: Dialogue, job: str, plan: PhysicalPlan) -> Dialogue:
    """Another master, on what the first one's journal holds."""
    record = JobRecord(job, request("j1"), (plan,), True, 0.0, 1.0, facts_of(talk, job))
    workers = {i: w.identity for i, w in talk.core.state.pool.workers.items()}
    after = Dialogue()
    after.effects = after.core.restore([record], workers, 0.0, 0.0)
    invariants.check(after.core)
    return after


def test_f30_a_new_master_repeats_nothing_that_is_finished() -> None:
    talk = Dialogue(prefetch=0)
    worker = talk.worker(0, slots=2)
    plan = map_reduce(4, 1)
    job = talk.job(1, plan)
    talk.succeed(2)
    running = tuple(attempt for _, attempt in talk.launched)
    after = restarted(talk, job, plan)
    assert after.launched == []
    assert after.view(job).tasks_completed == 2
    effects = after.tell(
        ev.WorkerRegistered(talk.core.state.pool.workers[worker].identity, 1, running, 0.0)
    )
    accept = next(e for e in effects if isinstance(e, fx.AcceptWorker))
    assert accept.forget == ()
    assert after.launched == []  # it still runs both
    after.launched = [(worker, attempt) for attempt in running]
    after.succeed(2)
    after.succeed(1, COMMITTED)
    assert after.view(job).state is JobState.SUCCEEDED


def test_f30_what_a_worker_no_longer_runs_is_run_again() -> None:
    talk = Dialogue(prefetch=0)
    worker = talk.worker(0, slots=2)
    plan = map_reduce(4, 1)
    job = talk.job(1, plan)
    talk.succeed(2)
    kept, gone = (attempt for _, attempt in talk.launched)
    after = restarted(talk, job, plan)
    identity = talk.core.state.pool.workers[worker].identity
    after.tell(ev.WorkerRegistered(identity, 1, (kept,), 0.0))
    assert len(after.launched) == 1 and after.launched[0][1] not in (kept, gone)


def test_f30_a_worker_that_never_comes_back_is_given_up() -> None:
    talk = Dialogue(prefetch=0)
    talk.worker(0, slots=2)
    plan = map_reduce(2, 1)
    job = talk.job(1, plan)
    after = restarted(talk, job, plan)
    after.worker(1)
    assert after.launched == []
    after.now = 0.25
    after.tell(ev.ClockTicked(0.0))
    after.let_pass(11.0)
    assert len(after.launched) == 2


def test_f30_an_output_that_was_being_committed_is_committed_again() -> None:
    talk = Dialogue()
    worker = talk.worker(0)
    plan = map_reduce(1, 1)
    job = talk.job(1, plan)
    talk.succeed()
    _, attempt = talk.launched.pop()
    talk.tell(ev.AttemptSucceeded(worker, attempt, COMMITTED, 0.0))
    after = restarted(talk, job, plan)
    identity = talk.core.state.pool.workers[worker].identity
    effects = after.tell(ev.WorkerRegistered(identity, 1, (), 0.0))
    commit = next(e for e in effects if isinstance(e, fx.CommitOutput))
    assert commit.attempt_id == attempt
    after.tell(ev.OutputCommitted(worker, attempt, 0.0))
    assert after.view(job).state is JobState.SUCCEEDED


def test_f30_budgets_go_on_where_they_stood() -> None:
    talk = Dialogue(task_retries_max=1)
    talk.worker(0)
    plan = one_stage(1)
    job = talk.job(1, plan)
    talk.fail(error="first")
    after = restarted(talk, job, plan)
    after.worker(0)
    assert after.core.state.jobs[job].stages[0].tasks[0].failures == 1
    assert after.view(job).failed_attempts == 1


def test_what_a_worker_was_told_to_delete_just_before_it_died_is_deleted_by_another() -> None:
    talk = Dialogue()
    first, second = talk.worker(0), talk.worker(1)
    talk.job(1, one_stage(2))
    made = dict(talk.launched)
    talk.succeed(2)
    # somebody on its disk looks there, and finds it; and something that another job needs
    assert fx.FindAttempts(second) in talk.tell(ev.WorkerDisconnected(first, 0, 0.0))
    talk.job(2, one_stage(1))
    needed = talk.launched[-1][1]
    effects = talk.tell(ev.AttemptsFound(second, (made[first], needed), 0.0))
    assert effects == [fx.DropOutputs(second, (made[first],))]


def test_f32_a_worker_that_is_back_is_asked_what_lies_on_its_disk() -> None:
    talk = Dialogue()
    worker = talk.worker(0)
    job = talk.job(1, map_reduce(2, 1))
    done = talk.launched[0][1]
    talk.succeed()
    running = talk.launched[0][1]
    talk.tell(ev.WorkerDisconnected(worker, 0, 0.0))
    talk.tell(ev.JobCancelRequested(job, "test", 0.0))
    talk.effects.clear()
    talk.worker(0)
    assert fx.FindAttempts(worker) in talk.effects
    effects = talk.tell(ev.AttemptsFound(worker, (done, running, name_of(7)), 0.0))
    assert effects == [fx.DropOutputs(worker, (done, running, name_of(7)))]
    assert talk.tell(ev.AttemptsFound(worker, (), 0.0)) == []


def test_old_results_go_by_size_and_never_the_last_one() -> None:
    talk = Dialogue(result_bytes_max=250)
    talk.worker(0)
    for number in range(1, 5):
        talk.job(number, map_reduce(1, 1))
        talk.succeed()
        talk.succeed(1, TaskOutcome(1, 100, files=(("f", "g"),)))
    assert list(talk.core.snapshot().jobs) == [name_of(1003), name_of(1004)]
    assert [e for e in talk.effects if isinstance(e, fx.ForgetJob)] == [
        fx.ForgetJob(name_of(1001)),
        fx.ForgetJob(name_of(1002)),
    ]
    talk.job(5, map_reduce(1, 1))
    talk.succeed()
    talk.succeed(1, TaskOutcome(1, 1000, files=(("f", "g"),)))
    assert list(talk.core.snapshot().jobs) == [name_of(1005)]


def test_a_failed_job_cancels_what_still_runs() -> None:
    talk = Dialogue(task_retries_max=0)
    worker = talk.worker(0)
    talk.job(1, one_stage(2))
    other = talk.launched[1][1]
    assert fx.CancelAttempts(worker, (other,)) in talk.fail()


def test_f13_lost_workers_have_a_budget_of_their_own() -> None:
    talk = Dialogue(task_retries_max=0, worker_losses_max=2)
    job = talk.job(1, one_stage(1))
    for number in range(3):
        worker = talk.worker(number)
        assert talk.view(job).state is JobState.RUNNING
        talk.tell(ev.WorkerDisconnected(worker, number, 0.0))
    view = talk.view(job)
    assert view.state is JobState.FAILED
    assert "worker_losses_max" in view.message


def test_a_late_result_is_dropped_and_counted() -> None:
    talk = Dialogue()
    worker = talk.worker(0)
    job = talk.job(1, one_stage(1))
    old = talk.launched.pop()
    talk.tell(ev.WorkerDisconnected(worker, 0, 0.0))
    talk.worker(0)
    assert talk.tell(ev.AttemptSucceeded(*old, DONE, 0.0)) == [fx.DropOutputs(worker, (old[1],))]
    assert talk.view(job).state is JobState.RUNNING
    assert talk.core.snapshot().late_results == 1
    talk.succeed()
    assert talk.view(job).state is JobState.SUCCEEDED


def test_a_lost_map_output_reruns_only_its_task() -> None:
    talk = Dialogue()
    talk.worker(0)
    job = talk.job(1, map_reduce(3, 1))
    lost = talk.launched[1][1]
    talk.succeed(3)
    worker, reduce = talk.launched.pop()
    talk.tell(ev.OutputsUnreadable(worker, reduce, (lost,), "gone", 0.0))
    assert talk.view(job).stages[0].tasks_completed == 2
    ((_, again),) = talk.launched
    assert again not in (lost, reduce)
    talk.succeed()
    talk.succeed(1, COMMITTED)
    assert talk.view(job).state is JobState.SUCCEEDED


def test_f16_recomputing_is_bounded() -> None:
    talk = Dialogue()
    talk.worker(0)
    job = talk.job(1, map_reduce(1, 1))
    for _ in range(RECOMPUTES_MAX + 1):
        made = talk.launched[0][1]
        talk.succeed()
        worker, reduce = talk.launched.pop()
        talk.tell(ev.OutputsUnreadable(worker, reduce, (made,), "gone", 0.0))
    assert talk.view(job).state is JobState.FAILED
    assert "was lost" in talk.view(job).message


def places_of(talk: Dialogue) -> dict[str, tuple[str, int]]:
    """What the last orders say: where each output is read."""
    launch = [e for e in talk.effects if isinstance(e, fx.LaunchAttempts) and e.tables][-1]
    return {p.attempt_id: (p.host_id, p.port) for t in launch.tables.values() for p in t}


def reading_from_afar(**limits: object) -> tuple[Dialogue, str, str, str, tuple[str, str]]:
    """Worker 0 made an output, and worker 1, on another host, reads it: dialogue, job, worker 0,
    its output, the reader.
    """
    talk = Dialogue(**limits)
    owner = talk.worker(0, slots=1, host="there", port=10)
    job = talk.job(1, map_reduce(1, 1))
    made = talk.launched[0][1]
    talk.tell(ev.AttemptStarted(owner, made, 0.0))
    talk.tell(ev.WorkerDraining(owner, 0.0))
    talk.worker(1, host="here", port=11)
    talk.succeed()
    assert places_of(talk) == {made: ("there", 10)}
    return talk, job, owner, made, talk.launched.pop()


def test_f17_an_output_is_read_at_the_address_to_which_its_worker_moved() -> None:
    talk, job, owner, made, reader = reading_from_afar()
    talk.tell(ev.WorkerDisconnected(owner, 0, 0.0))
    talk.worker(0, host="there", port=20)
    talk.launched.clear()
    talk.tell(ev.OutputsUnreadable(*reader, (made,), "refused", 0.0))
    assert places_of(talk) == {made: ("there", 20)}
    assert talk.view(job).stages[0].tasks_completed == 1  # nothing of it runs again
    # and when that does not help, it is lost
    talk.tell(ev.OutputsUnreadable(*talk.launched.pop(), (made,), "refused", 0.0))
    assert talk.view(job).stages[0].tasks_completed == 0
    assert talk.core.state.jobs[job].stages[0].tasks[0].recomputes == 1


def test_f17_an_output_of_a_dead_worker_is_read_through_another_one_on_its_disk() -> None:
    talk, job, owner, made, reader = reading_from_afar()
    talk.worker(2, host="there", port=30)
    talk.tell(ev.WorkerDisconnected(owner, 0, 0.0))
    talk.launched.clear()
    talk.tell(ev.OutputsUnreadable(*reader, (made,), "refused", 0.0))
    assert places_of(talk) == {made: ("there", 30)}
    assert talk.view(job).stages[0].tasks_completed == 1


def test_f17_an_output_lost_with_its_worker_counts_as_a_lost_worker() -> None:
    talk, job, owner, made, reader = reading_from_afar(worker_losses_max=1)
    talk.tell(ev.WorkerDisconnected(owner, 0, 0.0))
    talk.tell(ev.OutputsUnreadable(*reader, (made,), "refused", 0.0))
    task = talk.core.state.jobs[job].stages[0].tasks[0]
    assert (task.losses, task.recomputes) == (1, 0)
    lost = [f for f in facts_of(talk, job) if f.attempt_id == made]
    assert lost[0].cause is Cause.WORKER


def test_f14_outputs_that_nobody_can_reach_are_made_again_before_anybody_runs_into_them() -> None:
    talk, job, owner, *_ = reading_from_afar(heartbeat_timeout_s=2.0)
    talk.tell(ev.WorkerDisconnected(owner, 0, 0.0))
    talk.let_pass(1.9)
    assert talk.view(job).stages[0].tasks_completed == 1
    talk.let_pass(0.5)
    assert talk.view(job).stages[0].tasks_completed == 0
    assert talk.core.state.jobs[job].stages[0].tasks[0].losses == 1
    # it comes back with what was given up: nobody waits for that
    talk.worker(0, host="there", port=10)
    assert talk.view(job).state is JobState.RUNNING
    talk.let_pass(5.0)
    assert talk.core.state.jobs[job].stages[0].tasks[0].losses == 1


def test_f17_where_no_worker_is_up_nothing_is_given_up() -> None:
    talk = Dialogue(heartbeat_timeout_s=2.0)
    worker = talk.worker(0)
    job = talk.job(1, map_reduce(2, 1))
    talk.succeed()
    talk.tell(ev.WorkerDisconnected(worker, 0, 0.0))
    talk.let_pass(60.0)
    assert talk.view(job).tasks_completed == 1
    talk.worker(0)
    talk.let_pass(3.0)
    assert talk.view(job).tasks_completed == 1


def test_a_worker_that_dies_while_it_commits_sends_its_task_back() -> None:
    talk = Dialogue()
    worker = talk.worker(0)
    job = talk.job(1, map_reduce(1, 1))
    talk.succeed()
    who, attempt = talk.launched.pop()
    assert fx.CommitOutput(worker, attempt, COMMITTED.files) in talk.tell(
        ev.AttemptSucceeded(who, attempt, COMMITTED, 0.0)
    )
    talk.tell(ev.WorkerDisconnected(worker, 0, 0.0))
    talk.worker(1)
    assert talk.view(job).state is JobState.RUNNING
    talk.succeed(1, COMMITTED)
    assert talk.view(job).state is JobState.SUCCEEDED


def test_a_fact_is_journaled_before_what_it_justifies() -> None:
    talk = Dialogue()
    talk.worker(0)
    talk.job(1, map_reduce(1, 1))
    talk.succeed()
    effects = talk.succeed(1, COMMITTED)
    kinds = [type(effect).__name__ for effect in effects]
    assert kinds.index("AppendJournal") < kinds.index("CommitOutput")


# --- workers -----------------------------------------------------------------------------------


def test_workers_are_shown_in_the_order_of_their_names_whenever_they_came() -> None:
    talk = Dialogue()
    for number in (10, 2):
        talk.worker(number)
    talk.core.snapshot()
    talk.worker(1)
    shown = talk.core.snapshot().workers.values()
    assert [worker.identity.name for worker in shown] == ["w1", "w2", "w10"]


def test_a_silent_worker_is_down_after_the_timeout() -> None:
    talk = Dialogue(heartbeat_timeout_s=10)
    worker = talk.worker(0)
    job = talk.job(1, one_stage(1))
    for talk.now in (4.0, 8.0, 10.0):
        talk.tell(ev.ClockTicked(0.0))
        assert talk.core.snapshot().workers[worker].state is WorkerState.UP
    talk.now = 10.5
    talk.tell(ev.ClockTicked(0.0))
    assert talk.core.snapshot().workers[worker].state is WorkerState.DOWN
    assert talk.view(job).tasks_running == 0


def test_f14_a_silent_worker_is_disconnected_so_that_it_comes_back() -> None:
    talk = Dialogue(heartbeat_timeout_s=1)
    worker = talk.worker(5)
    talk.tell(ev.ClockTicked(0.0))
    effects: list[fx.Effect] = []
    for talk.now in (0.4, 0.8, 1.2):
        effects += talk.tell(ev.ClockTicked(0.0))
    assert fx.CloseSession(worker, 5) in effects


def test_short_timeouts_are_no_gaps_of_the_clock() -> None:
    talk = Dialogue(heartbeat_timeout_s=0.3)
    worker = talk.worker(0)
    for talk.now in (0.0, 0.25, 0.5):
        talk.tell(ev.ClockTicked(0.0))
    assert talk.core.snapshot().workers[worker].state is WorkerState.DOWN


def test_a_gap_of_the_clock_gives_everybody_another_chance() -> None:
    talk = Dialogue(heartbeat_timeout_s=10)
    worker = talk.worker(0)
    talk.tell(ev.ClockTicked(0.0))
    talk.now = 1000.0  # the laptop was suspended
    talk.tell(ev.ClockTicked(0.0))
    assert talk.core.snapshot().workers[worker].state is WorkerState.UP


def test_a_worker_that_registers_again_keeps_what_it_still_runs() -> None:
    talk = Dialogue()
    worker = talk.worker(0)
    job = talk.job(1, one_stage(2))
    kept = talk.launched[0]
    talk.worker(0, running=(kept[1], name_of(77)))
    accepted = [e for e in talk.effects if isinstance(e, fx.AcceptWorker)][-1]
    lost = next(o for e in talk.effects if isinstance(e, fx.LaunchAttempts) for o in e.orders[1:])
    assert accepted.forget == (name_of(77), lost.attempt_id)
    talk.tell(ev.AttemptSucceeded(worker, kept[1], DONE, 0.0))
    assert talk.view(job).tasks_completed == 1


def test_a_stale_disconnect_changes_nothing() -> None:
    talk = Dialogue()
    worker = talk.worker(5)
    talk.tell(ev.WorkerDisconnected(worker, 4, 0.0))
    assert talk.core.snapshot().workers[worker].state is WorkerState.UP


# --- foreign workers ---------------------------------------------------------------------------


def ask(talk: Dialogue, worker: str) -> fx.AnswerTaskRequest:
    effects = talk.tell(ev.TaskRequested(worker, "r", 0.0))
    return next(e for e in effects if isinstance(e, fx.AnswerTaskRequest))


def test_a_job_without_a_plan_is_naive_where_only_foreign_workers_are_up() -> None:
    talk = Dialogue()
    plans = (map_reduce(1, 1), naive_word_count(1))
    job = talk.job(1, *plans)
    assert talk.view(job).plan_kind is None
    talk.worker(0, kind=WorkerKind.HTTP)
    assert talk.view(job).plan_kind is PlanKind.NAIVE
    talk.worker(1)
    assert talk.view(talk.job(2, *plans)).plan_kind is PlanKind.FUSED


def test_a_foreign_worker_gets_only_tasks_that_mean_the_same_there() -> None:
    talk = Dialogue()
    worker = talk.worker(0, kind=WorkerKind.HTTP)
    job = talk.job(1, one_stage(1))
    assert ask(talk, worker).task is None
    assert "s0" in talk.view(job).note
    talk.job(2, naive_word_count(1))
    task = ask(talk, worker).task
    assert task is not None and task.stage.is_documented


def test_a_foreign_worker_that_writes_elsewhere_gets_no_more_tasks() -> None:
    talk = Dialogue()
    worker = talk.worker(0, kind=WorkerKind.HTTP)
    job = talk.job(1, naive_word_count(1))
    task = ask(talk, worker).task
    assert task is not None
    wrong = ev.HttpTaskCompleted(task.order.attempt_id, True, "", ("/etc/passwd",), 1, 0.0)
    assert any(isinstance(effect, fx.Warn) for effect in talk.tell(wrong))
    assert ask(talk, worker).task is None
    assert talk.view(job).retries == 0


def test_a_heartbeat_brings_a_foreign_worker_back() -> None:
    talk = Dialogue(heartbeat_timeout_s=1)
    worker = talk.worker(0, kind=WorkerKind.HTTP)
    talk.tell(ev.ClockTicked(0.0))
    for talk.now in (0.4, 0.8, 1.2):
        talk.tell(ev.ClockTicked(0.0))
    assert not ask(talk, worker).is_known
    job = talk.job(1, map_reduce(1, 1), naive_word_count(1))
    talk.tell(ev.HeartbeatReceived(worker, 0, 0.0))
    assert talk.view(job).plan_kind is PlanKind.NAIVE
    assert ask(talk, worker).is_known


# --- jobs --------------------------------------------------------------------------------------


def test_a_cancelled_job_stops_and_says_why() -> None:
    talk = Dialogue()
    worker = talk.worker(0)
    job = talk.job(1, one_stage(2))
    ids = tuple(attempt for _, attempt in talk.launched)
    effects = talk.tell(ev.JobCancelRequested(job, "by request", 0.0))
    assert fx.CancelAttempts(worker, ids) in effects
    assert talk.view(job).state is JobState.CANCELLED
    assert talk.view(job).message == "cancelled: by request"
    assert talk.tell(ev.JobCancelRequested(job, "again", 0.0)) == []


def test_a_job_ends_at_its_time_limit() -> None:
    talk = Dialogue()
    job = talk.job(1, one_stage(1), timeout_s=5.0)
    talk.now = 5.5
    talk.tell(ev.ClockTicked(0.0))
    assert talk.view(job).state is JobState.FAILED
    assert "timeout_s" in talk.view(job).message


def test_an_ended_job_leaves_no_files_but_its_results() -> None:
    talk = Dialogue()
    worker = talk.worker(0)
    talk.job(1, map_reduce(1, 1))
    made = talk.launched[0][1]
    talk.succeed()
    reduced = talk.launched[0][1]
    effects = talk.succeed(1, COMMITTED)
    dropped = [e for e in effects if isinstance(e, fx.DropOutputs)]
    assert dropped == [fx.DropOutputs(worker, (made, reduced))]


def test_a_job_that_runs_is_never_evicted() -> None:
    talk = Dialogue(jobs_kept_max=1, result_bytes_max=0)
    talk.worker(0, slots=1)
    running = talk.job(0, one_stage(2))
    talk.succeed()
    ended = [talk.job(number, one_stage(1)) for number in range(1, 4)]
    for job_id in ended:
        talk.tell(ev.JobCancelRequested(job_id, "by request", 0.0))
    assert list(talk.core.snapshot().jobs) == [running, ended[-1]]
    assert fx.ForgetJob(running) not in talk.effects
    assert talk.view(running).state is JobState.RUNNING


def test_narrower_limits_hold_from_the_start() -> None:
    before = Dialogue()
    before.worker(0)
    for number in range(4):
        before.job(number, one_stage(1))
        before.succeed()
    ended = list(before.core.snapshot().jobs.values())
    after = Dialogue(jobs_kept_max=2)
    effects = after.core.restore([], {}, 0.0, 0.0, ended)
    assert effects == [fx.ForgetJob(view.job_id) for view in ended[:2]]
    assert list(after.core.snapshot().jobs.values()) == ended[2:]


def test_a_restarted_master_lists_jobs_as_they_were_created() -> None:
    before = Dialogue()
    before.worker(0)
    jobs = [before.job(number, one_stage(1)) for number in range(3)]
    before.succeed()
    views = list(before.core.snapshot().jobs.values())
    first, _, last = (replace(view, created_at=at) for at, view in enumerate(views))
    open_job = JobRecord(jobs[1], request("j1"), (one_stage(1),), True, 1.0, None, ())
    after = Dialogue()
    after.core.restore([open_job], {}, 0.0, 0.0, [last, first])  # by when they ended
    assert list(after.core.snapshot().jobs) == jobs


def test_results_of_foreign_workers_count_as_their_files_do() -> None:
    talk = Dialogue(result_bytes_max=250)
    worker = talk.worker(0, kind=WorkerKind.HTTP)
    jobs = [talk.job(number, one_documented_stage()) for number in range(3)]
    for job_id in jobs:
        (answer,) = [
            effect
            for effect in talk.tell(ev.TaskRequested(worker, "r", 0.0))
            if isinstance(effect, fx.AnswerTaskRequest)
        ]
        assert answer.task is not None
        files, order = (f"{job_id}_s0_p0.json",), answer.task.order
        talk.tell(ev.HttpTaskCompleted(order.attempt_id, True, "", files, 1, 0.0, 100))
    assert [view.result_bytes for view in talk.core.snapshot().jobs.values()] == [100, 100]
    assert fx.ForgetJob(jobs[0]) in talk.effects


def test_f33_the_journal_has_the_plans_of_a_job_that_waits_for_a_worker() -> None:
    talk = Dialogue()
    plans = (map_reduce(1, 1), naive_word_count(1))
    waiting, chosen = talk.job(1, *plans), talk.job(2, plans[0])
    talk.worker(0)
    at_once = talk.job(3, *plans)
    kept = {
        effect.fact.job_id: effect.fact.candidates
        for effect in talk.effects
        if isinstance(effect, fx.AppendJournal) and isinstance(effect.fact, fx.JobAccepted)
    }
    assert kept == {waiting: plans, chosen: (), at_once: ()}


def test_old_jobs_leave_the_history() -> None:
    talk = Dialogue(jobs_kept_max=2)
    talk.worker(0)
    jobs = []
    for number in range(3):
        jobs.append(talk.job(number, one_stage(1)))
        effects = talk.succeed()
    assert fx.ForgetJob(jobs[0]) in effects
    assert list(talk.core.snapshot().jobs) == jobs[1:]


def test_an_illegal_transition_crashes_loudly() -> None:
    talk = Dialogue()
    talk.worker(0)
    job = talk.core.state.jobs[talk.job(1, one_stage(1))]
    with pytest.raises(IllegalTransition, match="PENDING"):
        job.move(JobState.PENDING, "a bug", 0.0)


def test_a_complete_stage_is_measured_and_once_more_when_an_output_was_lost() -> None:
    talk = Dialogue()
    talk.worker(1)
    talk.job(1, map_reduce(2, 1))
    made = talk.launched[0][1]
    talk.succeed(2, TaskOutcome(3, 1, bytes_read=5))
    talk.tell(ev.OutputsUnreadable(*talk.launched.pop(0), (made,), "gone", 0.0))
    talk.succeed(1, TaskOutcome(3, 1, bytes_read=5))
    measured = [e.fact for e in talk.effects if isinstance(e, fx.AppendJournal)]
    figures = [f.figures for f in measured if isinstance(f, fx.StageMeasured)]
    assert [(f.tasks, f.records, f.bytes_read) for f in figures] == [(2, 6, 10), (3, 9, 15)]


# --- the cache ------------------------------------------------------------------------------


def cached_stage(partitions: int, lineage: str | None) -> PhysicalPlan:
    only = stage(0, partitions, READ, ShuffleBlocks("n", 1, None), is_final=True)
    program = replace(only.program, steps=(Cache("c", lineage),))
    return PhysicalPlan(PlanKind.FUSED, (replace(only, program=program),))


def partitions_on(talk: Dialogue) -> dict[str, list[int]]:
    """Of what was launched and not answered, by worker."""
    found: dict[str, list[int]] = {}
    for worker_id, attempt_id in talk.launched:
        task = talk.core.state.pool.live[attempt_id].task
        found.setdefault(worker_id, []).append(task.partition)
    return {worker_id: sorted(partitions) for worker_id, partitions in found.items()}


def test_a_task_goes_where_its_records_are_cached() -> None:
    talk = Dialogue()
    first, second = talk.worker(0), talk.worker(1)
    talk.job(1, cached_stage(4, "lineage"))
    before = partitions_on(talk)
    assert before == {first: [0, 2], second: [1, 3]}
    talk.succeed(4)
    talk.job(2, one_stage(1))  # the turn is the other one's now
    talk.succeed()
    talk.job(3, cached_stage(4, "lineage"))
    assert partitions_on(talk) == before
    talk.succeed(4)
    talk.job(4, cached_stage(4, "another"))
    assert partitions_on(talk) == {first: [1, 3], second: [0, 2]}


def test_no_worker_waits_for_another_ones_cached_records() -> None:
    talk = Dialogue(prefetch=0)
    first = talk.worker(0, slots=1)
    talk.job(1, cached_stage(3, "lineage"))
    talk.succeed(3)
    second = talk.worker(1, slots=1)
    talk.job(2, cached_stage(3, "lineage"))
    assert partitions_on(talk) == {first: [0], second: [1]}
    talk.succeed()
    assert partitions_on(talk) == {first: [2], second: [1]}


def test_what_was_kept_for_a_job_is_dropped_at_its_end_though_nothing_was_written() -> None:
    nothing = TaskOutcome(0, 0)
    for lineage, dropped in ((None, True), ("for later jobs", False)):
        talk = Dialogue()
        talk.worker(0)
        talk.job(1, cached_stage(1, lineage))
        effects = talk.succeed(1, nothing)
        assert any(isinstance(effect, fx.DropOutputs) for effect in effects) == dropped


def test_a_naive_chain_stays_where_its_partitions_are() -> None:
    talk = Dialogue()
    for number in range(2):
        talk.worker(number)
    talk.job(1, naive_word_count(4))
    before = partitions_on(talk)
    talk.launched.insert(0, talk.launched.pop())  # they end in another order
    talk.succeed(4, COMMITTED)
    assert partitions_on(talk) == before


def test_a_task_waits_in_the_queue_of_the_worker_that_has_its_records() -> None:
    talk = Dialogue()
    first, second = talk.worker(0, slots=1), talk.worker(1, slots=1)
    talk.job(1, cached_stage(4, "lineage"))
    assert partitions_on(talk) == {first: [0], second: [1]}
    talk.succeed(2)
    assert partitions_on(talk) == {first: [2], second: [3]}
    talk.succeed(2)
    talk.job(2, cached_stage(4, "lineage"))
    talk.succeed()
    assert partitions_on(talk) == {first: [2], second: [1]}
    talk.launched.reverse()
    talk.succeed()
    assert partitions_on(talk) == {second: [1, 3]}  # though the first one is free
    talk.succeed(2)
    talk.job(3, cached_stage(9, "lineage"))
    queued = partitions_on(talk)  # no worker's queue is longer than it may be
    assert {len(partitions) for partitions in queued.values()} == {3}
