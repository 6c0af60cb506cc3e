"""Whether and when a process that ended is started again. Pure. Source: CLI.md, `restart`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RestartLimits:
    """`policy`: on-failure, always or never. Delays in seconds."""

    policy: str = "on-failure"
    backoff_min_s: float = 0.2
    backoff_max_s: float = 10.0
    attempts_max: int = 5
    window_s: float = 60.0


class RestartPolicy:
    """Of one process: remembers its ends within the window."""

    def __init__(self, limits: RestartLimits) -> None:
        self._limits = limits
        self._ends: list[float] = []

    def delay_after(self, exit_code: int, now: float) -> float | None:
        """Seconds until the next start; None when there is none (FATAL, or an end that was
        meant).
        """
        limits = self._limits
        if limits.policy == "never" or (limits.policy == "on-failure" and exit_code == 0):
            return None
        self._ends = [end for end in self._ends if now - end < limits.window_s]
        self._ends.append(now)
        if len(self._ends) > limits.attempts_max:
            return None
        return min(limits.backoff_max_s, limits.backoff_min_s * 2.0 ** (len(self._ends) - 1))
