"""What the core keeps of a job that ended: a picture, and no task."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Iterator

import pytest

from minispark.model import events as ev
from minispark.model.states import JobState
from minispark.scheduling.job_run import JobRun
from minispark.scheduling.stage_run import StageRun
from tests.simulation.plans import map_reduce
from tests.unit.test_core import COMMITTED, Dialogue


@pytest.fixture(autouse=True)
def _no_collector() -> Iterator[None]:
    """What is freed is freed without it."""
    gc.disable()
    yield
    gc.enable()


def succeed(talk: Dialogue, job_id: str) -> None:
    talk.succeed(3)
    while talk.launched:
        talk.succeed(outcome=COMMITTED)


def cancel_while_tasks_run(talk: Dialogue, job_id: str) -> None:
    talk.succeed(2)
    talk.tell(ev.JobCancelRequested(job_id, "no more", 0.0))


def cancel_while_a_retry_waits(talk: Dialogue, job_id: str) -> None:
    talk.fail()
    talk.tell(ev.JobCancelRequested(job_id, "no more", 0.0))
    talk.let_pass(10.0)


@pytest.mark.parametrize(
    ("end", "state"),
    [
        (succeed, JobState.SUCCEEDED),
        (cancel_while_tasks_run, JobState.CANCELLED),
        (cancel_while_a_retry_waits, JobState.CANCELLED),
    ],
)
def test_an_ended_job_is_freed_at_once_but_for_its_picture(
    end: Callable[[Dialogue, str], None], state: JobState
) -> None:
    talk = Dialogue()
    talk.worker(1)
    job_id = talk.job(1, map_reduce(3, 2))
    held: list[weakref.ref[JobRun] | weakref.ref[StageRun]] = []
    held.append(weakref.ref(talk.core.state.jobs[job_id]))
    held += [weakref.ref(stage) for stage in talk.core.state.jobs[job_id].stages]
    end(talk, job_id)
    assert talk.view(job_id).state is state
    assert [ref() for ref in held] == [None, None, None]
