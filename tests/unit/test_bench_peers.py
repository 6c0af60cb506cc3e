"""Peers of the bench: what they answer is checked, and who cannot do a thing is left out."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from bench.measure import Target, WrongResult
from bench.peer import task_lanes
from bench.peers import serve
from bench.site import ROOT, Site

HONEST = "def start(folder): return Session()\nclass Session:\n    def close(self): pass\n"


@pytest.fixture
def peer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The source of what stands for Ray; there is nothing else in its Python."""
    package = tmp_path / "bench" / "peers"
    package.mkdir(parents=True)
    for name in ("bench/__init__.py", "bench/peers/__init__.py", "bench/peers/serve.py"):
        (tmp_path / name).write_text((ROOT / name).read_text())
    monkeypatch.setattr("bench.peer.ROOT", tmp_path)
    return package / "ray_peer.py"


def site() -> Site:
    return Site(Path("nowhere"), peers=("duckdb", "ray"), peer_python=sys.executable)


def test_a_peer_that_runs_tasks_gives_so_many_a_second(peer: Path) -> None:
    peer.write_text(HONEST + "    def no_ops(self, count): return count\n")
    with task_lanes(site(), 50) as lanes:
        assert list(lanes) == ["ray"]
        assert lanes["ray"]() > 50


def test_tasks_that_gave_no_answer_are_a_wrong_result(peer: Path) -> None:
    peer.write_text(HONEST + "    def no_ops(self, count): return count - 1\n")
    with pytest.raises(WrongResult, match="ray"), task_lanes(site(), 50):
        pass


def test_who_cannot_run_tasks_is_left_out_with_a_line(
    peer: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    peer.write_text(HONEST)
    with task_lanes(site(), 50) as lanes:
        assert lanes == {}
    assert "no-ops: without ray: AttributeError" in capsys.readouterr().err


def test_the_clock_of_no_ops_covers_what_was_asked_for() -> None:
    session = SimpleNamespace(no_ops=lambda count: count)
    answer = serve.run(session, {"which": serve.NO_OPS, "paths": [], "count": 7}, Path("unused"))
    assert answer["found"] == (7, 7) and answer["seconds"] > 0


def test_a_floor_beside_a_peer_is_met_above_it() -> None:
    target = Target(4.0, is_ratio=True, is_floor=True)
    assert target.text("1/s") == ">= 4 x"
    assert target.is_met(1.0, 4.1) and not target.is_met(1.0, 3.9)
