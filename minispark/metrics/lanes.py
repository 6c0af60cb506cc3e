"""Rows of a timeline: no two spans of one row overlap.

Clocks disagree by the time that a message takes; what overlaps by no more than that is cut to fit,
and what overlaps by more gets a row beside. Must not know what the spans are.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Hashable

CLOCK_SLACK_US = 50_000
"""A report waits about so long at most on its way to whoever reads the clock."""


class Lanes:
    """Rows, of which each place (a slot, say) has one, and more where spans overlap there."""

    def __init__(self) -> None:
        self._of: dict[Hashable, list[_Lane]] = {}

    def put(
        self, place: Hashable, begun: int, ended: int, slack: int, rows_max: int | None = None
    ) -> tuple[int, int, int] | None:
        """The span's row among those of its place, and what of it is shown there: at least 1 of
        whatever it is measured in, and cut by at most `slack` at each end. Spans come in any order.
        None: it overlaps in each of `rows_max` rows.
        """
        ended = max(ended, begun + 1)
        lanes = self._of.setdefault(place, [])
        for number, lane in enumerate(lanes):
            shown = lane.put(begun, ended, slack)
            if shown is not None:
                return number, *shown
        if rows_max is not None and len(lanes) >= rows_max:
            return None
        lanes.append(_Lane())
        lanes[-1].put(begun, ended, 0)
        return len(lanes) - 1, begun, ended


class _Lane:
    def __init__(self) -> None:
        self._begins: list[int] = []
        """In order; `_ends` belong to them."""
        self._ends: list[int] = []

    def put(self, begun: int, ended: int, slack: int) -> tuple[int, int] | None:
        """What is shown of the span; None where it does not fit in."""
        at = bisect_right(self._begins, begun)
        free_from = self._ends[at - 1] if at else begun
        free_to = self._begins[at] if at < len(self._begins) else ended
        if free_from - begun > slack or ended - free_to > slack:
            return None
        begun, ended = max(begun, free_from), min(ended, free_to)
        if ended <= begun:
            return None
        self._begins.insert(at, begun)
        self._ends.insert(at, ended)
        return begun, ended
