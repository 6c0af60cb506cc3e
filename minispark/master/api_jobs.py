"""The HTTP handlers of jobs: submit, look, wait, cancel, explain, results, tasks.

Must not know sockets, nor how the core decides.
"""

from __future__ import annotations

import time
import uuid
from typing import Any

from minispark.errors import ClusterError, NotFound
from minispark.master.api_job_types import (
    ATTEMPT_STATES,
    ATTEMPTS,
    JOB_INFO,
    JOB_METRICS,
    JOB_REQUEST,
    PLAN,
    PROFILE,
    RECORD,
    STAGE_STATS,
    TASK_RESULT,
    TRACE,
)
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
from minispark.master.task_query import PARTITION, STAGE, stage_and_partition
from minispark.master.timeline import timeline
from minispark.model.events import JobCancelRequested, JobSubmitted
from minispark.model.plan import PhysicalPlan
from minispark.model.snapshot import JobView, Snapshot
from minispark.plan.explain import explain
from minispark.storage.job_history import JobHistory
from minispark.storage.part_folders import claim, discard
from minispark.transport.api_schema import (
    JSON_TYPE,
    UNAVAILABLE,
    Answer,
    ChoiceQuery,
    Description,
    Header,
    Id,
    ListOf,
    OneOf,
    Parameter,
    Problem,
    Schema,
    Text,
    TextQuery,
    WholeQuery,
    json_answer,
)
from minispark.transport.codec import to_json
from minispark.transport.router import (
    TEXT_TYPE,
    Access,
    Request,
    Response,
    Router,
    json_response,
)

RECORDS_MAX = 10**9
REASON_CHARS_MAX = 200
IDEMPOTENCY_KEY_CHARS_MAX = 200
PUBLISH_S_MAX = 5.0

JOB = Id("id", "the id of a job")
WAIT_S = WholeQuery("wait_s", "answer when state or progress changed, or after so long", 0, 0, 30)
PAGE = WholeQuery("limit", "at most so many", 100, 1, 1000)
STATE = ChoiceQuery("state", "only attempts in this state", ATTEMPT_STATES)
ORDER = ChoiceQuery(
    "order", "by stage, partition and number, or those that ended last first", ("task", "newest")
)
OFFSET = WholeQuery("offset", "from this one on, counted from 0", 0, 0, RECORDS_MAX)
FORMAT = ChoiceQuery("format", "the records of the final stages, in this format", FORMATS)
RECORDS = WholeQuery("limit", "at most so many records", RECORDS_MAX, 0, RECORDS_MAX)
REASON = TextQuery("reason", "why it is cancelled", REASON_CHARS_MAX, "by request")
FORMAT_TYPES = {
    "json": JSON_TYPE,
    "csv": "text/csv; charset=utf-8",
    "tsv": TEXT_TYPE,
    "jsonl": TEXT_TYPE,
}
RESULT_CONTENTS: dict[str, Schema] = {
    JSON_TYPE: OneOf((ListOf(TASK_RESULT), ListOf(RECORD))),
    **{kind: Text() for kind in FORMAT_TYPES.values() if kind != JSON_TYPE},
}
KEY = Header(
    "Idempotency-Key",
    "a repetition gets the first one's job",
    IDEMPOTENCY_KEY_CHARS_MAX,
)
NO_JOB = Problem(404, "not_found", "There is no job with this id")
NO_PLAN = Problem(404, "not_found", "There is no such job, or it has no plan yet")
NO_RESULTS = Problem(404, "not_found", "There is no such job, or it has no results yet")
OF_REQUESTS = (
    Problem(400, "input_refused", "A path may not be read"),
    Problem(401, "token_needed", "Jobs with code of their own need the token"),
)


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
        jobs, job = "/api/v1/jobs", "/api/v1/jobs/{id}"
        router.add(
            "POST",
            jobs,
            self.submit,
            summary="Submit a job",
            description=Description(
                (json_answer(JOB_INFO, "It is durable"),),
                parameters=(KEY,),
                body=JOB_REQUEST,
                problems=(*OF_REQUESTS, UNAVAILABLE),
            ),
        )
        router.add(
            "GET",
            jobs,
            self.list,
            summary="All jobs, newest last",
            description=Description((json_answer(ListOf(JOB_INFO)),)),
        )
        router.add(
            "POST",
            "/api/v1/explain",
            self.explain,
            summary="The plan of a job, which is not run",
            description=Description((json_answer(PLAN),), body=JOB_REQUEST, problems=OF_REQUESTS),
        )
        router.add(
            "GET",
            job,
            self.job,
            summary="One job",
            description=_of_job(json_answer(JOB_INFO), WAIT_S),
        )
        router.add(
            "DELETE",
            job,
            self.cancel,
            access=Access.TOKEN,
            summary="Cancel a job; one that ended stays as it is",
            description=_of_job(json_answer(JOB_INFO), REASON, problems=(NO_JOB, UNAVAILABLE)),
        )
        router.add(
            "GET",
            f"{job}/results",
            self.results,
            summary="TaskResults of the finished tasks; with `format` the final records",
            description=_of_job(
                Answer(200, "TaskResults, or records", RESULT_CONTENTS),
                *(FORMAT, RECORDS, OFFSET),
                problems=(NO_RESULTS, UNAVAILABLE),
            ),
        )
        router.add(
            "GET",
            f"{job}/metrics",
            self.metrics,
            summary="JobMetrics",
            description=_of_job(json_answer(JOB_METRICS)),
        )
        router.add(
            "GET",
            f"{job}/stages",
            self.stages,
            summary="StageStats in plan order",
            description=_of_job(json_answer(ListOf(STAGE_STATS))),
        )
        router.add(
            "GET",
            f"{job}/plan",
            self.plan,
            summary="The physical plan",
            description=_of_job(json_answer(PLAN), problems=(NO_PLAN,)),
        )
        router.add(
            "GET",
            f"{job}/profile",
            self.profile,
            summary="What complete stages took",
            description=_of_job(json_answer(PROFILE), problems=(NO_PLAN,)),
        )
        router.add(
            "GET",
            f"{job}/tasks",
            self.tasks,
            summary="Attempts, a page at a time",
            description=_of_job(
                json_answer(ATTEMPTS), PAGE, OFFSET, STATE, ORDER, STAGE, PARTITION
            ),
        )
        router.add(
            "GET",
            f"{job}/timeline",
            self.timeline,
            summary="Where and when its attempts ran, as Chrome trace events",
            description=_of_job(json_answer(TRACE)),
        )

    def _find(self, request: Request) -> JobView:
        """The job of the path. Raises HttpError 400, NotFound."""
        job_id = request.id(JOB)
        job = self._board.latest.jobs.get(job_id)
        if job is None:
            raise NotFound(f"there is no job {job_id}")
        return job

    # --- submit ----------------------------------------------------------------------------

    def submit(self, request: Request) -> Response:
        key = request.header(KEY)
        if key is None:
            return self._submit(request, None)
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
        self._loop.ask(JobCancelRequested(job.job_id, request.text(REASON), time.time()))
        return json_response(job_document(self._board.latest.jobs[job.job_id]))

    # --- look ------------------------------------------------------------------------------

    def list(self, request: Request) -> Response:
        return json_response([job_document(job) for job in self._board.latest.jobs.values()])

    def job(self, request: Request) -> Response:
        """`?wait_s=N` answers when the job's state or progress changed, or after N seconds."""
        seen = self._find(request)
        wait_s = request.number(WAIT_S)
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
        """Of all, or those of a `stage`, a `partition` of it, or in a `state`."""
        job = self._find(request)
        limit, offset = request.number(PAGE), request.number(OFFSET)
        stage_id, partition = stage_and_partition(request)
        is_newest_first = request.choice(ORDER) == "newest"
        rows, total = self._history.attempts(
            job.job_id, request.choice(STATE), limit, offset, stage_id, partition, is_newest_first
        )
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
        format = request.choice(FORMAT)
        limit, offset = request.number(RECORDS), request.number(OFFSET)
        if format is None:
            return json_response(self._results.task_results(job.job_id))
        if not job.state.is_terminal:
            raise NotFound(f"job {job.job_id} is {job.state.value}: it has no results yet")
        if format == "jsonl":
            stream = render_lines(self._results.lines(job.job_id), limit, offset)
        else:
            stream = render(self._results.records(job.job_id), format, limit, offset)
        return Response(200, content_type=FORMAT_TYPES[format], stream=stream)


def _of_job(
    answer: Answer, *parameters: Parameter, problems: tuple[Problem, ...] = (NO_JOB,)
) -> Description:
    """Of a route below a job's id."""
    return Description((answer,), (JOB, *parameters), problems=problems)


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
