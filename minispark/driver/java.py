"""Java below this process: found, and killed when it does not answer.

Must not know Spark's API.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress

import psutil

ASK_INTERVAL_S = 5.0
STUCK_S = 60.0
"""A Java that does not say for so long whether it is alive never will: a pause to collect is
shorter.
"""

logger = logging.getLogger("minispark.driver")


def kill_below() -> None:
    """Kill all processes below this one."""
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            process.kill()


class JavaWatch:
    """Asks again and again, in a thread of its own; another one looks how long that takes."""

    def __init__(
        self,
        pulse: Callable[[], None],
        kill: Callable[[], None] = kill_below,
        ask_interval_s: float = ASK_INTERVAL_S,
        stuck_s: float = STUCK_S,
    ) -> None:
        """`pulse` returns once Java has answered, or at once where there is none."""
        self._pulse = pulse
        self._kill = kill
        self._ask_interval_s = ask_interval_s
        self._stuck_s = stuck_s
        self._asked_at: float | None = None

    def start(self) -> None:
        for target in (self._ask, self._look):
            threading.Thread(target=target, name=f"java{target.__name__}", daemon=True).start()

    def _ask(self) -> None:
        while True:
            self._asked_at = time.monotonic()
            self._pulse()
            self._asked_at = None
            time.sleep(self._ask_interval_s)

    def _look(self) -> None:
        while True:
            time.sleep(self._ask_interval_s)
            asked_at = self._asked_at
            if asked_at is not None and time.monotonic() - asked_at > self._stuck_s:
                logger.error("Java does not answer; it is killed, and started again")
                self._kill()
                self._asked_at = None
