"""A worker's counters, as the documented WorkerMetrics and as Prometheus families.

Must not know a clock, the operating system or HTTP: it is given what they say.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from typing import Any

from minispark.metrics.latency import LatencyWindow
from minispark.metrics.process_metrics import HostFigures, host_families, process_families
from minispark.metrics.prometheus import (
    Family,
    counter,
    gauge,
    histogram,
    info,
    summary,
)
from minispark.metrics.throughput import Throughput

MB = 2**20
DURATION_BOUNDS_S = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 300)
"""From a task of a thousand records to `scheduler.task_timeout_s`."""
QUANTILES = (0.5, 0.99)


@dataclass(frozen=True, slots=True)
class CacheUse:
    """Of the worker's partition cache. `spilled_bytes` are on disk."""

    hits: int
    misses: int
    memory_bytes: int
    spilled_bytes: int


@dataclass(frozen=True, slots=True)
class WorkerUse:
    """What a worker is and has at one moment, beside what its tasks did."""

    name: str
    worker_id: str
    slots: int
    active_tasks: int
    executors: int
    cpu_percent: float
    """Of one processor: the agent and its executors together; see `WorkerLoad`."""
    rss_bytes: int
    host: HostFigures
    cache: CacheUse


class WorkerCounters:
    """Counts what a worker's tasks did. The agent's thread counts; any thread may ask."""

    def __init__(self, latency_window: int, started_at: float) -> None:
        """`started_at`: of the worker, in seconds of the clock that `now` is read from."""
        self._started_at = started_at
        self.succeeded = 0
        self.failed = 0
        self.records = 0
        self.busy_ms = 0.0
        self.latencies = LatencyWindow(latency_window)
        self._throughput = Throughput(started_at)
        self._by_duration = [0] * (len(DURATION_BOUNDS_S) + 1)

    def count(self, is_success: bool, records: int, latency_ms: float, now: float) -> None:
        """A task ended after `latency_ms` milliseconds."""
        if is_success:
            self.succeeded += 1
        else:
            self.failed += 1
        self.records += records
        self.busy_ms += latency_ms
        self.latencies.add(latency_ms)
        self._throughput.add(records, now)
        self._by_duration[bisect_left(DURATION_BOUNDS_S, latency_ms / 1000.0)] += 1

    def document(self, use: WorkerUse, now: float) -> dict[str, Any]:
        """WorkerMetrics (API.md, "Types")."""
        host, cache = use.host, use.cache
        succeeded, failed = self.succeeded, self.failed
        return {
            "worker_id": use.worker_id,
            "name": use.name,
            "uptime_secs": int(now - self._started_at),
            "system": {
                "cpu_usage_percent": host.cpu_percent,
                "memory_used_mb": host.memory_used_bytes / MB,
                "memory_total_mb": host.memory_size_bytes / MB,
                "memory_percent": host.memory_percent,
                "process_cpu_percent": host.process_cpu_percent,
                "process_rss_mb": host.process_rss_bytes / MB,
                "worker_cpu_percent": use.cpu_percent,
                "worker_rss_mb": use.rss_bytes / MB,
            },
            "tasks": {
                "total_executed": succeeded + failed,
                "total_succeeded": succeeded,
                "total_failed": failed,
                "active_tasks": use.active_tasks,
                "avg_latency_ms": self.latencies.mean(),
                "p50_latency_ms": self.latencies.percentile(50),
                "p99_latency_ms": self.latencies.percentile(99),
                "records_processed": self.records,
                "throughput_records_per_sec": self._throughput.per_second(now),
            },
            "cache_hits": cache.hits,
            "cache_misses": cache.misses,
            "cache_memory_mb": cache.memory_bytes / MB,
            "cache_spilled_mb": cache.spilled_bytes / MB,
        }

    def families(self, use: WorkerUse, now: float) -> list[Family]:
        """The same as Prometheus families, in base units."""
        name, own = "minispark_worker", {"worker": use.name}
        return [
            info(name, "This worker.", {**own, "worker_id": use.worker_id}),
            gauge(f"{name}_uptime_seconds", "Since its start.", now - self._started_at, own),
            gauge(f"{name}_slots", "Tasks that it can run at once.", use.slots, own),
            *self._task_families(f"{name}_", own, use, now),
            *_cache_families(f"{name}_cache_", own, use.cache),
            *host_families(f"{name}_host_", own, use.host),
            *process_families(f"{name}_process_", own, use.host),
            gauge(f"{name}_executors", "Executor processes.", use.executors, own),
            gauge(
                f"{name}_cpu_ratio",
                "Of one processor, used by the agent and its executors together.",
                use.cpu_percent / 100.0,
                own,
            ),
            gauge(
                f"{name}_resident_memory_bytes",
                "Memory of the agent and its executors together; what they share counts once.",
                use.rss_bytes,
                own,
            ),
        ]

    def _task_families(
        self, prefix: str, own: dict[str, str], use: WorkerUse, now: float
    ) -> list[Family]:
        busy_s, by_duration = self.busy_ms / 1000.0, list(self._by_duration)
        quantiles = {q: self.latencies.percentile(100 * q) / 1000.0 for q in QUANTILES}
        results = [({"result": "succeeded"}, self.succeeded), ({"result": "failed"}, self.failed)]
        return [
            counter(f"{prefix}tasks", "Task attempts that ended here.", results, own),
            gauge(f"{prefix}tasks_active", "Attempts running or queued.", use.active_tasks, own),
            counter(f"{prefix}records_processed", "Records out of tasks.", self.records, own),
            gauge(
                f"{prefix}records_per_second",
                "Records out of tasks a second, of the last 30 seconds.",
                self._throughput.per_second(now),
                own,
            ),
            summary(
                f"{prefix}task_latency_seconds",
                "How long attempts ran; quantiles of the last metrics.latency_window ones.",
                own,
                quantiles,
                busy_s,
                sum(by_duration),
            ),
            histogram(
                f"{prefix}task_duration_seconds",
                "How long attempts ran, since the worker's start.",
                own,
                DURATION_BOUNDS_S,
                by_duration,
                busy_s,
            ),
        ]


def flat(document: dict[str, Any]) -> dict[str, object]:
    """WorkerMetrics without its sections, as a line of a log has it; figures to three digits
    behind the point.
    """
    values: dict[str, object] = {}
    for name, value in document.items():
        if isinstance(value, dict):
            values |= flat(value)
        else:
            values[name] = round(value, 3) if isinstance(value, float) else value
    return values


def _cache_families(prefix: str, own: dict[str, str], cache: CacheUse) -> list[Family]:
    return [
        counter(f"{prefix}hits", "Partitions that were found.", cache.hits, own),
        counter(f"{prefix}misses", "Partitions that were not found.", cache.misses, own),
        gauge(f"{prefix}memory_bytes", "Partitions in memory.", cache.memory_bytes, own),
        gauge(f"{prefix}spilled_bytes", "Partitions on disk.", cache.spilled_bytes, own),
    ]
