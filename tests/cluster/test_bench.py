"""`minispark bench` from end to end, on very little data."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from bench import memory
from bench.measure import WrongResult
from bench.site import Site
from tests.cluster.harness import run_cli


def test_one_measure_is_run_checked_and_written_down(tmp_path: Path) -> None:
    out = tmp_path / "results.json"
    words = ["C", "--rounds", "1", "--scale", "0.001", "--data", str(tmp_path), "-o", str(out)]
    done = run_cli("bench", *words)
    assert done.returncode == 0, done.stderr
    assert "round 1 of 1" in done.stderr
    assert done.stdout.splitlines()[2].startswith("C ")
    document = json.loads(out.read_text())
    (result,) = document["results"]
    assert result["ours"]["median"] > 0 and result["ratio"]["median"] > 0
    assert result["peak_bytes"] > 10_000_000
    assert document["command"].startswith("python minispark.py bench C --rounds 1")


def test_a_profile_says_where_the_time_went(tmp_path: Path) -> None:
    done = run_cli("bench", "A", "--profile", "--json", "--scale", "0.01", "--data", str(tmp_path))
    assert done.returncode == 0, done.stderr
    (document,) = json.loads(done.stdout)
    seconds = document["slot_seconds"]
    for phase in ("plan", "read", "compute", "shuffle write", "fetch", "merge", "write"):
        assert seconds[phase] > 0, phase
    total = document["seconds"] * document["slots"]
    assert sum(seconds.values()) >= 0.99 * total


def test_list_names_every_measure_and_its_target() -> None:
    done = run_cli("bench", "--list")
    assert done.returncode == 0, done.stderr
    assert any(line.split()[:3] == ["A", "<=", "1.2"] for line in done.stdout.splitlines())


@pytest.mark.parametrize("name", list(memory.JOBS))
def test_jobs_larger_than_their_memory_are_made_and_checked(tmp_path: Path, name: str) -> None:
    job = memory.JOBS[name](tmp_path, 200_000)
    with memory.spilling_cluster(Site(tmp_path)) as (cluster, client):
        figure = memory.run_spilling(cluster, client, job)
        assert figure.peak_bytes > 10_000_000 and figure.cpu_s > 0
        with pytest.raises(WrongResult, match="records, expected"):
            memory.run_spilling(cluster, client, replace(job, records=1))
