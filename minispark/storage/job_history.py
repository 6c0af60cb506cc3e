"""Reads the durable job store: jobs, stages, attempts and workers, as rows.

Every question has a connection for itself, so that any thread may ask while another one writes.
Must not know how the rows came to be (`job_store.py` does), nor JSON.
"""

from __future__ import annotations

import json
import math
import sqlite3
import threading
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from minispark.model.effects import AttemptMoved
from minispark.model.figures import OperatorFigures, StageFigures
from minispark.model.ids import attempt_id
from minispark.model.states import AttemptState, Cause
from minispark.storage.job_store import BUSY_TIMEOUT_S


@dataclass(frozen=True, slots=True)
class JobRow:
    """One job as stored. `request`, `plan` and `candidates` are the texts that the codecs made, as
    UTF-8.
    """

    job_id: str
    name: str
    request: bytes
    plan: bytes | None
    candidates: bytes | None
    state: str
    message: str | None
    created_at: float
    updated_at: float
    started_at: float | None
    ended_at: float | None


@dataclass(frozen=True, slots=True)
class StageRow:
    """One stage with what its attempts add up to."""

    stage_index: int
    stage_id: str
    op: str
    partitions: int
    is_final: bool
    completed: int
    failed_attempts: int
    records: int
    started_at: float | None
    ended_at: float | None
    bytes_written: int
    """By its accepted attempts."""


@dataclass(frozen=True, slots=True)
class AttemptRow:
    """One attempt, with the address of the worker that made it."""

    stage_index: int
    stage_id: str
    partition: int
    attempt: int
    worker_id: str
    state: str
    assigned_at: float
    ended_at: float | None
    error: str | None
    records: int
    bytes_written: int
    worker_name: str | None
    host: str | None
    port: int | None
    host_id: str | None
    state_dir: str | None
    cause: str | None
    slot: int | None
    begun_at: float | None
    """Where the worker said so: when an executor took it up, and when that was done."""
    finished_at: float | None
    phases: str | None
    """`TaskOutcome.phases_us` as JSON."""


@dataclass(frozen=True, slots=True)
class EventRow:
    """One event of the stream: what became of a job, an attempt or a worker."""

    id: int
    at_unix_s: float
    kind: str
    """The noun and its new state: `attempt FAILED`."""
    job_id: str | None
    stage_id: str | None
    partition: int | None
    attempt: int | None
    worker_name: str | None
    text: str | None
    """An error, a reason, a job's name."""


@dataclass(frozen=True, slots=True)
class WorkerRow:
    """A worker that registered once: its id is valid for ever."""

    worker_id: str
    kind: str
    name: str
    host: str
    port: int
    slots: int
    host_id: str
    state_dir: str
    seen_at: float


_JOBS = (
    "SELECT job_id, name, CAST(request AS BLOB), CAST(plan AS BLOB), CAST(candidates AS BLOB),"
    " state, message, created_at, updated_at, started_at, ended_at FROM jobs"
)
_ATTEMPT_COLUMNS = """
SELECT a.stage_index, s.stage_id, a.partition, a.attempt, a.worker_id, a.state, a.assigned_at,
    a.ended_at, a.error, a.records, a.bytes_written, w.name, w.host, w.port, w.host_id, w.state_dir,
    a.cause, a.slot, a.begun_at, a.finished_at, a.phases
FROM attempts a JOIN jobs j USING (job_no) JOIN stages s USING (job_no, stage_index)
LEFT JOIN workers w USING (worker_id) WHERE j.job_id = ?
"""


_EVENTS = """
SELECT e.seq, e.at_unix_s, e.kind, e.job_id, s.stage_id, e.partition, e.attempt,
    CASE WHEN e.kind LIKE 'worker %' THEN e.subject ELSE w.name END,
    CASE WHEN e.kind LIKE 'worker %' THEN e.text ELSE coalesce(e.text, e.subject) END
FROM events e LEFT JOIN jobs j ON j.job_id = e.job_id
LEFT JOIN stages s ON s.job_no = j.job_no AND s.stage_index = e.stage_index
LEFT JOIN workers w ON w.worker_id = e.worker_id
WHERE e.seq > ?
"""


def _figures(fields: dict[str, Any]) -> StageFigures:
    operators = fields.pop("operators").items()
    known = {node: OperatorFigures(**operator) for node, operator in operators}
    return StageFigures(**fields, operators=known)


_text = partial(str, encoding="utf-8", errors="replace")
"""One damaged byte is no reason to read nothing. Texts that must be exact are read as bytes."""


class JobHistory:
    """Questions to the database at `path`."""

    def __init__(self, path: Path, connections_kept: int = 0, is_read_only: bool = False) -> None:
        """So many connections wait for the next questions: to open one takes longer than most
        questions. They hold the database until `close`. `is_read_only`: whoever asks leaves no file
        as it was not, whether or not a master writes it; otherwise the last to close one tidies up.
        """
        self.path = path
        self._is_read_only = is_read_only
        self._connections_kept = connections_kept
        self._lock = threading.Lock()
        # Protected by self._lock:
        self._idle: list[sqlite3.Connection] = []

    def close(self) -> None:
        """Let go of the database; questions that are still asked connect anew, for once."""
        with self._lock:
            idle, self._idle, self._connections_kept = self._idle, [], 0
        for connection in idle:
            connection.close()

    def jobs(self) -> list[JobRow]:
        """Every job, oldest submission first."""
        return [JobRow(*row) for row in self._rows(f"{_JOBS} ORDER BY job_no", ())]

    def job(self, job_id: str) -> JobRow | None:
        rows = self._rows(f"{_JOBS} WHERE job_id = ?", (job_id,))
        return JobRow(*rows[0]) if rows else None

    def job_names(self) -> list[tuple[str, str]]:
        """(id, name) of every job, oldest submission first."""
        return [(i, n) for i, n in self._rows("SELECT job_id, name FROM jobs ORDER BY job_no", ())]

    def job_of_key(self, idempotency_key: str) -> str | None:
        """The id of the job that was submitted under that key."""
        sql = "SELECT job_id FROM jobs WHERE idempotency_key = ?"
        for (job_id,) in self._rows(sql, (idempotency_key,)):
            return str(job_id)
        return None

    def plan(self, job_id: str) -> bytes | None:
        """The text of the job's plan, as UTF-8; None while it has none."""
        plan: bytes | None
        sql = "SELECT CAST(plan AS BLOB) FROM jobs WHERE job_id = ?"
        for (plan,) in self._rows(sql, (job_id,)):
            return plan
        return None

    def workers(self) -> list[WorkerRow]:
        return [WorkerRow(*row) for row in self._rows("SELECT * FROM workers ORDER BY seen_at", ())]

    def address(self, worker_id: str) -> tuple[str, int] | None:
        """Host and port of a worker's data server, as it registered last; None: nobody knows."""
        sql = "SELECT host, port FROM workers WHERE worker_id = ?"
        for host, port in self._rows(sql, (worker_id,)):
            return str(host), int(port)
        return None

    def stages(self, job_id: str) -> list[StageRow]:
        """The job's stages in plan order, with their attempts added up.

        By total(), whatever a peer reported: sum() is an error beyond 2^63.
        """
        rows = self._rows(
            "SELECT s.stage_index, s.stage_id, s.op, s.partitions, s.is_final,"
            " count(CASE a.state WHEN 'SUCCEEDED' THEN 1 END),"
            " count(CASE WHEN a.state IN ('FAILED', 'LOST') THEN 1 END),"
            " CAST(total(CASE a.state WHEN 'SUCCEEDED' THEN a.records END) AS INTEGER),"
            " min(a.assigned_at), max(CASE a.state WHEN 'SUCCEEDED' THEN a.ended_at END),"
            " CAST(total(CASE a.state WHEN 'SUCCEEDED' THEN a.bytes_written END) AS INTEGER)"
            " FROM stages s JOIN jobs j USING (job_no)"
            " LEFT JOIN attempts a USING (job_no, stage_index)"
            " WHERE j.job_id = ? GROUP BY s.stage_index ORDER BY s.stage_index",
            (job_id,),
        )
        return [
            StageRow(i, n, op, p, bool(f), c, x, r, b, e, w)
            for i, n, op, p, f, c, x, r, b, e, w in rows
        ]

    def figures(self, job_id: str) -> dict[int, StageFigures]:
        """What the complete stages of the job took, by their index; not those that a master of an
        earlier version ran.
        """
        rows = self._rows(
            "SELECT stage_index, figures FROM stage_figures JOIN jobs USING (job_no)"
            " WHERE job_id = ? ORDER BY stage_index",
            (job_id,),
        )
        return {index: _figures(json.loads(text)) for index, text in rows}

    def accepted(self, job_id: str) -> list[AttemptRow]:
        """The accepted attempts of the job, by stage and partition."""
        sql = _ATTEMPT_COLUMNS + " AND a.state = 'SUCCEEDED' ORDER BY a.stage_index, a.partition"
        return [AttemptRow(*row) for row in self._rows(sql, (job_id,))]

    def attempts(
        self,
        job_id: str,
        state: str | None,
        limit: int,
        offset: int,
        stage_id: str | None = None,
        partition: int | None = None,
        is_newest_first: bool = False,
    ) -> tuple[list[AttemptRow], int]:
        """One page of the job's attempts, and how many there are: of all, of one stage or of one
        task; by (stage, partition, attempt), or those that ended last first.
        """
        where, values = "", list[object]([job_id])
        conditions = (("a.state", state), ("s.stage_id", stage_id), ("a.partition", partition))
        for column, value in conditions:
            if value is not None:
                where, values = f"{where} AND {column} = ?", [*values, value]
        by = "a.stage_index, a.partition, a.attempt"
        order = f"a.ended_at DESC, {by}" if is_newest_first else by
        sql = f"{_ATTEMPT_COLUMNS}{where} ORDER BY {order} LIMIT ? OFFSET ?"
        page = [AttemptRow(*row) for row in self._rows(sql, (*values, limit, offset))]
        count = (
            "SELECT count(*) FROM attempts a JOIN jobs j USING (job_no)"
            " JOIN stages s USING (job_no, stage_index) WHERE j.job_id = ?"
        )
        ((total,),) = self._rows(count + where, tuple(values))
        return page, total

    def events(
        self,
        after: int,
        limit: int,
        job_id: str | None = None,
        stage_id: str | None = None,
        partition: int | None = None,
    ) -> list[EventRow]:
        """At most `limit` events behind the one of that id, oldest first: of all, or those of a
        job and of all workers; or only those of one stage, or one task, of a job.
        """
        sql = _EVENTS
        values: list[object] = [after]
        if stage_id is not None:
            sql, values = f"{sql} AND e.job_id = ? AND s.stage_id = ?", [*values, job_id, stage_id]
            if partition is not None:
                sql, values = f"{sql} AND e.partition = ?", [*values, partition]
        elif job_id is not None:
            sql, values = f"{sql} AND (e.job_id = ? OR e.job_id IS NULL)", [*values, job_id]
        rows = self._rows(f"{sql} ORDER BY e.seq LIMIT ?", (*values, limit))
        return [EventRow(*row) for row in rows]

    def turning_points(
        self, after: int, limit: int, job_id: str, begun_at: float, ended_at: float | None
    ) -> list[EventRow]:
        """Events of the job itself, and of all workers while it lived; not of its attempts."""
        sql = (
            f"{_EVENTS} AND e.attempt IS NULL AND e.at_unix_s BETWEEN ? AND ?"
            " AND (e.job_id = ? OR e.job_id IS NULL) ORDER BY e.seq LIMIT ?"
        )
        until = ended_at if ended_at is not None else math.inf
        return [EventRow(*r) for r in self._rows(sql, (after, begun_at, until, job_id, limit))]

    def last_event(self) -> int:
        """The id of the newest event; 0 when there is none."""
        ((last,),) = self._rows("SELECT coalesce(max(seq), 0) FROM events", ())
        return int(last)

    def attempt_facts(self, job_id: str) -> list[AttemptMoved]:
        """The last fact of every attempt of the job, by stage, partition and attempt number.

        Raises ValueError for a state or cause that is none.
        """
        rows = self._rows(
            "SELECT stage_index, partition, attempt, worker_id, a.state,"
            " coalesce(a.ended_at, assigned_at), error, records, bytes_written, cause,"
            " is_committed, s.stage_id"
            " FROM attempts a JOIN jobs j USING (job_no) JOIN stages s USING (job_no, stage_index)"
            " WHERE job_id = ? ORDER BY stage_index, partition, attempt",
            (job_id,),
        )
        return [
            AttemptMoved(
                attempt_id=attempt_id(job_id, stage_id, partition, attempt),
                job_id=job_id,
                stage_index=stage_index,
                partition=partition,
                attempt=attempt,
                worker_id=worker_id,
                state=AttemptState(state),
                at_unix_s=at_unix_s,
                error=error,
                records=records,
                bytes_written=bytes_written,
                cause=Cause(cause) if cause is not None else None,
                is_committed=bool(is_committed),
            )
            for (
                stage_index,
                partition,
                attempt,
                worker_id,
                state,
                at_unix_s,
                error,
                records,
                bytes_written,
                cause,
                is_committed,
                stage_id,
            ) in rows
        ]

    def attempt_totals(self) -> list[tuple[str, int, int, int]]:
        """(state, attempts, records, bytes written) of all attempts of all jobs, by state."""
        return [
            (str(state), count, records, bytes_written)
            for state, count, records, bytes_written in self._rows(
                "SELECT state, count(*), CAST(total(records) AS INTEGER),"
                " CAST(total(bytes_written) AS INTEGER) FROM attempts GROUP BY state",
                (),
            )
        ]

    def _rows(self, sql: str, values: tuple[object, ...]) -> list[tuple[Any, ...]]:
        with self._lock:
            connection = self._idle.pop() if self._idle else None
        if connection is None:
            connection = self._connect()
        is_kept = False
        try:
            rows = connection.execute(sql, values).fetchall()
            with self._lock:
                is_kept = len(self._idle) < self._connections_kept
                if is_kept:
                    self._idle.append(connection)
            return rows
        finally:
            if not is_kept:
                connection.close()

    def _connect(self) -> sqlite3.Connection:
        name: str | Path = self.path
        if self._is_read_only:
            # a database without a log was closed in order, and SQLite need not make one to read it
            is_closed = not self.path.with_name(f"{self.path.name}-wal").exists()
            how = "mode=ro&immutable=1" if is_closed else "mode=ro"
            name = f"{self.path.absolute().as_uri()}?{how}"
        connection = sqlite3.connect(
            name, timeout=BUSY_TIMEOUT_S, check_same_thread=False, uri=self._is_read_only
        )
        connection.text_factory = _text
        return connection
