"""`/api/v1/events`: the event stream, followed or a page at a time.

Must not know what events mean.
"""

from __future__ import annotations

from minispark.errors import InvalidRequest
from minispark.master.event_stream import EventStream, event_document
from minispark.master.task_query import PARTITION, STAGE, stage_and_partition
from minispark.transport.api_schema import (
    COUNT,
    JSON_TYPE,
    UUID,
    Answer,
    Description,
    Header,
    ListOf,
    Nullable,
    Object,
    OptionalId,
    OptionalWhole,
    Problem,
    Real,
    Text,
    WholeQuery,
)
from minispark.transport.router import Access, Request, Response, Router, json_response

EVENT_IDS_MAX = 10**18 - 1
"""All that fits into `DIGITS_MAX`."""
STREAM_TYPE = "text/event-stream; charset=utf-8"
AFTER = OptionalWhole(
    "after",
    "go on behind this event; absent: a page from the first, a stream from now on",
    0,
    EVENT_IDS_MAX,
)
LIMIT = WholeQuery("limit", "of a page: at most so many", 100, 1, 1000)
JOB = OptionalId("job", "the id of a job: only its events, and those of workers")
LAST_EVENT_ID = Header("Last-Event-ID", "what a browser sends instead of `after`", 200)
EVENT = Object(
    "Event",
    {
        "id": COUNT,
        "at": Real(),
        "kind": Text(),
        "job_id": Nullable(UUID),
        "stage": Nullable(Text()),
        "partition": Nullable(COUNT),
        "attempt": Nullable(COUNT),
        "worker": Nullable(Text()),
        "text": Nullable(Text()),
    },
)
EVENTS = Object("Events", {"events": ListOf(EVENT), "last_id": COUNT})


class EventsApi:
    """Reads of the event stream."""

    def __init__(self, events: EventStream) -> None:
        self._events = events

    def add_routes(self, router: Router) -> None:
        router.add(
            "GET",
            "/api/v1/events",
            self.events,
            access=Access.TOKEN,
            summary="Events: a page as JSON, or a stream that follows them",
            description=Description(
                (Answer(200, "As Accept says", {JSON_TYPE: EVENTS, STREAM_TYPE: Text()}),),
                (AFTER, LIMIT, JOB, STAGE, PARTITION, LAST_EVENT_ID),
                problems=(
                    Problem(400, "invalid_request", "A stage without its job, and so on"),
                    Problem(503, "unavailable", "Too many streams are followed"),
                ),
            ),
        )

    def events(self, request: Request) -> Response:
        """Server-sent events, unless only JSON is accepted. `?after=ID`, or the header
        `Last-Event-ID`, goes on behind that event.
        """
        job_id, limit = request.optional_id(JOB), request.number(LIMIT)
        stage_id, partition = stage_and_partition(request)
        after = request.optional_number(AFTER)
        if stage_id is not None and job_id is None:
            raise InvalidRequest("a stage is one of a job: give `job` too", "job")
        if "application/json" in request.headers.get("accept", ""):
            return self._page(after or 0, limit, job_id, stage_id, partition)
        if stage_id is not None:
            raise InvalidRequest("a stream is of a job, not of a stage: accept JSON", "stage")
        told = request.header(LAST_EVENT_ID) or ""
        if told.isascii() and told.isdigit() and len(told) <= len(str(EVENT_IDS_MAX)):
            after = int(told)  # a browser that connects again repeats its first address
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        stream = self._events.follow(after, job_id)
        return Response(200, b"", STREAM_TYPE, headers, stream, is_live=True)

    def _page(
        self,
        after: int,
        limit: int,
        job_id: str | None,
        stage_id: str | None,
        partition: int | None,
    ) -> Response:
        last = self._events.last
        rows = self._events.page(after, limit, job_id, stage_id, partition)
        documents = [event_document(row) for row in rows]
        last_id = rows[-1].id if len(rows) == limit else max(after, last)
        return json_response({"events": documents, "last_id": last_id})
