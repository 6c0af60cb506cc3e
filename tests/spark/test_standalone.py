"""The same job on a real cluster of Spark's: a master and two workers, each in its own process."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.cluster.harness import Cluster, wait_until
from tests.in_process import plan_of, run_plan
from tests.jobs import job
from tests.spark.both_engines import read_partition
from tests.spark.drive import CONF
from tests.spark.life import STARTED_S, began, driver, gate, own_map, records
from tests.spark.standalone import standalone

ROOT = Path(__file__).parents[2]
DRIVER_TIMEOUT_S = 240


@pytest.fixture(scope="module")
def master(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("standalone")
    with standalone(folder, workers=2) as address:
        yield address
    left = [
        process.info
        for process in psutil.process_iter(["pid", "cmdline"])
        if any(address in word or str(folder) in word for word in process.info["cmdline"] or ())
    ]
    assert left == []


def request_of(folder: Path) -> dict[str, Any]:
    """A function of the user's, a join by shuffles, a union of unlike inputs, a sort by samples."""
    (folder / "left.txt").write_text("".join(f"k{i % 7},v{i}\n" for i in range(500)))
    (folder / "right.txt").write_text("".join(f"k{i},ü{i}\n" for i in range(5)))
    nodes = [
        {"id": "l", "op": "read_text", "path": str(folder / "left.txt")},
        {"id": "lk", "op": "map", "fn": "extract_key"},
        {"id": "r", "op": "read_text", "path": str(folder / "right.txt")},
        {"id": "rk", "op": "map", "fn": "extract_key"},
        {"id": "j", "op": "full_outer_join", "join_with": "rk", "partitions": 3},
        {"id": "m", "op": "map", "fn": "own:shout"},
        {"id": "u", "op": "union"},
        {"id": "s", "op": "sort_by_key", "partitions": 2},
    ]
    edges = [["l", "lk"], ["r", "rk"], ["lk", "j"], ["j", "m"], ["m", "u"], ["rk", "u"], ["u", "s"]]
    source = "def shout(key, value):\n    return key, value.upper() + '!'\n"
    return {**job(nodes, 2, edges=edges), "modules": {"own": source}}


def drive(master: str, folder: Path) -> subprocess.CompletedProcess[str]:
    # the workers' Python has neither this package nor any other: what it needs is sent to it
    environment = {**os.environ, "PYSPARK_PYTHON": os.path.realpath(sys.executable)}
    return subprocess.run(
        [sys.executable, "-m", "tests.spark.drive", master, str(folder)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=DRIVER_TIMEOUT_S,
        check=False,
    )


def test_a_cluster_gives_what_the_local_engine_gives(master: str, tmp_path: Path) -> None:
    request = request_of(tmp_path)
    (tmp_path / "request.json").write_text(json.dumps(request))
    ran = drive(master, tmp_path)
    assert ran.returncode == 0, ran.stderr
    made = plan_of(request)
    local = run_plan(made, tmp_path)
    ((leaf, partitions),) = local.results.items()
    assert sum(map(len, partitions)) > 500
    for place in ("near", "far"):
        found = [read_partition(tmp_path / place, leaf, p) for p in range(len(partitions))]
        assert found == partitions, place
    said = {"executors": 2, "tasks": made.tasks_total, "finals": len(partitions)}
    answers = [json.loads(line) for line in ran.stdout.splitlines()]
    assert answers == [said, said, {"children": 0}]


def test_a_submitted_job_runs_there_and_goes_on_when_an_executor_dies(
    master: str, make_cluster: Callable[..., Cluster], tmp_path: Path
) -> None:
    cluster = make_cluster(
        f"engine.master={master}",
        *(f"engine.conf.{name}={value}" for name, value in CONF.items()),
        workers=1,
    )
    words = tmp_path / "words.txt"
    words.write_text("one two\n" * 100)
    with cluster.client() as client:
        request = request_of(tmp_path)
        here, there = (
            client.wait(client.submit({**request, "engine": engine})["id"])
            for engine in ("local", "spark")
        )
        assert (here["state"], there["state"]) == ("SUCCEEDED", "SUCCEEDED"), there
        assert list(client.results(there["id"])) == list(client.results(here["id"]))
        slow = client.submit(own_map(str(words), gate(tmp_path)))["id"]
        wait_until(lambda: began(tmp_path) == 2, "both tasks run", STARTED_S)
        executors = [p for p in psutil.process_iter(["cmdline"]) if _is_executor(p, master)]
        assert len(executors) == 2
        executors[0].kill()
        (tmp_path / "open").touch()
        info = client.wait(slow)
        assert info["state"] == "SUCCEEDED", info
        assert dict(records(client, slow)) == {"one two": "100"}
        (failed,) = client.tasks(slow, state="FAILED")["tasks"]
        assert "ExecutorLostFailure" in failed["error"] and info["retries"] == 1
    driver(cluster)


def _is_executor(process: psutil.Process, master: str) -> bool:
    words = process.info["cmdline"] or ()
    is_executor = any("CoarseGrainedExecutorBackend" in word for word in words)
    return is_executor and process.ppid() in _workers_of(master)


def _workers_of(master: str) -> set[int]:
    """The processes of Spark's workers of that master."""
    return {
        process.pid
        for process in psutil.process_iter(["cmdline"])
        if master in (process.info["cmdline"] or ())
    }


def test_a_master_that_is_none_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "request.json").write_text(json.dumps(request_of(tmp_path)))
    ran = drive("nonsense", tmp_path)
    error = "minispark.errors.ClusterError: Spark failed: .*Java gateway process exited"
    assert ran.returncode == 1 and re.search(error, ran.stderr), ran.stderr
