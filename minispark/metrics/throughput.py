"""How many records a second, lately: the documented throughput. Must not know a clock."""

from __future__ import annotations

from collections import deque

WINDOW_S = 30
"""The rate is over so many seconds, or over the time since the start when that is less."""


class Throughput:
    """Records by the second in which they were counted. One thread adds; any may ask."""

    def __init__(self, started_at: float) -> None:
        self._started_at = started_at
        self._seconds: deque[list[int]] = deque()
        """(second, records), oldest first; those beyond the window leave."""

    def add(self, records: int, now: float) -> None:
        second = int(now)
        if self._seconds and self._seconds[-1][0] == second:
            self._seconds[-1][1] += records
            return
        self._seconds.append([second, records])
        while self._seconds[0][0] <= second - WINDOW_S:
            self._seconds.popleft()

    def per_second(self, now: float) -> float:
        """0 when there was nothing within the window."""
        records = sum(n for second, n in list(self._seconds) if second > now - WINDOW_S)
        age_s = min(float(WINDOW_S), now - self._started_at)
        return records / age_s if age_s > 0 else 0.0
