"""`minispark bench` from end to end, on very little data."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from bench import memory, scaling
from bench.measure import WrongResult
from bench.site import Site
from minispark.errors import ClusterError
from tests.cluster.harness import PLAIN_ENVIRONMENT, ROOT, TIMEOUT_S, run_cli, wait_until


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


def test_a_cluster_that_does_not_start_says_why(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    site = Site(tmp_path)
    with pytest.raises(ClusterError, match="did not start"), site.cluster(1, 0):
        pass
    said = capfd.readouterr().err
    assert "workers.threads" in said and "Traceback" not in said


@pytest.mark.parametrize(
    ("name", "number", "status"),
    [
        ("C", signal.SIGTERM, 143),
        ("A-cold", signal.SIGTERM, 143),
        ("ready", signal.SIGTERM, 143),
        ("ready", signal.SIGINT, 130),
    ],
)
def test_a_bench_that_is_stopped_leaves_nothing(
    tmp_path: Path, name: str, number: signal.Signals, status: int
) -> None:
    scratch, data, said = tmp_path / "scratch", tmp_path / "data", tmp_path / "said"
    scratch.mkdir()
    words = ["bench", name, "--rounds", "1000", "--scale", "0.01", "--data", str(data)]
    with said.open("w") as file:
        process = subprocess.Popen(
            [sys.executable, str(ROOT / "minispark.py"), *words],
            cwd=ROOT, stdout=file, stderr=file, env={**PLAIN_ENVIRONMENT, "TMPDIR": str(scratch)},
        )  # fmt: skip
    wait_until(lambda: "round 2 of" in said.read_text(), "the second round")
    wait_until(lambda: os.listdir(scratch), "something to remove")
    below = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(number)
    assert process.wait(TIMEOUT_S) == status, said.read_text()
    assert os.listdir(scratch) == []
    wait_until(lambda: not any(one.is_running() for one in below), "the end of all below it")


@pytest.mark.parametrize("name", list(memory.JOBS))
def test_jobs_larger_than_their_memory_are_made_and_checked(tmp_path: Path, name: str) -> None:
    job = memory.JOBS[name](tmp_path, 200_000)
    with memory.spilling_cluster(Site(tmp_path)) as (cluster, client):
        figure = memory.run_spilling(cluster, client, job)
        assert figure.peak_bytes > 10_000_000 and figure.cpu_s > 0
        with pytest.raises(WrongResult, match="records, expected"):
            memory.run_spilling(cluster, client, replace(job, records=1))


def test_a_task_costs_the_master_something_and_its_tasks_are_counted(tmp_path: Path) -> None:
    alone = scaling.MasterAlone(Site(tmp_path), tmp_path)
    with alone.serving(workers=3) as (client, master):
        cost = alone.cost(client, master, tasks=500, jobs=2)
        assert cost.wall_us > cost.cpu_us > 0
        request = alone.request(500)
        alone.request = lambda tasks: {**request, "parallelism": 400}  # type: ignore[method-assign]
        with pytest.raises(WrongResult, match="of 500 tasks"):
            alone.cost(client, master, tasks=500)


def test_each_measure_of_many_tasks_gives_its_figures(tmp_path: Path) -> None:
    site = Site(tmp_path, scale=0.01)
    for measure in scaling.MEASURES:
        with measure.open(site) as lanes:
            assert isinstance(lanes.ours(), float)
            assert (lanes.baseline is None) == (not measure.baseline)
            if lanes.baseline is not None:
                assert lanes.baseline() > 0
