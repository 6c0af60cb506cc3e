"""A job whose cached records stand behind a shuffle, on real processes: the stages before it are
skipped while the records are there, and run when they are not; and always the same result.
"""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests import jobs
from tests.cluster.harness import Cluster, wait_until, workers_up

CODE = """
import os, time

def terms(line):
    with open({calls!r}, "a") as file:
        file.write("x")
    return line.lower().split()

def when_told(record):
    while not os.path.exists({go!r}):
        time.sleep(0.005)
    return record
"""
"""Every call of the first leaves a byte: maps that did not run leave none."""
LINES = 600


class Inputs:
    """What the jobs of one test read and leave."""

    def __init__(self, folder: Path) -> None:
        self.text, self.calls, self.go = folder / "text.txt", folder / "calls", folder / "go"
        self.text.write_text("".join(f"w{i % 97} W{i * 7 % 61} ñ\n" for i in range(LINES)))
        self.calls.touch()

    @property
    def parsed(self) -> int:
        return self.calls.stat().st_size

    def job(self, least: int, *tail: dict[str, Any]) -> dict[str, Any]:
        """Counts terms, which is cached, and then those of at least that length."""
        source = CODE.format(calls=str(self.calls), go=str(self.go))
        nodes = [
            {"id": "read", "op": "read_text", "path": str(self.text)},
            {"id": "terms", "op": "flat_map", "fn": "own:terms"},
            {"id": "count", "op": "reduce_by_key", "fn": "count", "cache": True},
            {"id": "long", "op": "filter", "expr": f"len(key) >= {least}"},
            *tail,
        ]
        return jobs.job(nodes, 4, "fused", modules={"own": source})

    def slow_job(self, least: int) -> dict[str, Any]:
        """The same; its tasks go on once they are told."""
        return self.job(least, {"id": "told", "op": "map", "fn": "own:when_told"})

    def expected(self, least: int) -> Counter[str]:
        words = self.text.read_text().lower().split()
        return Counter(word for word in words if len(word) >= least)


@pytest.fixture
def inputs(tmp_path: Path) -> Inputs:
    return Inputs(tmp_path)


def submit(cluster: Cluster, request: dict[str, Any]) -> str:
    with cluster.client() as client:
        job_id: str = client.submit(request)["id"]
        return job_id


def finish(cluster: Cluster, job_id: str) -> Counter[str]:
    with cluster.client() as client:
        info = client.wait(job_id, timeout_s=60)
        assert info["state"] == "SUCCEEDED", info["status"]
        return Counter({str(key): int(value) for key, value in client.results(job_id)})


def counts(cluster: Cluster, request: dict[str, Any]) -> Counter[str]:
    return finish(cluster, submit(cluster, request))


def documents(cluster: Cluster, job_id: str) -> dict[str, Any]:
    """All that is said of the job."""
    with cluster.client() as client:
        return {
            "job": client.job(job_id),
            "stages": client.stages(job_id),
            "tasks": client.tasks(job_id)["tasks"],
            "metrics": client.metrics(f"jobs/{job_id}/metrics"),
        }


def stages_run(cluster: Cluster, job_id: str) -> Counter[int]:
    """How many attempts each stage had."""
    return Counter(task["stage"] for task in documents(cluster, job_id)["tasks"])


def is_running(cluster: Cluster, job_id: str) -> bool:
    with cluster.client() as client:
        return bool(client.job(job_id)["tasks"]["running"])


def kill(cluster: Cluster, name: str) -> None:
    """And wait for the one that takes its place."""
    cluster.note_processes()
    old = cluster.process(name)["pid"]
    os.kill(old, signal.SIGKILL)
    wait_until(lambda: cluster.process(name)["pid"] != old, f"another {name} is started")
    wait_until(lambda: workers_up(cluster), "everybody is Up")


def test_maps_before_a_cached_reduce_run_once(
    make_cluster: Callable[..., Cluster], inputs: Inputs
) -> None:
    cluster = make_cluster(workers=2, threads=1)
    assert counts(cluster, inputs.job(1)) == inputs.expected(1)
    assert inputs.parsed == LINES
    job_id = submit(cluster, inputs.job(3))
    assert finish(cluster, job_id) == inputs.expected(3)
    assert inputs.parsed == LINES
    assert stages_run(cluster, job_id) == {1: 4}

    said = documents(cluster, job_id)
    assert said["job"]["progress"] == 100.0
    assert said["job"]["tasks"] == {"pending": 0, "running": 0, "completed": 4, "failed": 0}
    numbers = [(s["tasks_total"], s["tasks_completed"], s["tasks_skipped"]) for s in said["stages"]]
    assert numbers == [(0, 0, 4), (4, 4, 0)]
    metrics = said["metrics"]
    assert (metrics["total_tasks"], metrics["completed_tasks"]) == (4, 4)
    assert (metrics["total_stages"], metrics["stages_completed"]) == (2, 2)
    assert metrics["failed_tasks"] == said["job"]["retries"] == 0
    assert "skipped" in cluster.cli("status", job_id).stdout
    assert "skipped" in cluster.cli("explain", job_id, "--analyze").stdout
    kill(cluster, "master")
    assert documents(cluster, job_id) == said


def test_another_tail_with_more_shuffles_finds_the_records_too(
    make_cluster: Callable[..., Cluster], inputs: Inputs
) -> None:
    cluster = make_cluster(workers=2, threads=1)
    assert counts(cluster, inputs.job(1)) == inputs.expected(1)
    request = inputs.job(2, {"id": "order", "op": "sort_by_key"})
    assert counts(cluster, request) == inputs.expected(2)
    by_length = inputs.job(
        1,
        {"id": "length", "op": "map", "expr": "(str(len(key)), value)"},
        {"id": "sum", "op": "reduce_by_key", "fn": "sum"},
    )
    lengths: Counter[str] = Counter()
    for word, count in inputs.expected(1).items():
        lengths[str(len(word))] += count
    assert counts(cluster, by_length) == lengths
    assert inputs.parsed == LINES


def test_an_input_that_changed_has_everything_run_anew(
    make_cluster: Callable[..., Cluster], inputs: Inputs
) -> None:
    cluster = make_cluster(workers=2, threads=1)
    assert counts(cluster, inputs.job(1)) == inputs.expected(1)
    with inputs.text.open("a") as file:
        file.write("one more\n")
    job_id = submit(cluster, inputs.job(1))
    assert finish(cluster, job_id) == inputs.expected(1)
    assert stages_run(cluster, job_id) == {0: 4, 1: 4}
    assert inputs.parsed == 2 * LINES + 1


def test_what_a_worker_had_that_was_killed_is_made_again(
    make_cluster: Callable[..., Cluster], inputs: Inputs
) -> None:
    cluster = make_cluster(workers=2, threads=1)
    assert counts(cluster, inputs.job(1)) == inputs.expected(1)
    kill(cluster, "worker-1")
    job_id = submit(cluster, inputs.job(2))
    assert finish(cluster, job_id) == inputs.expected(2)
    assert inputs.parsed == 2 * LINES
    said = documents(cluster, job_id)
    states = Counter(task["state"] for task in said["tasks"])
    # those that were sent there found nothing; none was sent where nobody was back yet
    assert states.pop("CANCELLED", 0) <= 2 and states == {"SUCCEEDED": 8}
    assert said["metrics"]["failed_tasks"] == said["job"]["retries"] == 0
    job_id = submit(cluster, inputs.job(3))
    assert finish(cluster, job_id) == inputs.expected(3)
    assert stages_run(cluster, job_id) == {1: 4}


@pytest.mark.parametrize("victim", ["worker-1", "worker-2", "master"])
def test_a_process_killed_while_a_stage_is_skipped_changes_no_result(
    make_cluster: Callable[..., Cluster], inputs: Inputs, victim: str
) -> None:
    cluster = make_cluster(workers=2, threads=1)
    assert counts(cluster, inputs.job(1)) == inputs.expected(1)
    job_id = submit(cluster, inputs.slow_job(2))
    wait_until(lambda: is_running(cluster, job_id), "its reduces run")
    assert stages_run(cluster, job_id).keys() == {1}
    kill(cluster, victim)
    inputs.go.touch()
    assert finish(cluster, job_id) == inputs.expected(2)
    said = documents(cluster, job_id)
    assert said["job"]["progress"] == 100.0
    assert said["metrics"]["total_tasks"] == said["metrics"]["completed_tasks"]
    assert said["metrics"]["stages_completed"] == 2


def test_a_spill_that_is_damaged_has_the_maps_run(
    make_cluster: Callable[..., Cluster], inputs: Inputs
) -> None:
    words = [" ".join(f"a-rather-long-word-{i}-{j}" for j in range(200)) for i in range(LINES)]
    inputs.text.write_text("\n".join(words) + "\n")
    cluster = make_cluster("workers.cache_max_mb=1", workers=1, threads=1)
    assert counts(cluster, inputs.job(1)) == inputs.expected(1)
    assert counts(cluster, inputs.job(25)) == inputs.expected(25)
    assert inputs.parsed == LINES
    spilled = list((cluster.state_dir / "spill" / "worker-1").glob("*.blocks"))
    assert spilled
    for path in spilled[:2]:
        path.write_bytes(b"not a block")
    spilled[-1].unlink()
    assert counts(cluster, inputs.job(24)) == inputs.expected(24)
    assert inputs.parsed == 2 * LINES
    assert "cannot be read" in (cluster.state_dir / "logs" / "worker-1.log").read_text()


def test_what_was_evicted_is_made_again(
    make_cluster: Callable[..., Cluster], inputs: Inputs
) -> None:
    cluster = make_cluster("workers.cache_max_mb=0", workers=1, threads=1)
    for runs in (1, 2):
        assert counts(cluster, inputs.job(runs)) == inputs.expected(runs)
        assert inputs.parsed == runs * LINES
