"""A worker's HTTP port: `GET /metrics`. Must not know how tasks run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psutil

from minispark.metrics.prometheus import CONTENT_TYPE
from minispark.metrics.worker_metrics import HostFigures, prometheus
from minispark.transport.router import (
    Request,
    Response,
    Router,
    json_response,
)

MB = 2**20


def build_router(document: Callable[[], dict[str, Any]]) -> Router:
    """Its routes; `document` gives the current WorkerMetrics."""

    def metrics(request: Request) -> Response:
        accept = request.headers.get("accept", "")
        if "text/plain" in accept and "application/json" not in accept:
            return Response(200, prometheus(document()).encode(), CONTENT_TYPE)
        return json_response(document())

    router = Router()
    router.add("GET", "/metrics", metrics, summary="WorkerMetrics")
    return router


def host_figures(process: psutil.Process) -> HostFigures:
    """What the host and this process use now; CPU since the last call."""
    memory = psutil.virtual_memory()
    with process.oneshot():
        return HostFigures(
            cpu_percent=psutil.cpu_percent(),
            memory_used_mb=memory.used / MB,
            memory_total_mb=memory.total / MB,
            memory_percent=memory.percent,
            process_cpu_percent=process.cpu_percent(),
            process_rss_mb=process.memory_info().rss / MB,
        )
