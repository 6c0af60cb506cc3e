"""The latest latencies, and what they say. Must not know a clock."""

from __future__ import annotations

from collections import deque


class LatencyWindow:
    """The last `size` latencies, in milliseconds."""

    def __init__(self, size: int) -> None:
        self._latencies_ms: deque[float] = deque(maxlen=size)

    def add(self, latency_ms: float) -> None:
        self._latencies_ms.append(latency_ms)

    def mean(self) -> float:
        """0 while there are none."""
        return sum(self._latencies_ms) / len(self._latencies_ms) if self._latencies_ms else 0.0

    def percentile(self, per_cent: float) -> float:
        """The nearest-rank percentile; 0 while there are none."""
        if not self._latencies_ms:
            return 0.0
        ordered = sorted(self._latencies_ms)
        rank = max(1, -(-len(ordered) * per_cent // 100))
        return ordered[int(rank) - 1]
