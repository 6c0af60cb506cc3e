"""L4: keeping stopped processes stopped, or slow, for a while, and letting them go on for sure.

Must not know why.
"""

from __future__ import annotations

import signal
import threading
import time
from types import TracebackType
from typing import Self

from minispark.chaos.faults import SLOWNESS, Inflicted

HELD_S = 5.0
"""How long, when nobody says."""
SLICE_S = 0.02
"""A slow worker's turn."""


class Hold:
    """Of what was just inflicted, in a thread of its own, until its time or `done.is_over`.

    When the block ends, it ends at once.
    """

    def __init__(self, done: Inflicted, duration_s: float) -> None:
        self._done = done
        self._duration_s = duration_s
        self._has_ended = threading.Event()
        """Not the thread's own end: a `join` that a signal interrupts takes a thread for ended."""

    def __enter__(self) -> Self:
        threading.Thread(target=self._keep, name="hold").start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._done.is_over.set()
        self._has_ended.wait()

    @property
    def is_over(self) -> bool:
        return self._has_ended.is_set()

    def wait(self) -> None:
        """Until its time is over."""
        self._has_ended.wait()

    def _keep(self) -> None:
        deadline = time.monotonic() + self._duration_s
        try:
            if not self._done.is_slow:
                self._done.is_over.wait(self._duration_s)
            while time.monotonic() < deadline and not self._done.is_over.is_set():
                self._done.signal_held(signal.SIGCONT)
                self._done.is_over.wait(SLICE_S)
                self._done.signal_held(signal.SIGSTOP)
                self._done.is_over.wait(SLICE_S * (SLOWNESS - 1))
        finally:
            # by the thread that stops it: nothing does so afterwards
            self._done.signal_held(signal.SIGCONT)
            self._has_ended.set()
