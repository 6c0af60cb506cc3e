"""Stops a task that runs too long, from within: Spark has no time limit for tasks.

Must not know what the task does.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def time_limit(seconds: float | None, error: BaseException) -> Iterator[None]:
    """Raise that error within the block after so long. Only the main thread can be stopped so; it
    is where a Python worker of Spark's runs its tasks.
    """
    if seconds is None or threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(*_: object) -> None:
        raise error

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
