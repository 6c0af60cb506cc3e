"""One process's life as a state machine: whether and when it is started again. Pure.

Time and chance are given. Must not know processes, pids or signals. Source: CLI.md, `restart`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

JITTER = 0.25
"""A delay is up to this part longer, so that what died together does not come back together."""


class ProcessState(Enum):
    STARTING = "STARTING"
    RUNNING = "RUNNING"
    """It said that it is ready."""
    BACKOFF = "BACKOFF"
    """It ended and will be started again."""
    STOPPING = "STOPPING"
    """It was told to stop."""
    STOPPED = "STOPPED"
    FATAL = "FATAL"
    """It ended too often within the window."""


@dataclass(frozen=True, slots=True)
class RestartLimits:
    """`policy`: on-failure, always or never. Delays in seconds."""

    policy: str = "on-failure"
    backoff_min_s: float = 0.2
    backoff_max_s: float = 10.0
    attempts_max: int = 5
    window_s: float = 60.0


class Life:
    """Of one supervised process. `start_due` and `kill_due` are monotonic seconds, or None."""

    def __init__(self, limits: RestartLimits, draw: Callable[[], float]) -> None:
        """`draw` gives numbers in [0, 1)."""
        self._limits = limits
        self._draw = draw
        self._ends: list[float] = []
        self._comes_back = False
        self.state = ProcessState.STOPPED
        self.start_due: float | None = None
        self.kill_due: float | None = None
        """When one that was told to stop is killed."""
        self.is_retired = False
        """It is to be forgotten once it has stopped."""

    def started(self) -> None:
        self.state, self.start_due = ProcessState.STARTING, None

    def ready(self) -> bool:
        """It does its work; returns whether that is news."""
        is_news = self.state is ProcessState.STARTING
        if is_news:
            self.state = ProcessState.RUNNING
        return is_news

    def stop(self, kill_due: float, *, comes_back: bool = False, is_retired: bool = False) -> bool:
        """Somebody wants it to stop, and then to come back, or to be forgotten; returns whether
        there is a process to tell.
        """
        self.is_retired = self.is_retired or is_retired
        self._comes_back = comes_back
        if self.state in (ProcessState.STARTING, ProcessState.RUNNING, ProcessState.STOPPING):
            self.state, self.kill_due = ProcessState.STOPPING, kill_due
            return True
        if comes_back:
            self._ends.clear()
            self.state, self.start_due = ProcessState.BACKOFF, 0.0
        else:
            self.state, self.start_due = ProcessState.STOPPED, None
        return False

    def ended(self, exit_code: int, now: float) -> float | None:
        """The process is gone; returns seconds until the next start, None when there is none."""
        self.kill_due = None
        if self.state is ProcessState.STOPPING:
            self._ends.clear()
            if not self._comes_back:
                self.state = ProcessState.STOPPED
                return None
            self._comes_back = False
            return self._back_off(0.0, now)
        limits = self._limits
        if limits.policy == "never" or (limits.policy == "on-failure" and exit_code == 0):
            self.state = ProcessState.FATAL if exit_code else ProcessState.STOPPED
            return None
        self._ends = [end for end in self._ends if now - end < limits.window_s]
        self._ends.append(now)
        if len(self._ends) > limits.attempts_max:
            self.state = ProcessState.FATAL
            return None
        delay_s = limits.backoff_min_s * 2.0 ** (len(self._ends) - 1)
        delay_s = min(limits.backoff_max_s, delay_s) * (1 + JITTER * self._draw())
        return self._back_off(delay_s, now)

    def _back_off(self, delay_s: float, now: float) -> float:
        self.state, self.start_due = ProcessState.BACKOFF, now + delay_s
        return delay_s
