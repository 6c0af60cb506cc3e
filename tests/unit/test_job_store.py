"""The database's schema over its versions, and what is saved of a damaged one (F31)."""

from __future__ import annotations

import logging
import shutil
import signal
import sqlite3
import subprocess
import sys
import uuid
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from minispark.master.documents import state_document
from minispark.master.job_codec import dump_plan, dump_plans, dump_request
from minispark.master.loop import journal_of
from minispark.master.recovery import Found, open_store
from minispark.model import effects as fx
from minispark.model.events import WorkerIdentity
from minispark.model.ids import attempt_id
from minispark.model.job import JobRequest
from minispark.model.snapshot import JobView, Snapshot
from minispark.model.states import AttemptState, Cause, JobState, WorkerKind
from minispark.plan.parsing import parse_request
from minispark.scheduling import invariants
from minispark.scheduling.core import SchedulingCore
from minispark.scheduling.limits import Limits
from minispark.storage import job_store
from minispark.storage.database_errors import is_damage, remedy
from minispark.storage.job_history import JobHistory
from minispark.storage.job_store import MIGRATIONS, SCHEMA_VERSION, JobStore, NewerSchema
from minispark.storage.jobs_json import write_snapshot
from tests import jobs
from tests.simulation.plans import map_reduce, naive_word_count

PLAN = map_reduce(2, 1)
VERSION_1 = """
CREATE TABLE jobs (
    job_no INTEGER PRIMARY KEY, job_id TEXT NOT NULL UNIQUE, name TEXT NOT NULL,
    request TEXT NOT NULL, plan TEXT, state TEXT NOT NULL, message TEXT,
    created_at REAL NOT NULL, updated_at REAL NOT NULL,
    started_at REAL, ended_at REAL, idempotency_key TEXT UNIQUE);
CREATE TABLE stages (
    job_no INTEGER NOT NULL, stage_index INTEGER NOT NULL, stage_id TEXT NOT NULL, op TEXT NOT NULL,
    partitions INTEGER NOT NULL, is_final INTEGER NOT NULL, PRIMARY KEY (job_no, stage_index)
) WITHOUT ROWID;
CREATE TABLE attempts (
    job_no INTEGER NOT NULL, stage_index INTEGER NOT NULL, partition INTEGER NOT NULL,
    attempt INTEGER NOT NULL, worker_id TEXT NOT NULL, state TEXT NOT NULL,
    assigned_at REAL NOT NULL,
    ended_at REAL, error TEXT, records INTEGER NOT NULL, bytes_written INTEGER NOT NULL,
    PRIMARY KEY (job_no, stage_index, partition, attempt)) WITHOUT ROWID;
CREATE TABLE workers (
    worker_id TEXT PRIMARY KEY, kind TEXT NOT NULL, name TEXT NOT NULL, host TEXT NOT NULL,
    port INTEGER NOT NULL, slots INTEGER NOT NULL, host_id TEXT NOT NULL, state_dir TEXT NOT NULL,
    seen_at REAL NOT NULL);
CREATE TABLE events (
    seq INTEGER PRIMARY KEY, at_unix_s REAL NOT NULL, kind TEXT NOT NULL, job_id TEXT, subject TEXT,
    text TEXT);
PRAGMA user_version = 1;
"""
"""What the first version of this package wrote."""


def request() -> JobRequest:
    return parse_request(jobs.word_count("/data/text", 2))


def facts(job_id: str, padding: str = "") -> list[fx.Fact | fx.ForgetJob]:
    """A job of which one task is complete, one failed once."""
    worker = WorkerIdentity("w", WorkerKind.SOCKET, "worker-1", "h", 1, 2, 3, "host", "/s")
    moves = [
        (0, 0, AttemptState.SUCCEEDED, None),
        (1, 0, AttemptState.FAILED, Cause.TASK),
        (1, 1, AttemptState.ASSIGNED, None),
    ]
    return [
        fx.WorkerSeen(worker, 1.0),
        fx.JobAccepted(job_id, request(), 1.0, None),
        fx.PlanChosen(job_id, PLAN),
        fx.JobMoved(job_id, JobState.RUNNING, None, 2.0),
        *(
            fx.AttemptMoved(
                attempt_id(job_id, "s0", partition, number),
                job_id, 0, partition, number, "w", state, 3.0,
                error=padding or None, cause=cause,
            )
            for partition, number, state, cause in moves
        ),
    ]  # fmt: skip


def view(job_id: str, name: str) -> JobView:
    asked = replace(request(), name=name)
    return JobView(job_id, asked, JobState.RUNNING, None, None, None, 1.0, 2.0)


def damage_a_page(path: Path) -> None:
    data = bytearray(path.read_bytes())
    with closing(sqlite3.connect(path)) as whole:
        (size,) = whole.execute("PRAGMA page_size").fetchone()
    middle = len(data) // size // 2 * size
    data[middle : middle + size] = b"\xff" * size
    path.write_bytes(data)


def test_facts_come_back_as_they_were_written(tmp_path: Path) -> None:
    store = JobStore(tmp_path / "db", dump_request, dump_plan, dump_plans)
    store.write(facts("j"))
    found = JobHistory(store.path).attempt_facts("j")
    assert found == [f for f in facts("j") if isinstance(f, fx.AttemptMoved)]
    (record,) = Found(JobHistory(store.path)).unfinished
    assert record.plans == (PLAN,) and record.is_planned and record.started_at == 2.0
    store.close()


def test_the_event_stream_stays_bounded_while_it_grows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_store, "EVENTS_MAX", 30)
    monkeypatch.setattr(job_store, "EVENTS_PRUNED", 10)
    store = open_in(tmp_path)
    counts = []
    for number in range(100):
        store.write([fx.WorkerLost("w", f"worker-{number}", "gone", 1.0)])
        with closing(sqlite3.connect(store.path)) as reader:
            counts += reader.execute("SELECT count(*) FROM events").fetchone()
    assert max(counts) == 39 and counts[-1] == 30
    with closing(sqlite3.connect(store.path)) as reader:
        assert reader.execute("SELECT min(subject) FROM events").fetchone() == ("worker-70",)
    store.close()


def test_more_attempts_than_one_statement_writes_come_back_as_they_were(tmp_path: Path) -> None:
    job_id, count = str(uuid.UUID(int=7)), 2 * job_store.ROWS_PER_STATEMENT + 3
    moved = [
        fx.AttemptMoved(str(n), job_id, 0, n, 0, f"w{n}", AttemptState.ASSIGNED, float(n))
        for n in range(count)
    ]
    ended = [replace(m, state=AttemptState.SUCCEEDED, at_unix_s=9.0, records=5) for m in moved]
    with closing(open_in(tmp_path)) as store:
        store.write([*facts(job_id)[:4], *moved, *ended[1:]])
        rows = store._writer.execute(
            "SELECT partition, worker_id, state, assigned_at, ended_at, records FROM attempts"
        ).fetchall()
    assert rows[0] == (0, "w0", "ASSIGNED", 0.0, None, 0)
    assert rows[1:] == [(n, f"w{n}", "SUCCEEDED", float(n), 9.0, 5) for n in range(1, count)]


def make_version_1(path: Path, states: list[str]) -> None:
    """One job, whose first task had attempts that ended so."""
    with closing(sqlite3.connect(path)) as old:
        old.executescript(VERSION_1)
        old.execute("PRAGMA journal_mode = WAL")
        old.execute(
            "INSERT INTO jobs VALUES (1, 'j', 'n', ?, ?, 'RUNNING', NULL, 1, 1, 2, NULL, NULL)",
            (dump_request(request()), dump_plan(PLAN)),
        )
        old.execute("INSERT INTO stages VALUES (1, 0, 's0', 'pipeline', 2, 0)")
        old.executemany(
            "INSERT INTO attempts VALUES (1, 0, 0, ?, 'w', ?, 3, 4, NULL, 5, 6)", enumerate(states)
        )
        old.commit()


def test_f33_the_plans_of_a_job_that_waits_are_kept_until_one_is_chosen(tmp_path: Path) -> None:
    store = open_in(tmp_path)
    plans = (PLAN, naive_word_count(2))
    store.write([fx.JobAccepted("j", request(), 1.0, None, plans)])
    (record,) = Found(JobHistory(store.path)).unfinished
    assert record.plans == plans and not record.is_planned
    store.write([fx.PlanChosen("j", PLAN)])
    (record,) = Found(JobHistory(store.path)).unfinished
    assert record.plans == (PLAN,) and record.is_planned
    assert JobHistory(store.path).jobs()[0].candidates is None
    store.close()


def change(path: Path, sql: str) -> None:
    with closing(sqlite3.connect(path)) as other, other:
        assert other.execute(sql).rowcount == 1


DAMAGE = {
    "no-utf8": "UPDATE jobs SET request = CAST(x'7b22ff227d' AS TEXT) WHERE job_id = 'bad'",
    "no-json": "UPDATE jobs SET request = '{\"name\": ' WHERE job_id = 'bad'",
    "no-request": "UPDATE jobs SET request = '[1]' WHERE job_id = 'bad'",
    "no-plan": "UPDATE jobs SET plan = '{\"kind\": \"quantum\"}' WHERE job_id = 'bad'",
    "no-state": "UPDATE jobs SET state = 'RUNNXNG' WHERE job_id = 'bad'",
    "no-attempt": "UPDATE attempts SET state = 'LOXT' WHERE job_no = 1 AND attempt = 1",
    "no-task": "UPDATE attempts SET partition = 77 WHERE job_no = 1 AND attempt = 1",
    "never-planned": "UPDATE jobs SET plan = NULL WHERE job_id = 'bad'",
}


@pytest.mark.parametrize("name", DAMAGE)
def test_f31_a_job_that_cannot_be_read_fails_and_the_others_go_on(
    tmp_path: Path, name: str
) -> None:
    store = open_in(tmp_path)
    for job_id in ("bad", "good"):
        store.write(facts(job_id))
    change(store.path, DAMAGE[name])
    found = Found(JobHistory(store.path))
    core = SchedulingCore(Limits())
    effects = core.restore(found.unfinished, found.workers(), 0.0, 5.0)
    assert core.snapshot().jobs["good"].state is JobState.RUNNING
    failed = core.snapshot().jobs["bad"]
    assert failed.state is JobState.FAILED
    assert failed.message is not None and failed.message.startswith("the master cannot go on")
    store.write(journal_of(effects))
    again = Found(JobHistory(store.path))
    assert [record.job_id for record in again.unfinished] == ["good"]
    assert [(view.state, view.message) for view in again.ended] == [
        (JobState.FAILED, failed.message)
    ]
    store.close()


def test_f31_an_ended_job_that_cannot_be_read_stays_as_it_ended(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = open_in(tmp_path)
    store.write(facts("bad"))
    store.write([fx.JobMoved("bad", JobState.SUCCEEDED, None, 4.0)])
    change(store.path, DAMAGE["no-utf8"])
    with caplog.at_level(logging.ERROR, "minispark.master"):
        (view_found,) = Found(JobHistory(store.path)).ended
    assert view_found.state is JobState.SUCCEEDED and view_found.request.name == "wordcount"
    assert "job bad (wordcount): the stored request cannot be read" in caplog.text
    store.close()


def test_f31_a_worker_that_cannot_be_read_is_left_out(tmp_path: Path) -> None:
    store = open_in(tmp_path)
    store.write(facts("j"))
    change(store.path, "UPDATE workers SET kind = 'socxet'")
    found = Found(JobHistory(store.path))
    assert found.workers() == {}
    core = SchedulingCore(Limits())
    core.restore(found.unfinished, found.workers(), 0.0, 5.0)
    invariants.check(core)
    store.close()


def test_f31_counts_that_no_integer_holds_are_read_all_the_same(tmp_path: Path) -> None:
    store = open_in(tmp_path)
    store.write(facts("j"))
    moves = [fact for fact in facts("j") if isinstance(fact, fx.AttemptMoved)]
    most = 2**62
    store.write(
        replace(move, state=AttemptState.SUCCEEDED, records=most, bytes_written=most)
        for move in moves
    )
    store.write([fx.JobMoved("j", JobState.SUCCEEDED, None, 4.0)])
    (view_found,) = Found(JobHistory(store.path)).ended
    assert view_found.records == 2**63 - 1
    store.close()


def test_a_database_of_the_first_version_is_migrated(tmp_path: Path) -> None:
    path = tmp_path / "db"
    make_version_1(path, ["FAILED", "LOST", "SUCCEEDED"])
    store = JobStore(path, dump_request, dump_plan, dump_plans)
    causes = [fact.cause for fact in JobHistory(path).attempt_facts("j")]
    assert causes == [Cause.TASK, Cause.WORKER, None]
    store.write(facts("k"))
    store.close()
    JobStore(path, dump_request, dump_plan, dump_plans).close()  # and is not migrated twice


OPEN_WITH_LITTLE_ROOM = """
import resource, signal, sqlite3, sys
from pathlib import Path
from minispark.master.loop import journal_of
from minispark.master.recovery import open_store

if sys.argv[2] == "killed":
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
room = int(sys.argv[3])
resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))
try:
    open_store(Path(sys.argv[1]))
except sqlite3.Error as error:
    sys.exit(str(error))
"""
"""A file that would grow beyond the room ends the process, or is an error, as on a full disk."""


@pytest.mark.parametrize("how", ["killed", "full"])
def test_f31_an_interrupted_migration_leaves_the_old_version(tmp_path: Path, how: str) -> None:
    (tmp_path / "state").mkdir()
    path = tmp_path / "state" / "minispark.db"
    make_version_1(path, ["FAILED"] * 3000)
    before = path.read_bytes()
    room = len(before) // 2  # for a part of the pages that the migration writes
    done = subprocess.run(
        [sys.executable, "-c", OPEN_WITH_LITTLE_ROOM, str(tmp_path), how, str(room)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == (-signal.SIGXFSZ if how == "killed" else 1), done.stderr
    with closing(sqlite3.connect(path)) as interrupted:
        assert interrupted.execute("PRAGMA user_version").fetchone() == (1,)
        columns = [row[1] for row in interrupted.execute("PRAGMA table_info (attempts)")]
        assert "cause" not in columns
    assert path.read_bytes() == before
    store = open_store(tmp_path)
    facts_found = JobHistory(path).attempt_facts("j")
    assert [fact.cause for fact in facts_found] == [Cause.TASK] * 3000
    store.close()
    assert [child.name for child in path.parent.iterdir()] == ["minispark.db"]


def test_every_version_leads_to_the_present_one() -> None:
    assert sorted(MIGRATIONS) == list(range(1, SCHEMA_VERSION))


def test_a_newer_database_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    path = tmp_path / "state" / "minispark.db"
    with closing(sqlite3.connect(path)) as newer:
        newer.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    before = path.read_bytes()
    with pytest.raises(NewerSchema, match="newer package"):
        open_store(tmp_path)
    assert path.read_bytes() == before


def test_f31_what_can_be_read_of_a_damaged_database_is_saved_and_lost_jobs_are_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "state").mkdir()
    store = open_store(tmp_path)
    names = [f"job-{number}" for number in range(20)]
    for name in names:
        store.write(facts(name, padding="x" * 3000))
    store.close()
    snapshot = state_document(Snapshot({name: view(name, f"n-{name}") for name in names}), 0.0)
    write_snapshot(tmp_path / "state" / "jobs.json", snapshot)
    damage_a_page(tmp_path / "state" / "minispark.db")
    with caplog.at_level(logging.ERROR, "minispark.master"):
        again = open_store(tmp_path)
    saved = {row.job_id for row in JobHistory(again.path).jobs()}
    assert 0 < len(saved) < len(names)
    for name in names:
        assert (f"lost: job {name} (n-{name})" in caplog.text) == (name not in saved)
    for name in saved:
        assert len(JobHistory(again.path).attempt_facts(name)) == 3
    assert (tmp_path / "state" / "minispark.db.corrupt-1").exists()
    again.write(facts("new"))
    again.close()


def test_f31_a_file_that_is_no_database_is_moved_aside(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    path = tmp_path / "state" / "minispark.db"
    path.write_bytes(b"this is no database" * 1000)
    store = open_store(tmp_path)
    assert JobHistory(store.path).jobs() == []
    store.close()
    assert (tmp_path / "state" / "minispark.db.corrupt-1").read_bytes().startswith(b"this is")


def open_in(tmp_path: Path) -> JobStore:
    (tmp_path / "state").mkdir(exist_ok=True)
    return open_store(tmp_path)


def lock(path: Path) -> sqlite3.Connection:
    """Another process's connection that lets nobody else in."""
    other = sqlite3.connect(path)
    other.execute("PRAGMA locking_mode = EXCLUSIVE")
    other.execute("BEGIN EXCLUSIVE")
    return other


def block_wal(path: Path) -> None:
    """Whoever runs this, root or not, nobody can open the write-ahead log."""
    path.with_name(f"{path.name}-wal").mkdir()


def test_f31_a_database_that_is_only_out_of_reach_stays_where_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("minispark.storage.job_store.BUSY_TIMEOUT_S", 0.05)
    store = open_in(tmp_path)
    store.write(facts("j"))
    store.close()
    with closing(lock(store.path)), pytest.raises(sqlite3.OperationalError) as locked:
        open_store(tmp_path)
    assert remedy(locked.value) == "end the other process that uses it"
    block_wal(store.path)
    with pytest.raises(sqlite3.OperationalError) as unopened:
        open_store(tmp_path)
    assert remedy(unopened.value) == "let the master's user write the file and its directory"
    assert not list(store.path.parent.glob("*.corrupt-*"))
    store.path.with_name("minispark.db-wal").rmdir()
    again = open_store(tmp_path)
    assert [row.job_id for row in JobHistory(again.path).jobs()] == ["j"]
    again.close()


@pytest.mark.parametrize(
    ("code", "is_damaged", "can_pass"),
    [
        (sqlite3.SQLITE_CORRUPT_INDEX, True, False),
        (sqlite3.SQLITE_NOTADB, True, False),
        (sqlite3.SQLITE_FULL, False, True),
        (sqlite3.SQLITE_IOERR_WRITE, False, True),
        (sqlite3.SQLITE_BUSY_SNAPSHOT, False, True),
        (sqlite3.SQLITE_CONSTRAINT_UNIQUE, False, False),
        (None, False, False),
    ],
)
def test_errors_are_told_apart_by_their_primary_code(
    code: int | None, is_damaged: bool, can_pass: bool
) -> None:
    error = sqlite3.OperationalError("as SQLite says it")
    if code is not None:
        error.sqlite_errorcode = code
    assert is_damage(error) == is_damaged
    assert (remedy(error) is not None) == can_pass


DIE_AT_STEP = """
import os, signal, sys
from pathlib import Path
from minispark.master.loop import journal_of
from minispark.master.recovery import open_store
from minispark.storage import salvage

steps = int(sys.argv[2])

def dying(real):
    def step(*args):
        global steps
        steps -= 1
        if steps == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*args)
    return step

salvage._job = dying(salvage._job)
Path.replace = dying(Path.replace)
open_store(Path(sys.argv[1])).close()
"""


@pytest.mark.parametrize("step", [3, 6, 7, 8])
def test_f31_a_salvage_that_is_killed_anywhere_is_done_all_the_same(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, step: int
) -> None:
    """Five jobs are read, one is lost; then three renames: whole, aside, in place."""
    store = open_in(tmp_path)
    names = [f"job-{number}" for number in range(5)]
    for name in names:
        store.write(facts(name, padding="x" * 3000))
    store.close()
    damage_a_page(store.path)
    damaged = store.path.read_bytes()
    shutil.copytree(tmp_path / "state", tmp_path / "undisturbed" / "state")
    expected = open_store(tmp_path / "undisturbed")
    expected.close()
    died = subprocess.run(
        [sys.executable, "-c", DIE_AT_STEP, str(tmp_path), str(step)], check=False
    )
    assert died.returncode == -signal.SIGKILL
    with caplog.at_level(logging.ERROR, "minispark.master"):
        again = open_store(tmp_path)
    again.close()
    assert "minispark.db.corrupt-1" in caplog.text
    saved = JobHistory(again.path).jobs()
    assert 0 < len(saved) < len(names) and saved == JobHistory(expected.path).jobs()
    left = {path.name: path for path in again.path.parent.iterdir()}
    assert sorted(left) == ["minispark.db", "minispark.db.corrupt-1"]
    assert left["minispark.db.corrupt-1"].read_bytes() == damaged


def test_f30_what_an_earlier_master_counted_is_counted_on(tmp_path: Path) -> None:
    store = open_in(tmp_path)
    for job_id in ("ended", "goes-on"):
        store.write(facts(job_id))
    moved = next(fact for fact in facts("ended") if isinstance(fact, fx.AttemptMoved))
    lost = replace(moved, attempt=7, state=AttemptState.LOST, error="gone", cause=Cause.WORKER)
    store.write([lost, fx.JobMoved("ended", JobState.SUCCEEDED, None, 4.0)])
    history = JobHistory(store.path)
    found = Found(history)
    totals = found.totals()
    rows = [row for job in ("ended", "goes-on") for row in history.attempt_facts(job)]
    core = SchedulingCore(Limits())
    core.restore(found.unfinished, found.workers(), 0.0, 5.0, found.ended, totals)
    snapshot = core.snapshot()
    assert (totals.jobs_submitted, totals.jobs_ended[JobState.SUCCEEDED]) == (2, 1)
    assert snapshot.totals.attempts[AttemptState.ASSIGNED] == len(rows)
    failed = [row for row in rows if row.state in (AttemptState.FAILED, AttemptState.LOST)]
    assert failed
    counted = snapshot.totals.attempts
    assert counted[AttemptState.FAILED] + counted[AttemptState.LOST] == len(failed)
    assert sum(job.failed_attempts for job in snapshot.jobs.values()) == len(failed)
    assert snapshot.retries_total == sum(job.retries for job in snapshot.jobs.values()) > 0
    store.close()
