"""A job's attempts as Chrome trace events, which Perfetto opens: processes are workers, threads are
slots, slices are attempts with their phases.

Source of the format: the Trace Event Format document of Chromium's tracing; what Perfetto makes of
it is asked of Perfetto itself by `tests/browser/test_trace_opens.py`. Must not know where the
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
_WRITING = ("shuffle write", "write")
_JOB = 2
"""The process of what is about the whole job. Perfetto takes process and thread 0 for the idle one
of a system, and hides them; a thread with the number of its process it takes for the main one, and
shows it first. So processes have even numbers, and threads odd ones.
"""
WAITING_ROWS_MAX = 16
"""Of attempts that never began: a lost Spark driver may have had thousands, all at one time."""
_ROWS = 2_000
"""More than a worker has slots. Rows of one slot are threads so far apart: Perfetto orders threads
by their numbers.
"""

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
    phases: dict[str, tuple[int, int]]
    """From when to when each is drawn."""

    @property
    def written(self) -> int:
        """The last moment of writing an output."""
        ends = (self.phases[name][1] for name in _WRITING if name in self.phases)
        return max(ends, default=self.ended) - 1

    def fetched(self, output: _Shown) -> int:
        """When it fetched that output; times are as exact as the phases of both are drawn."""
        at = max(output.ended, self.begun)
        if "fetch" in self.phases:
            begun, ended = self.phases["fetch"]
            at_drawn = min(max(at, begun), ended - 1)
            return at_drawn if at_drawn >= output.written else at
        return at


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
        self._threads: set[tuple[int, int]] = set()
        """Those that have a name, by process."""
        self._lanes = Lanes()
        self._outputs: dict[int, dict[int, _Shown]] = {}
        """By stage and partition: the accepted attempt."""
        self._flows = 0

    def events(
        self, attempts: Iterable[TracedAttempt], instants: Iterable[TracedInstant]
    ) -> Iterator[dict[str, Any]]:
        """`attempts`: in the order of their stages, tasks and numbers."""
        yield from _named(_JOB, f"job {self._name}")
        yield _about("thread_name", {"pid": _JOB, "tid": 1}, name="events")
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
        rows_max = WAITING_ROWS_MAX if attempt.slot is None else None
        put = self._lanes.put(row, self._us(begun), ended, slack, rows_max)
        if put is None:
            waited = (
                f"{attempt.state.lower()}: {attempt.stage_id} p{attempt.partition}, never began"
            )
            yield _mark(waited, ended, "p", {"pid": process, "tid": 1}, None)
            return
        lane, begun_us, ended_us = put
        thread = yield from self._thread(process, attempt.slot, lane)
        phases = _phases(attempt, begun_us, ended_us)
        shown = _Shown({"pid": process, "tid": thread}, begun_us, ended_us, phases)
        name = f"{attempt.stage_id} p{attempt.partition}"
        event: dict[str, Any] = {
            "ph": "X",
            "name": name + _aside(attempt, is_backup),
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
        for phase, (at, until) in phases.items():
            about = {"name": phase, "cat": "phase", "ts": at, "dur": until - at}
            yield {"ph": "X", **about, **shown.place}
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
        """From the writing of each output that the attempt fetched, to its fetch."""
        for stage_index, partition in self._fetched(attempt.stage_index, attempt.partition):
            written = self._outputs.get(stage_index, {})
            some = written if partition is None else (partition,)
            for output in (written[one] for one in some if one in written):
                if output.ended >= shown.ended:
                    continue  # made again, after this one had read what it replaces
                if self._flows >= FLOWS_MAX:
                    return
                self._flows += 1
                flow = {"name": "fetch", "cat": "shuffle", "id": self._flows}
                # within the slices that they connect, or a viewer drops them
                yield {"ph": "s", **flow, "ts": output.written, **output.place}
                at = shown.fetched(output)
                yield {"ph": "f", "bp": "e", **flow, "ts": at, **shown.place}

    def _instant(self, instant: TracedInstant) -> Iterator[dict[str, Any]]:
        at = self._us(instant.at)
        if instant.worker is None:
            yield _mark(instant.name, at, "t", {"pid": _JOB, "tid": 1}, instant.text)
            return
        process = yield from self._process(instant.worker)
        yield _mark(instant.name, at, "p", {"pid": process, "tid": 1}, instant.text)

    def _process(self, worker: str) -> Generator[dict[str, Any], None, int]:
        """The worker's; what a viewer calls it is said once."""
        if worker not in self._processes:
            self._processes[worker] = _JOB + 2 * (len(self._processes) + 1)
            yield from _named(self._processes[worker], worker)
        return self._processes[worker]

    def _thread(
        self, process: int, slot: int | None, lane: int
    ) -> Generator[dict[str, Any], None, int]:
        """Slots first, then what had none, then what overlaps."""
        row = (_ROWS - 1 if slot is None else slot) + _ROWS * lane
        thread = 2 * row + 1
        if (process, thread) not in self._threads:
            self._threads.add((process, thread))
            text = "no slot" if slot is None else f"slot {slot}"
            place = {"pid": process, "tid": thread}
            yield _about("thread_name", place, name=f"{text} ({lane + 1})" if lane else text)
            yield _about("thread_sort_index", place, sort_index=thread)
        return thread

    def _end_of(self, attempt: TracedAttempt) -> float:
        return self._now if attempt.ended_at is None else attempt.ended_at

    def _us(self, at: float) -> int:
        return round((at - self._begun_at) * 1_000_000)


def _phases(attempt: TracedAttempt, begun: int, ended: int) -> dict[str, tuple[int, int]]:
    """One behind the other, though they took turns: what counts is how long each was."""
    at = begun
    shown: dict[str, tuple[int, int]] = {}
    for name in (*PHASES, "other"):
        us = min(attempt.phases_us.get(name, 0), ended - at)
        if us > 0:
            shown[name] = (at, at + us)
            at += us
    return shown


def _aside(attempt: TracedAttempt, is_backup: bool) -> str:
    """What is said behind a name: Perfetto colours slices by their names, and by nothing else."""
    said = ["speculative"] if is_backup else []
    if attempt.state in _COLOURS:
        said.append(attempt.state.lower())
    return f" ({', '.join(said)})" if said else ""


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
