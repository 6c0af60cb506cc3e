"""F10, F11: SIGKILL of a worker at any point of a job leaves its result equal to the oracle."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests import jobs, oracle
from tests.cluster.harness import Cluster, attempts_left, wait_until

INPUT = Path(__file__).parents[2] / "data" / "input.csv"


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Enough for tasks that take some tens of milliseconds."""
    path = tmp_path_factory.mktemp("f10") / "text.txt"
    with path.open("w") as file:
        for i in range(150_000):
            file.write(f"line {i % 70_000} the quick brown fox number {i % 977} jumps over\n")
    return path


def kill(cluster: Cluster, name: str) -> None:
    cluster.note_processes()
    os.kill(cluster.process(name)["pid"], signal.SIGKILL)


def running_on(cluster: Cluster, client: Any, job_id: str, node: str) -> set[str]:
    """The live workers that have a task of the stage that begins with `node`."""
    tasks = client.tasks(job_id, limit=1000, state="ASSIGNED")["tasks"]
    up = {p["name"] for p in cluster.document()["processes"] if p["state"] == "RUNNING"}
    return {task["worker"] for task in tasks if task["node_id"].startswith(node)} & up


@pytest.mark.parametrize(
    ("plan", "node"),
    [
        ("fused", "read"),
        ("fused", "reduce"),
        ("naive", "read"),
        ("naive", "flatmap"),
        ("naive", "map"),
        ("naive", "map_shuffle_write"),
        ("naive", "reduce"),
    ],
)
def test_f10_killed_in_a_stage(
    make_cluster: Callable[..., Cluster], text: Path, plan: str, node: str
) -> None:
    cluster = make_cluster()
    with cluster.client() as client:
        info = client.submit(jobs.word_count(str(text), 12, plan))
        victims = wait_until(lambda: running_on(cluster, client, info["id"], node), f"{node} runs")
        kill(cluster, sorted(victims)[0])
        info = client.wait(info["id"], timeout_s=120)
        assert info["state"] == "SUCCEEDED", info["status"]
        expected = oracle.word_count(oracle.lines_of([text]))
        assert sorted(client.results(info["id"])) == expected
        wait_until(
            lambda: sum(w["status"] == "Up" for w in client.workers()) == 3, "the worker is back"
        )
    wait_until(lambda: attempts_left(cluster) == [], "attempt directories are deleted")


def test_f10_killed_in_a_join_and_while_idle(
    make_cluster: Callable[..., Cluster], tmp_path: Path
) -> None:
    sales = tmp_path / "sales.csv"
    sales.write_text("id,n\n" + "".join(f"p{i % 5000},{i}\n" for i in range(100_000)))
    products = tmp_path / "products.csv"
    products.write_text("id,name\n" + "".join(f"p{i},name {i}\n" for i in range(5000)))
    cluster = make_cluster()
    kill(cluster, "worker-1")  # while idle
    with cluster.client() as client:
        info = client.submit(jobs.join(str(sales), str(products), 8))
        victims = wait_until(
            lambda: running_on(cluster, client, info["id"], "read_sales"), "the join runs"
        )
        kill(cluster, sorted(victims)[0])
        info = client.wait(info["id"], timeout_s=120)
        assert info["state"] == "SUCCEEDED", info["status"]
        assert sorted(client.results(info["id"])) == oracle.join(sales, products)


def test_f11_three_kills_in_a_row_during_one_shuffle(
    make_cluster: Callable[..., Cluster], text: Path
) -> None:
    cluster = make_cluster()
    with cluster.client() as client:
        info = client.submit(jobs.word_count(str(text), 24))
        for _ in range(3):
            victims = wait_until(
                lambda: (
                    running_on(cluster, client, info["id"], "re")
                    or client.job(info["id"])["state"] != "RUNNING"
                ),
                "tasks run",
            )
            assert victims is not True, "the job ended before it was hurt enough"
            name = sorted(victims)[0]
            before = cluster.process(name)
            kill(cluster, name)
            wait_until(
                lambda name=name, before=before: cluster.process(name)["pid"] != before["pid"],
                "the death is seen",
            )
        info = client.wait(info["id"], timeout_s=120)
        assert info["state"] == "SUCCEEDED", info["status"]
        expected = oracle.word_count(oracle.lines_of([text]))
        assert sorted(client.results(info["id"])) == expected


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_f17_outputs_are_read_where_they_are_after_their_worker_moved(
    make_cluster: Callable[..., Cluster], number: signal.Signals
) -> None:
    """Over sockets, with free ports: a worker that starts again has another address."""
    cluster = make_cluster(
        "workers.short_circuit=false", "scheduler.heartbeat_timeout_s=1", workers=2, threads=1
    )
    executors = {}
    for name in ("worker-1", "worker-2"):
        (server,) = psutil.Process(cluster.process(name)["pid"]).children()
        (executors[name],) = server.children()
    with cluster.client() as client:
        for executor in executors.values():
            executor.suspend()
        info = client.submit(jobs.word_count(str(INPUT), 1))
        (mapper,) = wait_until(lambda: running_on(cluster, client, info["id"], "read"), "the map")
        executors[mapper].resume()
        reader = wait_until(
            lambda: next(iter(running_on(cluster, client, info["id"], "reduce")), None),
            "the reduce is placed",
        )
        assert reader != mapper
        agent = psutil.Process(cluster.process(mapper)["pid"])
        cluster.note_processes()
        agent.send_signal(number)
        try:
            wait_until(
                lambda: (
                    cluster.said("worker DOWN", f"worker={mapper}") == 1
                    and (number == signal.SIGSTOP or up_count(client) == 2)
                ),
                "the master knows where it is",
            )
            executors[reader].resume()
            info = client.wait(info["id"], timeout_s=60)
        finally:
            if number == signal.SIGSTOP:
                agent.resume()
        assert info["state"] == "SUCCEEDED", info["status"]
        assert sorted(client.results(info["id"])) == oracle.word_count(oracle.lines_of([INPUT]))
        tasks = client.tasks(info["id"])["tasks"]
        states = sorted((t["node_id"].startswith("read"), t["state"]) for t in tasks)
        # the reduce ran twice, the map once
        assert states == [(False, "LOST"), (False, "SUCCEEDED"), (True, "SUCCEEDED")]
        wait_until(lambda: up_count(client) == 2, "both are Up")


def up_count(client: Any) -> int:
    return sum(worker["status"] == "Up" for worker in client.workers())


def test_chaos_kill_worker_says_whom_and_watches_it_return(
    make_cluster: Callable[..., Cluster],
) -> None:
    cluster = make_cluster()
    before = {p["name"]: p["pid"] for p in cluster.document()["processes"]}
    done = cluster.cli("chaos", "kill-worker", "--seed", "3", "--watch")
    assert done.returncode == 0, done.stderr
    name = done.stdout.split()[2]
    assert f"SIGKILL to {name} (pid {before[name]})" in done.stdout
    assert cluster.process(name)["pid"] != before[name]
    cluster.note_processes()


def test_f14_a_stopped_worker_comes_back_and_its_late_results_are_ignored(
    make_cluster: Callable[..., Cluster], text: Path
) -> None:
    cluster = make_cluster("scheduler.heartbeat_timeout_s=1", workers=2)
    with cluster.client() as client:
        info = client.submit(jobs.word_count(str(text), 12))
        victims = wait_until(
            lambda: running_on(cluster, client, info["id"], "read"), "the maps run"
        )
        name = sorted(victims)[0]
        pid = cluster.process(name)["pid"]
        family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
        for process in family:
            process.suspend()
        try:
            info = client.wait(info["id"], timeout_s=60)
        finally:
            for process in family:
                process.resume()
        assert info["state"] == "SUCCEEDED", info["status"]
        expected = oracle.word_count(oracle.lines_of([text]))
        assert sorted(client.results(info["id"])) == expected
        wait_until(
            lambda: sum(w["status"] == "Up" for w in client.workers()) == 2, "it is back as Up"
        )
        assert cluster.process(name)["pid"] == pid  # the same process
    wait_until(lambda: attempts_left(cluster) == [], "attempt directories are deleted")
