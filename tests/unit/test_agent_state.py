"""What an agent decides, as a dialogue: given what happened, expect what is to be done."""

from __future__ import annotations

import uuid
from dataclasses import replace

from minispark.model.job import ReaderOptions
from minispark.model.plan import (
    MadeOutput,
    OutputLocation,
    PartitionFile,
    ReadSplits,
    StageProgram,
    TaskOrder,
    TaskOutcome,
)
from minispark.transport.messages import (
    CacheMissed,
    Failed,
    FetchFailed,
    OutputsMade,
    Run,
    Started,
    Succeeded,
)
from minispark.worker.agent_state import (
    AHEAD_MAX,
    AHEAD_QUICK_S,
    MEMORY_FACTOR,
    AgentState,
    DropFiles,
    Instruction,
    KillSlot,
    RunOnSlot,
    SendReport,
    TellSlot,
)

PROGRAM = StageProgram(ReadSplits("r", "text", ReaderOptions()), (), PartitionFile("r"))
OUTCOME = TaskOutcome(1, 1)


def run(number: int) -> Run:
    attempt_id = str(uuid.UUID(int=number))
    return Run(TaskOrder(attempt_id, "j", 0, "r", number, 0, 9), PROGRAM)


def id_of(number: int) -> str:
    return run(number).order.attempt_id


def agent(slots: int = 1, fail: float = 0.0, draws: tuple[float, ...] = ()) -> AgentState:
    numbers = iter(draws)
    state = AgentState(slots, 10.0, 100, fail, lambda: next(numbers))
    for slot in range(slots):
        state.executor_ready(slot, 0.0)
    return state


def started(slot: int, number: int) -> list[Instruction]:
    return [SendReport(Started(id_of(number))), RunOnSlot(slot, run(number))]


def test_orders_fill_the_slots_and_the_rest_waits_in_order() -> None:
    state = agent(slots=2)
    assert state.launched([run(1), run(2), run(3)], 0.0) == started(0, 1) + started(1, 2)
    assert state.active == 3
    assert state.held == (id_of(1), id_of(2), id_of(3))
    done = Succeeded(id_of(2), OUTCOME)
    assert state.finished(1, done, 1.0) == [SendReport(done), *started(1, 3)]


def test_a_repeated_order_changes_nothing() -> None:
    state = agent()
    state.launched([run(1), run(2)], 0.0)
    assert state.launched([run(1), run(2)], 0.0) == []
    assert state.active == 2


def test_f32_a_master_is_told_again_what_runs_and_not_what_it_forgets() -> None:
    state = agent(slots=2)
    state.launched([run(1), run(2), run(3)], 0.0)
    assert state.registered((id_of(2),)) == [KillSlot(1), SendReport(Started(id_of(1)))]


def test_nothing_runs_before_an_executor_is_ready() -> None:
    state = AgentState(1, 10.0, 100, 0.0, lambda: 0.0)
    assert state.launched([run(1)], 0.0) == []
    assert state.executor_ready(0, 0.0) == started(0, 1)


def test_what_a_failed_attempt_wrote_is_deleted() -> None:
    for report in (
        Failed(id_of(1), "error", "why"),
        FetchFailed(id_of(1), (id_of(9),), "gone"),
        CacheMissed(id_of(1)),
    ):
        state = agent()
        state.launched([run(1)], 0.0)
        assert state.finished(0, report, 1.0) == [DropFiles(id_of(1)), SendReport(report)]


def test_f12_an_executor_that_dies_fails_its_attempt_and_says_how() -> None:
    state = agent()
    state.launched([run(1), run(2)], 0.0)
    drop, report = state.executor_died(0, "signal SIGSEGV", 1.0)
    assert drop == DropFiles(id_of(1))
    assert isinstance(report, SendReport) and isinstance(report.report, Failed)
    assert (report.report.kind, report.report.attempt_id) == ("crash", id_of(1))
    assert "SIGSEGV" in report.report.error
    assert state.executor_ready(0, 2.0) == started(0, 2)


def test_f15_a_task_that_runs_too_long_is_stopped_and_its_slot_used_again() -> None:
    state = agent()
    state.launched([run(1), run(2)], 0.0)
    assert state.next_deadline() == 10.0
    assert state.clock(9.9) == []
    assert state.clock(10.0) == [KillSlot(0)]
    assert state.clock(11.0) == []
    # what it says while it is killed does not count
    assert state.finished(0, Succeeded(id_of(1), OUTCOME), 11.0) == []
    drop, report = state.executor_died(0, "signal SIGKILL", 11.0)
    assert drop == DropFiles(id_of(1))
    assert isinstance(report, SendReport) and isinstance(report.report, Failed)
    assert report.report.kind == "timeout"
    assert state.executor_ready(0, 11.0) == started(0, 2)


def test_f21_a_task_far_over_its_memory_is_stopped_and_told_why() -> None:
    state = agent()
    state.launched([run(1)], 0.0)
    limit = MEMORY_FACTOR * 100 * 2**20
    assert state.measured(0, limit) == []
    assert state.measured(0, limit + 1) == [KillSlot(0)]
    assert state.measured(0, limit + 1) == []
    _, report = state.executor_died(0, "signal SIGKILL", 1.0)
    assert isinstance(report, SendReport) and isinstance(report.report, Failed)
    assert report.report.kind == "memory"
    assert "memory.task_max_mb (100 MB)" in report.report.error


def test_cancelled_attempts_stop_in_silence() -> None:
    state = agent()
    state.launched([run(1), run(2)], 0.0)
    assert state.cancelled((id_of(2),)) == []  # it only waited
    assert state.cancelled((id_of(1),)) == [KillSlot(0)]
    assert state.held == ()
    assert state.executor_died(0, "signal SIGKILL", 1.0) == [DropFiles(id_of(1))]
    assert state.cancelled((id_of(7),)) == [DropFiles(id_of(7))]


def test_an_idle_executor_may_die() -> None:
    assert agent().executor_died(0, "status 1", 0.0) == []


def test_injected_failures_are_drawn() -> None:
    state = agent(fail=50.0, draws=(49.9, 50.0))
    first, failed, *rest = state.launched([run(1), run(2)], 0.0)
    assert first == SendReport(Started(id_of(1)))
    assert isinstance(failed, SendReport) and isinstance(failed.report, Failed)
    assert failed.report.kind == "injected"
    assert rest == started(0, 2)


def test_an_executor_that_retires_reports_and_gets_no_further_order() -> None:
    state = agent()
    state.launched([run(1), run(2)], 0.0)
    state.retiring(0)
    done = Succeeded(id_of(1), OUTCOME)
    assert state.finished(0, done, 1.0) == [SendReport(done)]
    assert state.held == (id_of(2),)
    assert state.executor_ready(0, 1.1) == started(0, 2)


def done(number: int) -> Succeeded:
    return Succeeded(id_of(number), OUTCOME)


def busy_with_quick_ones(count: int, slots: int = 1) -> AgentState:
    """The first of `count` orders was quick: its executor runs the second one."""
    state = agent(slots)
    state.launched([run(n) for n in range(1, count + 1)], 0.0)
    state.finished(0, done(1), AHEAD_QUICK_S)
    return state


def test_orders_of_a_quick_stage_are_sent_before_their_turn() -> None:
    state = agent()
    state.launched([run(n) for n in range(1, 100)], 0.0)
    sent = state.finished(0, done(1), AHEAD_QUICK_S)
    ahead = [RunOnSlot(0, run(n)) for n in range(3, 3 + AHEAD_MAX)]
    assert sent == [SendReport(done(1)), *started(0, 2), *ahead]
    # the next one begins when it has its turn, and one more takes its place behind
    next_in = 3 + AHEAD_MAX
    assert state.finished(0, done(2), 0.003) == [
        SendReport(done(2)),
        SendReport(Started(id_of(3))),
        RunOnSlot(0, run(next_in)),
    ]
    assert state.active == 97


def test_orders_of_other_stages_wait_for_their_turn() -> None:
    state = agent()
    other = Run(run(3).order, StageProgram(PROGRAM.source, (), PartitionFile("s")))
    state.launched([run(1), run(2), other], 0.0)
    assert state.finished(0, done(1), 0.0) == [SendReport(done(1)), *started(0, 2)]


def test_after_a_slow_task_nothing_is_sent_ahead() -> None:
    state = agent()
    state.launched([run(1), run(2), run(3)], 0.0)
    slow_s = AHEAD_QUICK_S * 1.1
    assert state.finished(0, done(1), slow_s) == [SendReport(done(1)), *started(0, 2)]


def test_free_executors_come_before_any_is_sent_more() -> None:
    state = busy_with_quick_ones(4, slots=2)
    assert [slot.run for slot in state.slots] == [run(3), run(2)]
    assert [len(slot.runs) for slot in state.slots] == [2, 1]


def test_f12_what_was_sent_ahead_waits_again_when_its_executor_dies() -> None:
    state = busy_with_quick_ones(4)
    failed, *dropped = state.executor_died(0, "signal SIGSEGV", 1.0)[1:]
    assert isinstance(failed, SendReport) and isinstance(failed.report, Failed)
    assert failed.report.attempt_id == id_of(2)
    # the executor may have begun with the next one before it was killed
    assert dropped == [DropFiles(id_of(3)), DropFiles(id_of(4))]
    assert state.held == (id_of(3), id_of(4))
    assert state.executor_ready(0, 2.0) == started(0, 3)


def test_a_cancelled_order_that_was_sent_ahead_is_stopped_when_it_has_its_turn() -> None:
    state = busy_with_quick_ones(5)
    assert state.cancelled((id_of(3), id_of(5))) == []
    assert state.held == (id_of(2), id_of(4))
    assert state.finished(0, done(2), 0.003) == [SendReport(done(2)), KillSlot(0)]
    assert state.executor_died(0, "signal SIGKILL", 1.0) == [
        DropFiles(id_of(3)),
        DropFiles(id_of(4)),
        DropFiles(id_of(5)),
    ]
    assert state.executor_ready(0, 2.0) == started(0, 4)
    assert state.active == 1


def test_each_order_sent_ahead_has_the_whole_time_limit() -> None:
    state = busy_with_quick_ones(3)
    state.finished(0, done(2), 9.0)
    assert state.next_deadline() == 19.0


def test_what_was_sent_ahead_waits_again_when_its_executor_retires() -> None:
    state = busy_with_quick_ones(3)
    state.retiring(0)
    assert state.finished(0, done(2), 0.003) == [SendReport(done(2)), DropFiles(id_of(3))]
    assert state.executor_ready(0, 1.1) == started(0, 3)


# --- orders that begin early ---------------------------------------------------------------------

PLACE = OutputLocation(0, 1, "made", "w", "h", 1, "host", "/s")


def early(number: int, *awaited: int) -> Run:
    """An order that waits for those partitions of stage 0."""
    order = replace(run(number).order, awaited=tuple((0, partition) for partition in awaited))
    return Run(order, PROGRAM)


def made(number: int, partition: int, place: OutputLocation | None = PLACE) -> OutputsMade:
    return OutputsMade((id_of(number),), (MadeOutput(0, partition, place),))


def test_who_waits_is_told_and_has_as_long_as_others_from_then_on() -> None:
    state = agent()
    state.launched([early(1, 1, 2)], 0.0)
    assert state.waiting == (id_of(1),)
    assert state.next_deadline() is None
    assert state.clock(1000.0) == []
    assert state.outputs_made(made(1, 1), 1000.0) == [TellSlot(0, made(1, 1))]
    assert (state.waiting, state.next_deadline()) == ((id_of(1),), None)
    state.outputs_made(made(1, 2, None), 2000.0)
    assert (state.waiting, state.next_deadline()) == ((), 2010.0)
    assert state.clock(2010.0) == [KillSlot(0)]


def test_an_order_that_waits_for_an_executor_hears_of_outputs_too() -> None:
    state = AgentState(1, 10.0, 100, 0.0, lambda: 0.0)
    state.launched([early(1, 1, 2)], 0.0)
    assert state.waiting == (id_of(1),)
    assert state.outputs_made(made(1, 1), 0.0) == []
    (_, begun) = state.executor_ready(0, 1.0)
    assert isinstance(begun, RunOnSlot)
    assert (begun.run.order.awaited, begun.run.outputs) == (((0, 2),), (PLACE,))


def test_nobody_is_told_of_what_ended_or_is_being_stopped() -> None:
    state = agent()
    state.launched([early(1, 1)], 0.0)
    state.cancelled((id_of(1),))
    assert state.outputs_made(made(1, 1), 0.0) == []
    assert state.next_deadline() is None
    assert state.outputs_made(made(2, 1), 0.0) == []


def test_no_order_is_sent_ahead_behind_one_that_waits_nor_does_one_that_waits_go_ahead() -> None:
    state = agent()
    state.launched([run(1), run(2)], 0.0)
    state.finished(0, Succeeded(id_of(1), OUTCOME), AHEAD_QUICK_S)
    assert state.launched([early(3, 1)], AHEAD_QUICK_S) == []
    done = Succeeded(id_of(2), OUTCOME)
    began = state.finished(0, done, 2 * AHEAD_QUICK_S)
    assert RunOnSlot(0, early(3, 1)) in began
    assert state.launched([run(4)], 2 * AHEAD_QUICK_S) == []
