"""What goes wrong, and how often."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Faults:
    """Chances per task or message, and mean times between faults of a worker, in seconds."""

    crash_every_s: float = 20.0
    pause_every_s: float = 25.0
    drain_every_s: float = 60.0
    fail: float = 0.05
    lose_output: float = 0.03
    duplicate: float = 0.05
    lose_message: float = 0.01
    """On a stream a lost message means a broken session."""
    cancel: float = 0.1
    kill_master: float = 0.002
    """Per event: before its facts are durable, or after that and before anything is sent."""
    delay_s: float = 0.05
    hang: float = 0.2
    """A foreign worker takes a task, and never says anything of it."""


NO_FAULTS = Faults(0, 0, 0, 0, 0, 0, 0, 0, 0, hang=0)
