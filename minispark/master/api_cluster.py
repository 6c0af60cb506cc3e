"""The HTTP handlers of the cluster as a whole: health, metrics, state. Must not know the core."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from minispark import __version__
from minispark.master.board import SnapshotBoard
from minispark.master.documents import (
    failures_document,
    job_metrics_document,
    scheduler_document,
    state_document,
    system_document,
    worker_document,
)
from minispark.master.exposition import cluster_families, master_families
from minispark.metrics.prometheus import CONTENT_TYPES, OFFERED, render
from minispark.supervisor.host_sampler import HostSampler
from minispark.transport.accept import preferred
from minispark.transport.router import (
    Access,
    HttpError,
    Request,
    Response,
    Router,
    json_response,
    text_response,
)


class ClusterApi:
    """Everything that is about no job or worker in particular."""

    def __init__(
        self,
        board: SnapshotBoard,
        about: dict[str, Any],
        max_load_diff: int,
        workers_expected: int,
        is_blocked: Callable[[], bool],
    ) -> None:
        """`about`: what `GET /api/v1/cluster` says besides version and workers. `is_blocked`:
        whether the journal cannot be written now.
        """
        self._board = board
        self._about = about
        self._max_load_diff = max_load_diff
        self._workers_expected = workers_expected
        self._is_blocked = is_blocked
        self._sampler = HostSampler()
        self._started_at = time.monotonic()

    def add_routes(self, router: Router) -> None:
        metrics = "/api/v1/metrics"
        router.add(
            "GET", "/health", lambda _: text_response("OK"), access=Access.OPEN, summary="Alive"
        )
        router.add("GET", "/ready", self.ready, access=Access.OPEN, summary="A worker is Up")
        router.add("GET", "/metrics", self.prometheus, summary="Prometheus text")
        router.add("GET", "/api/v1/cluster", self.cluster, summary="Version, ports, workers")
        router.add("GET", f"{metrics}/system", self.system, summary="Workers, jobs and tasks")
        router.add("GET", f"{metrics}/jobs", self.jobs, summary="JobMetrics of all jobs")
        router.add("GET", f"{metrics}/failures", self.failures, summary="Failures by job")
        router.add("GET", f"{metrics}/scheduler", self.scheduler, summary="Loads, round robin")
        router.add("GET", "/api/v1/state", self.state, summary="PersistedState")

    def ready(self, request: Request) -> Response:
        up = system_document(self._board.latest)["workers_up"]
        if up < max(1, self._workers_expected):
            raise HttpError(503, "not_ready", f"{up} workers are Up")
        return text_response("OK")

    def cluster(self, request: Request) -> Response:
        workers = [worker_document(worker) for worker in self._board.latest.workers.values()]
        return json_response({"version": __version__, **self._about, "workers": workers})

    def system(self, request: Request) -> Response:
        return json_response(system_document(self._board.latest))

    def jobs(self, request: Request) -> Response:
        return json_response(
            [job_metrics_document(job) for job in self._board.latest.jobs.values()]
        )

    def failures(self, request: Request) -> Response:
        return json_response(failures_document(self._board.latest))

    def scheduler(self, request: Request) -> Response:
        return json_response(scheduler_document(self._board.latest, self._max_load_diff))

    def state(self, request: Request) -> Response:
        return json_response(state_document(self._board.latest, time.time()))

    def prometheus(self, request: Request) -> Response:
        families = [
            *cluster_families(self._board.latest, time.time(), self._max_load_diff),
            *master_families(
                self._sampler.figures(), time.monotonic() - self._started_at, self._is_blocked()
            ),
        ]
        wanted = preferred(request.headers.get("accept", ""), OFFERED)
        body = render(families, wanted).encode()
        return Response(200, body, CONTENT_TYPES[wanted], {"Vary": "Accept"})
