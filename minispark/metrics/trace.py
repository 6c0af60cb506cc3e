"""A job's attempts as Chrome trace events, which Perfetto opens: processes are workers, threads are
slots, slices are attempts with their phases.

Source of the format: the Trace Event Format document of Chromium's tracing. Must not know where the
attempts are stored.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from minispark.model.figures import PHASES

FLOWS_MAX = 5000
"""Arrows from map outputs to fetches: a viewer shows no more in a useful way."""
ERROR_CHARS_MAX = 2000
_QUEUE_THREAD = 0
"""Of attempts that no slot is known of: they waited, or their worker died with them."""
_COLOURS = {"FAILED": "terrible", "LOST": "bad", "CANCELLED": "grey"}


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


class Trace:
    """The trace of one job, piece by piece."""

    def __init__(self, begun_at: float, now: float, parents: Mapping[int, Sequence[int]]) -> None:
        """`begun_at`: what the trace's clock begins with. `now`: where attempts that run are cut.
        `parents`: which stages each stage reads.
        """
        self._begun_at = begun_at
        self._now = now
        self._parents = parents
        self._processes: dict[str, int] = {}
        self._threads: dict[tuple[int, int], None] = {}
        self._outputs: dict[int, list[tuple[int, int, float]]] = {}
        """By stage: where its accepted attempts ran, and when they ended."""
        self._flows = 0

    def events(
        self, attempts: Iterable[TracedAttempt], instants: Iterable[TracedInstant]
    ) -> Iterator[dict[str, Any]]:
        """`attempts`: in the order of their stages."""
        live_until: tuple[tuple[int, int], float] | None = None
        for attempt in attempts:
            task = (attempt.stage_index, attempt.partition)
            is_backup = (
                live_until is not None
                and live_until[0] == task
                and attempt.assigned_at < live_until[1]
            )
            ended = attempt.ended_at if attempt.ended_at is not None else self._now
            if live_until is None or live_until[0] != task or ended > live_until[1]:
                live_until = (task, ended)
            yield from self._attempt(attempt, is_backup)
        for instant in instants:
            yield from self._instant(instant)

    def _attempt(self, attempt: TracedAttempt, is_backup: bool) -> Iterator[dict[str, Any]]:
        yield from self._named(attempt.worker, attempt.slot)
        process = self._processes[attempt.worker]
        thread = _QUEUE_THREAD if attempt.slot is None else attempt.slot + 1
        begun = attempt.shown_from
        ended = attempt.ended_at if attempt.ended_at is not None else self._now
        marks = " (speculative)" if is_backup else ""
        place = {"pid": process, "tid": thread}
        event: dict[str, Any] = {
            "ph": "X",
            "name": f"{attempt.stage_id} p{attempt.partition}{marks}",
            "cat": f"attempt,{attempt.state}",
            "ts": self._us(begun),
            "dur": self._us(ended) - self._us(begun),
            **place,
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
        yield from self._phases(attempt, place, begun, ended)
        if attempt.state in ("FAILED", "LOST"):
            name = f"{attempt.state.lower()}: {attempt.stage_id} p{attempt.partition}"
            text = attempt.error[:ERROR_CHARS_MAX] if attempt.error else None
            yield self._mark(name, ended, "t", place, text)
        if attempt.state == "SUCCEEDED":
            yield from self._arrows(attempt.stage_index, place, begun)
            ends = self._outputs.setdefault(attempt.stage_index, [])
            if len(ends) < FLOWS_MAX:
                ends.append((process, thread, ended))

    def _phases(
        self, attempt: TracedAttempt, place: dict[str, int], begun: float, ended: float
    ) -> Iterator[dict[str, Any]]:
        """One behind the other, though they took turns: what counts is how long each was."""
        at, end = self._us(begun), self._us(ended)
        for name in (*PHASES, "other"):
            us = min(attempt.phases_us.get(name, 0), end - at)
            if us > 0:
                yield {"ph": "X", "name": name, "cat": "phase", "ts": at, "dur": us, **place}
                at += us

    def _arrows(
        self, stage_index: int, place: dict[str, int], begun: float
    ) -> Iterator[dict[str, Any]]:
        """From the outputs that the attempt fetched to its begin."""
        for parent in self._parents.get(stage_index, ()):
            for process, thread, ended in self._outputs.get(parent, ()):
                if self._flows >= FLOWS_MAX:
                    return
                self._flows += 1
                flow = {"name": "fetch", "cat": "shuffle", "id": self._flows}
                start = min(ended, begun)
                # within the slices that they connect, or a viewer drops them
                yield {"ph": "s", **flow, "ts": self._us(start) - 1, "pid": process, "tid": thread}
                yield {"ph": "f", "bp": "e", **flow, "ts": self._us(begun), **place}

    def _instant(self, instant: TracedInstant) -> Iterator[dict[str, Any]]:
        if instant.worker is None:
            yield self._mark(instant.name, instant.at, "g", {"pid": 0, "tid": 0}, instant.text)
            return
        yield from self._named(instant.worker, None)
        place = {"pid": self._processes[instant.worker], "tid": _QUEUE_THREAD}
        yield self._mark(instant.name, instant.at, "p", place, instant.text)

    def _mark(
        self, name: str, at: float, scope: str, place: dict[str, int], text: str | None
    ) -> dict[str, Any]:
        mark = {"ph": "i", "name": name, "cat": "event", "ts": self._us(at), "s": scope, **place}
        return {**mark, "args": {"text": text}}

    def _named(self, worker: str, slot: int | None) -> Iterator[dict[str, Any]]:
        """What a viewer calls the worker and its slot, said once."""
        if worker not in self._processes:
            self._processes[worker] = len(self._processes) + 1
            yield _name("process_name", {"pid": self._processes[worker], "tid": 0}, worker)
        process = self._processes[worker]
        thread = _QUEUE_THREAD if slot is None else slot + 1
        if (process, thread) not in self._threads:
            self._threads[process, thread] = None
            text = "queue" if slot is None else f"slot {slot}"
            yield _name("thread_name", {"pid": process, "tid": thread}, text)

    def _us(self, at: float) -> int:
        return round((at - self._begun_at) * 1_000_000)


def _name(what: str, place: dict[str, int], text: str) -> dict[str, Any]:
    return {"ph": "M", "name": what, **place, "args": {"name": text}}
