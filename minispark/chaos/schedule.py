"""L4: what a monkey is going to break: drawn from a seed before the first fault.

The same seed gives the same schedule on the same cluster. Pure: must not know processes or clocks.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from minispark.errors import InvalidRequest
from minispark.model.settings import RestartSection

WEIGHTS = {
    "kill-worker": 5,
    "kill-executor": 4,
    "pause-worker": 2,
    "slow-worker": 2,
    "corrupt-shuffle": 2,
    "kill-master": 1,
}
"""Actions, each with its weight."""
KILLS = ("kill-worker", "kill-master")
"""Those after which the supervisor starts the victim again."""
FAULTS_MAX = 10_000
SLACK_S = 5.0
"""A fault may come that much later than planned."""


@dataclass(frozen=True, slots=True)
class Planned:
    """One fault: `at_s` seconds after the start. `target`: a process; None for a file."""

    at_s: float
    action: str
    target: str | None
    victim_seed: int
    """Of what is chosen among what is there then: an executor, a file, a span."""


class KillBudget:
    """How often each process may be killed, so that its supervisor never gives it up for good."""

    def __init__(self, restart: RestartSection) -> None:
        self._kills_max = 0 if restart.policy == "never" else restart.attempts_max
        self._window_s = restart.window_s + SLACK_S
        self._kills: dict[str, list[float]] = {}

    def allows(self, name: str, at_s: float) -> bool:
        """Whether another kill at that time leaves the process a restart."""
        recent = [kill for kill in self._kills.get(name, []) if at_s - kill < self._window_s]
        return len(recent) < self._kills_max

    def spend(self, name: str, at_s: float, kills: int = 1) -> None:
        self._kills.setdefault(name, []).extend([at_s] * kills)


def schedule(
    seed: int, duration_s: float, every_s: float, workers: Sequence[str], restart: RestartSection
) -> list[Planned]:
    """Faults over `duration_s`, `every_s` apart on average; both are above 0.

    Raises InvalidRequest for more than FAULTS_MAX of them.
    """
    if duration_s / every_s > FAULTS_MAX:
        raise InvalidRequest(f"that is more than {FAULTS_MAX} faults: let them be further apart")
    rng = random.Random(seed)
    budget = KillBudget(restart)
    planned: list[Planned] = []
    at_s = rng.uniform(0, every_s)
    while at_s < duration_s:
        victims = {action: _victims(action, at_s, workers, budget) for action in WEIGHTS}
        actions = [action for action in WEIGHTS if victims[action]]
        action = rng.choices(actions, weights=[WEIGHTS[action] for action in actions])[0]
        target = rng.choice(victims[action])
        if action in KILLS and target is not None:
            budget.spend(target, at_s)
        planned.append(Planned(round(at_s, 3), action, target, rng.randrange(2**32)))
        at_s += rng.uniform(0.5, 1.5) * every_s
    return planned


def _victims(
    action: str, at_s: float, workers: Sequence[str], budget: KillBudget
) -> Sequence[str | None]:
    """Whom the action may hit then."""
    if action == "corrupt-shuffle":
        return [None]
    names = ["master"] if action == "kill-master" else workers
    return [name for name in names if action not in KILLS or budget.allows(name, at_s)]
