"""What became of one task, in words; and which task a user means."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from minispark.cli.journal import KnownJob, KnownStage
from minispark.cli.task_names import TaskName, find_task
from minispark.cli.task_story import TaskStory, counted, tell, whose
from minispark.errors import InvalidRequest, NotFound
from minispark.model.ids import attempt_id
from minispark.model.states import Cause

JOB = "00000000-0000-0000-0000-00000000000a"
OTHER = "00000000-0000-0000-0000-00000000000b"
LIMITS = {"task_retries_max": 3, "worker_losses_max": 10}
ERROR = "mine.py, line 3, in f: ValueError: no\nTraceback (most recent call last):\n  the rest"


def attempt(number: int, state: str, **more: Any) -> dict[str, Any]:
    return {
        "id": attempt_id(JOB, "a+b", 0, number), "node_id": "a+b", "partition_id": 0,
        "attempt": number, "state": state, "worker": f"worker-{number}", "assigned_at": 101.0,
        "started_at": 101.25, "slot": 1, "error": None, "cause": None, "records_processed": 7,
        "bytes_written": 2500, "phases_ms": {"read": 1.5, "compute": 20.0}, **more,
    }  # fmt: skip


def event(kind: str, number: int, at: float, text: str | None = None) -> dict[str, Any]:
    name = f"attempt {kind}"
    return {"at": at, "kind": name, "attempt": number, "worker": f"worker-{number}", "text": text}


def told(
    attempts: list[dict[str, Any]],
    events: list[dict[str, Any]],
    state: str = "RUNNING",
    message: str | None = None,
    limits: dict[str, int] = LIMITS,
) -> TaskStory:
    ended_at = None if state == "RUNNING" else 110.0
    job = KnownJob(JOB, "count", state, message, 100.0, ended_at)
    return tell(job, TaskName(JOB, "a+b", 0), attempts, events, limits)


def whys(story: TaskStory) -> list[str]:
    return [f"{one.since_s:+.1f} {one.why}" for one in story.happenings]


def test_a_task_that_failed_once_says_whose_fault_and_what_is_left() -> None:
    story = told(
        [
            attempt(0, "FAILED", error=ERROR, cause="task", started_at=101.375),
            attempt(1, "SUCCEEDED"),
        ],
        [
            event("ASSIGNED", 0, 101.0),
            event("RUNNING", 0, 101.1),
            event("FAILED", 0, 102.0, ERROR),
            event("ASSIGNED", 1, 102.1),
            event("SUCCEEDED", 1, 103.0),
            event("COMMITTED", 1, 103.5),
        ],
    )
    assert whys(story) == [
        "+1.0 the first attempt",
        "+1.4 slot 1 took it up, after 375.0 ms in the queue",
        "+2.0 the task's own fault: mine.py, line 3, in f: ValueError: no; retry 1 of 3 follows, "
        "after 0.05 s",
        "+2.1 again, after attempt 0 failed on worker-0",
        "+3.0 accepted: 7 records, 2.5 kB (compute 20.0 ms, read 1.5 ms)",
        "+3.5 its files have their names",
    ]
    assert story.errors == [([0], ERROR)] and not story.is_cut
    assert story.state == "SUCCEEDED"
    assert story.ending == (
        "a+b/0 SUCCEEDED with attempt 1, on worker-1, after attempt 0 failed on worker-0."
    )


def test_a_task_out_of_retries_failed_its_job() -> None:
    attempts = [
        attempt(n, "FAILED", error=ERROR, cause="task", worker=f"worker-{n % 2}") for n in range(4)
    ]
    events = [
        one
        for n in range(4)
        for one in (event("ASSIGNED", n, 101.0 + n), event("FAILED", n, 101.5 + n, ERROR))
    ]
    message = f"{ERROR}\na+b partition 0: 4 attempts, 3 retries allowed"
    story = told(attempts, events, "FAILED", message)
    assert whys(story)[-3].endswith("retry 3 of 3 follows, after 0.2 s")
    assert whys(story)[-1].endswith("no retry is left of 3")
    assert story.errors == [([0, 1, 2, 3], ERROR)]
    assert story.ending == (
        "a+b/0 FAILED, and its job with it: attempts 0 and 2 failed on worker-0 and attempts 1 and "
        "3 failed on worker-1; no more than 3 retries are allowed."
    )
    ended = told(attempts, events, "FAILED", message, limits={})  # its master is gone
    assert whys(ended)[-1].endswith("failure 4 of the task")
    assert whys(ended)[-3].endswith("failure 3 of the task, after 0.2 s")


def test_two_attempts_that_were_lost_alike_are_told_as_two() -> None:
    lost = [attempt(n, "LOST", cause="worker", worker="worker-0") for n in range(2)]
    ending = told([*lost, attempt(2, "SUCCEEDED")], []).ending
    assert ending.endswith(", after attempts 0 and 1 were lost with worker-0.")


def test_a_copy_that_was_first_and_what_a_lost_worker_counts_against() -> None:
    lost = "worker-0 was lost: its connection closed"
    story = told(
        [
            attempt(0, "LOST", error=lost, cause="worker"),
            attempt(1, "CANCELLED", cause="race"),
            attempt(2, "SUCCEEDED"),
        ],
        [
            event("ASSIGNED", 0, 101.0),
            event("LOST", 0, 102.0, lost),
            event("ASSIGNED", 1, 102.0),
            event("ASSIGNED", 2, 105.0),
            event("CANCELLED", 1, 106.0),
            event("SUCCEEDED", 2, 106.0),
        ],
    )
    assert whys(story)[1:5] == [
        f"+2.0 its worker's fault: {lost}; counts as lost worker 1 of 10, not against its retries",
        "+2.0 again, after attempt 0 was lost with worker-0",
        "+5.0 a copy: attempt 1 takes long (speculation)",
        "+6.0 its copy was first: counts against nothing; attempt 2 goes on",
    ]
    assert story.ending.endswith(
        "after attempt 0 was lost with worker-0 and attempt 1 was overtaken by its copy."
    )


def test_an_accepted_output_that_was_lost_later_is_told_twice() -> None:
    attempts = [attempt(0, "LOST", error="lost: gone", cause="output"), attempt(1, "RUNNING")]
    events = [
        event("ASSIGNED", 0, 101.0),
        event("SUCCEEDED", 0, 102.0),
        event("LOST", 0, 104.0, "lost: gone"),
        event("ASSIGNED", 1, 104.0),
    ]
    story = told(attempts, events)
    assert whys(story)[1].startswith("+2.0 accepted")
    assert ": gone; counts as lost output 1 of 4" in whys(story)[2]
    assert "lost: " not in whys(story)[2]
    assert story.ending == (
        "a+b/0 is RUNNING: attempt 1 on worker-1, slot 1, "
        "after attempt 0 was done and its output could not be read."
    )


def test_the_end_of_a_job_ends_its_tasks() -> None:
    story = told(
        [attempt(0, "CANCELLED")],
        [event("ASSIGNED", 0, 101.0), event("CANCELLED", 0, 110.0)],
        "CANCELLED",
        "cancelled: by request",
    )
    assert whys(story)[1] == "+10.0 its job CANCELLED: nobody needs it any more"
    assert story.ending == (
        "a+b/0 was not finished, because its job CANCELLED: cancelled: by request."
    )


@pytest.mark.parametrize(
    ("attempts", "ending"),
    [
        ([], "a+b/0 is PENDING: it was never assigned; `status` says why."),
        ([attempt(0, "ASSIGNED")], "a+b/0 is queued at worker-0 as attempt 0."),
        (
            [attempt(0, "FAILED", cause="task")],
            "a+b/0 is PENDING, after attempt 0 failed on worker-0; `status` says why.",
        ),
    ],
)
def test_a_task_that_is_not_done_says_where_it_is(
    attempts: list[dict[str, Any]], ending: str
) -> None:
    assert told(attempts, []).ending == ending


def test_a_task_that_its_job_did_not_need_was_skipped() -> None:
    story = told([], [], "SUCCEEDED")
    assert story.state == "SKIPPED" and "was in the cache" in story.ending


def test_events_that_are_no_longer_kept_are_missed() -> None:
    attempts = [attempt(0, "FAILED", cause="task", error="no"), attempt(1, "SUCCEEDED")]
    assert told(attempts, [event("ASSIGNED", 1, 103.0), event("SUCCEEDED", 1, 104.0)]).is_cut


@pytest.mark.parametrize("cause", list(Cause))
def test_every_cause_has_words(cause: Cause) -> None:
    assert whose(cause) and counted(cause, 1, LIMITS, None) and counted(cause, 1, {}, None)
    story = told(
        [attempt(0, "LOST", cause=cause.value)],
        [event("ASSIGNED", 0, 101.0), event("LOST", 0, 102.0)],
    )
    assert story.happenings[1].why.startswith(whose(cause)) and "attempt 0" in story.ending


# --- which task is meant ---------------------------------------------------------------------


class Journal:
    """Two jobs of two stages; the older one's name holds a slash."""

    def names(self) -> list[tuple[str, str]]:
        return [(OTHER, "a/b"), (JOB, "count")]

    def job(self, job_id: str) -> KnownJob:
        raise AssertionError

    def stages(self, job_id: str) -> list[KnownStage]:
        return [KnownStage("read+map", 3), KnownStage("reduce", 2)]

    def attempts(
        self, job_id: str, stage: str | None = None, partition: int | None = None
    ) -> Iterable[dict[str, Any]]:
        for partition in range(3):
            name = attempt_id(job_id, "read+map", partition, 0)
            yield {"id": name, "node_id": "read+map", "partition_id": partition}

    def events(self, job_id: str, stage: str, partition: int) -> Iterable[dict[str, Any]]:
        return ()

    def limits(self) -> dict[str, int]:
        return {}


@pytest.mark.parametrize(
    ("text", "task"),
    [
        ("last/reduce/1", TaskName(JOB, "reduce", 1)),
        ("count/read+map/0", TaskName(JOB, "read+map", 0)),
        ("a/b/read+map/2", TaskName(OTHER, "read+map", 2)),
        (f"{OTHER}/reduce/0", TaskName(OTHER, "reduce", 0)),
        (attempt_id(OTHER, "read+map", 1, 0), TaskName(OTHER, "read+map", 1)),
        (attempt_id(JOB, "read+map", 2, 0)[:9].upper(), TaskName(JOB, "read+map", 2)),
    ],
)
def test_a_task_is_named_by_its_place_or_by_an_attempt(text: str, task: TaskName) -> None:
    assert find_task(Journal(), text) == task


@pytest.mark.parametrize(
    ("text", "error", "says"),
    [
        ("reduce", InvalidRequest, "JOB/STAGE/PARTITION"),
        ("reduce/0", InvalidRequest, "JOB/STAGE/PARTITION"),
        ("last/reduce/x", InvalidRequest, "JOB/STAGE/PARTITION"),
        ("abc", InvalidRequest, "JOB/STAGE/PARTITION"),
        ("last/redcue/0", NotFound, "did you mean reduce"),
        ("last/zzz/0", NotFound, "there are read\\+map, reduce"),
        ("last/reduce/2", NotFound, "the partitions 0 to 1, and no 2"),
        ("nobody/reduce/0", NotFound, "no job 'nobody'"),
        ("deadbeef", NotFound, "begins with deadbeef"),
    ],
)
def test_what_names_no_task_says_what_would(text: str, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        find_task(Journal(), text)


def test_a_prefix_of_several_tasks_is_too_short() -> None:
    class Alike(Journal):
        def attempts(self, job_id: str, *_: Any, **__: Any) -> Iterable[dict[str, Any]]:
            for partition in range(2 if job_id == JOB else 0):
                yield {"id": f"abcd{partition}", "node_id": "reduce", "partition_id": partition}

    with pytest.raises(NotFound, match="tasks have such an id; write more than abcd"):
        find_task(Alike(), "abcd")
    assert find_task(Alike(), "abcd1").partition == 1
