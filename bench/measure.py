"""What a measure is: a name, what it runs beside what, its target. Must not know how it is shown.

A module with measures has `MEASURES`, and a line in `registry.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

from bench.site import Site

BOUND_A_S = 0.93
"""What two processes take for A on the machine for which the targets were set."""

Lane = Callable[[], float]
"""Runs one thing once, checks its result (raises WrongResult), and returns its figure."""


class WrongResult(Exception):
    """What was measured gave another answer than it should."""


@dataclass(frozen=True, slots=True)
class Target:
    """A bound of the figure itself, or of its ratio to the baseline's; of their medians."""

    limit: float
    is_ratio: bool = False
    is_floor: bool = False
    is_time: bool = False
    """How long something may take on the machine where the bound of A takes BOUND_A_S."""

    def text(self, unit: str, slowness: float = 1.0) -> str:
        """`slowness`: how many times longer the bound takes here."""
        sign = ">=" if self.is_floor else "<="
        if self.is_time and slowness != 1.0:
            return f"{sign} {self.limit * slowness:.3g} {unit} ({self.limit:g} scaled)"
        return f"{sign} {float(f'{self.limit:.3g}'):g} {'x' if self.is_ratio else unit}"

    def is_met(self, value: float, ratio: float | None, slowness: float = 1.0) -> bool | None:
        """None where there is nothing to compare."""
        seen = ratio if self.is_ratio else value
        if seen is None:
            return None
        limit = self.limit * slowness if self.is_time else self.limit
        return seen >= limit if self.is_floor else seen <= limit


def at_most(ratios: Mapping[str, float]) -> dict[str, Target]:
    """By peer: at most so many times what it takes."""
    return {name: Target(ratio, is_ratio=True) for name, ratio in ratios.items()}


@dataclass(frozen=True, slots=True)
class Lanes:
    """What takes turns in a round."""

    ours: Lane
    baseline: Lane | None = None
    others: Mapping[str, Lane] = field(default_factory=dict)
    """Peers, by name."""
    peak_bytes: Callable[[], int] | None = None
    """One more run, not timed: the most memory that all processes of the cluster took (PSS)."""
    profile: Callable[[], dict[str, Any]] | None = None
    """One more run: where its time went, as `profile.split` tells it."""


@dataclass(frozen=True, slots=True)
class Measure:
    """One line of the table."""

    name: str
    what: str
    unit: str
    """`s`, `ms`, `us`, `B`, `MB`, `1/s`."""
    baseline: str
    """What the ratio is to; empty: there is none."""
    target: Target | None
    open: Callable[[Site], AbstractContextManager[Lanes]]
    peer_targets: Mapping[str, Target] = field(default_factory=dict)
    """Of the ratio to what that peer takes, or does."""
