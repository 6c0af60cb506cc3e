"""The HTTP endpoints from outside: what a stranger may send without harm to the master."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from minispark.model.ids import NIL_ID
from tests.unit.http_master import JOBS, WORKERS, HttpMaster, one_reader

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
