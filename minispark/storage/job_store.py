"""The durable truth: jobs, stages, attempts, workers and events in SQLite (WAL, synchronous=FULL).

One connection writes, from one thread, one transaction for each batch of facts; readers open
their own (`job_history.py`). Must not know why facts happen, nor how requests and plans look as
JSON (it is given codecs).
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from itertools import chain
from pathlib import Path
from typing import assert_never

from minispark.errors import ClusterError
from minispark.model.effects import (
    AttemptMoved,
    Fact,
    ForgetJob,
    JobAccepted,
    JobMoved,
    PlanChosen,
    StageMeasured,
    WorkerLost,
    WorkerSeen,
)
from minispark.model.job import JobRequest
from minispark.model.plan import PhysicalPlan
from minispark.model.states import AttemptState
from minispark.storage.database_errors import DamagedDatabase

SCHEMA_VERSION = 5
EVENTS_MAX = 100_000
"""Rows of the event stream that are kept; older ones go, EVENTS_PRUNED of them at a time."""
EVENTS_PRUNED = 1000
ROWS_PER_STATEMENT = 60
"""Attempts, or events, written at once. Each statement lets other threads have the interpreter, and
waits to get it back: a hundred of them take ten times as long as one. SQLite may know no more than
999 parameters in one.
"""
BUSY_TIMEOUT_S = 10.0

_SCHEMA = """
CREATE TABLE jobs (
    job_no INTEGER PRIMARY KEY, job_id TEXT NOT NULL UNIQUE, name TEXT NOT NULL,
    request TEXT NOT NULL, plan TEXT, state TEXT NOT NULL, message TEXT,
    created_at REAL NOT NULL, updated_at REAL NOT NULL,
    started_at REAL, ended_at REAL, idempotency_key TEXT UNIQUE, candidates TEXT);
CREATE TABLE stages (
    job_no INTEGER NOT NULL, stage_index INTEGER NOT NULL, stage_id TEXT NOT NULL, op TEXT NOT NULL,
    partitions INTEGER NOT NULL, is_final INTEGER NOT NULL, PRIMARY KEY (job_no, stage_index)
) WITHOUT ROWID;
CREATE TABLE attempts (
    job_no INTEGER NOT NULL, stage_index INTEGER NOT NULL, partition INTEGER NOT NULL,
    attempt INTEGER NOT NULL, worker_id TEXT NOT NULL, state TEXT NOT NULL,
    assigned_at REAL NOT NULL,
    ended_at REAL, error TEXT, records INTEGER NOT NULL, bytes_written INTEGER NOT NULL,
    cause TEXT, is_committed INTEGER NOT NULL DEFAULT 0,
    slot INTEGER, begun_at REAL, finished_at REAL, phases TEXT,
    PRIMARY KEY (job_no, stage_index, partition, attempt)) WITHOUT ROWID;
CREATE TABLE workers (
    worker_id TEXT PRIMARY KEY, kind TEXT NOT NULL, name TEXT NOT NULL, host TEXT NOT NULL,
    port INTEGER NOT NULL, slots INTEGER NOT NULL, host_id TEXT NOT NULL, state_dir TEXT NOT NULL,
    seen_at REAL NOT NULL);
CREATE TABLE events (
    seq INTEGER PRIMARY KEY, at_unix_s REAL NOT NULL, kind TEXT NOT NULL, job_id TEXT, subject TEXT,
    text TEXT, stage_index INTEGER, partition INTEGER, attempt INTEGER, worker_id TEXT);
"""
_FIGURES = """
CREATE TABLE stage_figures (
    job_no INTEGER NOT NULL, stage_index INTEGER NOT NULL, figures TEXT NOT NULL,
    PRIMARY KEY (job_no, stage_index)) WITHOUT ROWID;
"""

_ATTEMPT_ROW = "(?, ?, ?, ?, ?, ?, ?, NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_UPSERT_ATTEMPTS = """
INSERT INTO attempts VALUES {}
ON CONFLICT DO UPDATE SET state = excluded.state,
    ended_at = CASE excluded.state WHEN 'RUNNING' THEN NULL ELSE excluded.assigned_at END,
    error = excluded.error, records = excluded.records, bytes_written = excluded.bytes_written,
    cause = excluded.cause, is_committed = excluded.is_committed,
    slot = coalesce(excluded.slot, slot), begun_at = coalesce(excluded.begun_at, begun_at),
    finished_at = coalesce(excluded.finished_at, finished_at),
    phases = coalesce(excluded.phases, phases)
"""
_EVENT_ROW = "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"

MIGRATIONS = {
    1: """
ALTER TABLE attempts ADD COLUMN cause TEXT;
ALTER TABLE attempts ADD COLUMN is_committed INTEGER NOT NULL DEFAULT 0;
UPDATE attempts SET cause = CASE state WHEN 'FAILED' THEN 'task' ELSE 'worker' END
    WHERE state IN ('FAILED', 'LOST');
""",
    2: "ALTER TABLE jobs ADD COLUMN candidates TEXT;",
    3: _FIGURES,
    4: """
ALTER TABLE attempts ADD COLUMN slot INTEGER;
ALTER TABLE attempts ADD COLUMN begun_at REAL;
ALTER TABLE attempts ADD COLUMN finished_at REAL;
ALTER TABLE attempts ADD COLUMN phases TEXT;
ALTER TABLE events ADD COLUMN stage_index INTEGER;
ALTER TABLE events ADD COLUMN partition INTEGER;
ALTER TABLE events ADD COLUMN attempt INTEGER;
ALTER TABLE events ADD COLUMN worker_id TEXT;
""",
}
"""From which version, and what leads to the next one. Each runs in one transaction, once."""


class NewerSchema(ClusterError):
    """A newer package wrote this database; nothing in it is touched."""


class JobStore:
    """The database file. Protected by being used from one thread only."""

    def __init__(
        self,
        path: Path,
        dump_request: Callable[[JobRequest], str],
        dump_plan: Callable[[PhysicalPlan], str],
        dump_plans: Callable[[Sequence[PhysicalPlan]], str],
    ) -> None:
        """Open or create the database, and look at every page.

        Raises NewerSchema, sqlite3.DatabaseError (see `database_errors.py`).
        """
        self.path = path
        self._dump_request = dump_request
        self._dump_plan = dump_plan
        self._dump_plans = dump_plans
        self._writer = sqlite3.connect(
            path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False
        )
        self._job_numbers: dict[str, int] = {}
        self._events: list[tuple[object, ...]] = []
        """Of the transaction that is being written."""
        self.last_event = 0
        """The id of the event that was written last."""
        try:
            self._open()
        except BaseException:
            self._writer.close()
            raise

    def _open(self) -> None:
        execute = self._writer.execute
        (version,) = execute("PRAGMA user_version").fetchone()
        if version > SCHEMA_VERSION:
            raise NewerSchema(
                f"{self.path} has a schema of version {version}, this package knows "
                f"{SCHEMA_VERSION}: install the newer package, or choose another state_dir"
            )
        ((verdict,),) = execute("PRAGMA quick_check(1)").fetchall()
        if verdict != "ok":
            raise DamagedDatabase(str(verdict).splitlines()[-1])
        execute("PRAGMA journal_mode = WAL")
        execute("PRAGMA synchronous = FULL")
        if version == 0:
            self._writer.executescript(
                f"BEGIN; {_SCHEMA} {_FIGURES} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;"
            )
        else:
            for old in range(version, SCHEMA_VERSION):
                script = f"BEGIN; {MIGRATIONS[old]} PRAGMA user_version = {old + 1}; COMMIT;"
                self._writer.executescript(script)
        self._load()

    def _load(self) -> None:
        """What is known of the rows that are durable."""
        execute = self._writer.execute
        self._job_numbers = dict(execute("SELECT job_id, job_no FROM jobs"))
        (self.last_event,) = execute("SELECT coalesce(max(seq), 0) FROM events").fetchone()

    def close(self) -> None:
        self._writer.close()

    # --- writing ---------------------------------------------------------------------------

    def write(self, facts: Iterable[Fact | ForgetJob]) -> None:
        """Make the facts durable, all or none. Raises sqlite3.Error (a full disk, for one)."""
        try:
            self._writer.execute("BEGIN IMMEDIATE")
            self._events = []
            attempts: list[tuple[object, ...]] = []
            for fact in facts:
                if isinstance(fact, AttemptMoved):
                    attempts.append(self._attempt_row(fact))
                else:
                    self._write_one(fact)
            self._write_rows(attempts, _UPSERT_ATTEMPTS, _ATTEMPT_ROW)
            last = self._write_events()
            self._writer.execute("COMMIT")
            self.last_event = last
        except BaseException:
            if self._writer.in_transaction:
                self._writer.execute("ROLLBACK")
            self._load()
            raise

    def _write_rows(self, rows: list[tuple[object, ...]], sql: str, row: str) -> None:
        for start in range(0, len(rows), ROWS_PER_STATEMENT):
            some = rows[start : start + ROWS_PER_STATEMENT]
            places = ", ".join([row] * len(some))
            self._writer.execute(sql.format(places), [*chain.from_iterable(some)])

    def _write_events(self) -> int:
        """Number and write the transaction's events, and forget old ones; returns the last one's
        id.
        """
        rows = [(self.last_event + n, *event) for n, event in enumerate(self._events, 1)]
        self._write_rows(rows, "INSERT INTO events VALUES {}", _EVENT_ROW)
        last = self.last_event + len(rows)
        if last // EVENTS_PRUNED > self.last_event // EVENTS_PRUNED:
            self._writer.execute("DELETE FROM events WHERE seq <= ?", (last - EVENTS_MAX,))
        return last

    def _attempt_row(self, fact: AttemptMoved) -> tuple[object, ...]:
        kind = "attempt COMMITTED" if fact.is_committed else _ATTEMPT_KINDS[fact.state]
        place = (fact.stage_index, fact.partition, fact.attempt, fact.worker_id)
        self._events.append((fact.at_unix_s, kind, fact.job_id, None, fact.error, *place))
        span = fact.span
        return (
            self._job_numbers.get(fact.job_id, -1),
            fact.stage_index,
            fact.partition,
            fact.attempt,
            fact.worker_id,
            fact.state.value,
            fact.at_unix_s,
            fact.error,
            fact.records,
            fact.bytes_written,
            fact.cause.value if fact.cause is not None else None,
            fact.is_committed,
            span.slot if span is not None else None,
            span.begun_s if span is not None else None,
            span.ended_s if span is not None else None,
            json.dumps(fact.phases_us) if fact.phases_us else None,
        )

    def _write_one(self, fact: Fact | ForgetJob) -> None:
        execute = self._writer.execute
        match fact:
            case JobAccepted():
                cursor = execute(
                    "INSERT INTO jobs (job_id, name, request, state, created_at, updated_at,"
                    " idempotency_key, candidates) VALUES (?, ?, ?, 'PENDING', ?, ?, ?, ?)"
                    " ON CONFLICT (job_id) DO UPDATE SET state = 'PENDING', message = NULL,"
                    " started_at = NULL, updated_at = excluded.updated_at RETURNING job_no",
                    (
                        fact.job_id,
                        fact.request.name,
                        self._dump_request(fact.request),
                        fact.at_unix_s,
                        fact.at_unix_s,
                        fact.idempotency_key,
                        self._dump_plans(fact.candidates) if fact.candidates else None,
                    ),
                )
                (self._job_numbers[fact.job_id],) = cursor.fetchone()
                self._event(fact.at_unix_s, "job ACCEPTED", fact.job_id, fact.request.name, None)
            case PlanChosen():
                self._write_plan(fact)
            case JobMoved():
                column = "ended_at" if fact.state.is_terminal else "started_at"
                execute(
                    f"UPDATE jobs SET state = ?, message = ?, updated_at = ?, {column} = ?,"
                    " candidates = NULL WHERE job_id = ?",
                    (fact.state.value, fact.message, fact.at_unix_s, fact.at_unix_s, fact.job_id),
                )
                self._event(
                    fact.at_unix_s, f"job {fact.state.value}", fact.job_id, None, fact.message
                )
            case StageMeasured(job_id, stage_index, figures):
                number = self._job_numbers.get(job_id, -1)
                execute(
                    "INSERT OR REPLACE INTO stage_figures VALUES (?, ?, ?)",
                    (number, stage_index, json.dumps(asdict(figures))),
                )
            case WorkerSeen():
                who = fact.worker
                execute(
                    "INSERT OR REPLACE INTO workers VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    (
                        who.worker_id,
                        who.kind.value,
                        who.name,
                        who.host,
                        who.port,
                        who.slots,
                        who.host_id,
                        who.state_dir,
                        fact.at_unix_s,
                    ),
                )
                self._event(fact.at_unix_s, "worker UP", None, who.name, None, who.worker_id)
            case WorkerLost():
                what = (fact.at_unix_s, "worker DOWN", None, fact.name, fact.reason)
                self._event(*what, fact.worker_id)
            case ForgetJob():
                number = self._job_numbers.pop(fact.job_id, -1)
                for table in ("attempts", "stage_figures", "stages", "jobs"):
                    execute(f"DELETE FROM {table} WHERE job_no = ?", (number,))
            case AttemptMoved():
                raise AssertionError("attempts are written in bulk")
            case _:
                assert_never(fact)

    def _write_plan(self, fact: PlanChosen) -> None:
        number = self._job_numbers[fact.job_id]
        self._writer.execute(
            "UPDATE jobs SET plan = ?, candidates = NULL WHERE job_no = ?",
            (self._dump_plan(fact.plan), number),
        )
        self._writer.execute("DELETE FROM stages WHERE job_no = ?", (number,))
        self._writer.executemany(
            "INSERT INTO stages VALUES (?, ?, ?, ?, ?, ?)",
            [(number, s.index, s.id, s.op, s.partitions, s.is_final) for s in fact.plan.stages],
        )

    def _event(
        self,
        at_unix_s: float,
        kind: str,
        job_id: str | None,
        subject: str | None,
        text: str | None,
        worker_id: str | None = None,
    ) -> None:
        place = (None, None, None, worker_id)
        self._events.append((at_unix_s, kind, job_id, subject, text, *place))


_ATTEMPT_KINDS = {state: f"attempt {state.value}" for state in AttemptState}
