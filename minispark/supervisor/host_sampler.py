"""What the host and this process use now, read from the operating system at most once a second.

Whoever asks more often gets the last answer: a shorter interval says nothing of a processor's use,
and the reading costs. Must not know who asks.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import psutil

from minispark.metrics.process_metrics import HostFigures

INTERVAL_S = 1.0


class HostSampler:
    """Samples for any thread. (`psutil.cpu_percent` keeps a history for each thread of its own.)"""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._process = psutil.Process()
        self._lock = threading.Lock()
        # Protected by self._lock:
        self._taken_at = clock()
        self._host_s = _host_s()
        self._figures = self._measure(0.0, 0.0, self._process_s())

    def figures(self) -> HostFigures:
        """Not older than INTERVAL_S; percentages are of the time since the figures before."""
        with self._lock:
            now = self._clock()
            elapsed_s = now - self._taken_at
            if elapsed_s < INTERVAL_S:
                return self._figures
            busy_s, all_s = _host_s()
            of_all = all_s - self._host_s[1]
            host = (busy_s - self._host_s[0]) / of_all if of_all > 0 else 0.0
            cpu_s = self._process_s()
            own = (cpu_s - self._figures.process_cpu_s) / elapsed_s
            self._taken_at, self._host_s = now, (busy_s, all_s)
            self._figures = self._measure(100.0 * min(1.0, max(0.0, host)), 100.0 * own, cpu_s)
            return self._figures

    def _process_s(self) -> float:
        times = self._process.cpu_times()
        return float(times.user + times.system)

    def _measure(self, host_percent: float, own_percent: float, cpu_s: float) -> HostFigures:
        memory = psutil.virtual_memory()
        return HostFigures(
            cpu_percent=host_percent,
            memory_used_bytes=memory.total - memory.available,
            memory_size_bytes=memory.total,
            memory_percent=memory.percent,
            process_cpu_percent=own_percent,
            process_cpu_s=cpu_s,
            process_rss_bytes=self._process.memory_info().rss,
        )


def _host_s() -> tuple[float, float]:
    """Seconds that the host's processors were busy, and all, since it started. What guests take is
    in user time already; waiting for a disk is idle.
    """
    times = psutil.cpu_times()
    guests_s = getattr(times, "guest", 0.0) + getattr(times, "guest_nice", 0.0)
    all_s = float(sum(times) - guests_s)
    return all_s - float(times.idle + getattr(times, "iowait", 0.0)), all_s
