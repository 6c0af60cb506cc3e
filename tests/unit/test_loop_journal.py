"""What the master's loop does while its journal cannot be written: F21."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable

import pytest

from minispark.master.board import SnapshotBoard
from minispark.master.loop import JournalBlocked, MasterLoop
from minispark.model import effects as fx
from minispark.model.events import JobSubmitted
from minispark.model.states import JobState
from minispark.scheduling.core import SchedulingCore
from minispark.scheduling.limits import Limits
from tests.simulation.plans import one_stage, request

WITHIN_S = 10.0
FAILED = fx.AppendJournal(fx.JobMoved("j", JobState.FAILED, "why", 0.0))


def error(code: int) -> sqlite3.Error:
    made = sqlite3.OperationalError("as SQLite says it")
    made.sqlite_errorcode = code
    return made


class Disk:
    """A journal that cannot be written while `trouble` is set."""

    def __init__(self, trouble: sqlite3.Error | None) -> None:
        self.trouble = trouble
        self.facts: list[fx.Fact | fx.ForgetJob] = []
        self.tries = 0

    def write(self, facts: list[fx.Fact | fx.ForgetJob]) -> None:
        self.tries += 1
        if self.trouble is not None:
            raise self.trouble
        self.facts += facts


def wait_until(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + WITHIN_S
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.005)


def loop_on(disk: Disk, done: list[fx.Effect], failed: threading.Event) -> MasterLoop:
    core = SchedulingCore(Limits())
    return MasterLoop(core, disk.write, done.extend, SnapshotBoard(), failed.set)


def test_f21_a_master_that_starts_on_a_full_disk_waits_in_its_own_thread() -> None:
    disk, done, failed = Disk(error(sqlite3.SQLITE_FULL)), [], threading.Event()
    loop = loop_on(disk, done, failed)
    loop.start([FAILED])  # returns: the master answers readers meanwhile
    try:
        wait_until(lambda: loop.blocked_by, "the loop never said that it is blocked")
        with pytest.raises(JournalBlocked):
            loop.ask(JobSubmitted("k", request("k"), (one_stage(1),), 0.0))
        assert done == []
        disk.trouble = None
        wait_until(lambda: done == [FAILED], "what was held was not carried out")
        assert disk.facts == [FAILED.fact] and loop.blocked_by is None
    finally:
        loop.stop(WITHIN_S)
    assert not failed.is_set()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_an_error_that_would_come_again_stops_the_master() -> None:
    disk, done, failed = Disk(error(sqlite3.SQLITE_CONSTRAINT_UNIQUE)), [], threading.Event()
    loop = loop_on(disk, done, failed)
    loop.start([FAILED])
    assert failed.wait(WITHIN_S), "it tries for ever"
    loop.stop(WITHIN_S)
    assert disk.tries == 1 and done == []
