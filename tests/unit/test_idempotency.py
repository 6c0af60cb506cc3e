"""F33, F55: under one Idempotency-Key there is one job, whatever is repeated, and when."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from minispark.errors import InvalidRequest
from minispark.master import loop as loop_module
from minispark.master.idempotency import IdempotencyKeys
from minispark.master.loop import EventHeld
from minispark.master.submission import Submitter
from tests.unit.http_master import JOBS, HttpMaster, one_reader


@pytest.fixture
def master(tmp_path: Path) -> Iterator[HttpMaster]:
    made = HttpMaster(tmp_path, jobs_kept_max=1)
    yield made
    made.close()
    assert not made.has_failed.is_set(), "the loop thread ended"


class FullDisk:
    """Makes the journal fail, until it is freed."""

    def __init__(self, master: HttpMaster) -> None:
        self._master = master
        self._write = master.write
        self.has_refused = threading.Event()
        master.write = self._refuse

    def _refuse(self, facts: Any) -> None:
        self.has_refused.set()
        error = sqlite3.OperationalError("database or disk is full")
        error.sqlite_errorcode = sqlite3.SQLITE_FULL
        raise error

    def free(self) -> None:
        self._master.write = self._write


def until_accepted(master: HttpMaster, **headers: str) -> Any:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        status, answer = master.submit(**headers)
        if status == 200:
            return answer
    raise AssertionError(f"still {status}: {answer}")


def test_a_repetition_answers_with_the_first_job_whatever_it_asks(master: HttpMaster) -> None:
    _, first = master.submit(Idempotency_Key="k")
    _, again = master.call("POST", JOBS, one_reader(name="other"), Idempotency_Key="k")
    assert (again["id"], again["request"]["name"]) == (first["id"], "x")
    assert master.submit(Idempotency_Key="l")[1]["id"] != first["id"]


def test_f33_a_job_that_was_held_is_the_job_of_its_key(
    master: HttpMaster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop_module, "ANSWER_TIMEOUT_S", 1.0)
    disk = FullDisk(master)
    status, answer = master.submit(Idempotency_Key="k")
    assert (status, answer["error"]["code"]) == (503, "unavailable")
    assert disk.has_refused.is_set()
    assert master.submit(Idempotency_Key="k")[0] == 503
    disk.free()
    job = until_accepted(master, Idempotency_Key="k")
    assert master.job_ids() == [job["id"]]
    assert master.submit()[0] == 200, "the journal takes in others"


def test_f21_who_waits_when_the_journal_is_blocked_hears_of_it_at_once(master: HttpMaster) -> None:
    disk = FullDisk(master)
    begun = time.monotonic()
    status, answer = master.submit()
    waited_s = time.monotonic() - begun
    disk.free()
    until_accepted(master)
    assert status == 503
    assert "may still be accepted" in answer["error"]["message"]
    assert "disk is full" in answer["error"]["message"]
    assert waited_s < loop_module.ANSWER_TIMEOUT_S / 3


def test_f55_requests_at_the_same_time_make_one_job(master: HttpMaster) -> None:
    with ThreadPoolExecutor(16) as threads:
        answers = list(threads.map(lambda _: master.submit(Idempotency_Key="k"), range(64)))
    assert {status for status, _ in answers} == {200}
    assert {answer["id"] for _, answer in answers} == set(master.job_ids())
    assert len(master.job_ids()) == 1


def test_a_key_whose_inputs_are_looked_at_makes_no_other_wait(
    master: HttpMaster, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks, may_go = threading.Event(), threading.Event()
    prepare = Submitter.prepare

    def slow(self: Submitter, document: Any, is_authenticated: bool) -> Any:
        if document["name"] == "slow":
            looks.set()
            assert may_go.wait(20)
        return prepare(self, document, is_authenticated)

    monkeypatch.setattr(Submitter, "prepare", slow)
    with ThreadPoolExecutor(1) as threads:
        body = one_reader(name="slow")
        first = threads.submit(master.call, "POST", JOBS, body, Idempotency_Key="slow")
        assert looks.wait(10)
        assert master.submit(Idempotency_Key="quick")[0] == 200
        may_go.set()
        assert first.result()[0] == 200


def test_a_request_that_was_refused_has_not_used_its_key(master: HttpMaster) -> None:
    assert master.call("POST", JOBS, one_reader(name=""), Idempotency_Key="k")[0] == 400
    assert master.submit(Idempotency_Key="k")[0] == 200


def test_the_key_of_a_forgotten_job_is_forgotten_too(master: HttpMaster) -> None:
    made = []
    for key in ("k", "l", "k"):  # one ended job is kept
        made.append(master.submit(Idempotency_Key=key)[1]["id"])
        assert master.call("DELETE", f"{JOBS}/{made[-1]}", token=True)[0] == 200
    assert len(set(made)) == 3
    assert master.job_ids() == made[2:]


def test_only_keys_in_use_are_remembered() -> None:
    keys = IdempotencyKeys()
    with keys.turn("a"):
        assert len(keys) == 1
    with pytest.raises(InvalidRequest), keys.turn("b"):
        raise InvalidRequest("no")
    assert len(keys) == 0
    with pytest.raises(EventHeld), keys.turn("c"):
        raise EventHeld("full")
    with keys.turn("c") as turn:
        assert turn.is_held
        turn.is_held = False
    assert len(keys) == 0
