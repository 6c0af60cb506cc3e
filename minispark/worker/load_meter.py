"""Measures what the processes of a worker use. Must not know who is told."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping

import psutil

from minispark.metrics.worker_load import WorkerLoad
from minispark.storage.partition_cache import PartitionCache


class LoadMeter:
    """Of the calling process and its executors. Protected by being used from one thread only."""

    def __init__(self, cache: PartitionCache, clock: Callable[[], float] = time.monotonic) -> None:
        self._cache = cache
        self._clock = clock
        self._agent = psutil.Process()
        self._cpu_s: dict[int, float] = {}
        """What each process had used when it was measured last."""
        self._measured_at: float | None = None

    def measure(self, executors: Mapping[int, int]) -> WorkerLoad:
        """`executors`: of each one's pid, the bytes that it shares with the process that forked
        it.
        """
        now = self._clock()
        rss_bytes, used_s = 0, dict[int, float]()
        for process, shared_bytes in self._processes(executors):
            try:
                with process.oneshot():
                    times = process.cpu_times()
                    rss_bytes += max(0, process.memory_info().rss - shared_bytes)
            except psutil.Error:
                continue  # it ended just now
            used_s[process.pid] = times.user + times.system
        cpu_percent = self._cpu_percent(used_s, now)
        cache = self._cache
        return WorkerLoad(
            cpu_percent,
            rss_bytes,
            cache.memory_bytes,
            cache.spilled_bytes,
            cache.hits,
            cache.misses,
        )

    def _processes(self, executors: Mapping[int, int]) -> Iterable[tuple[psutil.Process, int]]:
        yield self._agent, 0
        for pid, shared_bytes in executors.items():
            try:
                yield psutil.Process(pid), shared_bytes
            except psutil.Error:
                pass  # it ended just now

    def _cpu_percent(self, used_s: dict[int, float], now: float) -> float:
        """A process that was not there at the last time has used what it did since then."""
        before, self._cpu_s = self._cpu_s, used_s
        since, self._measured_at = self._measured_at, now
        if since is None or now <= since:
            return 0.0
        more_s = sum(used_s[pid] - before.get(pid, 0.0) for pid in used_s)
        return 100.0 * max(0.0, more_s) / (now - since)
