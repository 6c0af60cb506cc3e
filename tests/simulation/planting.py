"""How a bug is planted in the real code, and looked for. Must not know which bugs there are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from minispark.errors import MiniSparkError
from minispark.model import effects as fx
from tests.simulation.simulator import Simulation

SEEDS_MAX = 200


@dataclass(frozen=True)
class PlantedBug:
    """`plant` changes the code; `rule` is what the simulation says then. `options` are those of the
    simulation: where what the bug needs is rare, they make it frequent.
    """

    name: str
    rule: str
    plant: Callable[[pytest.MonkeyPatch], None]
    options: dict[str, Any]

    def first_seen(self) -> tuple[int, str]:
        """The first seed that fails by the rule, and what it said. Fails when none of SEEDS_MAX
        does.
        """
        with pytest.MonkeyPatch.context() as patch:
            self.plant(patch)
            for seed in range(SEEDS_MAX):
                try:
                    Simulation(seed, **self.options).run()
                except (AssertionError, MiniSparkError, KeyError) as error:
                    if self.rule in str(error):
                        return seed, str(error)
        raise AssertionError(f"not seen in {SEEDS_MAX} seeds: {self.name}")

    def run_without(self, seed: int) -> None:
        """The same run of the real code: nothing may contradict itself there."""
        Simulation(seed, **self.options).run()


BUGS: list[PlantedBug] = []


def bug(
    name: str, rule: str, **options: Any
) -> Callable[[Callable[[pytest.MonkeyPatch], None]], None]:
    def add(plant: Callable[[pytest.MonkeyPatch], None]) -> None:
        BUGS.append(PlantedBug(name, rule, plant, options))

    return add


def wrap(patch: pytest.MonkeyPatch, owner: Any, name: str, around: Callable[..., Any]) -> None:
    """Call `around(original, *args)` in place of the original."""
    original = getattr(owner, name)
    patch.setattr(owner, name, lambda *args, **more: around(original, *args, **more))


def without(patch: pytest.MonkeyPatch, owner: Any, name: str, kind: type[Any]) -> None:
    """Of what a method asks for, effects of that kind are never carried out."""

    def around(original: Callable[..., Any], *args: Any) -> Any:
        effects: list[fx.Effect] = args[-1]
        before = len(effects)
        answer = original(*args)
        effects[before:] = [e for e in effects[before:] if not isinstance(e, kind)]
        return answer

    wrap(patch, owner, name, around)


def nothing(patch: pytest.MonkeyPatch, owner: Any, name: str) -> None:
    patch.setattr(owner, name, lambda *_, **__: None)
