"""What viewers of Chrome trace events take for granted; without it they drop events, or lie."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

Event = dict[str, Any]
Thread = tuple[int, int]


def check_trace(events: list[Event]) -> None:
    """Slices of one thread nest or are apart, attempts are apart, phases lie in their attempt,
    arrows begin and end in slices, all that is drawn has a name, and no thread passes for the main
    one of its process.
    """
    for event in events:
        assert event["ph"] in "MXisf" and isinstance(event["name"], str), event
        assert event["pid"] > 0 and event["tid"] > 0, event  # 0 is the idle process
        assert event["tid"] != event["pid"], event
        if event["ph"] != "M":
            assert type(event["ts"]) is int, event
        if event["ph"] == "X":
            assert type(event["dur"]) is int and event["dur"] > 0, event
        if event["ph"] == "i":
            assert event["s"] in "gpt", event
    named = {e["pid"] for e in events if e["name"] == "process_name"}
    threads = {_thread(e) for e in events if e["name"] == "thread_name"}
    assert len(threads) == len([e for e in events if e["name"] == "thread_name"])
    assert {e["pid"] for e in events} == named
    assert {_thread(e) for e in events if e["ph"] in "Xsf" or e.get("s") == "t"} <= threads
    attempts = attempts_by_thread(events)
    for thread, spans in attempts.items():
        for one, other in pairwise(spans):
            assert one["ts"] + one["dur"] <= other["ts"], (thread, one, other)
    for phase in (e for e in events if e.get("cat") == "phase"):
        assert around(attempts, phase, phase["ts"] + phase["dur"]) is not None, phase
    _check_nesting(events)
    _check_arrows(events, attempts)


def attempts_by_thread(events: list[Event]) -> dict[Thread, list[Event]]:
    found: dict[Thread, list[Event]] = {}
    for event in events:
        if event["ph"] == "X" and event["cat"].startswith("attempt,"):
            found.setdefault(_thread(event), []).append(event)
    return {thread: sorted(spans, key=lambda e: int(e["ts"])) for thread, spans in found.items()}


def around(attempts: dict[Thread, list[Event]], event: Event, until: int) -> Event | None:
    """The attempt on the event's thread that lasts from the event until then."""
    for attempt in attempts.get(_thread(event), []):
        if attempt["ts"] <= event["ts"] and until <= attempt["ts"] + attempt["dur"]:
            return attempt
    return None


def arrows(events: list[Event]) -> set[tuple[str, str]]:
    """Names of the attempts that each arrow leads from and to."""
    attempts = attempts_by_thread(events)
    ends: dict[int, dict[str, str]] = {}
    for event in events:
        if event["ph"] in "sf":
            attempt = around(attempts, event, event["ts"] + 1)
            assert attempt is not None, event
            ends.setdefault(event["id"], {})[event["ph"]] = attempt["name"]
    return {(end["s"], end["f"]) for end in ends.values()}


def _check_nesting(events: list[Event]) -> None:
    by_thread: dict[Thread, list[Event]] = {}
    for event in events:
        if event["ph"] == "X":
            by_thread.setdefault(_thread(event), []).append(event)
    for thread, slices in by_thread.items():
        open_until: list[int] = []
        for event in sorted(slices, key=lambda e: (e["ts"], -e["dur"])):
            while open_until and open_until[-1] <= event["ts"]:
                open_until.pop()
            end = event["ts"] + event["dur"]
            assert not open_until or end <= open_until[-1], (thread, event)
            open_until.append(end)


def _check_arrows(events: list[Event], attempts: dict[Thread, list[Event]]) -> None:
    begins = {e["id"]: e for e in events if e["ph"] == "s"}
    ends = {e["id"]: e for e in events if e["ph"] == "f"}
    assert begins.keys() == ends.keys()
    assert len(begins) + len(ends) == len([e for e in events if e["ph"] in "sf"])
    for name, begin in begins.items():
        end = ends[name]
        assert begin["ts"] <= end["ts"] and end["bp"] == "e"
        written = around(attempts, begin, begin["ts"] + 1)
        read = around(attempts, end, end["ts"] + 1)
        assert written is not None and read is not None, (begin, end)
        assert written["args"]["state"] == "SUCCEEDED"
        written = _latest_within(events, written, ("shuffle write", "write")) or written
        assert begin["ts"] + 1 == written["ts"] + written["dur"]  # as it ends


def _latest_within(events: list[Event], attempt: Event, names: tuple[str, ...]) -> Event | None:
    """The phase of these that its attempt ended with."""
    within = [
        event
        for event in events
        if event["name"] in names
        and _thread(event) == _thread(attempt)
        and attempt["ts"] <= event["ts"] < attempt["ts"] + attempt["dur"]
    ]
    return max(within, key=lambda event: int(event["ts"]), default=None)


def _thread(event: Event) -> Thread:
    return event["pid"], event["tid"]
