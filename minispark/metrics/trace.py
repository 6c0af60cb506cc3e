"""A job's attempts as Chrome trace events, which Perfetto opens: processes are workers, threads are
slots, slices are attempts with their phases.

Source of the format: the Trace Event Format document of Chromium's tracing. Must not know where the
attempts are stored.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from minispark.metrics.lanes import CLOCK_SLACK_US, Lanes
from minispark.model.figures import PHASES

FLOWS_MAX = 5000
"""Arrows from map outputs to fetches: a viewer shows no more in a useful way."""
ERROR_CHARS_MAX = 2000
_COLOURS = {"FAILED": "terrible", "LOST": "bad", "CANCELLED": "grey"}
_RETRIED = ("FAILED", "LOST")
_JOB = 1
"""The process of what is about the whole job. Perfetto takes process and thread 0 for the idle one
of a system, and hides them.
"""
_NO_SLOT_ORDER = 1_000_000

Fetched = Callable[[int, int], Iterable[tuple[int, int | None]]]
"""What a task, by stage and partition, reads: (stage, one of its partitions, or None for all)."""


@dataclass(frozen=True, slots=True)
class TracedAttempt:
    """One attempt; times are UNIX seconds."""

    stage_index: int
    stage_id: str
    partition: int
    attempt: int
    attempt_id: str
    state: str
    worker: str
    slot: int | None
    assigned_at: float
    begun_at: float | None
    ended_at: float | None
    """None while it runs."""
    cause: str | None
    error: str | None
    records: int
    bytes_written: int
    phases_us: Mapping[str, int] = field(default_factory=dict)

    @property
    def shown_from(self) -> float:
        return self.begun_at if self.begun_at is not None else self.assigned_at


@dataclass(frozen=True, slots=True)
class TracedInstant:
    """Something that happened at one moment, at a worker or (None) to the whole job."""

    name: str
    at: float
    worker: str | None
    text: str | None


@dataclass(frozen=True, slots=True)
class _Shown:
    """Where an attempt is drawn. Microseconds of the trace's clock."""

    place: dict[str, int]
    """The process and the thread, as events name them."""
    begun: int
    ended: int


class Trace:
    """The trace of one job, piece by piece."""

    def __init__(self, name: str, begun_at: float, now: float, fetched: Fetched) -> None:
        """`begun_at`: what the trace's clock begins with. `now`: where attempts that run are cut.
        `fetched`: what a task read that somebody wrote.
        """
        self._name = name
        self._begun_at = begun_at
        self._now = now
        self._fetched = fetched
        self._processes: dict[str, int] = {}
        self._threads: dict[tuple[int, int | None, int], int] = {}
        """By process, slot and row: the thread."""
        self._lanes = Lanes()
        self._outputs: dict[int, dict[int, _Shown]] = {}
        """By stage and partition: the accepted attempt."""
        self._flows = 0

    def events(
        self, attempts: Iterable[TracedAttempt], instants: Iterable[TracedInstant]
    ) -> Iterator[dict[str, Any]]:
        """`attempts`: in the order of their stages, tasks and numbers."""
        yield from _named(_JOB, f"job {self._name}")
        task: tuple[int, int] | None = None
        live_until, is_retried = 0.0, False
        for attempt in attempts:
            if task != (attempt.stage_index, attempt.partition):
                task = (attempt.stage_index, attempt.partition)
                live_until, is_retried = 0.0, False
            is_backup = attempt.assigned_at < live_until
            live_until = max(live_until, self._end_of(attempt))
            yield from self._attempt(attempt, is_backup, is_retried and not is_backup)
            is_retried = attempt.state in _RETRIED
        for instant in instants:
            yield from self._instant(instant)

    def _attempt(
        self, attempt: TracedAttempt, is_backup: bool, is_retry: bool
    ) -> Iterator[dict[str, Any]]:
        process = yield from self._process(attempt.worker)
        begun, ended = attempt.shown_from, self._us(self._end_of(attempt))
        slack = 0 if attempt.slot is None else CLOCK_SLACK_US
        row = (process, attempt.slot)
        lane, begun_us, ended_us = self._lanes.put(row, self._us(begun), ended, slack)
        thread = yield from self._thread(process, attempt.slot, lane)
        shown = _Shown({"pid": process, "tid": thread}, begun_us, ended_us)
        name = f"{attempt.stage_id} p{attempt.partition}"
        event: dict[str, Any] = {
            "ph": "X",
            "name": f"{name} (speculative)" if is_backup else name,
            "cat": f"attempt,{attempt.state}",
            "ts": shown.begun,
            "dur": shown.ended - shown.begun,
            **shown.place,
            "args": {
                "attempt_id": attempt.attempt_id,
                "stage": attempt.stage_id,
                "partition": attempt.partition,
                "attempt": attempt.attempt,
                "state": attempt.state,
                "is_speculative": is_backup,
                "cause": attempt.cause,
                "queued_ms": round(max(0.0, begun - attempt.assigned_at) * 1000, 3),
                "records": attempt.records,
                "bytes_written": attempt.bytes_written,
                "error": attempt.error[:ERROR_CHARS_MAX] if attempt.error else None,
            },
        }
        if attempt.state in _COLOURS:
            event["cname"] = _COLOURS[attempt.state]
        yield event
        yield from _phases(attempt, shown)
        if is_retry:
            yield _mark(f"retry {attempt.attempt}: {name}", shown.begun, "t", shown.place, None)
        if attempt.state in _RETRIED:
            text = attempt.error[:ERROR_CHARS_MAX] if attempt.error else None
            yield _mark(f"{attempt.state.lower()}: {name}", shown.ended, "t", shown.place, text)
        if attempt.state == "SUCCEEDED":
            yield from self._arrows(attempt, shown)
            outputs = self._outputs.setdefault(attempt.stage_index, {})
            if attempt.bytes_written and len(outputs) < FLOWS_MAX:  # nobody fetches nothing
                outputs[attempt.partition] = shown

    def _arrows(self, attempt: TracedAttempt, shown: _Shown) -> Iterator[dict[str, Any]]:
        """From the outputs that the attempt fetched, to when each could be read."""
        for stage_index, partition in self._fetched(attempt.stage_index, attempt.partition):
            written = self._outputs.get(stage_index, {})
            some = written if partition is None else (partition,)
            for output in (written[one] for one in some if one in written):
                at = max(output.ended, shown.begun)
                if at >= shown.ended:
                    continue  # made again, after this one had read what it replaces
                if self._flows >= FLOWS_MAX:
                    return
                self._flows += 1
                flow = {"name": "fetch", "cat": "shuffle", "id": self._flows}
                # within the slices that they connect, or a viewer drops them
                yield {"ph": "s", **flow, "ts": output.ended - 1, **output.place}
                yield {"ph": "f", "bp": "e", **flow, "ts": at, **shown.place}

    def _instant(self, instant: TracedInstant) -> Iterator[dict[str, Any]]:
        at = self._us(instant.at)
        if instant.worker is None:
            yield _mark(instant.name, at, "g", {"pid": _JOB, "tid": 1}, instant.text)
            return
        process = yield from self._process(instant.worker)
        yield _mark(instant.name, at, "p", {"pid": process, "tid": 1}, instant.text)

    def _process(self, worker: str) -> Generator[dict[str, Any], None, int]:
        """The worker's; what a viewer calls it is said once."""
        if worker not in self._processes:
            self._processes[worker] = len(self._processes) + _JOB + 1
            yield from _named(self._processes[worker], worker)
        return self._processes[worker]

    def _thread(
        self, process: int, slot: int | None, lane: int
    ) -> Generator[dict[str, Any], None, int]:
        key = (process, slot, lane)
        if key not in self._threads:
            thread = self._threads[key] = sum(known[0] == process for known in self._threads) + 1
            text = "no slot" if slot is None else f"slot {slot}"
            place = {"pid": process, "tid": thread}
            yield _about("thread_name", place, name=f"{text} ({lane + 1})" if lane else text)
            order = (_NO_SLOT_ORDER if slot is None else 1000 * slot) + lane
            yield _about("thread_sort_index", place, sort_index=order)
        return self._threads[key]

    def _end_of(self, attempt: TracedAttempt) -> float:
        return self._now if attempt.ended_at is None else attempt.ended_at

    def _us(self, at: float) -> int:
        return round((at - self._begun_at) * 1_000_000)


def _phases(attempt: TracedAttempt, shown: _Shown) -> Iterator[dict[str, Any]]:
    """One behind the other, though they took turns: what counts is how long each was."""
    at = shown.begun
    for name in (*PHASES, "other"):
        us = min(attempt.phases_us.get(name, 0), shown.ended - at)
        if us > 0:
            yield {"ph": "X", "name": name, "cat": "phase", "ts": at, "dur": us, **shown.place}
            at += us


def _mark(
    name: str, at_us: int, scope: str, place: dict[str, int], text: str | None
) -> dict[str, Any]:
    mark = {"ph": "i", "name": name, "cat": "event", "ts": at_us, "s": scope, **place}
    return {**mark, "args": {"text": text}}


def _named(process: int, name: str) -> Iterator[dict[str, Any]]:
    place = {"pid": process, "tid": 1}
    yield _about("process_name", place, name=name)
    yield _about("process_sort_index", place, sort_index=process)


def _about(what: str, place: dict[str, int], **args: Any) -> dict[str, Any]:
    return {"ph": "M", "name": what, **place, "args": args}
