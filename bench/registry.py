"""Every measure, by name. Must not know what they do."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Iterable, Sequence
from difflib import get_close_matches

from bench.measure import Measure

MODULES = (
    "bench.warm", "bench.cold", "bench.latency", "bench.small", "bench.scaling", "bench.memory",
    "bench.passes", "bench.observed",
)  # fmt: skip
"""Each has `MEASURES`; the order of the table. One that is not there is passed over."""


class UnknownMeasure(Exception):
    """Nobody registered a measure of that name."""


def all_measures(modules: Iterable[str] = MODULES) -> dict[str, Measure]:
    """By name, in the order of the table. Raises ValueError when two have one name."""
    found: dict[str, Measure] = {}
    for name in modules:
        if importlib.util.find_spec(name) is None:
            continue
        for measure in getattr(importlib.import_module(name), "MEASURES", ()):
            if measure.name in found:
                raise ValueError(f"two measures are called {measure.name}")
            found[measure.name] = measure
    return found


def chosen(names: Sequence[str], known: dict[str, Measure]) -> list[Measure]:
    """Those of these names; all of them for none. Raises UnknownMeasure."""
    for name in names:
        if name not in known:
            near = get_close_matches(name, known, 1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
            raise UnknownMeasure(f"no measure is called {name}; {hint}")
    return [known[name] for name in names] if names else list(known.values())
