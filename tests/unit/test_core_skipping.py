"""The core as a dialogue about stages that need not run, as their readers' records are cached."""

from __future__ import annotations

from dataclasses import replace

from minispark.model import effects as fx
from minispark.model import events as ev
from minispark.model.job import PlanKind
from minispark.model.plan import (
    FetchShuffle,
    Join,
    PartitionFile,
    PhysicalPlan,
    Ranges,
    ShuffleBlocks,
    Sink,
    Source,
    Stage,
    TaskOrder,
)
from minispark.model.states import AttemptState, Cause, JobState
from minispark.model.steps import Cache
from minispark.scheduling.limits import RETRY_DELAY_S_MAX
from tests.simulation.plans import READ, one_stage, stage, union
from tests.unit.test_core import Dialogue, name_of, restarted
from tests.unit.test_core_early import attempt_of
from tests.unit.test_core_readiness import end, places

BLOCKS = ShuffleBlocks("n", 2, None)
RESULT = PartitionFile("n")


def cached(one: Stage, *lineages: str) -> Stage:
    steps = tuple(Cache("c", lineage) for lineage in lineages)
    return replace(one, program=replace(one.program, steps=steps))


def plan(*stages: Stage) -> PhysicalPlan:
    return PhysicalPlan(PlanKind.FUSED, stages)


def final(index: int, tasks: int, source: Source, *parents: int) -> Stage:
    return stage(index, tasks, source, RESULT, parents, is_final=True)


def maps(
    index: int, tasks: int, source: Source = READ, *parents: int, sink: Sink = BLOCKS
) -> Stage:
    return stage(index, tasks, source, sink, parents)


def cached_reduce(reduces: int = 2, lineage: str = "lineage") -> PhysicalPlan:
    return plan(maps(0, 3), cached(final(1, reduces, FetchShuffle(0), 0), lineage))


def run_all(talk: Dialogue) -> None:
    """Whatever runs succeeds, until nothing runs."""
    while live := places(talk):
        end(talk, *live[0])
    talk.launched.clear()


def after_one(slots: int = 2, **limits: object) -> Dialogue:
    """Two workers, and one job that left its reduces in their caches."""
    talk = Dialogue(heartbeat_timeout_s=1000.0, **limits)
    talk.worker(0, slots=slots)
    talk.worker(1, slots=slots)
    talk.job(1, cached_reduce())
    run_all(talk)
    return talk


def orders(effects: list[fx.Effect]) -> dict[tuple[int, int], TaskOrder]:
    launches = [e for e in effects if isinstance(e, fx.LaunchAttempts)]
    return {(o.stage_index, o.partition): o for launch in launches for o in launch.orders}


def skipped(talk: Dialogue, job: str) -> list[int]:
    return [s.index for s in talk.view(job).stages if s.tasks_skipped]


def miss(talk: Dialogue, stage_index: int, partition: int) -> list[fx.Effect]:
    attempt = attempt_of(talk, stage_index, partition)
    return talk.tell(ev.CacheMissed(attempt.worker_id, attempt.id, 0.0))


# --- skipping ----------------------------------------------------------------------------------


def test_maps_whose_reduces_are_all_cached_do_not_run() -> None:
    talk = after_one()
    before = len(talk.effects)
    job = talk.job(2, cached_reduce())
    assert places(talk) == [(1, 0), (1, 1)]
    assert [o.unmade for o in orders(talk.effects[before:]).values()] == [(0,), (0,)]
    view = talk.view(job)
    assert (view.tasks_total, view.tasks_pending, view.progress) == (2, 0, 0.0)
    assert (view.stages[0].tasks_total, view.stages[0].tasks_skipped) == (0, 3)
    end(talk, 1, 0)
    assert talk.view(job).progress == 50.0
    end(talk, 1, 1)
    view = talk.view(job)
    assert (view.state, view.progress) == (JobState.SUCCEEDED, 100.0)
    assert (view.tasks_total, view.tasks_completed, view.tasks_pending) == (2, 2, 0)
    assert all(s.is_complete for s in view.stages)
    assert skipped(talk, job) == [0]


def test_each_task_goes_where_its_records_are() -> None:
    talk = after_one(slots=1)
    homes: list[dict[int, str]] = []
    for number in (2, 4):
        talk.job(number, one_stage(1))  # the turn is the other one's now
        talk.job(number + 1, cached_reduce())
        live = [a for a in talk.core.state.pool.live.values() if a.stage.stage.index == 1]
        homes.append({a.task.partition: a.worker_id for a in live})
        run_all(talk)
    assert homes[0] == homes[1]
    assert len(set(homes[0].values())) == 2


def test_nothing_is_skipped_unless_every_partition_is_known() -> None:
    talk = after_one()
    job = talk.job(2, cached_reduce(reduces=3))
    assert skipped(talk, job) == []
    run_all(talk)
    assert skipped(talk, talk.job(3, cached_reduce(reduces=3))) == [0]
    assert skipped(talk, talk.job(4, cached_reduce(lineage="of a changed file"))) == []


def test_a_stage_that_others_read_runs_as_always() -> None:
    talk = after_one()
    reduce, other = (
        cached(final(1, 2, FetchShuffle(0), 0), "lineage"),
        final(2, 1, FetchShuffle(0), 0),
    )
    job = talk.job(2, plan(maps(0, 3), reduce, other))
    assert skipped(talk, job) == []
    assert places(talk) == [(0, 0), (0, 1), (0, 2)]


def test_all_that_only_leads_to_cached_records_is_skipped() -> None:
    talk = after_one()
    middle = maps(1, 2, FetchShuffle(0), 0)
    job = talk.job(2, plan(maps(0, 3), middle, cached(final(2, 2, FetchShuffle(1), 1), "lineage")))
    assert skipped(talk, job) == [0, 1]
    assert places(talk) == [(2, 0), (2, 1)]
    miss(talk, 2, 0)
    assert skipped(talk, job) == []
    run_all(talk)
    assert talk.view(job).state is JobState.SUCCEEDED


def test_what_a_reopened_stage_has_cached_is_not_made_again() -> None:
    talk = after_one()
    middle = cached(maps(1, 2, FetchShuffle(0), 0), "lineage")
    whole = plan(maps(0, 3), middle, cached(final(2, 2, FetchShuffle(1), 1), "last"))
    job = talk.job(2, whole)
    assert skipped(talk, job) == [0]
    run_all(talk)
    job = talk.job(3, whole)
    assert skipped(talk, job) == [0, 1]
    miss(talk, 2, 1)
    assert skipped(talk, job) == [0]
    assert places(talk) == [(2, 0), (1, 0), (1, 1)]
    run_all(talk)
    assert (talk.view(job).state, skipped(talk, job)) == (JobState.SUCCEEDED, [0])


def test_the_ranges_of_a_sort_are_looked_up_though_its_records_are_cached() -> None:
    talk = after_one()
    ranged = replace(BLOCKS, ranges=Ranges(FetchShuffle(1, broadcast=True), False))
    job = talk.job(
        2,
        plan(
            maps(0, 3),
            cached(maps(1, 2, FetchShuffle(0), 0), "lineage"),
            cached(maps(2, 2, FetchShuffle(0), 0, 1, sink=ranged), "lineage"),
            final(3, 2, FetchShuffle(2), 2),
        ),
    )
    assert skipped(talk, job) == [0]
    assert places(talk) == [(1, 0), (1, 1)]
    end(talk, 1, 0)
    before = len(talk.effects)
    end(talk, 1, 1)
    found = orders(talk.effects[before:])
    assert {place: order.unmade for place, order in found.items()} == {(2, 0): (0,), (2, 1): (0,)}
    run_all(talk)
    assert talk.view(job).state is JobState.SUCCEEDED


def test_a_cached_left_side_saves_only_that_side() -> None:
    talk = after_one()
    left, right = FetchShuffle(0), FetchShuffle(1, broadcast=True)
    joined = Join("j", left, right, left_steps=(Cache("c", "lineage"),))
    job = talk.job(2, plan(maps(0, 3), maps(1, 1), final(2, 2, joined, 0, 1)))
    assert skipped(talk, job) == [0]
    assert places(talk) == [(1, 0)]
    end(talk, 1, 0)
    assert places(talk) == [(2, 0), (2, 1)]
    miss(talk, 2, 0)
    assert skipped(talk, job) == []
    run_all(talk)
    assert talk.view(job).state is JobState.SUCCEEDED


def test_branches_of_a_union_are_looked_at_one_by_one() -> None:
    talk = after_one()
    both = union((FetchShuffle(0), 2), (FetchShuffle(1), 2))
    branches = (replace(both.branches[0], steps=(Cache("c", "lineage"),)), both.branches[1])
    source = replace(both, branches=branches)
    job = talk.job(2, plan(maps(0, 3), maps(1, 1), final(2, 4, source, 0, 1)))
    assert skipped(talk, job) == [0]
    assert places(talk) == [(1, 0), (2, 0), (2, 1)]
    run_all(talk)
    assert talk.view(job).state is JobState.SUCCEEDED


# --- what is gone after all --------------------------------------------------------------------


def test_a_miss_has_the_maps_run_and_is_held_against_nobody() -> None:
    talk = after_one(prefetch=0)
    job = talk.job(2, cached_reduce())
    lost = attempt_of(talk, 1, 1)
    effects = miss(talk, 1, 1)
    assert places(talk) == [(1, 0), (0, 0), (0, 1), (0, 2)]
    (fact,) = [
        e.fact
        for e in effects
        if isinstance(e, fx.AppendJournal)
        and isinstance(e.fact, fx.AttemptMoved)
        and e.fact.attempt_id == lost.id
    ]
    assert (fact.state, fact.cause, fact.error) == (AttemptState.CANCELLED, Cause.CACHE, None)
    view = talk.view(job)
    assert (view.tasks_total, view.tasks_running, skipped(talk, job)) == (5, 4, [])
    assert (view.failed_attempts, view.retries) == (0, 0)
    end(talk, 1, 0)
    end(talk, 0, 0)
    end(talk, 0, 1)
    effects = end(talk, 0, 2)
    order = orders(effects)[1, 1]
    assert order.unmade == ()
    assert order.outputs_id is not None
    tables = [e.tables for e in effects if isinstance(e, fx.LaunchAttempts)]
    assert [place.partition for table in tables for place in table[order.outputs_id]] == [0, 1, 2]
    run_all(talk)
    view = talk.view(job)
    assert (view.state, view.tasks_total, view.tasks_completed) == (JobState.SUCCEEDED, 5, 5)
    assert skipped(talk, talk.job(3, cached_reduce())) == [0]  # it is cached again


def test_what_was_missed_is_expected_no_more() -> None:
    talk = after_one()
    job = talk.job(2, cached_reduce())
    miss(talk, 1, 1)
    talk.tell(ev.JobCancelRequested(job, "enough", 0.0))
    assert skipped(talk, talk.job(3, cached_reduce())) == []


def test_two_that_miss_open_the_maps_once_and_a_late_miss_changes_nothing() -> None:
    talk = after_one()
    job = talk.job(2, cached_reduce())
    late = attempt_of(talk, 1, 0)
    miss(talk, 1, 0)
    miss(talk, 1, 1)
    talk.tell(ev.CacheMissed(late.worker_id, late.id, 0.0))
    assert talk.core.snapshot().late_results == 1
    assert places(talk) == [(0, 0), (0, 1), (0, 2)]
    run_all(talk)
    assert talk.view(job).state is JobState.SUCCEEDED
    launches = [o for e in talk.effects for o in orders([e])]
    assert launches.count((0, 0)) == 2  # once for each job


def test_nothing_is_expected_of_a_worker_that_is_down_or_drains() -> None:
    for leave in (ev.WorkerDisconnected(name_of(1), 1, 0.0), ev.WorkerDraining(name_of(1), 0.0)):
        talk = after_one()
        talk.tell(leave)
        assert skipped(talk, talk.job(2, cached_reduce())) == []


def test_when_the_worker_that_has_the_records_goes_the_maps_run() -> None:
    for leave in (ev.WorkerDisconnected(name_of(1), 1, 0.0), ev.WorkerDraining(name_of(1), 0.0)):
        talk = after_one(slots=1)
        talk.job(2, one_stage(2))
        job = talk.job(3, cached_reduce())  # its reduces wait in the queues
        assert skipped(talk, job) == [0]
        talk.tell(leave)
        assert skipped(talk, job) == []
        run_all(talk)
        if isinstance(leave, ev.WorkerDisconnected):
            talk.worker(1)
        run_all(talk)
        assert talk.view(job).state is JobState.SUCCEEDED


def test_a_task_waits_for_room_where_its_records_are() -> None:
    talk = Dialogue(prefetch=0, heartbeat_timeout_s=1000.0, max_load_diff=0)
    home = talk.worker(0, slots=2)
    talk.job(1, cached_reduce(4))
    run_all(talk)
    talk.worker(1, slots=2)
    job = talk.job(2, cached_reduce(4))
    assert [a.worker_id for a in talk.core.state.pool.live.values()] == [home, home]
    other = talk.job(3, one_stage(1))  # is not kept waiting
    assert len(places(talk)) == 3
    run_all(talk)
    assert talk.view(other).state is JobState.SUCCEEDED
    assert (talk.view(job).state, skipped(talk, job)) == (JobState.SUCCEEDED, [0])


def test_whose_worker_has_no_room_lets_those_behind_it_go_first() -> None:
    talk = after_one(slots=1, prefetch=0)
    talk.job(2, one_stage(1))
    taken = places(talk)
    assert taken == [(0, 0)]
    busy = attempt_of(talk, 0, 0).worker_id
    job = talk.job(3, cached_reduce())
    (reader,) = [a for a in talk.core.state.pool.live.values() if a.stage.job.id == job]
    assert reader.worker_id != busy
    run_all(talk)
    assert (talk.view(job).state, skipped(talk, job)) == (JobState.SUCCEEDED, [0])


def test_a_task_that_failed_where_its_records_are_can_run_elsewhere() -> None:
    talk = after_one(prefetch=0)
    job = talk.job(2, cached_reduce())
    bad = attempt_of(talk, 1, 0)
    talk.tell(ev.AttemptFailed(bad.worker_id, bad.id, "memory", "too much", 0.0))
    talk.let_pass(RETRY_DELAY_S_MAX)
    assert skipped(talk, job) == []
    for partition in range(3):
        end(talk, 0, partition)
    assert attempt_of(talk, 1, 0).worker_id != bad.worker_id


def test_no_copy_is_made_of_a_task_whose_input_is_skipped() -> None:
    talk = Dialogue(prefetch=0, heartbeat_timeout_s=1000.0)
    for number in range(3):
        talk.worker(number)
    talk.job(1, cached_reduce(4))
    run_all(talk)
    talk.job(2, cached_reduce(4))
    for attempt in list(talk.core.state.pool.live.values()):
        talk.tell(ev.AttemptStarted(attempt.worker_id, attempt.id, 0.0))
    talk.now += 1.0
    for partition in range(3):
        end(talk, 1, partition)
    talk.let_pass(30.0)
    assert places(talk) == [(1, 3)]


def test_nothing_of_a_skipped_stage_begins_early() -> None:
    talk = after_one(prefetch=0, slots=3)
    middle, reader = (
        maps(1, 2, FetchShuffle(0), 0),
        cached(final(2, 2, FetchShuffle(1), 1), "lineage"),
    )
    job = talk.job(2, plan(maps(0, 3), middle, reader, final(3, 1, FetchShuffle(0), 0)))
    assert skipped(talk, job) == [1]
    end(talk, 2, 0)
    end(talk, 2, 1)
    end(talk, 0, 0)
    talk.let_pass(1.0)
    assert places(talk) == [(0, 1), (0, 2), (3, 0)]


# --- ends and restarts -------------------------------------------------------------------------


def test_a_restarted_master_knows_of_no_cache_and_has_everything_made() -> None:
    talk = after_one()
    whole = cached_reduce()
    job = talk.job(2, whole)
    end(talk, 1, 0)
    running = attempt_of(talk, 1, 1)
    identity = talk.core.state.pool.workers[running.worker_id].identity
    after = restarted(talk, job, whole)
    assert skipped(after, job) == []
    assert after.view(job).tasks_total == 5
    after.tell(ev.WorkerRegistered(identity, 5, (running.id,), 0.0))
    assert (1, 1) in places(after)
    after.tell(ev.CacheMissed(running.worker_id, running.id, 0.0))
    assert (1, 1) not in places(after)
    run_all(after)
    view = after.view(job)
    assert (view.state, view.tasks_completed) == (JobState.SUCCEEDED, 5)
    assert view.failed_attempts == 0


def test_what_a_restarted_master_need_not_make_counts_as_skipped() -> None:
    talk = after_one()
    whole = cached_reduce()
    job = talk.job(2, whole)
    end(talk, 1, 0)
    running = attempt_of(talk, 1, 1)
    identity = talk.core.state.pool.workers[running.worker_id].identity
    after = restarted(talk, job, whole)
    after.tell(ev.WorkerRegistered(identity, 5, (running.id,), 0.0))
    end(after, 0, 0)
    end(after, 1, 1)  # it found its records
    view = after.view(job)
    assert (view.state, view.tasks_total, view.tasks_completed) == (JobState.SUCCEEDED, 3, 3)
    assert (view.stages[0].tasks_total, view.stages[0].tasks_skipped) == (1, 2)


def test_a_job_that_is_cancelled_does_not_say_what_it_would_have_skipped() -> None:
    talk = after_one()
    job = talk.job(2, cached_reduce())
    talk.tell(ev.JobCancelRequested(job, "enough", 0.0))
    assert (talk.view(job).tasks_total, skipped(talk, job)) == (5, [])
