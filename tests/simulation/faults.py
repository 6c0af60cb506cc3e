"""What goes wrong, and how often."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Faults:
    """Chances per task or message, and mean times between faults of a worker, in seconds."""

    crash_every_s: float = 20.0
    for_good: float = 0.05
    """A worker that is killed never comes back; but the first one always does."""
    pause_every_s: float = 25.0
    drain_every_s: float = 60.0
    kill_java: float = 0.02
    """Below a Spark driver: its application loses all that it made."""
    fail: float = 0.05
    lose_output: float = 0.03
    evict: float = 0.15
    """What a worker's cache has is gone when a task looks for it."""
    duplicate: float = 0.05
    lose_message: float = 0.01
    """On a stream a lost message means a broken session."""
    cancel: float = 0.1
    kill_master: float = 0.002
    """Per event: before its facts are durable, or after that and before anything is sent."""
    full_disk: float = 0.005
    """Per batch: the journal cannot be written for a while."""
    late_disconnect: float = 0.2
    """The end of a session is noticed only when the worker may have begun another one."""
    delay_s: float = 0.05
    wrong_path: float = 0.1
    """A foreign worker says that it wrote somewhere else than it should."""
    hang: float = 0.2
    """A foreign worker takes a task, and never says anything of it."""


NO_FAULTS = Faults(
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, full_disk=0, late_disconnect=0, wrong_path=0, hang=0
)
