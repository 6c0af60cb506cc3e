"""The HTTP handlers of the cluster as a whole: health, metrics, state. Must not know the core."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from minispark import __version__
from minispark.master.api_cluster_types import (
    CLUSTER,
    FAILURES,
    PERSISTED_STATE,
    SCHEDULER,
    SYSTEM_METRICS,
)
from minispark.master.api_field_texts import FIELD_TEXTS
from minispark.master.api_job_types import JOB_METRICS
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
from minispark.transport.api_schema import (
    Description,
    ListOf,
    Problem,
    json_answer,
    text_answer,
)
from minispark.transport.openapi import add_openapi
from minispark.transport.router import (
    TEXT_TYPE,
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
            "GET",
            "/health",
            lambda _: text_response("OK"),
            access=Access.OPEN,
            summary="Alive",
            description=Description((text_answer("`OK`", TEXT_TYPE),)),
        )
        router.add(
            "GET",
            "/ready",
            self.ready,
            access=Access.OPEN,
            summary="As many workers as there should be are Up",
            description=Description(
                (text_answer("`OK`", TEXT_TYPE),),
                problems=(Problem(503, "not_ready", "Too few workers are Up"),),
            ),
        )
        router.add(
            "GET",
            "/metrics",
            self.prometheus,
            summary="For Prometheus, in the format that Accept prefers",
            description=Description((text_answer("Its families", *CONTENT_TYPES.values()),)),
        )
        add_openapi(router, "Mini-Spark master", FIELD_TEXTS)
        for path, handler, of, summary in (
            ("/api/v1/cluster", self.cluster, CLUSTER, "Version, ports, workers"),
            (f"{metrics}/system", self.system, SYSTEM_METRICS, "Workers, jobs and tasks"),
            (f"{metrics}/jobs", self.jobs, ListOf(JOB_METRICS), "JobMetrics of all jobs"),
            (f"{metrics}/failures", self.failures, FAILURES, "Failures by job"),
            (f"{metrics}/scheduler", self.scheduler, SCHEDULER, "Loads, round robin"),
            ("/api/v1/state", self.state, PERSISTED_STATE, "PersistedState"),
        ):
            description = Description((json_answer(of),))
            router.add("GET", path, handler, summary=summary, description=description)

    def ready(self, request: Request) -> Response:
        up = system_document(self._board.latest)["workers_up"]
        if up < max(1, self._workers_expected):
            raise HttpError(503, "not_ready", f"{up} workers are Up")
        return text_response("OK")

    def cluster(self, request: Request) -> Response:
        latest = self._board.latest
        workers = [worker_document(worker) for worker in latest.workers.values()]
        driver = None if latest.driver is None else worker_document(latest.driver)
        document = {"version": __version__, **self._about, "workers": workers, "driver": driver}
        return json_response(document)

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
