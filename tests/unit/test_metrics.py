"""Latency windows, WorkerMetrics and Prometheus text."""

from __future__ import annotations

from minispark.metrics.latency import LatencyWindow
from minispark.metrics.prometheus import Metric, render
from minispark.metrics.worker_metrics import CacheUse, HostFigures, WorkerCounters, prometheus

HOST = HostFigures(1.0, 2.0, 3.0, 4.0, 5.0, 6.0)


def test_percentiles_are_of_the_latest_latencies() -> None:
    window = LatencyWindow(100)
    assert (window.mean(), window.percentile(99)) == (0.0, 0.0)
    for latency_ms in range(1000, 0, -1):
        window.add(latency_ms)
    assert (window.percentile(50), window.percentile(99), window.percentile(100)) == (50, 99, 100)
    assert window.mean() == 50.5


def test_worker_metrics_add_up() -> None:
    counters = WorkerCounters(10)
    counters.count(True, 30, 5.0)
    counters.count(False, 0, 15.0)
    cache = CacheUse(hits=3, misses=1, memory_bytes=3 * 2**20, spilled_bytes=2**19)
    document = counters.document("w", 2.5, 1, HOST, cache)
    assert document["uptime_secs"] == 2
    assert document["tasks"] == {
        "total_executed": 2,
        "total_succeeded": 1,
        "total_failed": 1,
        "active_tasks": 1,
        "avg_latency_ms": 10.0,
        "p50_latency_ms": 5.0,
        "p99_latency_ms": 15.0,
        "records_processed": 30,
        "throughput_records_per_sec": 12.0,
    }
    assert (document["cache_hits"], document["cache_misses"]) == (3, 1)
    assert (document["cache_memory_mb"], document["cache_spilled_mb"]) == (3.0, 0.5)
    assert 'minispark_worker_cache_hits_total{worker_id="w"} 3\n' in prometheus(document)
    assert 'minispark_worker_tasks_failed_total{worker_id="w"} 1\n' in prometheus(document)


def test_prometheus_text_escapes_labels() -> None:
    metric = Metric("m", "gauge", "text", [({"a": 'x"\\\n'}, 1.5), ({}, 2)])
    assert render([metric]) == ('# HELP m text\n# TYPE m gauge\nm{a="x\\"\\\\\\n"} 1.5\nm 2\n')
