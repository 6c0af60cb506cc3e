"""A worker's HTTP port: `GET /metrics`, as JSON or Prometheus text. Must not know how tasks run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from minispark.metrics.prometheus import CONTENT_TYPES, OFFERED, Family, render
from minispark.transport.accept import preferred
from minispark.transport.router import (
    JSON_TYPE,
    Request,
    Response,
    Router,
    json_response,
)

VARY = {"Vary": "Accept"}


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
    router.add("GET", "/metrics", metrics, summary="WorkerMetrics")
    return router
