"""Where a task's time goes: seconds of each phase, told apart by a few clock readings a batch.

Pure: the clock is an argument. Must not know what is done in a phase.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")

Label = tuple[str, str]
"""A phase, and the node that it works for; the node may be empty."""
OTHER: Label = ("other", "")
PHASE_US_MIN = 50
"""What takes less in a task is not worth its place in the report."""


class PhaseClock:
    """Seconds by label. At any moment exactly one label runs: an inner one stops the outer one."""

    def __init__(self, read_clock: Callable[[], float]) -> None:
        self._read_clock = read_clock
        self._running = OTHER
        self._since = read_clock()
        self._seconds: dict[Label, float] = {}

    @contextmanager
    def phase(self, phase: str, node_id: str = "") -> Iterator[None]:
        """Within the block that label runs."""
        outer = self._switch((phase, node_id))
        try:
            yield
        finally:
            self._switch(outer)

    def timed(self, items: Iterable[T], phase: str, node_id: str = "") -> Iterator[T]:
        """The items; that label runs while one is made, and not while it is used."""
        label = (phase, node_id)
        source = iter(items)
        while True:
            outer = self._switch(label)
            try:
                item = next(source)
            except StopIteration:
                return
            finally:
                self._switch(outer)
            yield item
            del item  # it need not live while the next one is made

    def _switch(self, label: Label) -> Label:
        now = self._read_clock()
        outer = self._running
        self._seconds[outer] = self._seconds.get(outer, 0.0) + now - self._since
        self._running, self._since = label, now
        return outer

    def phases_us(self) -> dict[str, int]:
        """Whole microseconds of each phase that took PHASE_US_MIN, so far."""
        self._switch(self._running)
        sums: dict[str, float] = {}
        for (phase, _), seconds in self._seconds.items():
            sums[phase] = sums.get(phase, 0.0) + seconds
        rounded = ((phase, round(1e6 * seconds)) for phase, seconds in sums.items())
        return {phase: us for phase, us in rounded if us >= PHASE_US_MIN}

    def node_us(self, node_id: str) -> int:
        """Whole microseconds that ran for that node, in whatever phase, so far."""
        self._switch(self._running)
        return round(1e6 * sum(s for (_, node), s in self._seconds.items() if node == node_id))
