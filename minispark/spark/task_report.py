"""What comes back of each task that Spark ran, in an accumulator: its outcome, when and where it
ran, what it printed.

Must not import pyspark: Spark's Python workers have no more than this package.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from minispark.model.plan import TaskOutcome

Place: TypeAlias = tuple[int, int]
"""A stage's index, and a partition of it."""
PRINTS_CHARS_MAX = 64 * 1024
"""What one task may print: all of it passes the driver."""


@dataclass(frozen=True, slots=True)
class RanAt:
    """Where and when a task ran, in seconds of that host's monotonic clock."""

    host_id: str
    pid: int
    begun_s: float
    ended_s: float


@dataclass(frozen=True, slots=True)
class TaskReport:
    """Of one task that ended well."""

    written_as: str
    """An id of this run of the task: below it lies the part of the user's, where there is one."""
    is_in_place: bool
    """A final one's files lie where the driver wants them."""
    outcome: TaskOutcome
    ran: RanAt
    prints: str = ""


Reports: TypeAlias = dict[Place, TaskReport]


class Sink(Protocol):
    """A `pyspark.Accumulator` of MergedReports."""

    def add(self, term: Reports) -> None: ...


class MergedReports:
    """How an accumulator adds reports up: a task that ran twice counts once. Has the methods of
    `pyspark.AccumulatorParam`.
    """

    def zero(self, value: Reports) -> Reports:
        return {}

    def addInPlace(self, one: Reports, other: Reports) -> Reports:
        one.update(other)
        return one


class Prints(io.TextIOBase):
    """A standard output that keeps its beginning."""

    def __init__(self) -> None:
        self._pieces: list[str] = []
        self._chars_left = PRINTS_CHARS_MAX

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        if self._chars_left > 0:
            self._pieces.append(text[: self._chars_left])
            self._chars_left -= len(text)
            if self._chars_left <= 0:
                self._pieces.append(f"\n(prints no more: {PRINTS_CHARS_MAX >> 10} KiB)\n")
        return len(text)

    @property
    def text(self) -> str:
        return "".join(self._pieces)
