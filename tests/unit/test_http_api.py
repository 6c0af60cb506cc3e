"""The HTTP endpoints from outside: what a stranger may send without harm to the master."""

from __future__ import annotations

import http.client
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from minispark.master import api_workers, event_stream
from minispark.model.ids import NIL_ID
from tests.unit.http_master import JOBS, TOKEN, WORKERS, HttpMaster, one_reader

HALF = "\ud800"
"""Half of a surrogate pair: JSON can write it, UTF-8 cannot."""


@pytest.fixture
def master(tmp_path: Path) -> Iterator[HttpMaster]:
    made = HttpMaster(tmp_path)
    yield made
    made.close()
    assert not made.has_failed.is_set(), "the loop thread ended"


# --- text that is none --------------------------------------------------------------------


def half_bodies() -> list[Any]:
    return [
        pytest.param(JOBS, one_reader(name=HALF), id="name"),
        pytest.param(JOBS, one_reader(name=f"x {HALF} y"), id="inside a name"),
        pytest.param(JOBS, one_reader(node={"key": HALF}), id="key"),
        pytest.param(JOBS, one_reader(node={"value": HALF}), id="value"),
        pytest.param(JOBS, one_reader(node={"path": HALF}), id="path"),
        pytest.param(JOBS, one_reader(node={"path": f"*{HALF}"}), id="glob"),
        pytest.param(JOBS, one_reader(node={"encoding": HALF}), id="encoding"),
        pytest.param(JOBS, one_reader(node={HALF: 1}), id="unknown field of a node"),
        pytest.param(JOBS, {**one_reader(), HALF: 1}, id="unknown field"),
        pytest.param(JOBS, {**one_reader(), "x": [[{"y": HALF}]]}, id="deep in an unknown field"),
        pytest.param("/api/v1/explain", one_reader(name=HALF), id="explain"),
        pytest.param(f"{WORKERS}/register", {"id": NIL_ID, "host": HALF, "port": 1}, id="host"),
    ]


@pytest.mark.parametrize(("path", "body"), half_bodies())
def test_f51_half_a_surrogate_pair_is_refused_at_the_boundary(
    master: HttpMaster, path: str, body: Any
) -> None:
    status, answer = master.call("POST", path, body)
    assert (status, answer["error"]["code"]) == (400, "invalid_json")
    assert "\\ud800" in answer["error"]["message"]
    assert master.submit()[0] == 200


def test_f51_half_a_surrogate_pair_as_bytes_is_no_utf_8(master: HttpMaster) -> None:
    status, answer = master.call("POST", JOBS, b'{"name": "\xed\xa0\x80"}')
    assert (status, answer["error"]["code"]) == (400, "malformed_json")


def test_a_whole_surrogate_pair_is_text(master: HttpMaster) -> None:
    assert master.call("POST", JOBS, one_reader(name="\U0001f600"))[1]["request"]["name"] == "😀"


# --- requests that make no sense -------------------------------------------------------------

TASK = {"task_id": NIL_ID, "job_id": NIL_ID, "attempt": 0, "success": True, "records_processed": 1}


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        (JOBS, one_reader(timeout_s=10**400), "timeout_s"),
        (JOBS, one_reader(node={"encoding": "\0"}), "dag.nodes[0].encoding"),
        (JOBS, one_reader(name="a\nb"), "name"),
        (JOBS, one_reader(parallelism=10**4000), "parallelism"),
        (JOBS, one_reader(parallelism=None), "parallelism"),
        (f"{WORKERS}/register", {"id": NIL_ID, "host": "h", "port": 65536}, "port"),
        (f"{WORKERS}/register", {"id": NIL_ID, "host": "h", "port": -1}, "port"),
        (f"{WORKERS}/register", {"id": NIL_ID, "host": "a\nb", "port": 1}, "host"),
        (f"{WORKERS}/task/complete", {**TASK, "records_processed": 2**61}, "records_processed"),
        (f"{WORKERS}/task/complete", {**TASK, "shuffle_outputs": 5}, "shuffle_outputs"),
        (f"{WORKERS}/task/complete", {**TASK, "shuffle_outputs": True}, "shuffle_outputs"),
        (f"{WORKERS}/task/complete", {**TASK, "shuffle_outputs": "abc"}, "shuffle_outputs"),
        (f"{WORKERS}/task/complete", {**TASK, "shuffle_outputs": [1]}, "shuffle_outputs"),
        (f"{WORKERS}/task/complete", {**TASK, "output_path": 5}, "output_path"),
        (f"{WORKERS}/task/complete", {**TASK, "error": [[]]}, "error"),
        (f"{WORKERS}/task/complete", {**TASK, "success": 1}, "success"),
    ],
)
def test_f51_what_makes_no_sense_is_refused_by_its_field(
    master: HttpMaster, path: str, body: dict[str, Any], field: str
) -> None:
    for more in ({}, {"output_path": "x"}):  # with an output, and without
        status, answer = master.call("POST", path, {**more, **body})
        assert (status, answer["error"].get("field")) == (400, field)
        assert len(answer["error"]["message"]) < 500
    assert master.job_ids() == []


@pytest.mark.parametrize("digits", ["0" * 5000, "000000000001" + "9" * 30, "-1", "+1", "1_0", ""])
def test_f51_a_number_in_the_query_that_is_none_is_refused(master: HttpMaster, digits: str) -> None:
    job_id = master.submit()[1]["id"]
    for path in ("tasks?limit=", "tasks?offset="):
        status, answer = master.call("GET", f"{JOBS}/{job_id}/{path}{digits}")
        assert (status, answer["error"]["code"]) == (400, "invalid_query")


@pytest.mark.parametrize(
    ("query", "field"),
    [("partition=0", "stage"), ("order=oldest", "order"), ("stage=r&partition=x", "partition")],
)
def test_f51_attempts_that_cannot_be_asked_for(master: HttpMaster, query: str, field: str) -> None:
    job_id = master.submit()[1]["id"]
    status, answer = master.call("GET", f"{JOBS}/{job_id}/tasks?{query}")
    assert (status, answer["error"]["field"]) == (400, field)
    assert master.call("GET", f"{JOBS}/{job_id}/tasks?stage=r&partition=0&order=newest")[0] == 200


def register(master: HttpMaster, worker_id: str = NIL_ID) -> tuple[int, Any]:
    body = {"id": worker_id, "host": "h", "port": 9500}
    return master.call("POST", f"{WORKERS}/register", body)


def test_the_id_of_a_worker_may_be_written_in_capitals(master: HttpMaster) -> None:
    worker_id = register(master)[1]["id"].upper()
    assert master.call("GET", f"{WORKERS}/task?worker_id={worker_id}")[0] == 204


def test_f50_foreign_workers_have_a_limit(
    master: HttpMaster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api_workers, "FOREIGN_WORKERS_MAX", 2)
    known = [register(master)[1]["id"] for _ in range(2)]
    status, answer = register(master)
    assert (status, answer["error"]["code"]) == (429, "too_many_workers")
    assert register(master, known[0])[0] == 200
    assert len(master.call("GET", WORKERS)[1]) == 2


def test_f51_head_takes_no_task(master: HttpMaster) -> None:
    worker_id = register(master)[1]["id"]
    (master.inputs / "one.csv").write_text("h\na\n")
    node = {"op": "read_csv", "path": "one.csv"}
    assert master.call("POST", JOBS, one_reader(plan="naive", node=node))[0] == 200
    assert master.call("HEAD", f"{WORKERS}/task?worker_id={worker_id}")[0] == 405
    assert master.call("GET", WORKERS)[1][0]["active_tasks"] == 0
    assert master.call("GET", f"{WORKERS}/task?worker_id={worker_id}")[0] == 200


# --- who may do what -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": "Bearer wrong"},
        {"Authorization": "Bearer"},
        {"Host": "evil.example"},
        {"Host": "["},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
    ],
    ids=str,
)
def test_f54_who_is_refused_changes_nothing(master: HttpMaster, headers: dict[str, str]) -> None:
    job = master.submit()[1]
    for method, path, body in (
        ("POST", JOBS, one_reader()),
        ("POST", f"{WORKERS}/register", {"id": NIL_ID, "host": "h", "port": 1}),
        ("DELETE", f"{JOBS}/{job['id']}", None),
    ):
        assert master.call(method, path, body, **headers)[0] in (400, 401, 403)
    assert [job["state"] for job in master.call("GET", JOBS)[1]] == ["PENDING"]
    assert master.call("GET", WORKERS)[1] == []


def test_f54_without_the_token_no_job_is_cancelled(master: HttpMaster) -> None:
    job_id = master.submit()[1]["id"]
    assert master.call("DELETE", f"{JOBS}/{job_id}")[0] == 401
    assert master.call("GET", f"{JOBS}/{job_id}")[1]["state"] == "PENDING"
    assert master.call("DELETE", f"{JOBS}/{job_id}", token=True)[1]["state"] == "CANCELLED"


def test_f53_an_anonymous_pattern_over_a_name_that_is_no_text_is_answered(
    master: HttpMaster,
) -> None:
    os.symlink("/etc/passwd", os.fsencode(master.inputs) + b"/\xff.txt")
    status, answer = master.call("POST", JOBS, one_reader(node={"path": "*"}))
    assert status == 400
    assert "\\udcff.txt lies outside" in answer["error"]["message"]


def test_f50_streams_that_nobody_follows_any_more_make_room(
    master: HttpMaster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_stream, "FOLLOWERS_MAX", 2)
    monkeypatch.setattr(event_stream, "LOOK_S", 0.02)

    def follow() -> int:
        """Opens a stream, reads how it begins, and goes away."""
        connection = http.client.HTTPConnection("127.0.0.1", master.port, timeout=20)
        try:
            token = {"Authorization": f"Bearer {TOKEN}"}
            connection.request("GET", "/api/v1/events", headers=token)
            answer = connection.getresponse()
            answer.read1()
            return answer.status
        finally:
            connection.close()

    assert [follow(), follow()] == [200, 200]
    deadline = time.monotonic() + 10  # nothing happens meanwhile that could fail to be written
    while follow() != 200:
        assert time.monotonic() < deadline, "both are still followers"
