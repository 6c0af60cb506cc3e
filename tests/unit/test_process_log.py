"""What processes and tasks write into their logs: formats, fields, levels, rotation."""

from __future__ import annotations

import json
import logging
import os
import resource
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import redirect_stderr
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from minispark.master.transitions import TransitionLog
from minispark.metrics.worker_metrics import flat
from minispark.model import effects as fx
from minispark.model.events import WorkerIdentity
from minispark.model.figures import StageFigures
from minispark.model.file_names import log_file
from minispark.model.job import Dag, JobRequest
from minispark.model.log_fields import about, figures
from minispark.model.plan import TaskOrder, TaskOutcome
from minispark.model.states import AttemptState, Cause, JobState, WorkerKind
from minispark.supervisor.forked import ForkedProcess, hear_signals
from minispark.supervisor.log_format import stamp
from minispark.supervisor.process_log import configure_logging
from minispark.transport import messages as msg
from minispark.worker import attempt_log
from minispark.worker.task_log import TASK_BYTES_MAX, TaskLogs, take_over_logging
from tests.simulation.plans import map_reduce

JOB = "11111111-2222-3333-4444-555555555555"
IDS = about(job=JOB, stage="read+map", task=3, attempt=0, worker="worker-1")


@pytest.fixture
def clean_logging() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level, hook = list(root.handlers), root.level, threading.excepthook
    fds = [os.dup(1), os.dup(2)]
    yield
    for handler in root.handlers:
        if handler not in handlers:
            handler.close()
    root.handlers[:] = handlers
    root.setLevel(level)
    threading.excepthook = hook
    for fd, number in zip(fds, (1, 2), strict=True):
        os.dup2(fd, number)
        os.close(fd)


def entries(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


# --- formats -------------------------------------------------------------------------------


@pytest.mark.usefixtures("clean_logging")
def test_json_lines_have_the_documented_fields_and_the_ids(tmp_path: Path) -> None:
    path = tmp_path / "w.log"
    configure_logging("worker-1", "info", "json", path, 1, 1, worker="worker-1")
    logger = logging.getLogger("minispark.worker")
    logger.info("hello %s", "ñ")
    logger.debug("unheard")
    logger.warning("attempt FAILED: no\nmore", extra=IDS)
    first, second = entries(path)
    assert list(first) == ["ts", "level", "component", "process", "msg", "worker"]
    assert (first["level"], first["component"], first["msg"]) == ("info", "worker", "hello ñ")
    assert (first["process"], first["worker"]) == ("worker-1", "worker-1")
    assert second["msg"] == "attempt FAILED: no\nmore"
    ids = {"job": JOB, "stage": "read+map", "task": 3, "attempt": 0, "worker": "worker-1"}
    assert second | ids == second


@pytest.mark.usefixtures("clean_logging")
def test_a_thread_that_fails_leaves_an_entry_with_its_traceback(tmp_path: Path) -> None:
    path = tmp_path / "w.log"
    configure_logging("worker-1", "info", "json", path, 1, 1)
    thread = threading.Thread(target=divmod, args=(1, 0), name="prints")
    thread.start()
    thread.join()
    (entry,) = entries(path)
    assert (entry["level"], entry["component"]) == ("error", "process")
    assert entry["msg"].startswith("thread prints failed\nTraceback")
    assert "ZeroDivisionError" in entry["msg"]


@pytest.mark.usefixtures("clean_logging")
def test_text_lines_show_the_ids_behind_what_is_said(tmp_path: Path) -> None:
    path = tmp_path / "w.log"
    configure_logging("master", "warning", "text", path, 1, 1)
    logger = logging.getLogger("minispark.master")
    logger.info("unheard")
    logger.warning("attempt FAILED: no\nmore", extra=IDS)
    logger.warning("odd", extra=figures({"a": "two words", "b": 1 / 3, "c": "\x1b", "d": ""}))
    attempt, rest, odd = path.read_text().splitlines()
    ids = f"job={JOB} stage=read+map task=3 attempt=0 worker=worker-1"
    assert attempt.endswith(f"Z WARN  master attempt FAILED: no {ids}")
    assert rest == "    more"
    assert odd.endswith('odd a="two words" b=0.333333 c="\\\\x1b" d=""')


def test_stamps_are_utc_with_milliseconds() -> None:
    assert stamp(1.25) == "1970-01-01T00:00:01.250Z"


def test_the_metrics_line_has_every_documented_figure() -> None:
    document = {"worker_id": "w", "system": {"cpu_usage_percent": 1.23456}, "tasks": {"n": 1}}
    assert flat(document) == {"worker_id": "w", "cpu_usage_percent": 1.235, "n": 1}


# --- files -----------------------------------------------------------------------------------


@pytest.mark.usefixtures("clean_logging")
def test_a_log_rotates_by_size_and_keeps_so_many_files(tmp_path: Path) -> None:
    path = tmp_path / "w.log"
    configure_logging("w", "info", "json", path, max_mb=1, backups=2)
    logger = logging.getLogger("minispark")
    for number in range(4500):
        logger.info("%d %s", number, "x" * 900)
    names = ["w.log", "w.log.1", "w.log.2"]
    assert sorted(one.name for one in tmp_path.iterdir()) == names
    assert all(0 < (tmp_path / name).stat().st_size <= 1 << 20 for name in names)
    kept = [e["msg"].split()[0] for name in reversed(names) for e in entries(tmp_path / name)]
    first = int(kept[0])
    assert 0 < first < 4500 - 2 * 900
    assert kept == [str(number) for number in range(first, 4500)]
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.usefixtures("clean_logging")
def test_what_goes_to_stdout_and_stderr_is_in_the_newest_file(tmp_path: Path) -> None:
    """Also after the log rotated: not in a file that will be deleted."""
    path = tmp_path / "w.log"
    configure_logging("w", "info", "text", path, max_mb=1, backups=1)
    os.write(2, b"last words\n")
    assert path.read_text() == "last words\n"
    logging.getLogger("minispark").info("x" * (1 << 20))
    logging.getLogger("minispark").info("rotates")
    os.write(1, b"out\n")
    os.write(2, b"err\n")
    assert path.read_text().splitlines()[1:] == ["out", "err"]


@pytest.mark.usefixtures("clean_logging")
def test_f21_a_log_that_cannot_be_written_loses_lines_and_raises_nothing(tmp_path: Path) -> None:
    code = ForkedProcess(partial(_log_on_a_full_disk, tmp_path / "w.log")).wait(10)
    assert code == 0
    text = (tmp_path / "w.log").read_text()
    assert "before" in text and text.endswith("after\n")
    assert "while" not in text and "Traceback" not in text


def _log_on_a_full_disk(path: Path) -> int:
    hear_signals()
    logger = logging.getLogger("minispark")
    configure_logging("w", "info", "text", path, 1, 1)
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    logger.info("before")
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size, hard))
    logger.info("while")
    configure_logging("w", "info", "text", path, 1, 1)  # as who is forked then does
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    logger.info("after")
    return 0


# --- transitions -----------------------------------------------------------------------------

PLAN = map_reduce(2, 1)


def worker(number: int) -> WorkerIdentity:
    name = f"worker-{number}"
    return WorkerIdentity(f"id-{number}", WorkerKind.SOCKET, name, "h", 1, 2, 3, "host", "/s")


def moved(partition: int, state: AttemptState, **more: Any) -> fx.AttemptMoved:
    return fx.AttemptMoved(f"a{partition}", JOB, 0, partition, 0, "id-1", state, 1.0, **more)


STORY: list[fx.Fact] = [
    fx.WorkerSeen(worker(1), 1.0),
    fx.JobAccepted(JOB, JobRequest("words", Dag((), ()), 1), 1.0),
    fx.PlanChosen(JOB, PLAN),
    moved(0, AttemptState.ASSIGNED),
    fx.JobMoved(JOB, JobState.RUNNING, None, 1.0),
    moved(1, AttemptState.ASSIGNED),
    moved(0, AttemptState.SUCCEEDED),
    moved(0, AttemptState.SUCCEEDED, is_committed=True),
    moved(1, AttemptState.FAILED, error="no\nmore", cause=Cause.TASK),
    fx.StageMeasured(JOB, 0, StageFigures(tasks=2, records=30)),
    moved(1, AttemptState.ASSIGNED),
    fx.WorkerLost("id-1", "worker-1", "no heartbeat", 2.0),
    moved(1, AttemptState.LOST, error="worker-1 was lost", cause=Cause.WORKER),
    fx.JobMoved(JOB, JobState.FAILED, "too often", 2.0),
    moved(1, AttemptState.CANCELLED),
]


def told(path: Path, level: str, facts: Sequence[fx.Fact]) -> list[tuple[str, str, str, Any]]:
    """(level, msg, stage, worker) of each line."""
    configure_logging("master", level, "json", path, 1, 1)
    TransitionLog([], {}).note([fx.AppendJournal(fact) for fact in facts])
    lines = entries(path)
    about_job = [line for line in lines if not line["msg"].startswith("worker ")]
    assert all(line["job"] == JOB for line in about_job)
    return [(e["level"], e["msg"], e.get("stage"), e.get("worker")) for e in lines]


@pytest.mark.usefixtures("clean_logging")
def test_the_few_transitions_are_told_at_info_and_failures_at_warning(tmp_path: Path) -> None:
    stage = PLAN.stages[0].id
    assert told(tmp_path / "m.log", "info", STORY) == [
        ("info", "worker UP: id id-1, pid 3", None, "worker-1"),
        ("info", "job ACCEPTED: words", None, None),
        ("info", "job planned: fused, 2 stages, 3 tasks", None, None),
        ("info", "stage RUNNING", stage, None),
        ("info", "job RUNNING", None, None),
        ("warning", "attempt FAILED: no\nmore", stage, "worker-1"),
        ("info", "stage SUCCEEDED: 2 attempts accepted, 30 records", stage, None),
        ("info", "stage RUNNING", stage, None),
        ("warning", "worker DOWN: no heartbeat", None, "worker-1"),
        ("warning", "attempt LOST: worker-1 was lost", stage, "worker-1"),
        ("warning", "job FAILED: too often", None, None),
    ]


@pytest.mark.usefixtures("clean_logging")
def test_every_transition_of_an_attempt_is_told_at_debug(tmp_path: Path) -> None:
    lines = told(tmp_path / "m.log", "debug", STORY)
    attempts = [(level, said) for level, said, _, _ in lines if said.startswith("attempt ")]
    assert attempts == [
        ("debug", "attempt ASSIGNED"),
        ("debug", "attempt ASSIGNED"),
        ("debug", "attempt SUCCEEDED"),
        ("debug", "attempt COMMITTED"),
        ("warning", "attempt FAILED: no\nmore"),
        ("debug", "attempt ASSIGNED"),
        ("warning", "attempt LOST: worker-1 was lost"),
        ("debug", "attempt CANCELLED"),
    ]
    assert all(
        stage == PLAN.stages[0].id for _, said, stage, _ in lines if said.startswith("attempt ")
    )


def test_attempts_that_go_well_cost_nothing_while_debug_is_off(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No record is made, no text, and no ids are put together, for ten thousand of them."""
    log = TransitionLog([(JOB, PLAN)], {})
    log.note([fx.AppendJournal(moved(0, AttemptState.ASSIGNED))])  # the stage's line

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("something was put together for the log")

    monkeypatch.setattr(logging.Logger, "_log", refuse)
    for module in ("minispark.master.transitions", "minispark.worker.attempt_log"):
        monkeypatch.setattr(sys.modules[module], "about", refuse)
    states = (AttemptState.ASSIGNED, AttemptState.RUNNING, AttemptState.SUCCEEDED)
    log.note([fx.AppendJournal(moved(n, state)) for n in range(10_000) for state in states])
    run = msg.Run(order(0), None, None)
    for _ in range(10_000):
        attempt_log.begun(run, 0)
        attempt_log.ended(run, msg.Succeeded("attempt", TaskOutcome(3, 4)), 0.1)


# --- tasks -----------------------------------------------------------------------------------


def order(partition: int) -> TaskOrder:
    return TaskOrder("attempt", JOB, 0, "read+map", partition, 0, 9)


def test_prints_and_errors_of_a_task_carry_its_ids(tmp_path: Path) -> None:
    logs = TaskLogs(str(tmp_path), "worker-1", "json")
    with logs.of(order(3)) as log:
        print("one\ntwo", file=log)
        print("no end", end="", file=log)
    logs.failed(order(4), "job.py, line 3: no\nTraceback")
    found = entries(tmp_path / log_file(JOB))
    assert [(e["level"], e["msg"], e["task"]) for e in found] == [
        ("info", "one", 3),
        ("info", "two", 3),
        ("info", "no end", 3),
        ("error", "job.py, line 3: no\nTraceback", 4),
    ]
    for entry in found:
        assert entry["component"] == "task" and entry["worker"] == "worker-1"
        assert (entry["job"], entry["stage"], entry["attempt"]) == (JOB, "read+map", 0)


def test_prints_in_text_have_their_task_in_front_and_forge_nothing(tmp_path: Path) -> None:
    with TaskLogs(str(tmp_path), "worker-1", "text").of(order(3)) as log:
        print("\x1b[2J\rhidden", file=log)
        log.failed("line 3: no\n2026-01-01T00:00:00.000Z ERROR master forged")
    printed, failed, rest = (tmp_path / log_file(JOB)).read_text().splitlines()
    assert printed.endswith("Z INFO  worker-1 read+map/3/0 \\x1b[2J\\rhidden")
    assert failed.endswith("Z ERROR worker-1 read+map/3/0 line 3: no")
    assert rest == "    2026-01-01T00:00:00.000Z ERROR master forged"


@pytest.mark.usefixtures("clean_logging")
def test_what_the_users_code_logs_goes_where_it_prints(tmp_path: Path) -> None:
    configure_logging("worker-1", "info", "json", tmp_path / "w.log", 1, 1)
    take_over_logging()
    with TaskLogs(str(tmp_path), "worker-1", "json").of(order(3)) as log:
        with redirect_stderr(log):
            logging.getLogger("own").warning("tired of %s", "it")
            logging.getLogger("own").debug("unheard")
    (entry,) = entries(tmp_path / log_file(JOB))
    assert (entry["msg"], entry["task"]) == ("WARNING own: tired of it", 3)
    assert (tmp_path / "w.log").read_text() == ""


def test_a_task_prints_so_much_and_its_error_is_told_all_the_same(tmp_path: Path) -> None:
    with TaskLogs(str(tmp_path), "worker-1", "text").of(order(0)) as log:
        for _ in range(1000):
            print("x" * 3000, file=log)
        log.failed("why")
    *_, last, error = (tmp_path / log_file(JOB)).read_text().splitlines()
    assert last.endswith("(prints no more: 1 MiB)") and error.endswith("why")
    assert (tmp_path / log_file(JOB)).stat().st_size < TASK_BYTES_MAX + 10_000
