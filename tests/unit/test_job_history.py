"""Questions to the job store: which attempts, in which order, and what asking leaves behind."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from minispark.master.job_codec import dump_plan, dump_plans, dump_request
from minispark.model import effects as fx
from minispark.model.ids import attempt_id
from minispark.model.states import AttemptState, Cause, JobState
from minispark.plan.parsing import parse_request
from minispark.storage.job_history import JobHistory
from minispark.storage.job_store import JobStore
from tests import jobs
from tests.simulation.plans import map_reduce

JOB = "00000000-0000-0000-0000-00000000000a"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[JobStore]:
    folder = tmp_path / "store"
    folder.mkdir()
    with closing(JobStore(folder / "db", dump_request, dump_plan, dump_plans)) as store:
        facts: list[fx.Fact | fx.ForgetJob] = [
            fx.JobAccepted(JOB, parse_request(jobs.word_count("/data/text", 3)), 1.0),
            fx.PlanChosen(JOB, map_reduce(3, 2)),
            fx.JobMoved(JOB, JobState.RUNNING, None, 2.0),
            moved(0, 0, 0, AttemptState.SUCCEEDED, 5.0),
            moved(0, 1, 0, AttemptState.FAILED, 7.0),
            moved(0, 1, 1, AttemptState.SUCCEEDED, 8.0),
            moved(0, 2, 0, AttemptState.FAILED, 6.0),
            moved(1, 1, 0, AttemptState.FAILED, 9.0),
        ]
        for fact in facts:  # an attempt is assigned before it ends
            if isinstance(fact, fx.AttemptMoved):
                begun = moved(fact.stage_index, fact.partition, fact.attempt, AttemptState.ASSIGNED)
                store.write([begun])
            store.write([fact])
        yield store


def moved(
    stage: int, partition: int, attempt: int, state: AttemptState, at: float = 3.0
) -> fx.AttemptMoved:
    name = attempt_id(JOB, f"s{stage}", partition, attempt)
    cause = Cause.TASK if state is AttemptState.FAILED else None
    return fx.AttemptMoved(name, JOB, stage, partition, attempt, "w", state, at, cause=cause)


def places(history: JobHistory, **asked: object) -> list[tuple[str, int, int]]:
    rows, total = history.attempts(JOB, limit=100, offset=0, **{"state": None, **asked})  # type: ignore[arg-type]
    assert total == len(rows)
    return [(row.stage_id, row.partition, row.attempt) for row in rows]


def test_attempts_are_of_a_job_a_stage_a_task_or_in_a_state(store: JobStore) -> None:
    history = JobHistory(store.path)
    assert len(places(history)) == 5
    assert places(history, stage_id="s1") == [("s1", 1, 0)]
    assert places(history, stage_id="s0", partition=1) == [("s0", 1, 0), ("s0", 1, 1)]
    assert places(history, stage_id="s0", partition=1, state="FAILED") == [("s0", 1, 0)]
    assert places(history, stage_id="nobody") == []


def test_attempts_that_ended_last_come_first_when_asked_so(store: JobStore) -> None:
    history = JobHistory(store.path)
    newest = places(history, state="FAILED", is_newest_first=True)
    assert newest == [("s1", 1, 0), ("s0", 1, 0), ("s0", 2, 0)]
    rows, total = history.attempts(JOB, "FAILED", 1, 0, is_newest_first=True)
    assert (len(rows), total) == (1, 3)


def test_one_job_and_the_names_of_all(store: JobStore) -> None:
    history = JobHistory(store.path)
    found = history.job(JOB)
    assert found is not None and found.plan is not None and found.name == "wordcount"
    assert history.job(JOB.replace("a", "b")) is None
    assert history.job_names() == [(JOB, "wordcount")]


@pytest.mark.parametrize("is_closed", [True, False])
def test_who_only_reads_changes_no_file(store: JobStore, tmp_path: Path, is_closed: bool) -> None:
    """Of a master that was closed in order, or of one that was killed: its log is left."""
    if is_closed:
        store.close()
    left = tmp_path / "left"
    shutil.copytree(store.path.parent, left)
    assert len(list(left.iterdir())) == (1 if is_closed else 3)
    before = _hashes(left)
    history = JobHistory(left / "db", connections_kept=1, is_read_only=True)
    assert len(places(history)) == 5
    history.close()
    assert _hashes(left) == before
    assert JobHistory(store.path, is_read_only=True).job_names()  # also while it is written


def _hashes(folder: Path) -> dict[str, str]:
    """But for the memory that SQLite's processes share, in which readers say what they read."""
    return {
        path.name: ""
        if path.name.endswith("-shm")
        else hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.iterdir()
    }
