"""The event stream: what it holds, who follows it, and what a slow follower costs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from minispark.errors import ClusterError
from minispark.master import event_stream
from minispark.master.event_stream import EventStream
from minispark.master.job_codec import dump_plan, dump_plans, dump_request
from minispark.model import effects as fx
from minispark.model.events import WorkerIdentity
from minispark.model.figures import Span
from minispark.model.ids import attempt_id
from minispark.model.states import AttemptState, Cause, JobState, WorkerKind
from minispark.plan.parsing import parse_request
from minispark.storage.job_history import JobHistory
from minispark.storage.job_store import JobStore
from tests import jobs
from tests.simulation.plans import map_reduce

JOB = "00000000-0000-0000-0000-00000000000a"
WORKER = WorkerIdentity("w", WorkerKind.SOCKET, "worker-1", "h", 1, 2, 3, "host", "/s")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[JobStore]:
    with closing(JobStore(tmp_path / "db", dump_request, dump_plan, dump_plans)) as store:
        yield store


def accepted(job_id: str = JOB) -> list[fx.Fact | fx.ForgetJob]:
    request = parse_request(jobs.word_count("/data/text", 2))
    return [
        fx.JobAccepted(job_id, request, 1.0),
        fx.PlanChosen(job_id, map_reduce(2, 1)),
        fx.JobMoved(job_id, JobState.RUNNING, None, 2.0),
    ]


def moved(partition: int, state: AttemptState, **more: Any) -> fx.AttemptMoved:
    job_id = more.pop("job_id", JOB)
    name = attempt_id(job_id, "s0", partition, 0)
    return fx.AttemptMoved(name, job_id, 0, partition, 0, "w", state, 3.0, **more)


def lost(count: int) -> list[fx.Fact | fx.ForgetJob]:
    return [fx.WorkerLost("w", f"worker-{n}", "gone", float(n)) for n in range(count)]


class Follower:
    """Reads messages of one stream."""

    def __init__(self, stream: EventStream, after: int | None, job_id: str | None = None) -> None:
        self._pieces = stream.follow(after, job_id)
        self._ready: list[dict[str, Any]] = []
        assert next(self._pieces).startswith(b"retry: ")

    def read(self, count: int) -> list[dict[str, Any]]:
        while len(self._ready) < count:
            for text in next(self._pieces).decode().split("\n\n")[:-1]:
                fields = dict(line.split(": ", 1) for line in text.split("\n"))
                if fields.get("event"):
                    self._ready.append({"name": fields["event"], **json.loads(fields["data"])})
        found, self._ready = self._ready[:count], self._ready[count:]
        return found

    def close(self) -> None:
        self._pieces.close()  # type: ignore[attr-defined]


def test_every_move_of_a_job_its_attempts_and_workers_is_an_event(store: JobStore) -> None:
    failed = moved(1, AttemptState.FAILED, error="no number", cause=Cause.TASK)
    done = moved(0, AttemptState.SUCCEEDED)
    store.write([fx.WorkerSeen(WORKER, 0.5), *accepted()])
    store.write([moved(0, AttemptState.ASSIGNED), moved(0, AttemptState.RUNNING), done])
    store.write([replace(done, is_committed=True), failed, fx.WorkerLost("w", "worker-1", "x", 4)])
    rows = EventStream(JobHistory(store.path)).page(0, 100, None, None, None)
    assert [row.id for row in rows] == list(range(1, len(rows) + 1))
    assert [(row.kind, row.stage_id, row.partition, row.worker_name, row.text) for row in rows] == [
        ("worker UP", None, None, "worker-1", None),
        ("job ACCEPTED", None, None, None, "wordcount"),
        ("job RUNNING", None, None, None, None),
        ("attempt ASSIGNED", "s0", 0, "worker-1", None),
        ("attempt RUNNING", "s0", 0, "worker-1", None),
        ("attempt SUCCEEDED", "s0", 0, "worker-1", None),
        ("attempt COMMITTED", "s0", 0, "worker-1", None),
        ("attempt FAILED", "s0", 1, "worker-1", "no number"),
        ("worker DOWN", None, None, "worker-1", "x"),
    ]


def test_a_page_is_of_a_job_or_of_one_task(store: JobStore) -> None:
    other = JOB.replace("a", "b")
    store.write([fx.WorkerSeen(WORKER, 0.5), *accepted(), *accepted(other)])
    store.write([moved(0, AttemptState.ASSIGNED), moved(1, AttemptState.ASSIGNED)])
    store.write([moved(0, AttemptState.ASSIGNED, job_id=other)])
    stream = EventStream(JobHistory(store.path))
    of_job = stream.page(0, 100, JOB, None, None)
    assert {row.job_id for row in of_job} == {JOB, None} and len(of_job) == 5
    assert [row.partition for row in stream.page(0, 100, JOB, "s0", None)] == [0, 1]
    assert [row.partition for row in stream.page(0, 100, JOB, "s0", 1)] == [1]
    assert [row.id for row in stream.page(of_job[1].id, 1, JOB, None, None)] == [of_job[2].id]


def test_a_follower_hears_what_comes_and_one_that_comes_back_what_it_missed(
    store: JobStore,
) -> None:
    stream = EventStream(JobHistory(store.path))
    first = Follower(stream, None)
    for count in (2, 3):
        store.write(lost(count))
        stream.advance(store.last_event)
    assert [event["id"] for event in first.read(5)] == [1, 2, 3, 4, 5]
    back = Follower(EventStream(JobHistory(store.path)), 3)  # of the next master
    assert [event["id"] for event in back.read(2)] == [4, 5]
    first.close()
    back.close()


def test_what_is_not_durable_is_no_event(store: JobStore) -> None:
    store.write(lost(2))
    with pytest.raises(KeyError):
        store.write([*lost(1), fx.PlanChosen("of no job", map_reduce(2, 1))])
    store.write(lost(1))
    rows = JobHistory(store.path).events(0, 10)
    assert [row.id for row in rows] == [1, 2, 3] and store.last_event == 3


def test_a_follower_far_behind_skips_and_is_told_how_much(
    store: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_stream, "BEHIND_EVENTS_MAX", 20)
    monkeypatch.setattr(event_stream, "PAGE_EVENTS", 5)
    stream = EventStream(JobHistory(store.path))
    store.write(lost(30))
    stream.advance(store.last_event)
    follower = Follower(stream, 0)
    gap, *events = follower.read(6)
    assert gap == {"name": "gap", "skipped": 25}
    assert [event["id"] for event in events] == [26, 27, 28, 29, 30]
    follower.close()


def test_followers_are_few_and_end_with_the_master(
    store: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_stream, "FOLLOWERS_MAX", 2)
    stream = EventStream(JobHistory(store.path))
    stream.follow(0, None)  # a HEAD request: nobody reads it
    followers = [Follower(stream, None) for _ in range(2)]
    with pytest.raises(ClusterError, match="2 streams are open"):
        stream.follow(None, None)
    followers.pop().close()
    pieces = stream.follow(None, None)
    next(pieces)
    stream.close()
    assert list(pieces) == []


def test_where_and_when_an_attempt_ran_is_kept_and_outlives_a_restart(store: JobStore) -> None:
    span, phases = Span(1, 10.0, 12.5), {"read": 5, "other": 1}
    store.write([fx.WorkerSeen(WORKER, 0.5), *accepted(), moved(0, AttemptState.ASSIGNED)])
    store.write([moved(0, AttemptState.RUNNING, span=Span(1, 10.0))])
    (row,) = JobHistory(store.path).attempts(JOB, None, 10, 0)[0]
    assert (row.state, row.slot, row.begun_at, row.ended_at) == ("RUNNING", 1, 10.0, None)
    store.write([moved(0, AttemptState.SUCCEEDED, span=span, phases_us=phases)])
    # a master that came back knows of the commit, and nothing of the span
    store.write([moved(0, AttemptState.SUCCEEDED, is_committed=True)])
    (row,) = JobHistory(store.path).accepted(JOB)
    assert (row.slot, row.begun_at, row.finished_at) == (1, 10.0, 12.5)
    assert row.phases is not None and json.loads(row.phases) == phases


def test_a_stream_without_events_lets_the_server_look_and_now_and_then_says_that_it_is_there(
    store: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_stream, "LOOK_S", 0.25)
    monkeypatch.setattr(event_stream, "ALIVE_S", 0.5)
    pieces = EventStream(JobHistory(store.path)).follow(None, None)
    next(pieces)
    assert [next(pieces) for _ in range(4)] == [b"", b": alive\n\n"] * 2
