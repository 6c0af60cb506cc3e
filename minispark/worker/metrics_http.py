"""A worker's HTTP port: `GET /metrics`, as JSON or Prometheus text. Must not know how tasks run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from minispark.metrics.prometheus import CONTENT_TYPES, OFFERED, Family, render
from minispark.transport.accept import preferred
from minispark.transport.api_schema import (
    COUNT,
    JSON_TYPE,
    UUID,
    Answer,
    Description,
    Object,
    Real,
    Text,
)
from minispark.transport.openapi import add_openapi
from minispark.transport.router import (
    Request,
    Response,
    Router,
    json_response,
)

VARY = {"Vary": "Accept"}
_FIGURE = Real(0)
WORKER_METRICS = Object(
    "WorkerMetrics",
    {
        "worker_id": UUID,
        "name": Text(),
        "uptime_secs": COUNT,
        "system": Object(
            "SystemUse",
            {
                "cpu_usage_percent": _FIGURE,
                "memory_used_mb": _FIGURE,
                "memory_total_mb": _FIGURE,
                "memory_percent": _FIGURE,
                "process_cpu_percent": _FIGURE,
                "process_rss_mb": _FIGURE,
                "worker_cpu_percent": _FIGURE,
                "worker_rss_mb": _FIGURE,
            },
        ),
        "tasks": Object(
            "TaskFigures",
            {
                "total_executed": COUNT,
                "total_succeeded": COUNT,
                "total_failed": COUNT,
                "active_tasks": COUNT,
                "avg_latency_ms": _FIGURE,
                "p50_latency_ms": _FIGURE,
                "p99_latency_ms": _FIGURE,
                "records_processed": COUNT,
                "throughput_records_per_sec": _FIGURE,
            },
        ),
        "cache_hits": COUNT,
        "cache_misses": COUNT,
        "cache_memory_mb": _FIGURE,
        "cache_spilled_mb": _FIGURE,
    },
)

FIELD_TEXTS = {
    "worker_id": "The worker's id",
    "name": "The worker's name",
    "uptime_secs": "Since its start",
    "system": "What the host and this worker use",
    "cpu_usage_percent": "Of the host's processors together, since the last look",
    "memory_used_mb": "The host's memory in use, in MiB",
    "memory_total_mb": "The host's memory, in MiB",
    "memory_percent": "Of the host's memory in use",
    "process_cpu_percent": "Of one processor: the agent alone",
    "process_rss_mb": "Memory of the agent alone, in MiB",
    "worker_cpu_percent": "Of one processor: agent and executors together, at the last heartbeat",
    "worker_rss_mb": "Memory of agent and executors together, in MiB",
    "tasks": "What its tasks did",
    "total_executed": "Attempts whose end it reported",
    "total_succeeded": "Those that succeeded",
    "total_failed": "Those that failed",
    "active_tasks": "Attempts that it has: running and queued",
    "avg_latency_ms": "Mean of the last metrics.latency_window attempts",
    "p50_latency_ms": "Median of the same",
    "p99_latency_ms": "99th percentile of the same",
    "records_processed": "Records out of its tasks",
    "throughput_records_per_sec": "The same a second, over the last 30 seconds",
    "cache_hits": "Cached partitions that were asked for and found",
    "cache_misses": "Cached partitions that were asked for in vain",
    "cache_memory_mb": "Cached partitions in memory, in MiB",
    "cache_spilled_mb": "Cached partitions on disk, in MiB",
}


def build_router(
    document: Callable[[], dict[str, Any]], families: Callable[[], Sequence[Family]]
) -> Router:
    """Its routes; `document` gives the current WorkerMetrics, `families` the same once more."""

    def metrics(request: Request) -> Response:
        wanted = preferred(request.headers.get("accept", ""), (JSON_TYPE, *OFFERED))
        if wanted == JSON_TYPE:
            answer = json_response(document())
            return Response(answer.status, answer.body, answer.content_type, VARY)
        return Response(200, render(families(), wanted).encode(), CONTENT_TYPES[wanted], VARY)

    router = Router()
    router.add(
        "GET",
        "/metrics",
        metrics,
        summary="WorkerMetrics as JSON, or for Prometheus",
        description=Description(
            (
                Answer(
                    200,
                    "In the format that Accept prefers",
                    {JSON_TYPE: WORKER_METRICS, **dict.fromkeys(CONTENT_TYPES.values(), Text())},
                ),
            )
        ),
    )
    add_openapi(router, "Mini-Spark worker", FIELD_TEXTS)
    return router
