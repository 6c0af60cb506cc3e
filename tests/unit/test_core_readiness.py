"""The core as a dialogue about tasks that wait for what they read, and for nothing else."""

from __future__ import annotations

from minispark.model import effects as fx
from minispark.model import events as ev
from minispark.model.job import PlanKind
from minispark.model.plan import (
    FetchShuffle,
    Join,
    PartitionFile,
    PhysicalPlan,
    Ranges,
    ReadPartitions,
    ShuffleBlocks,
)
from minispark.model.states import JobState
from minispark.scheduling.limits import RETRY_DELAY_S_MAX, RETRY_DELAY_S_MIN
from minispark.scheduling.reads import Reads, reads_of
from tests.simulation.plans import READ, naive_chain, stage, union, union_of_three
from tests.unit.test_core import COMMITTED, DONE, Dialogue, name_of, restarted


def places(talk: Dialogue) -> list[tuple[int, int]]:
    """(stage, partition) of all that runs or is queued, as it was launched."""
    live = talk.core.state.pool.live
    return [(a.stage.stage.index, a.task.partition) for a in live.values()]


def end(talk: Dialogue, stage_index: int, partition: int) -> list[fx.Effect]:
    """That task succeeds."""
    pool = talk.core.state.pool
    attempt = next(
        a
        for a in pool.live.values()
        if (a.stage.stage.index, a.task.partition) == (stage_index, partition)
    )
    outcome = COMMITTED if attempt.stage.is_kept else DONE
    effects = talk.tell(ev.AttemptSucceeded(attempt.worker_id, attempt.id, outcome, 0.0))
    if outcome.files:
        effects += talk.tell(ev.OutputCommitted(attempt.worker_id, attempt.id, 0.0))
    return effects


def output(talk: Dialogue, job: str, stage_index: int, partition: int) -> str:
    accepted = talk.core.state.jobs[job].stages[stage_index].tasks[partition].accepted
    assert accepted is not None
    return accepted.id


def cannot_read(talk: Dialogue, reader: tuple[int, int], lost: str) -> None:
    attempt = next(
        a
        for a in talk.core.state.pool.live.values()
        if (a.stage.stage.index, a.task.partition) == reader
    )
    talk.tell(ev.OutputsUnreadable(attempt.worker_id, attempt.id, (lost,), "gone", 0.0))


def sent_with(effects: list[fx.Effect]) -> dict[tuple[int, int], list[tuple[int, int]]]:
    """(stage, partition) of the outputs that each launched task is sent to; all of a session's
    tables must come within these effects.
    """
    sent: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for launch in (e for e in effects if isinstance(e, fx.LaunchAttempts)):
        known = {**launch.tables, **launch.outputs}
        for order in launch.orders:
            found = known[order.outputs_id] if order.outputs_id is not None else ()
            sent[order.stage_index, order.partition] = [(p.stage_index, p.partition) for p in found]
    return sent


# --- what tasks read -----------------------------------------------------------------------------


def test_the_branches_of_a_union_read_what_is_theirs() -> None:
    assert reads_of(union_of_three(reads=3, maps=4).stages[2]) == (
        Reads(0, 3, ()),
        Reads(3, 2, ((0, True),)),
        Reads(5, 4, ((1, False),)),
    )


def test_who_reads_a_whole_stage_reads_its_own_partition_with_it() -> None:
    both = Join("j", ReadPartitions("a", 0), ReadPartitions("a", 0, every=True))
    assert reads_of(stage(1, 2, both, PartitionFile("j"), (0,))) == (Reads(0, 2, ((0, True),)),)


def test_every_branch_before_a_sort_reads_the_samples() -> None:
    sink = ShuffleBlocks("n", 2, None, Ranges(FetchShuffle(1, broadcast=True), False))
    source = union((READ, 1), (ReadPartitions("a", 0), 2))
    assert reads_of(stage(2, 3, source, sink, (0, 1))) == (
        Reads(0, 1, ((1, True),)),
        Reads(1, 2, ((0, False), (1, True))),
    )


# --- who becomes ready when -------------------------------------------------------------------


def test_a_narrow_task_starts_when_the_one_output_that_it_reads_is_complete() -> None:
    talk = Dialogue()
    talk.worker(0, slots=8)
    job = talk.job(1, naive_chain(3, 2))
    assert places(talk) == [(0, 0), (0, 1), (0, 2)]
    effects = end(talk, 0, 1)
    assert places(talk) == [(0, 0), (0, 2), (1, 1)]
    assert sent_with(effects) == {(1, 1): [(0, 1)]}
    end(talk, 1, 1)
    assert talk.view(job).stages[1].tasks_completed == 1
    for task in ((0, 0), (0, 2), (1, 0), (1, 2)):
        end(talk, *task)
    assert talk.view(job).state is JobState.SUCCEEDED


def test_each_branch_of_a_union_waits_for_its_own_stages_and_is_sent_no_others() -> None:
    talk = Dialogue(prefetch=0)
    talk.worker(0, slots=16)
    talk.job(1, union_of_three(reads=1, maps=2))
    # the branch that reads a file needs nothing
    assert places(talk) == [(0, 0), (0, 1), (1, 0), (1, 1), (2, 0)]
    assert sent_with(end(talk, 1, 1)) == {(2, 4): [(1, 1)]}
    assert sent_with(end(talk, 0, 1)) == {}
    whole = [(0, 0), (0, 1)]
    assert sent_with(end(talk, 0, 0)) == {(2, 1): whole, (2, 2): whole}
    assert sent_with(end(talk, 1, 0)) == {(2, 3): [(1, 0)]}


def test_a_lost_output_takes_back_only_those_who_read_it() -> None:
    talk = Dialogue(prefetch=0)
    talk.worker(0, slots=8)
    job = talk.job(1, naive_chain(4, 2))
    end(talk, 0, 0)
    # it takes nothing new: 1, 2 and 3 of the second stage wait
    talk.core.state.pool.drain(talk.core.state.pool.workers[name_of(0)])
    for partition in (1, 2, 3):
        end(talk, 0, partition)
    run = talk.core.state.jobs[job]
    assert list(run.stages[1].groups[0].ready) == [1, 2, 3]
    lost = output(talk, job, 0, 2)
    cannot_read(talk, (1, 0), lost)
    assert list(run.stages[1].groups[0].ready) == [0, 1, 3]
    assert list(run.stages[0].groups[0].ready) == [2]
    assert run.ready_count == 4


def test_a_retried_task_waits_for_its_input_if_that_was_lost_meanwhile() -> None:
    talk = Dialogue(prefetch=0)
    talk.worker(0, slots=4)
    job = talk.job(1, naive_chain(2, 3))
    end(talk, 0, 0)
    end(talk, 1, 0)
    made = output(talk, job, 1, 0)
    attempt = next(a for a in talk.core.state.pool.live.values() if a.stage.stage.index == 2)
    talk.tell(ev.AttemptFailed(attempt.worker_id, attempt.id, "error", "boom", 0.0))
    talk.core.state.jobs[job].forget_output(talk.core.state.jobs[job].accepted[made], "a test")
    talk.core.state.touch(talk.core.state.jobs[job])
    talk.let_pass(RETRY_DELAY_S_MAX)
    assert places(talk) == [(0, 1), (1, 0)]
    end(talk, 1, 0)
    assert places(talk) == [(0, 1), (2, 0)]


def test_a_lost_output_of_a_whole_stage_holds_back_its_branch_only() -> None:
    talk = Dialogue(prefetch=0)
    talk.worker(0, slots=4)
    job = talk.job(1, union_of_three(reads=3, maps=2))
    for task in ((0, 0), (0, 1), (1, 0)):
        end(talk, *task)
    assert places(talk) == [(1, 1), (2, 0), (2, 1), (2, 2)]
    end(talk, 2, 0)
    assert places(talk)[-1] == (2, 3)
    cannot_read(talk, (2, 3), output(talk, job, 0, 1))
    assert places(talk)[-1] == (0, 1)
    groups = talk.core.state.jobs[job].stages[2].groups
    assert [group.missing for group in groups] == [0, 1, 0]
    end(talk, 2, 1)
    assert places(talk)[-1] == (2, 5)
    end(talk, 0, 1)
    end(talk, 2, 2)
    assert places(talk)[-2:] == [(2, 3), (2, 4)]


def test_a_group_whose_only_task_avoids_the_free_worker_keeps_no_other_one_waiting() -> None:
    talk = Dialogue(prefetch=0)
    talk.worker(0, slots=1)
    talk.worker(1, slots=1)
    source = union((READ, 1), (READ, 3))
    two = stage(0, 4, source, PartitionFile("n"), is_final=True)
    talk.job(1, PhysicalPlan(PlanKind.FUSED, (two,)))
    assert places(talk) == [(0, 0), (0, 1)]
    avoided, attempt = talk.launched[0]
    talk.tell(ev.AttemptFailed(avoided, attempt, "error", "boom", 0.0))
    talk.let_pass(RETRY_DELAY_S_MIN)
    assert places(talk) == [(0, 1), (0, 2)]
    end(talk, 0, 2)
    assert places(talk) == [(0, 1), (0, 3)]
    end(talk, 0, 1)
    assert places(talk) == [(0, 3), (0, 0)]


# --- copies, and another master ---------------------------------------------------------------


def slow_in_a_union() -> tuple[Dialogue, str]:
    """Of the tasks that read single outputs all but one took 1 s; stage 0 is not complete."""
    talk = Dialogue(prefetch=0, heartbeat_timeout_s=1000.0)
    talk.worker(0, slots=12)
    talk.worker(1, slots=12)
    job = talk.job(1, union_of_three(reads=1, maps=8))
    for partition in range(8):
        end(talk, 1, partition)
    for attempt in list(talk.core.state.pool.live.values()):
        if attempt.stage.stage.index == 2:
            talk.tell(ev.AttemptStarted(attempt.worker_id, attempt.id, 0.0))
    talk.now += 1.0
    for partition in (0, 3, 4, 5, 6, 7, 8, 9):
        end(talk, 2, partition)
    return talk, job


def test_f19_a_straggler_is_copied_although_another_branch_still_waits() -> None:
    talk, _ = slow_in_a_union()
    talk.let_pass(4.0)
    assert places(talk).count((2, 10)) == 2


def test_f19_a_task_whose_own_input_is_made_again_is_not_copied() -> None:
    talk, job = slow_in_a_union()
    run = talk.core.state.jobs[job]
    run.forget_output(run.accepted[output(talk, job, 1, 7)], "a test")
    talk.core.state.touch(run)
    talk.let_pass(4.0)
    assert places(talk).count((2, 10)) == 1


def test_f30_a_new_master_knows_who_is_ready() -> None:
    talk = Dialogue(prefetch=0)
    worker = talk.worker(0, slots=4)
    plan = naive_chain(4, 2)
    job = talk.job(1, plan)
    end(talk, 0, 2)
    end(talk, 0, 0)
    end(talk, 1, 0)
    assert sorted(places(talk)) == [(0, 1), (0, 3), (1, 2)]
    running = tuple(talk.core.state.pool.live)
    after = restarted(talk, job, plan)
    identity = talk.core.state.pool.workers[worker].identity
    after.tell(ev.WorkerRegistered(identity, 1, running, 0.0))
    assert sorted(places(after)) == [(0, 1), (0, 3), (1, 2)]
    end(after, 0, 3)
    assert sorted(places(after)) == [(0, 1), (1, 2), (1, 3)]
    for task in ((0, 1), (1, 1), (1, 2), (1, 3)):
        end(after, *task)
    assert after.view(job).state is JobState.SUCCEEDED
