"""A job's attempts as Chrome trace events."""

from __future__ import annotations

from typing import Any

from minispark.metrics.trace import Trace, TracedAttempt, TracedInstant


def attempt(stage: int, partition: int, worker: str, slot: int | None, **more: Any) -> Any:
    fields: dict[str, Any] = {
        "attempt": 0, "attempt_id": f"{stage}/{partition}", "state": "SUCCEEDED",
        "assigned_at": 100.0, "begun_at": 101.0, "ended_at": 103.0, "cause": None, "error": None,
        "records": 1, "bytes_written": 2,
    }  # fmt: skip
    return TracedAttempt(stage, f"s{stage}", partition, worker=worker, slot=slot, **fields | more)


def traced(*attempts: TracedAttempt, instants: tuple[TracedInstant, ...] = ()) -> list[Any]:
    return list(Trace(100.0, 110.0, {1: (0,)}).events(attempts, instants))


def of(events: list[Any], phase: str, **fields: Any) -> list[Any]:
    return [e for e in events if e["ph"] == phase and fields.items() <= e.items()]


def test_workers_are_processes_and_slots_threads() -> None:
    events = traced(attempt(0, 0, "a", 1), attempt(0, 1, "b", 0), attempt(0, 2, "a", 0))
    named = {(e["pid"], e["tid"]): e["args"]["name"] for e in of(events, "M", name="thread_name")}
    assert named == {(1, 2): "slot 1", (2, 1): "slot 0", (1, 1): "slot 0"}
    assert [e["args"]["name"] for e in of(events, "M", name="process_name")] == ["a", "b"]
    slices = of(events, "X", cat="attempt,SUCCEEDED")
    assert [(e["pid"], e["tid"], e["ts"], e["dur"]) for e in slices] == [
        (1, 2, 1_000_000, 2_000_000), (2, 1, 1_000_000, 2_000_000), (1, 1, 1_000_000, 2_000_000),
    ]  # fmt: skip


def test_phases_follow_each_other_within_their_attempt() -> None:
    phases = {"write": 500_000, "read": 700_000, "compute": 900_000}
    events = traced(attempt(0, 0, "a", 0, phases_us=phases))
    shown = [(e["name"], e["ts"], e["ts"] + e["dur"]) for e in of(events, "X", cat="phase")]
    assert shown == [
        ("read", 1_000_000, 1_700_000),
        ("compute", 1_700_000, 2_600_000),
        ("write", 2_600_000, 3_000_000),  # cut: it cannot outlast its attempt
    ]


def test_fetches_are_arrows_from_the_outputs_that_were_there() -> None:
    maps = [attempt(0, 0, "a", 0, ended_at=103.0), attempt(0, 1, "b", 0, ended_at=104.0)]
    events = traced(*maps, attempt(1, 0, "a", 1, begun_at=103.5, ended_at=106.0))
    begins = [(e["pid"], e["ts"]) for e in of(events, "s")]
    assert begins == [(1, 2_999_999), (2, 3_499_999)]  # the second was fetched as it was made
    assert [(e["pid"], e["tid"], e["ts"]) for e in of(events, "f")] == [(1, 2, 3_500_000)] * 2
    assert [e["id"] for e in of(events, "s")] == [e["id"] for e in of(events, "f")]


def test_failures_kills_and_copies_are_marked() -> None:
    failed = attempt(0, 0, "a", 0, state="FAILED", error="no number", cause="task")
    copy = attempt(0, 0, "b", None, attempt=1, assigned_at=102.0, begun_at=None, ended_at=None)
    down = TracedInstant("worker DOWN", 105.0, "b", "its connection closed")
    events = traced(failed, copy, instants=(down, TracedInstant("job FAILED", 109.0, None, "x")))
    marks = [(e["name"], e["s"], e["ts"]) for e in of(events, "i")]
    assert marks == [
        ("failed: s0 p0", "t", 3_000_000),
        ("worker DOWN", "p", 5_000_000),
        ("job FAILED", "g", 9_000_000),
    ]
    (shown,) = of(events, "X", name="s0 p0 (speculative)")
    assert (shown["tid"], shown["dur"]) == (0, 8_000_000)  # it runs until now
    assert of(events, "X", name="s0 p0")[0]["cname"] == "terrible"
