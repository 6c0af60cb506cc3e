"""A worker's metrics at this moment: its counters, its cache, its processes and its host together.

Any thread may ask, as often as it likes. Must not know HTTP, nor how tasks run.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from minispark.metrics.prometheus import Family
from minispark.metrics.worker_load import WorkerLoad
from minispark.metrics.worker_metrics import CacheUse, WorkerCounters, WorkerUse
from minispark.storage.partition_cache import PartitionCache
from minispark.supervisor.host_sampler import HostSampler
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
        at_work: Callable[[], tuple[int, int, WorkerLoad | None]],
    ) -> None:
        """`at_work`: the agent's active tasks, its executors, and what its processes use."""
        self._name = name
        self._slots = slots
        self._worker_id = worker_id
        self._counters = counters
        self._cache = cache
        self._at_work = at_work
        self._sampler = HostSampler()

    def document(self) -> dict[str, Any]:
        """WorkerMetrics."""
        return self._counters.document(self._use(), time.monotonic())

    def families(self) -> list[Family]:
        return self._counters.families(self._use(), time.monotonic())

    def _use(self) -> WorkerUse:
        cache = self._cache
        active_tasks, executors, load = self._at_work()
        return WorkerUse(
            name=self._name,
            worker_id=self._worker_id.value,
            slots=self._slots,
            active_tasks=active_tasks,
            executors=executors,
            cpu_percent=load.cpu_percent if load is not None else 0.0,
            rss_bytes=load.rss_bytes if load is not None else 0,
            host=self._sampler.figures(),
            cache=CacheUse(cache.hits, cache.misses, cache.memory_bytes, cache.spilled_bytes),
        )
