"""Jobs whose data outgrows memory.task_max_mb: the right result, and nothing left on the disk."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests import jobs, oracle
from tests.cluster.harness import Cluster, attempts_left, wait_until

TASK_MAX_MB = 16


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Nearly every word is another one: nothing that a combiner could make smaller."""
    path = tmp_path_factory.mktemp("memory") / "words.txt"
    with path.open("w") as file:
        file.writelines(f"word-{i * 7919 % 400_000} once-{i}\n" for i in range(400_000))
    return path


@pytest.fixture
def cluster(make_cluster: Callable[..., Cluster]) -> Cluster:
    return make_cluster(f"memory.task_max_mb={TASK_MAX_MB}", workers=2, threads=1)


def spilled(cluster: Cluster, job_id: str) -> int:
    with cluster.client() as client:
        stages = client.profile(job_id)["stages"]
        return sum(stage["figures"]["bytes_spilled"] for stage in stages)


def finish(cluster: Cluster, request: dict[str, Any]) -> tuple[str, list[tuple[str | None, str]]]:
    with cluster.client() as client:
        info = client.wait(client.submit(request)["id"], timeout_s=60)
        assert info["state"] == "SUCCEEDED", info["status"]
        return info["id"], list(client.results(info["id"]))


def spill_files(cluster: Cluster) -> list[Path]:
    return list((cluster.state_dir / "spill").glob("*"))


@pytest.mark.parametrize("plan", ["fused", "naive"])
def test_a_reduce_that_outgrows_its_memory_ends_in_key_order(
    cluster: Cluster, words: Path, plan: str
) -> None:
    job_id, rows = finish(cluster, jobs.word_count(str(words), 2, plan))
    assert sorted(rows) == oracle.word_count(oracle.lines_of([words]))
    assert spilled(cluster, job_id) > 0
    keys = [key for key, _ in rows]
    falls = [i for i in range(1, len(keys)) if keys[i - 1] > keys[i]]  # type: ignore[operator]
    assert len(falls) <= 1  # where the second partition begins
    assert spill_files(cluster) == []


@pytest.mark.parametrize("plan", ["fused", "naive"])
def test_a_join_of_two_large_sides_and_a_hot_key(
    cluster: Cluster, tmp_path: Path, plan: str
) -> None:
    sales, products = tmp_path / "sales.csv", tmp_path / "products.csv"
    hot = [("hot", f"a rather hot product number {i}") for i in range(40_000)]
    many = [(str(i), f"a product of which there is one, {i}") for i in range(180_000)]
    oracle.write_csv(products, [("id", "name"), *hot, *many])
    few = [("hot", "1"), ("none", "3"), ("hot", "2")]
    sold = [(str(i), f"sold {i}") for i in range(0, 180_000, 3)]
    oracle.write_csv(sales, [("id", "what"), *few, *sold])
    job_id, rows = finish(cluster, jobs.join(str(sales), str(products), 2, plan))
    assert sorted(rows) == oracle.join(sales, products)
    assert spilled(cluster, job_id) > 0
    assert spill_files(cluster) == []


def test_a_killed_or_cancelled_task_leaves_no_spilled_data(cluster: Cluster, words: Path) -> None:
    with cluster.client() as client:
        info = client.submit(jobs.word_count(str(words), 2))
        assert cluster.cli("chaos", "kill-executor", "worker-1").returncode == 0
        client.cancel(info["id"])
        assert client.wait(info["id"], timeout_s=30)["state"] == "CANCELLED"
    wait_until(lambda: attempts_left(cluster) == [], "attempt directories are deleted")
    assert spill_files(cluster) == []


def test_an_executor_that_grew_much_makes_room_for_a_small_one(
    make_cluster: Callable[..., Cluster], words: Path
) -> None:
    cluster = make_cluster(workers=1, threads=2)

    def executors() -> list[int]:
        processes = json.loads(cluster.cli("ps", "--json").stdout)["processes"]
        pids: list[int] = next(p["executors"] for p in processes if p["name"] == "worker-1")
        return pids if len(pids) == 2 else []

    before = wait_until(executors, "two executors")
    job_id, _ = finish(cluster, jobs.word_count(str(words), 2))
    after = wait_until(executors, "two executors again")
    assert not set(before) & set(after)
    sizes = [psutil.Process(pid).memory_info().rss for pid in after]
    assert max(sizes) < 64 << 20, sizes
    with cluster.client() as client:
        tasks = client.tasks(job_id)["tasks"]
    assert [task["state"] for task in tasks] == ["SUCCEEDED"] * 4
