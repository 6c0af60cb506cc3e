"""The core as a dialogue about jobs that write to directories of the user's."""

from __future__ import annotations

from dataclasses import replace

import pytest

from minispark.master.parts import unsaved
from minispark.model import effects as fx
from minispark.model import events as ev
from minispark.model.job import Dag, DagNode, PlanKind
from minispark.model.plan import PartitionFile, PhysicalPlan, SavedParts
from minispark.model.states import JobState
from tests.simulation.plans import READ, request, stage
from tests.unit.test_core import COMMITTED, Dialogue, name_of, restarted

JOB = name_of(1001)
PLAN = PhysicalPlan(
    PlanKind.FUSED,
    (stage(0, 2, READ, PartitionFile("s0", saved=SavedParts("/out", "csv", True)), is_final=True),),
)


def submitted(timeout_s: float | None = None) -> Dialogue:
    talk = Dialogue()
    talk.worker(0)
    wanted = replace(
        request("j", timeout_s), dag=Dag((DagNode("out", "write_csv", path="/out"),), ())
    )
    talk.tell(ev.JobSubmitted(JOB, wanted, (PLAN,), 0.0))
    return talk


def saving() -> Dialogue:
    talk = submitted(timeout_s=1.0)
    attempts = tuple(attempt for _, attempt in talk.launched)
    effects = talk.succeed(2, COMMITTED)
    folder = fx.PartFolder("/out", "csv", attempts)
    assert [e for e in effects if isinstance(e, fx.PublishParts)] == [
        fx.PublishParts(JOB, (folder,))
    ]
    return talk


def discarded(effects: list[fx.Effect]) -> bool:
    return fx.DiscardParts(JOB, ("/out",)) in effects


def test_a_job_succeeds_when_its_parts_are_published_and_not_before() -> None:
    talk = saving()
    assert talk.view(JOB).state is JobState.RUNNING
    effects = talk.tell(ev.PartsPublished(JOB, None, 0.0))
    assert talk.view(JOB).state is JobState.SUCCEEDED
    assert not discarded(effects)


def test_what_cannot_be_published_fails_the_job_and_goes() -> None:
    talk = saving()
    effects = talk.tell(ev.PartsPublished(JOB, "the disk is full", 0.0))
    assert talk.view(JOB).state is JobState.FAILED
    assert talk.view(JOB).message == "the disk is full"
    assert discarded(effects)


def test_nothing_else_ends_a_job_whose_parts_are_being_published() -> None:
    talk = saving()
    assert not discarded(talk.tell(ev.JobCancelRequested(JOB, "too late", 0.0)))
    assert not discarded(talk.let_pass(3.0))  # its timeout passes
    assert talk.view(JOB).state is JobState.RUNNING
    talk.tell(ev.PartsPublished(JOB, None, 0.0))
    assert talk.view(JOB).state is JobState.SUCCEEDED


@pytest.mark.parametrize("cause", ["cancel", "timeout"])
def test_what_a_job_wrote_that_ends_early_goes(cause: str) -> None:
    talk = submitted(timeout_s=1.0)
    if cause == "cancel":
        effects = talk.tell(ev.JobCancelRequested(JOB, "by request", 0.0))
    else:
        effects = talk.let_pass(2.0)
    assert discarded(effects)
    assert not any(isinstance(effect, fx.PublishParts) for effect in talk.effects)
    talk.tell(ev.PartsPublished(JOB, None, 0.0))  # of an ended job: nobody waits for it


def test_f30_a_master_that_died_before_it_heard_of_it_publishes_again() -> None:
    talk = saving()
    after = restarted(talk, JOB, PLAN)
    wanted = [e for e in talk.effects if isinstance(e, fx.PublishParts)]
    assert [e for e in after.effects if isinstance(e, fx.PublishParts)] == wanted
    after.tell(ev.PartsPublished(JOB, None, 0.0))
    assert after.view(JOB).state is JobState.SUCCEEDED


def test_parts_that_are_being_published_are_not_made_again() -> None:
    talk = saving()
    talk.worker(1, host="other")
    talk.tell(ev.WorkerDisconnected(name_of(0), 0, 0.0))
    talk.let_pass(talk.core.limits.heartbeat_timeout_s + 1)  # nobody has its disk any more
    assert talk.launched == []
    talk.tell(ev.PartsPublished(JOB, None, 0.0))
    assert talk.view(JOB).state is JobState.SUCCEEDED


def test_the_next_master_discards_what_jobs_left_that_did_not_succeed() -> None:
    kept, gone = saving(), submitted()
    kept.tell(ev.PartsPublished(JOB, None, 0.0))
    gone.tell(ev.JobCancelRequested(JOB, "by request", 0.0))
    assert unsaved([kept.view(JOB)]) == []
    assert unsaved([gone.view(JOB)]) == [fx.DiscardParts(JOB, ("/out",))]
