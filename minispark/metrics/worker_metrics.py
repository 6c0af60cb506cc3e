"""A worker's counters, as the documented WorkerMetrics and as Prometheus text.

Must not know a clock, the operating system or HTTP: it is given what they say.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from minispark.metrics.latency import LatencyWindow
from minispark.metrics.prometheus import Metric, render

MB = 2**20


@dataclass(frozen=True, slots=True)
class HostFigures:
    """Of the host: `cpu_percent`, memory in MB; and the worker's own resident memory."""

    cpu_percent: float
    memory_used_mb: float
    memory_total_mb: float
    memory_percent: float
    process_cpu_percent: float
    process_rss_mb: float


@dataclass(frozen=True, slots=True)
class CacheUse:
    """Of the worker's partition cache. `spilled_bytes` are on disk."""

    hits: int
    misses: int
    memory_bytes: int
    spilled_bytes: int


class WorkerCounters:
    """Counts what a worker's tasks did."""

    def __init__(self, latency_window: int) -> None:
        self.executed = 0
        self.succeeded = 0
        self.failed = 0
        self.records = 0
        self.busy_ms = 0.0
        self.latencies = LatencyWindow(latency_window)

    def count(self, is_success: bool, records: int, latency_ms: float) -> None:
        """A task ended after `latency_ms` milliseconds."""
        self.executed += 1
        self.succeeded += is_success
        self.failed += not is_success
        self.records += records
        self.busy_ms += latency_ms
        self.latencies.add(latency_ms)

    def document(
        self,
        worker_id: str,
        uptime_s: float,
        active_tasks: int,
        host: HostFigures,
        cache: CacheUse,
    ) -> dict[str, Any]:
        """WorkerMetrics (API.md, "Types")."""
        return {
            "worker_id": worker_id,
            "uptime_secs": int(uptime_s),
            "system": {
                "cpu_usage_percent": host.cpu_percent,
                "memory_used_mb": host.memory_used_mb,
                "memory_total_mb": host.memory_total_mb,
                "memory_percent": host.memory_percent,
                "process_cpu_percent": host.process_cpu_percent,
                "process_rss_mb": host.process_rss_mb,
            },
            "tasks": {
                "total_executed": self.executed,
                "total_succeeded": self.succeeded,
                "total_failed": self.failed,
                "active_tasks": active_tasks,
                "avg_latency_ms": self.latencies.mean(),
                "p50_latency_ms": self.latencies.percentile(50),
                "p99_latency_ms": self.latencies.percentile(99),
                "records_processed": self.records,
                "throughput_records_per_sec": self.records / uptime_s if uptime_s > 0 else 0.0,
            },
            "cache_hits": cache.hits,
            "cache_misses": cache.misses,
            "cache_memory_mb": cache.memory_bytes / MB,
            "cache_spilled_mb": cache.spilled_bytes / MB,
        }


def prometheus(document: dict[str, Any]) -> str:
    """WorkerMetrics in the Prometheus text format."""
    labels = {"worker_id": document["worker_id"]}
    tasks, system = document["tasks"], document["system"]
    figures = [
        ("tasks_total", "counter", "Tasks that ended.", tasks["total_executed"]),
        ("tasks_failed_total", "counter", "Tasks that failed.", tasks["total_failed"]),
        ("tasks_active", "gauge", "Tasks running or queued.", tasks["active_tasks"]),
        ("records_total", "counter", "Records that left tasks.", tasks["records_processed"]),
        ("task_latency_p50_ms", "gauge", "Median task latency.", tasks["p50_latency_ms"]),
        ("task_latency_p99_ms", "gauge", "99th percentile.", tasks["p99_latency_ms"]),
        ("cache_hits_total", "counter", "Partitions found.", document["cache_hits"]),
        ("cache_misses_total", "counter", "Partitions not found.", document["cache_misses"]),
        ("cache_memory_mb", "gauge", "Partitions in memory.", document["cache_memory_mb"]),
        ("cache_spilled_mb", "gauge", "Partitions on disk.", document["cache_spilled_mb"]),
        ("uptime_seconds", "counter", "Time since its start.", document["uptime_secs"]),
        ("process_rss_mb", "gauge", "Resident memory of the agent.", system["process_rss_mb"]),
    ]
    return render(
        [
            Metric(f"minispark_worker_{name}", kind, text, [(labels, value)])
            for name, kind, text, value in figures
        ]
    )
