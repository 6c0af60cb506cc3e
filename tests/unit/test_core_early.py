"""The core as a dialogue about attempts that begin before all that they read is made."""

from __future__ import annotations

from minispark.model import effects as fx
from minispark.model import events as ev
from minispark.model.job import PlanKind
from minispark.model.plan import (
    FetchShuffle,
    MadeOutput,
    PartitionFile,
    PhysicalPlan,
    ShuffleBlocks,
    TaskOutcome,
)
from minispark.model.states import Cause, JobState
from minispark.scheduling.limits import (
    EARLY_OUTPUTS_MAX,
    EARLY_STARTS_MAX,
    RETRY_DELAY_S_MAX,
    RETRY_DELAY_S_MIN,
)
from tests.simulation.plans import READ, map_reduce, naive_word_count, one_stage, stage
from tests.unit.test_core import COMMITTED, Dialogue, cached_stage, name_of, restarted
from tests.unit.test_core_readiness import end, places

EMPTY = TaskOutcome(0, 0)


def waiting(talk: Dialogue) -> list[tuple[int, int]]:
    """(stage, partition) of the attempts that wait."""
    attempts = talk.core.state.pool.waiting.values()
    return [(a.stage.stage.index, a.task.partition) for a in attempts]


def attempt_of(talk: Dialogue, stage_index: int, partition: int):  # type: ignore[no-untyped-def]
    return next(
        a
        for a in talk.core.state.pool.live.values()
        if (a.stage.stage.index, a.task.partition) == (stage_index, partition)
    )


def told(effects: list[fx.Effect]) -> list[fx.TellOutputs]:
    return [e for e in effects if isinstance(e, fx.TellOutputs)]


def launched(effects: list[fx.Effect]) -> list[fx.LaunchAttempts]:
    return [e for e in effects if isinstance(e, fx.LaunchAttempts)]


def two_maps_run(
    plan: PhysicalPlan | None = None, slots: int = 5, **limits: object
) -> tuple[Dialogue, str]:
    """Three of five maps are made, the others run, and nothing else is to do."""
    talk = Dialogue(prefetch=0, heartbeat_timeout_s=1000.0, **limits)
    talk.worker(0, slots=slots)
    job = talk.job(1, plan or map_reduce(5, 2))
    for partition in range(3):
        end(talk, 0, partition)
    return talk, job


# --- beginning ---------------------------------------------------------------------------------


def test_free_slots_begin_early_what_only_waits_for_attempts_that_run() -> None:
    talk, _ = two_maps_run()
    assert places(talk) == [(0, 3), (0, 4)]
    effects = talk.tell(ev.ClockTicked(0.0))
    assert places(talk) == [(0, 3), (0, 4), (1, 0), (1, 1)]
    (launch,) = launched(effects)
    assert [order.awaited for order in launch.orders] == [((0, 3), (0, 4))] * 2
    (table,) = launch.tables.values()
    assert [place.partition for place in table] == [0, 1, 2]


def test_who_waits_is_told_of_each_output_and_is_then_like_any_other_attempt() -> None:
    talk, job = two_maps_run()
    talk.tell(ev.ClockTicked(0.0))
    ids = tuple(a.id for a in talk.core.state.pool.waiting.values())
    made = attempt_of(talk, 0, 4)
    (tell,) = told(end(talk, 0, 4))
    (output,) = tell.outputs
    assert (tell.worker_id, tell.attempt_ids) == (name_of(0), ids)
    assert (output.stage_index, output.partition, output.place.attempt_id) == (0, 4, made.id)
    assert waiting(talk) == [(1, 0), (1, 1)]
    last = attempt_of(talk, 0, 3)
    (tell,) = told(talk.tell(ev.AttemptSucceeded(last.worker_id, last.id, EMPTY, 0.0)))
    assert tell.outputs == (MadeOutput(0, 3, None),)
    assert waiting(talk) == []
    end(talk, 1, 0)
    end(talk, 1, 1)
    assert talk.view(job).state is JobState.SUCCEEDED
    launches = [o for launch in launched(talk.effects) for o in launch.orders]
    assert len(launches) == 7


def test_nothing_begins_early_while_a_map_waits_for_its_turn_or_for_its_delay() -> None:
    talk, _ = two_maps_run()
    slow = attempt_of(talk, 0, 3)
    talk.tell(ev.AttemptFailed(slow.worker_id, slow.id, "error", "boom", 0.0))
    talk.tell(ev.ClockTicked(0.0))
    assert places(talk) == [(0, 4)]
    talk.let_pass(RETRY_DELAY_S_MAX)
    assert places(talk)[:2] == [(0, 4), (0, 3)]
    assert waiting(talk) == [(1, 0), (1, 1)]


def test_nothing_begins_early_when_there_is_nothing_to_fetch_or_too_much_is_missing() -> None:
    talk = Dialogue(prefetch=0)
    maps = EARLY_OUTPUTS_MAX + 2
    talk.worker(0, slots=maps)
    talk.job(1, map_reduce(maps, 1))
    talk.tell(ev.ClockTicked(0.0))
    assert waiting(talk) == []
    end(talk, 0, 0)
    talk.tell(ev.ClockTicked(0.0))
    assert waiting(talk) == []
    end(talk, 0, 1)
    talk.tell(ev.ClockTicked(0.0))
    assert waiting(talk) == [(1, 0)]
    # and where nothing is made yet
    quiet = Dialogue(prefetch=0)
    quiet.worker(0, slots=4)
    quiet.job(1, map_reduce(2, 1))
    quiet.tell(ev.ClockTicked(0.0))
    assert waiting(quiet) == []


def test_nobody_waits_for_who_waits() -> None:
    talk = Dialogue(prefetch=0)
    talk.worker(0, slots=8)
    sink = ShuffleBlocks("n", 1, None)
    middle = stage(1, 2, FetchShuffle(0), sink, (0,))
    last = stage(2, 1, FetchShuffle(1), PartitionFile("n"), (1,), is_final=True)
    job = talk.job(
        1,
        PhysicalPlan(
            PlanKind.FUSED, (stage(0, 2, READ, ShuffleBlocks("m", 2, None)), middle, last)
        ),
    )
    for task in ((0, 0), (0, 1), (1, 0)):
        end(talk, *task)
    reader = attempt_of(talk, 1, 1)
    lost = talk.core.state.jobs[job].stages[0].tasks[0].accepted.id
    talk.tell(ev.OutputsUnreadable(reader.worker_id, reader.id, (lost,), "gone", 0.0))
    talk.tell(ev.ClockTicked(0.0))
    talk.tell(ev.ClockTicked(0.0))
    assert waiting(talk) == [(1, 1)]
    end(talk, 0, 0)
    talk.tell(ev.ClockTicked(0.0))
    assert waiting(talk) == [(2, 0)]


# --- giving way --------------------------------------------------------------------------------


def test_who_waits_gives_its_slot_to_a_task_that_can_run_and_nothing_is_held_against_it() -> None:
    talk, job = two_maps_run()
    talk.tell(ev.ClockTicked(0.0))
    last = attempt_of(talk, 1, 1)
    other = talk.job(2, one_stage(2))
    assert waiting(talk) == [(1, 0)]
    cancels = [e for e in talk.effects if isinstance(e, fx.CancelAttempts)]
    assert cancels == [fx.CancelAttempts(last.worker_id, (last.id,))]
    facts = [e.fact for e in talk.effects if isinstance(e, fx.AppendJournal)]
    assert [f.cause for f in facts if getattr(f, "attempt_id", "") == last.id] == [None, Cause.ROOM]
    view = talk.view(job)
    assert (view.failed_attempts, view.retries, view.stages[1].tasks_running) == (0, 0, 1)
    assert talk.view(other).tasks_running == 2
    end(talk, 0, 3)
    assert places(talk)[-1] != (1, 1)  # it still misses one


def test_a_map_that_must_run_again_never_waits_for_who_waits_for_it() -> None:
    talk, job = two_maps_run(slots=4)
    talk.tell(ev.ClockTicked(0.0))
    assert waiting(talk) == [(1, 0), (1, 1)]
    slow = attempt_of(talk, 0, 3)
    talk.tell(ev.AttemptFailed(slow.worker_id, slow.id, "error", "boom", 0.0))
    talk.job(2, one_stage(1))  # takes the slot that is free now
    talk.let_pass(RETRY_DELAY_S_MAX)
    assert (0, 3) in places(talk)
    assert waiting(talk) == [(1, 0)]
    for task in ((0, 3), (0, 4), (1, 0)):
        end(talk, *task)
    end(talk, 1, 1)
    assert talk.view(job).state is JobState.SUCCEEDED


def test_a_map_that_avoids_the_free_worker_takes_the_slot_of_who_waits_for_it() -> None:
    talk = Dialogue(heartbeat_timeout_s=1000.0)  # queues have room, and nobody is queued there
    talk.worker(0, slots=1)
    talk.worker(1, slots=3)
    talk.job(1, map_reduce(4, 4))
    slow = next(a for a in talk.core.state.pool.live.values() if a.worker_id == name_of(0))
    for partition in range(4):
        if partition != slow.task.partition:
            end(talk, 0, partition)
    talk.tell(ev.ClockTicked(0.0))
    assert len(waiting(talk)) == 3
    talk.tell(ev.AttemptFailed(slow.worker_id, slow.id, "error", "boom", 0.0))
    talk.let_pass(RETRY_DELAY_S_MIN)
    again = attempt_of(talk, 0, slow.task.partition)
    assert again.worker_id == name_of(1)
    assert len(talk.core.state.pool.workers[name_of(1)].attempts) == 3


def test_a_task_whose_records_are_cached_is_not_queued_behind_who_waits() -> None:
    talk = Dialogue(max_load_diff=9)
    home = talk.worker(0, slots=3)
    talk.job(1, cached_stage(1, "lineage"))
    end(talk, 0, 0)
    talk.job(2, map_reduce(2, 2))
    end(talk, 0, 0)
    talk.tell(ev.ClockTicked(0.0))
    assert waiting(talk) == [(1, 0), (1, 1)]
    talk.worker(1, slots=1)
    talk.job(3, cached_stage(1, "lineage"))
    assert len(talk.core.state.pool.workers[home].attempts) == 3
    assert len(talk.core.state.pool.workers[name_of(1)].attempts) == 1


def test_a_task_begins_early_only_so_often() -> None:
    talk, _ = two_maps_run(map_reduce(5, 1), slots=3)
    for number in range(EARLY_STARTS_MAX):
        talk.tell(ev.ClockTicked(0.0))
        assert waiting(talk) == [(1, 0)]
        short = talk.job(2 + number, one_stage(1))
        assert waiting(talk) == []
        talk.tell(ev.JobCancelRequested(short, "test", 0.0))
    talk.tell(ev.ClockTicked(0.0))
    assert waiting(talk) == []


def test_f19_a_copy_of_a_slow_map_takes_the_slot_of_who_waits_for_it() -> None:
    talk = Dialogue(prefetch=0, heartbeat_timeout_s=1000.0, max_load_diff=9)
    big, other = talk.worker(0, slots=4), talk.worker(1, slots=2)
    talk.job(1, map_reduce(4, 5))
    for attempt in list(talk.core.state.pool.live.values()):
        talk.tell(ev.AttemptStarted(attempt.worker_id, attempt.id, 0.0))
    talk.now += 1.0
    slow = next(a for a in talk.core.state.pool.live.values() if a.worker_id == big)
    for partition in range(4):
        if partition != slow.task.partition:
            end(talk, 0, partition)
    talk.tell(ev.ClockTicked(0.0))
    # the last one that began is beside the slow one, where no copy goes
    assert [a.worker_id for a in talk.core.state.pool.waiting.values()][-1] == big
    talk.let_pass(4.0)
    copy = slow.task.backup
    assert copy is not None and copy.worker_id == other
    assert len(waiting(talk)) == 4
    facts = [e.fact for e in talk.effects if isinstance(e, fx.AppendJournal)]
    assert [getattr(fact, "cause", None) for fact in facts].count(Cause.ROOM) == 1


def test_f19_who_waits_is_no_straggler_and_its_clock_begins_when_it_has_all() -> None:
    talk, _ = two_maps_run(map_reduce(5, 4), slots=6)
    talk.worker(1, slots=6)
    talk.tell(ev.ClockTicked(0.0))
    assert len(waiting(talk)) == 4
    for attempt in list(talk.core.state.pool.waiting.values()):
        talk.tell(ev.AttemptStarted(attempt.worker_id, attempt.id, 0.0))
    talk.let_pass(60.0)
    assert len(waiting(talk)) == 4
    for task in ((0, 3), (0, 4)):
        end(talk, *task)
    talk.now += 0.1
    for partition in range(3):
        end(talk, 1, partition)
    talk.let_pass(0.5)
    assert places(talk) == [(1, 3)]
    talk.let_pass(2.0)
    assert places(talk) == [(1, 3), (1, 3)]


# --- losses --------------------------------------------------------------------------------------


def test_what_was_lost_meanwhile_is_made_again_and_its_reader_tries_again() -> None:
    talk, job = two_maps_run()
    talk.tell(ev.ClockTicked(0.0))
    reader = attempt_of(talk, 1, 0)
    lost = talk.core.state.jobs[job].stages[0].tasks[1].accepted.id
    talk.tell(ev.OutputsUnreadable(reader.worker_id, reader.id, (lost,), "gone", 0.0))
    assert (0, 1) in places(talk)
    assert waiting(talk) == [(1, 1)]
    for task in ((0, 3), (0, 4), (0, 1), (1, 1), (1, 0)):
        end(talk, *task)
    assert talk.view(job).state is JobState.SUCCEEDED


def test_f17_when_the_worker_of_the_slow_map_dies_who_waits_goes_on() -> None:
    talk = Dialogue(prefetch=0, heartbeat_timeout_s=1000.0)
    dead = talk.worker(0, slots=1)
    talk.worker(1, slots=3)
    job = talk.job(1, map_reduce(4, 1))
    slow = next(a for a in talk.core.state.pool.live.values() if a.worker_id == dead)
    partition = slow.task.partition
    for other in range(4):
        if other != partition:
            end(talk, 0, other)
    talk.tell(ev.ClockTicked(0.0))
    assert waiting(talk) == [(1, 0)]
    talk.tell(ev.WorkerDisconnected(dead, 0, 0.0))
    assert sorted(places(talk)) == [(0, partition), (1, 0)]
    assert len(told(end(talk, 0, partition))) == 1
    end(talk, 1, 0)
    assert talk.view(job).state is JobState.SUCCEEDED


def test_a_worker_that_drains_keeps_nobody_who_only_waits() -> None:
    talk, job = two_maps_run()
    talk.tell(ev.ClockTicked(0.0))
    for attempt in list(talk.core.state.pool.live.values()):
        talk.tell(ev.AttemptStarted(attempt.worker_id, attempt.id, 0.0))
    talk.tell(ev.WorkerDraining(name_of(0), 0.0))
    assert places(talk) == [(0, 3), (0, 4)]
    assert (talk.view(job).failed_attempts, talk.view(job).retries) == (0, 0)


def test_a_cancelled_job_stops_who_waits() -> None:
    talk, job = two_maps_run()
    talk.tell(ev.ClockTicked(0.0))
    ids = set(talk.core.state.pool.live)
    effects = talk.tell(ev.JobCancelRequested(job, "test", 0.0))
    (cancel,) = (e for e in effects if isinstance(e, fx.CancelAttempts))
    assert set(cancel.attempt_ids) == ids
    assert waiting(talk) == []


# --- another session, another master -----------------------------------------------------------


def registered(talk: Dialogue, worker: str, session: int, waiting_ids: tuple[str, ...]):  # type: ignore[no-untyped-def]
    identity = talk.core.state.pool.workers[worker].identity
    running = tuple(talk.core.state.pool.workers[worker].attempts)
    return talk.tell(ev.WorkerRegistered(identity, session, running, 0.0, waiting_ids))


def test_who_waits_begins_again_when_its_worker_begins_another_session() -> None:
    talk, job = two_maps_run()
    talk.tell(ev.ClockTicked(0.0))
    ids = tuple(talk.core.state.pool.waiting)
    end(talk, 0, 4)
    end(talk, 0, 3)  # told, and the message is lost with the session
    effects = registered(talk, name_of(0), 1, ids)
    accept = next(e for e in effects if isinstance(e, fx.AcceptWorker))
    assert accept.forget == ids
    assert sorted(places(talk)) == [(1, 0), (1, 1)]
    assert not set(ids) & set(talk.core.state.pool.live)
    assert (talk.view(job).failed_attempts, talk.view(job).retries) == (0, 0)


def test_f30_who_waited_for_an_earlier_master_begins_again() -> None:
    plan = map_reduce(5, 2)
    talk, job = two_maps_run(plan)
    talk.tell(ev.ClockTicked(0.0))
    ids = tuple(talk.core.state.pool.waiting)
    after = restarted(talk, job, plan)
    assert waiting(after) == []
    registered(after, name_of(0), 1, ids)
    assert not set(ids) & set(after.core.state.pool.live)
    after.tell(ev.ClockTicked(0.0))
    assert sorted(waiting(after)) == [(1, 0), (1, 1)]
    for task in ((0, 3), (0, 4), (1, 0), (1, 1)):
        end(after, *task)
    assert after.view(job).state is JobState.SUCCEEDED
    assert after.view(job).failed_attempts == 0


def test_an_output_without_its_name_is_not_there_yet() -> None:
    """Of the naive plan: who reads it is told once its files are committed."""
    talk = Dialogue(prefetch=0)
    worker = talk.worker(0, slots=1)
    talk.job(1, naive_word_count(2))
    for task in ((0, 0), (0, 1), (1, 0)):
        end(talk, *task)
    last = attempt_of(talk, 1, 1)
    talk.tell(ev.AttemptSucceeded(worker, last.id, COMMITTED, 0.0))
    (launch,) = launched(talk.tell(ev.ClockTicked(0.0)))
    assert launch.orders[0].awaited == ((1, 1),)
    assert [[p.partition for p in table] for table in launch.tables.values()] == [[0]]
    assert len(told(talk.tell(ev.OutputCommitted(worker, last.id, 0.0)))) == 1
    # who begins after that finds both
    (launch,) = launched(end(talk, 2, 0))
    assert [[p.partition for p in table] for table in launch.tables.values()] == [[0, 1]]
