"""`/api/v1/jobs/{id}/timeline`: a job's rows of the journal as a trace.

Must not know its format.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

from minispark.metrics.trace import Fetched, Trace, TracedAttempt, TracedInstant
from minispark.model.ids import attempt_id
from minispark.model.plan import PhysicalPlan
from minispark.model.snapshot import JobView
from minispark.scheduling.reads import reads_of
from minispark.storage.job_history import AttemptRow, EventRow, JobHistory

PAGE_ROWS = 1000
EVENTS_MAX = 10_000
"""Of one job: what became of workers meanwhile is among them."""


def timeline(
    job: JobView, plan: PhysicalPlan | None, history: JobHistory, now: float
) -> Iterator[bytes]:
    """The JSON document, a piece a page of attempts."""
    trace = Trace(job.request.name, job.created_at, now, _fetched(plan))
    head = {"job_id": job.job_id, "name": job.request.name, "begun_at_unix_s": job.created_at}
    yield f'{{"displayTimeUnit":"ms","otherData":{json.dumps(head)},"traceEvents":['.encode()
    attempts = (_attempt(job.job_id, row) for row in _attempts(job.job_id, history))
    separator, some = "", 0
    piece: list[str] = []
    for event in trace.events(attempts, _instants(job, history)):
        piece.append(separator + json.dumps(event, separators=(",", ":")))
        separator, some = ",", some + 1
        if some % PAGE_ROWS == 0:
            yield "".join(piece).encode()
            piece.clear()
    yield ("".join(piece) + "]}\n").encode()


def _fetched(plan: PhysicalPlan | None) -> Fetched:
    """What each task reads of what others wrote."""
    reads = {stage.index: reads_of(stage) for stage in plan.stages} if plan is not None else {}

    def fetched(stage_index: int, partition: int) -> Iterator[tuple[int, int | None]]:
        for group in reads.get(stage_index, ()):
            if group.first <= partition < group.first + group.partitions:
                own = group.own_partition(partition)
                yield from ((index, None if every else own) for index, every in group.parts)

    return fetched


def _attempts(job_id: str, history: JobHistory) -> Iterator[AttemptRow]:
    offset = 0
    while True:
        rows, _ = history.attempts(job_id, None, PAGE_ROWS, offset)
        yield from rows
        offset += len(rows)
        if len(rows) < PAGE_ROWS:
            return


def _attempt(job_id: str, row: AttemptRow) -> TracedAttempt:
    return TracedAttempt(
        stage_index=row.stage_index,
        stage_id=row.stage_id,
        partition=row.partition,
        attempt=row.attempt,
        attempt_id=attempt_id(job_id, row.stage_id, row.partition, row.attempt),
        state=row.state,
        worker=row.worker_name or row.worker_id,
        slot=row.slot,
        assigned_at=row.assigned_at,
        begun_at=row.begun_at,
        ended_at=row.finished_at if row.finished_at is not None else row.ended_at,
        cause=row.cause,
        error=row.error,
        records=row.records,
        bytes_written=row.bytes_written,
        phases_us=json.loads(row.phases) if row.phases is not None else {},
    )


def _instants(job: JobView, history: JobHistory) -> Iterator[TracedInstant]:
    """What became of the job, and of workers while it lived."""
    seen = 0
    for _ in range(0, EVENTS_MAX, PAGE_ROWS):
        rows = history.turning_points(seen, PAGE_ROWS, job.job_id, job.created_at, job.ended_at)
        for row in rows:
            yield TracedInstant(row.kind, row.at_unix_s, _worker(row), row.text)
        if len(rows) < PAGE_ROWS:
            return
        seen = rows[-1].id


def _worker(row: EventRow) -> str | None:
    return row.worker_name if row.job_id is None else None
