"""Reduces that begin while a map still runs, on real processes: they fetch what is there, and the
result is right whatever happens to the map that they wait for (F10, F30).
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests import jobs
from tests.cluster.harness import Cluster, attempts_left, wait_until

LINES = 400
REDUCES = 4
CODE = """
import os, time

def keyed(line):
    if line == "slow":
        open(f"{folder}/map-{{os.getpid()}}", "w").close()
        while not os.path.exists("{folder}/go"):
            time.sleep(0.01)
    return line, "1"

def seen(key, value):
    open(f"{folder}/reduce-{{os.getpid()}}", "w").close()
    return value
"""


class Scene:
    """A job whose last map goes on only when it is told to."""

    def __init__(
        self, make_cluster: Callable[..., Cluster], folder: Path, *settings: str, **size: int
    ) -> None:
        # a copy of the slow map would wait too, and so would what is queued behind it
        alone = ("scheduler.speculation=false", "scheduler.prefetch=0")
        self.cluster, self.folder = make_cluster(*alone, *settings, **size), folder
        self.lines = [f"line {i}" for i in range(LINES)] + ["slow"]
        path = folder / "text.txt"
        path.write_text("\n".join(self.lines))
        self.request = jobs.job(
            [
                {"id": "read", "op": "read_text", "path": str(path)},
                {"id": "keyed", "op": "map", "fn": "own:keyed"},
                {"id": "shuffle", "op": "shuffle_write"},
                {"id": "seen", "op": "map", "fn": "own:seen"},
            ],
            REDUCES,
            "fused",
            modules={"own": CODE.format(folder=folder)},
        )

    def files(self, what: str) -> list[Path]:
        """One for each process that came so far."""
        return list(self.folder.glob(f"{what}-*"))

    def go(self) -> None:
        (self.folder / "go").touch()

    def begin(self, client: Any, reduces: int = REDUCES) -> str:
        """Submit, and wait until so many reduces have read records while the map waits."""
        job_id: str = client.submit(self.request)["id"]
        wait_until(lambda: self.files("map"), "the slow map runs")
        wait_until(lambda: len(self.files("reduce")) >= reduces, "the reduces read records")
        return job_id

    def end(self, client: Any, job_id: str) -> dict[str, Any]:
        info: dict[str, Any] = client.wait(job_id, timeout_s=60)
        assert info["state"] == "SUCCEEDED", info["status"]
        assert sorted(client.results(job_id)) == sorted((line, "1") for line in self.lines)
        wait_until(lambda: attempts_left(self.cluster) == [], "attempt directories are deleted")
        return info


def test_reduces_fetch_before_the_last_map_ends(
    make_cluster: Callable[..., Cluster], tmp_path: Path, short_circuit: str
) -> None:
    scene = Scene(make_cluster, tmp_path, f"workers.short_circuit={short_circuit}")
    with scene.cluster.client() as client:
        job_id = scene.begin(client)
        maps = client.tasks(job_id, limit=100)["tasks"]
        assert sum(task["state"] == "SUCCEEDED" for task in maps) == REDUCES - 1
        scene.go()
        info = scene.end(client, job_id)
        tasks = client.tasks(job_id, limit=100)["tasks"]
        assert [task["state"] for task in tasks] == ["SUCCEEDED"] * 2 * REDUCES
        assert info["retries"] == 0


@pytest.fixture(params=["true", "false"])
def short_circuit(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_f10_the_worker_of_the_slow_map_is_killed(
    make_cluster: Callable[..., Cluster], tmp_path: Path
) -> None:
    scene = Scene(make_cluster, tmp_path)
    with scene.cluster.client() as client:
        job_id = scene.begin(client)
        (task,) = [
            task
            for task in client.tasks(job_id, limit=100)["tasks"]
            if task["node_id"].startswith("read") and task["state"] != "SUCCEEDED"
        ]
        scene.cluster.note_processes()
        os.kill(scene.cluster.process(task["worker"])["pid"], signal.SIGKILL)
        wait_until(lambda: len(scene.files("map")) == 2, "the slow map runs again")
        scene.go()
        scene.end(client, job_id)


def test_a_reduce_that_waits_gives_its_slot_to_another_job(
    make_cluster: Callable[..., Cluster], tmp_path: Path
) -> None:
    scene = Scene(make_cluster, tmp_path, workers=2, threads=1)
    with scene.cluster.client() as client:
        job_id = scene.begin(client, reduces=1)
        other = client.submit(jobs.word_count(str(tmp_path / "text.txt"), 4))["id"]
        assert client.wait(other, timeout_s=60)["state"] == "SUCCEEDED"
        assert client.job(job_id)["state"] == "RUNNING"
        scene.go()
        assert scene.end(client, job_id)["retries"] == 0


def test_f30_the_master_is_killed_while_reduces_wait(
    make_cluster: Callable[..., Cluster], tmp_path: Path
) -> None:
    scene = Scene(make_cluster, tmp_path)
    with scene.cluster.client() as client:
        job_id = scene.begin(client)
        before = set(scene.files("reduce"))
        scene.cluster.note_processes()
        os.kill(scene.cluster.process("master")["pid"], signal.SIGKILL)
        wait_until(
            lambda: len(set(scene.files("reduce")) - before) >= REDUCES, "the reduces begin again"
        )
        scene.go()
        info = scene.end(client, job_id)
        assert info["retries"] == 0


def test_a_job_that_is_cancelled_leaves_nobody_waiting(
    make_cluster: Callable[..., Cluster], tmp_path: Path
) -> None:
    scene = Scene(make_cluster, tmp_path)
    with scene.cluster.client() as client:
        job_id = scene.begin(client)
        client.cancel(job_id)
        assert client.wait(job_id, timeout_s=60)["state"] == "CANCELLED"
        wait_until(lambda: attempts_left(scene.cluster) == [], "attempt directories are deleted")
        scene.go()
        other = client.submit({**scene.request, "parallelism": 6})
        scene.end(client, other["id"])
