"""`/api/v1/events`: the event stream, followed or a page at a time.

Must not know what events mean.
"""

from __future__ import annotations

from minispark.errors import InvalidRequest
from minispark.master.event_stream import EventStream, event_document
from minispark.model.ids import is_uuid
from minispark.transport.router import Access, Request, Response, Router, json_response

EVENT_IDS_MAX = 2**62
PAGE_MAX = 1000
PARTITIONS_MAX = 2**31
STREAM_TYPE = "text/event-stream; charset=utf-8"


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
        )

    def events(self, request: Request) -> Response:
        """Server-sent events, unless only JSON is accepted. `?after=ID`, or the header
        `Last-Event-ID`, goes on behind that event.
        """
        job_id = request.query.get("job")
        if job_id is not None and not is_uuid(job_id):
            raise InvalidRequest(f"{job_id[:100]!r} is no job id (a UUID)", "job")
        job_id = job_id.lower() if job_id is not None else None
        if "application/json" in request.headers.get("accept", ""):
            return self._page(request, job_id)
        after = self._after(request)
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        stream = self._events.follow(after, job_id)
        return Response(200, b"", STREAM_TYPE, headers, stream, is_live=True)

    def _after(self, request: Request) -> int | None:
        told = request.headers.get("last-event-id", "")
        if told.isascii() and told.isdigit() and len(told) <= len(str(EVENT_IDS_MAX)):
            return int(told)  # a browser that connects again repeats its first address
        return request.number("after", 0, 0, EVENT_IDS_MAX) if "after" in request.query else None

    def _page(self, request: Request, job_id: str | None) -> Response:
        after = request.number("after", 0, 0, EVENT_IDS_MAX)
        limit = request.number("limit", 100, 1, PAGE_MAX)
        stage_id = request.query.get("stage")
        partition: int | None = None
        if "partition" in request.query:
            partition = request.number("partition", 0, 0, PARTITIONS_MAX)
        if stage_id is not None and job_id is None:
            raise InvalidRequest("a stage is one of a job: give `job` too", "job")
        if partition is not None and stage_id is None:
            raise InvalidRequest("a partition is one of a stage: give `stage` too", "stage")
        last = self._events.last
        rows = self._events.page(after, limit, job_id, stage_id, partition)
        documents = [event_document(row) for row in rows]
        last_id = rows[-1].id if len(rows) == limit else max(after, last)
        return json_response({"events": documents, "last_id": last_id})
