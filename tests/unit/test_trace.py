"""A job's attempts as Chrome trace events."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import pytest

from minispark.metrics.trace import WAITING_ROWS_MAX, Trace, TracedAttempt, TracedInstant
from tests.trace_format import arrows, check_trace


def attempt(stage: int, partition: int, worker: str, slot: int | None, **more: Any) -> Any:
    fields: dict[str, Any] = {
        "attempt": 0, "attempt_id": f"{stage}/{partition}", "state": "SUCCEEDED",
        "assigned_at": 100.0, "begun_at": 101.0, "ended_at": 103.0, "cause": None, "error": None,
        "records": 1, "bytes_written": 2,
    }  # fmt: skip
    return TracedAttempt(stage, f"s{stage}", partition, worker=worker, slot=slot, **fields | more)


def fetched(stage: int, partition: int) -> Iterator[tuple[int, int | None]]:
    """Stage 1 reads all of stage 0, and stage 2 its own partition of stage 1."""
    if stage:
        yield stage - 1, None if stage == 1 else partition


def traced(*attempts: TracedAttempt, instants: tuple[TracedInstant, ...] = ()) -> list[Any]:
    events = list(Trace("count", 100.0, 110.0, fetched).events(attempts, instants))
    check_trace(events)
    return events


def of(events: list[Any], phase: str, **fields: Any) -> list[Any]:
    return [e for e in events if e["ph"] == phase and fields.items() <= e.items()]


def test_workers_are_processes_and_slots_threads() -> None:
    events = traced(attempt(0, 0, "a", 1), attempt(0, 1, "b", 0), attempt(0, 2, "a", 0))
    named = {(e["pid"], e["tid"]): e["args"]["name"] for e in of(events, "M", name="thread_name")}
    assert named == {(2, 1): "events", (4, 3): "slot 1", (6, 1): "slot 0", (4, 1): "slot 0"}
    processes = [e["args"]["name"] for e in of(events, "M", name="process_name")]
    assert processes == ["job count", "a", "b"]
    slices = of(events, "X", cat="attempt,SUCCEEDED")
    assert [(e["pid"], e["tid"], e["ts"], e["dur"]) for e in slices] == [
        (4, 3, 1_000_000, 2_000_000), (6, 1, 1_000_000, 2_000_000), (4, 1, 1_000_000, 2_000_000),
    ]  # fmt: skip
    sorting = of(events, "M", name="thread_sort_index", pid=4)
    order = {e["tid"]: e["args"]["sort_index"] for e in sorting}
    assert order[1] < order[3]


def test_phases_follow_each_other_within_their_attempt() -> None:
    phases = {"write": 500_000, "read": 700_000, "compute": 900_000}
    events = traced(attempt(0, 0, "a", 0, phases_us=phases))
    shown = [(e["name"], e["ts"], e["ts"] + e["dur"]) for e in of(events, "X", cat="phase")]
    assert shown == [
        ("read", 1_000_000, 1_700_000),
        ("compute", 1_700_000, 2_600_000),
        ("write", 2_600_000, 3_000_000),  # cut: it cannot outlast its attempt
    ]


def test_fetches_are_arrows_from_the_end_of_each_output() -> None:
    maps = [attempt(0, 0, "a", 0, ended_at=103.0), attempt(0, 1, "b", 0, ended_at=104.0)]
    reduce = attempt(1, 0, "a", 1, begun_at=103.5, ended_at=106.0)
    events = traced(*maps, reduce)
    assert [(e["pid"], e["ts"]) for e in of(events, "s")] == [(4, 2_999_999), (6, 3_999_999)]
    # it began early: the second was fetched as soon as it was made
    assert [(e["pid"], e["tid"], e["ts"]) for e in of(events, "f")] == [
        (4, 3, 3_500_000), (4, 3, 4_000_000),
    ]  # fmt: skip


def test_an_arrow_leads_from_the_phase_that_wrote_to_the_phase_that_fetched() -> None:
    wrote = {"compute": 1_000_000, "shuffle write": 400_000, "other": 600_000}
    maps = [attempt(0, 0, "a", 0, phases_us=wrote), attempt(0, 1, "b", 0, ended_at=105.2)]
    took = {"fetch": 500_000, "merge": 700_000, "wait": 1_600_000, "write": 200_000}
    reduce = attempt(1, 0, "a", 1, begun_at=103.5, ended_at=106.5, phases_us=took)
    events = traced(*maps, reduce)
    assert [e["ts"] for e in of(events, "s")] == [2_399_999, 5_199_999]
    phases = [e["name"] for e in of(events, "X", cat="phase", tid=3)]
    assert phases == ["wait", "fetch", "merge", "write"]
    assert [e["ts"] for e in of(events, "f")] == [5_100_000, 5_200_000]  # not while it waited


def test_an_arrow_never_ends_before_it_begins() -> None:
    late = attempt(0, 0, "a", 0, ended_at=105.0, phases_us={"shuffle write": 4_000_000})
    reduce = attempt(1, 0, "a", 1, begun_at=103.5, ended_at=106.0, phases_us={"fetch": 100_000})
    events = traced(late, reduce)
    assert [e["ts"] for e in (*of(events, "s"), *of(events, "f"))] == [4_999_999, 5_000_000]


def test_arrows_come_only_from_what_was_read() -> None:
    maps = [attempt(0, 0, "a", 0), attempt(0, 1, "b", 0, bytes_written=0)]
    lost = attempt(0, 2, "b", 1, state="LOST")
    again = attempt(0, 2, "b", 1, attempt=1, assigned_at=106.5, begun_at=107.0, ended_at=108.0)
    reduces = [attempt(1, p, "c", p, begun_at=104.0, ended_at=105.0 + 4 * p) for p in (0, 1)]
    own = [attempt(2, p, "d", p, begun_at=109.5, ended_at=109.9) for p in (0, 1)]
    # the first reduce had ended before s0 p2 was made again
    assert arrows(traced(*maps, lost, again, *reduces, *own)) == {
        ("s0 p0", "s1 p0"), ("s0 p0", "s1 p1"), ("s0 p2", "s1 p1"),
        ("s1 p0", "s2 p0"), ("s1 p1", "s2 p1"),
    }  # fmt: skip


def test_failures_kills_retries_and_copies_are_marked() -> None:
    failed = attempt(0, 0, "a", 0, state="FAILED", error="no number", cause="task")
    again = attempt(0, 0, "a", 0, attempt=1, assigned_at=103.5, begun_at=104.0, ended_at=None)
    copy = attempt(0, 0, "b", None, attempt=2, assigned_at=106.0, begun_at=None, ended_at=None)
    down = TracedInstant("worker DOWN", 105.0, "b", "its connection closed")
    gone = TracedInstant("worker UP", 108.0, "c", None)
    instants = (down, gone, TracedInstant("job FAILED", 109.0, None, "x"))
    events = traced(failed, again, copy, instants=instants)
    marks = [(e["name"], e["s"], e["pid"], e["ts"]) for e in of(events, "i")]
    assert marks == [
        ("failed: s0 p0", "t", 4, 3_000_000),
        ("retry 1: s0 p0", "t", 4, 4_000_000),
        ("worker DOWN", "p", 6, 5_000_000),
        ("worker UP", "p", 8, 8_000_000),
        ("job FAILED", "t", 2, 9_000_000),
    ]
    (shown,) = of(events, "X", name="s0 p0 (speculative)")
    assert shown["dur"] == 4_000_000 and shown["args"]["is_speculative"]  # it runs until now
    (shown,) = of(events, "X", cat="attempt,FAILED")
    assert (shown["name"], shown["cname"]) == ("s0 p0 (failed)", "terrible")


def test_a_copy_after_a_copy_that_failed_is_no_retry() -> None:
    slow = attempt(0, 0, "a", 0, ended_at=None, state="RUNNING")
    copy = attempt(0, 0, "b", 0, attempt=1, state="FAILED", assigned_at=101.5, begun_at=102.0)
    another = attempt(0, 0, "b", 0, attempt=2, assigned_at=104.0, begun_at=104.0, ended_at=105.0)
    events = traced(slow, copy, another)
    assert [e["name"] for e in of(events, "i")] == ["failed: s0 p0"]
    shown = [e["name"] for e in of(events, "X")]
    assert shown == ["s0 p0", "s0 p0 (speculative, failed)", "s0 p0 (speculative)"]


def test_attempts_of_one_slot_are_apart_though_clocks_disagree() -> None:
    one = attempt(0, 0, "a", 0, begun_at=101.0, ended_at=102.002)
    following = attempt(0, 1, "a", 0, begun_at=102.0, ended_at=103.0)
    events = traced(one, following)
    shown = [(e["tid"], e["ts"], e["ts"] + e["dur"]) for e in of(events, "X")]
    assert shown == [(1, 1_000_000, 2_002_000), (1, 2_002_000, 3_000_000)]


def test_attempts_without_a_slot_that_overlap_get_threads_of_their_own() -> None:
    waited = [attempt(0, p, "a", None, begun_at=None, state="LOST") for p in range(3)]
    events = traced(*waited)
    names = [e["args"]["name"] for e in of(events, "M", name="thread_name")]
    assert names == ["events", "no slot", "no slot (2)", "no slot (3)"]


def test_of_very_many_that_never_began_the_others_are_marks() -> None:
    waited = [attempt(0, p, "a", None, begun_at=None, state="LOST") for p in range(1000)]
    events = traced(*waited)
    assert len(of(events, "X")) == WAITING_ROWS_MAX
    assert len(of(events, "M", name="thread_name")) == 1 + WAITING_ROWS_MAX
    marks = [e for e in of(events, "i") if e["name"].endswith(", never began")]
    assert len(marks) == 1000 - WAITING_ROWS_MAX


@pytest.mark.parametrize("seed", range(60))
def test_whatever_workers_report_the_trace_is_one(seed: int) -> None:
    """Times that contradict each other, phases longer than their attempt, spans of no length."""
    draw = random.Random(seed)
    attempts: list[TracedAttempt] = []
    for stage in range(3):
        for partition in range(5):
            for number in range(draw.choice([1, 1, 2, 3])):
                begun = draw.choice([None, 100 + 10 * draw.random()])
                some = attempt(
                    stage, partition, draw.choice("abc"), draw.choice([None, 0, 1]), attempt=number,
                    state=draw.choice(["SUCCEEDED", "SUCCEEDED", "FAILED", "LOST", "CANCELLED"]),
                    assigned_at=100 + 10 * draw.random(), begun_at=begun,
                    ended_at=draw.choice([None, begun, 100 + 10 * draw.random()]),
                    bytes_written=draw.choice([0, 10]),
                    phases_us={"read": draw.randrange(3_000_000), "wait": draw.randrange(100)},
                )  # fmt: skip
                attempts.append(some)
    instants = [TracedInstant("worker DOWN", 105.0, draw.choice(["a", "z"]), None)]
    assert len(of(traced(*attempts, instants=tuple(instants)), "X")) >= len(attempts)
