"""Interleaved rounds, and what they say: median and spread. Pure but for the lanes that it runs."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.measure import Lane, Lanes


@dataclass(frozen=True, slots=True)
class Spread:
    """Of several values: their median, the least and the greatest."""

    median: float
    min: float
    max: float
    values: tuple[float, ...]

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Of at least one value."""
        return cls(statistics.median(values), min(values), max(values), tuple(values))

    def ratio_to(self, other: Spread) -> Spread:
        """Round by round: what drifts between rounds drifts for both."""
        pairs = zip(self.values, other.values, strict=True)
        return Spread.of([mine / theirs for mine, theirs in pairs])


@dataclass(frozen=True, slots=True)
class Figures:
    """What the rounds of one measure gave."""

    ours: Spread
    baseline: Spread | None
    ratio: Spread | None
    others: dict[str, Spread]
    others_ratio: dict[str, Spread]
    """Ours to theirs: below 1 we are faster."""
    peak_bytes: int | None
    profile: dict[str, Any] | None = None


def run_rounds(
    lanes: Lanes, rounds: int, on_round: Callable[[int], None] = lambda _: None
) -> Figures:
    """`rounds` rounds after a discarded one; another lane begins each. Raises WrongResult."""
    found: dict[str, list[float]] = {}
    named: Mapping[str, Lane] = {"": lanes.ours, **lanes.others}
    if lanes.baseline is not None:
        named = {**named, "baseline": lanes.baseline}
    names = list(named)
    for number in range(rounds + 1):
        on_round(number)
        first = number % len(names)
        for name in names[first:] + names[:first]:
            figure = named[name]()
            if number:
                found.setdefault(name, []).append(figure)
    spreads = {name: Spread.of(values) for name, values in found.items()}
    ours, baseline = spreads.pop(""), spreads.pop("baseline", None)
    return Figures(
        ours=ours,
        baseline=baseline,
        ratio=None if baseline is None else ours.ratio_to(baseline),
        others=spreads,
        others_ratio={name: ours.ratio_to(theirs) for name, theirs in spreads.items()},
        peak_bytes=lanes.peak_bytes() if lanes.peak_bytes is not None else None,
        profile=lanes.profile() if lanes.profile is not None else None,
    )
