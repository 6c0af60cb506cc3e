"""What the attempts of a stage took: rows, bytes and time, added up. Must not know who counts."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class OperatorFigures:
    """One node of a stage, over all its tasks."""

    records: int = 0
    us: int = 0


@dataclass(frozen=True, slots=True)
class StageFigures:
    """Sums over the accepted attempts of which a master heard. Times of day are UNIX seconds."""

    tasks: int = 0
    bytes_read: int = 0
    bytes_written: int = 0
    bytes_spilled: int = 0
    records: int = 0
    phases_us: dict[str, int] = field(default_factory=dict)
    """By `PHASES`, and `other`."""
    operators: dict[str, OperatorFigures] = field(default_factory=dict)
    """By node id."""
    first_started_at: float | None = None
    last_accepted_at: float | None = None
    completed_at: float | None = None


@dataclass(frozen=True, slots=True)
class Span:
    """Where and when an attempt ran. Times are seconds of one clock: the monotonic one of the
    worker's host in a worker's messages, UNIX time in events and in the journal.
    """

    slot: int
    begun_s: float
    ended_s: float | None = None
    """None while it runs."""


PHASES = ("read", "wait", "fetch", "compute", "merge", "shuffle write", "write")
"""What an executor's time is told apart into; the rest is `other`. To `wait` is for
outputs that are still being made.
"""
