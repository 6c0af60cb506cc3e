"""The HTTP handlers of jobs: submit, look, wait, cancel, explain, results, tasks.

Must not know sockets, nor how the core decides.
"""

from __future__ import annotations

import time
import uuid
from typing import Any

from minispark.errors import ClusterError, NotFound
from minispark.master.board import SnapshotBoard
from minispark.master.documents import (
    attempt_document,
    job_document,
    job_metrics_document,
    profile_document,
    stage_document,
)
from minispark.master.idempotency import IdempotencyKeys
from minispark.master.loop import EventHeld, JournalBlocked, MasterLoop
from minispark.master.results import FORMATS, Results, render, render_lines
from minispark.master.submission import Submitter
from minispark.master.timeline import timeline
from minispark.model.events import JobCancelRequested, JobSubmitted
from minispark.model.ids import is_uuid
from minispark.model.plan import PhysicalPlan
from minispark.model.snapshot import JobView, Snapshot
from minispark.plan.explain import explain
from minispark.storage.job_history import JobHistory
from minispark.storage.part_folders import claim, discard
from minispark.transport.codec import to_json
from minispark.transport.router import (
    JSON_TYPE,
    Access,
    HttpError,
    Request,
    Response,
    Router,
    json_response,
)

WAIT_S_MAX = 30
TASKS_PAGE_MAX = 1000
RECORDS_MAX = 10**9
IDEMPOTENCY_KEY_CHARS_MAX = 200
PUBLISH_S_MAX = 5.0


class JobsApi:
    """`/api/v1/jobs` and what lies below."""

    def __init__(
        self,
        loop: MasterLoop,
        board: SnapshotBoard,
        history: JobHistory,
        results: Results,
        submitter: Submitter,
    ) -> None:
        self._loop = loop
        self._board = board
        self._history = history
        self._results = results
        self._submitter = submitter
        self._keys = IdempotencyKeys()

    def add_routes(self, router: Router) -> None:
        jobs = "/api/v1/jobs"
        router.add("POST", jobs, self.submit, summary="Submit a job")
        router.add("GET", jobs, self.list, summary="All jobs, newest last")
        router.add("POST", "/api/v1/explain", self.explain, summary="The plan of a job, not run")
        router.add(
            "GET", f"{jobs}/{{id}}", self.job, summary="One job; ?wait_s=N waits for a change"
        )
        router.add(
            "DELETE", f"{jobs}/{{id}}", self.cancel, access=Access.TOKEN, summary="Cancel a job"
        )
        router.add("GET", f"{jobs}/{{id}}/results", self.results, summary="TaskResults, or records")
        router.add("GET", f"{jobs}/{{id}}/metrics", self.metrics, summary="JobMetrics")
        router.add("GET", f"{jobs}/{{id}}/stages", self.stages, summary="StageStats in plan order")
        router.add("GET", f"{jobs}/{{id}}/plan", self.plan, summary="The physical plan")
        router.add(
            "GET", f"{jobs}/{{id}}/profile", self.profile, summary="What complete stages took"
        )
        router.add("GET", f"{jobs}/{{id}}/tasks", self.tasks, summary="Attempts, a page at a time")
        router.add("GET", f"{jobs}/{{id}}/timeline", self.timeline, summary="Chrome trace events")

    def _find(self, request: Request) -> JobView:
        """The job of the path. Raises HttpError 400, NotFound."""
        job_id = request.params["id"]
        if not is_uuid(job_id):
            raise HttpError(400, "bad_id", f"{job_id[:100]!r} is no job id (a UUID)", "id")
        job = self._board.latest.jobs.get(job_id.lower())
        if job is None:
            raise NotFound(f"there is no job {job_id}")
        return job

    # --- submit ----------------------------------------------------------------------------

    def submit(self, request: Request) -> Response:
        key = request.headers.get("idempotency-key")
        if key is None:
            return self._submit(request, None)
        if not 0 < len(key) <= IDEMPOTENCY_KEY_CHARS_MAX:
            most = IDEMPOTENCY_KEY_CHARS_MAX
            raise HttpError(400, "bad_key", f"Idempotency-Key has 1 to {most} characters")
        with self._keys.turn(key) as turn:
            job_id = self._history.job_of_key(key)
            if job_id is not None:
                turn.is_held = False
                return json_response(job_document(self._published(job_id)))
            if turn.is_held:
                raise JournalBlocked("the job of this Idempotency-Key is held; ask again later")
            return self._submit(request, key)

    def _submit(self, request: Request, key: str | None) -> Response:
        document = request.json()
        job_request, plans = self._submitter.prepare(document, request.is_authenticated)
        job_id = str(uuid.uuid4())
        claim(job_request, job_id)
        event = JobSubmitted(job_id, job_request, plans, time.time(), idempotency_key=key)
        try:
            self._loop.ask(event)
        except EventHeld:
            raise  # it may still be accepted
        except JournalBlocked:
            discard(job_request.saved_at, job_id)
            raise
        return json_response(job_document(self._board.latest.jobs[job_id]))

    def _published(self, job_id: str) -> JobView:
        """A job that is durable, and in a moment published."""
        snapshot = self._board.wait_for(lambda snapshot: job_id in snapshot.jobs, PUBLISH_S_MAX)
        if job_id not in snapshot.jobs:
            raise ClusterError(f"job {job_id} is not taken up; the master's log says why")
        return snapshot.jobs[job_id]

    def explain(self, request: Request) -> Response:
        _, plans = self._submitter.prepare(request.json(), request.is_authenticated)
        return json_response(_plan_document(plans[0]))

    def cancel(self, request: Request) -> Response:
        job = self._find(request)
        reason = request.query.get("reason", "by request")[:200]
        self._loop.ask(JobCancelRequested(job.job_id, reason, time.time()))
        return json_response(job_document(self._board.latest.jobs[job.job_id]))

    # --- look ------------------------------------------------------------------------------

    def list(self, request: Request) -> Response:
        return json_response([job_document(job) for job in self._board.latest.jobs.values()])

    def job(self, request: Request) -> Response:
        """`?wait_s=N` answers when the job's state or progress changed, or after N seconds."""
        seen = self._find(request)
        wait_s = request.number("wait_s", 0, 0, WAIT_S_MAX)
        if wait_s and not seen.state.is_terminal:

            def is_news(snapshot: Snapshot) -> bool:
                job = snapshot.jobs.get(seen.job_id)
                return job is None or (job.state, job.tasks_completed, job.note) != (
                    seen.state,
                    seen.tasks_completed,
                    seen.note,
                )

            seen = self._board.wait_for(is_news, wait_s).jobs.get(seen.job_id, seen)
        return json_response(job_document(seen))

    def metrics(self, request: Request) -> Response:
        return json_response(job_metrics_document(self._find(request)))

    def stages(self, request: Request) -> Response:
        return json_response([stage_document(stage) for stage in self._find(request).stages])

    def plan(self, request: Request) -> Response:
        return json_response(_plan_document(self._plan_of(self._find(request))))

    def profile(self, request: Request) -> Response:
        job = self._find(request)
        plan, figures = self._plan_of(job), self._history.figures(job.job_id)
        return json_response(profile_document(job, plan, figures))

    def _plan_of(self, job: JobView) -> PhysicalPlan:
        plan = self._results.plan(job.job_id)
        if plan is None:
            raise NotFound(f"job {job.job_id} has no plan yet: it waits for a worker")
        return plan

    def tasks(self, request: Request) -> Response:
        job = self._find(request)
        limit = request.number("limit", 100, 1, TASKS_PAGE_MAX)
        offset = request.number("offset", 0, 0, RECORDS_MAX)
        state = request.query.get("state")
        rows, total = self._history.attempts(job.job_id, state, limit, offset)
        return json_response(
            {"tasks": [attempt_document(job.job_id, row) for row in rows], "total": total}
        )

    def timeline(self, request: Request) -> Response:
        job = self._find(request)
        plan = self._results.plan(job.job_id)
        stream = timeline(job, plan, self._history, time.time())
        return Response(200, content_type=JSON_TYPE, stream=stream)

    def results(self, request: Request) -> Response:
        job = self._find(request)
        format = request.query.get("format")
        if format is None:
            return json_response(self._results.task_results(job.job_id))
        if format not in FORMATS:
            raise HttpError(
                400, "invalid_query", f"format is one of {', '.join(FORMATS)}", "format"
            )
        if not job.state.is_terminal:
            raise NotFound(f"job {job.job_id} is {job.state.value}: it has no results yet")
        limit = request.number("limit", RECORDS_MAX, 0, RECORDS_MAX)
        offset = request.number("offset", 0, 0, RECORDS_MAX)
        kinds = {"json": JSON_TYPE, "csv": "text/csv; charset=utf-8"}
        kind = kinds.get(format, "text/plain; charset=utf-8")
        if format == "jsonl":
            stream = render_lines(self._results.lines(job.job_id), limit, offset)
        else:
            stream = render(self._results.records(job.job_id), format, limit, offset)
        return Response(200, content_type=kind, stream=stream)


def _plan_document(plan: PhysicalPlan) -> dict[str, Any]:
    stages = [
        {
            "index": stage.index,
            "id": stage.id,
            "node_ids": list(stage.node_ids),
            "op": stage.op,
            "partitions": stage.partitions,
            "parents": list(stage.parents),
            "is_final": stage.is_final,
            "is_documented": stage.is_documented,
            "program": to_json(stage.program),
        }
        for stage in plan.stages
    ]
    return {"kind": plan.kind.value, "text": explain(plan), "stages": stages}
