"""Signals that ask a process to stop, handed on by who waits for another one that is to stop.

Must not know what stops.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from types import FrameType
from typing import Any, Self

from minispark.supervisor.forked import signals_blocked

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
"""Ctrl-C, `kill`, a terminal that is closed, Ctrl-\\."""


class StopSignals:
    """While it is entered, such a signal does not end this process: it is handed on, as it is.

    One that was ignored before (`nohup`) stays ignored. For a process's main thread.
    """

    def __init__(self) -> None:
        self.received: list[int] = []
        self._receiver: Callable[[int], None] | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        for number in STOP_SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._take)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def hand_to(self, receiver: Callable[[int], None]) -> None:
        """Those to come, and those that came before there was anybody to tell."""
        with signals_blocked():
            self._receiver = receiver
            for number in self.received:
                receiver(number)

    def _take(self, number: int, _: FrameType | None) -> None:
        self.received.append(number)
        if self._receiver is not None:
            self._receiver(number)
