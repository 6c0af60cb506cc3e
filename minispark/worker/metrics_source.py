"""A worker's metrics at this moment: its counters, its cache, its processes and its host together.

Any thread may ask, as often as it likes. Must not know HTTP, nor how tasks run.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from minispark.metrics.prometheus import Family
from minispark.metrics.worker_metrics import CacheUse, WorkerCounters, WorkerUse
from minispark.storage.partition_cache import PartitionCache
from minispark.supervisor.host_sampler import INTERVAL_S, HostSampler
from minispark.supervisor.process_memory import rss_bytes
from minispark.worker.identity import WorkerId


class MetricsSource:
    """Asks everybody who knows something."""

    def __init__(
        self,
        name: str,
        slots: int,
        worker_id: WorkerId,
        counters: WorkerCounters,
        cache: PartitionCache,
        active_tasks: Callable[[], int],
        executor_pids: Callable[[], Sequence[int]],
    ) -> None:
        self._name = name
        self._slots = slots
        self._worker_id = worker_id
        self._counters = counters
        self._cache = cache
        self._active_tasks = active_tasks
        self._executor_pids = executor_pids
        self._sampler = HostSampler()
        self._lock = threading.Lock()
        # Protected by self._lock:
        self._executors = 0
        self._executors_rss_bytes = 0
        self._executors_taken_at = -INTERVAL_S

    def document(self) -> dict[str, Any]:
        """WorkerMetrics."""
        return self._counters.document(self._use(), time.monotonic())

    def families(self) -> list[Family]:
        return self._counters.families(self._use(), time.monotonic())

    def _use(self) -> WorkerUse:
        cache = self._cache
        executors, executors_rss_bytes = self._of_executors()
        return WorkerUse(
            name=self._name,
            worker_id=self._worker_id.value,
            slots=self._slots,
            active_tasks=self._active_tasks(),
            executors=executors,
            executors_rss_bytes=executors_rss_bytes,
            host=self._sampler.figures(),
            cache=CacheUse(cache.hits, cache.misses, cache.memory_bytes, cache.spilled_bytes),
        )

    def _of_executors(self) -> tuple[int, int]:
        """How many there are, and their memory; not older than INTERVAL_S."""
        with self._lock:
            now = time.monotonic()
            if now - self._executors_taken_at >= INTERVAL_S:
                pids = self._executor_pids()
                self._executors = len(pids)
                self._executors_rss_bytes = sum(map(rss_bytes, pids))
                self._executors_taken_at = now
            return self._executors, self._executors_rss_bytes
