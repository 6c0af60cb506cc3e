"""F30 to F33: the master is killed at any instant, and nothing is lost or done twice."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import psutil
import pytest

from minispark.client import Client
from minispark.supervisor.supervisor import DRAIN_SIGNAL
from tests import jobs, oracle
from tests.cluster.foreign_worker import ForeignWorker, call
from tests.cluster.harness import Cluster, attempts_left, wait_until

KILLS = int(os.environ.get("SOAK_KILLS", "4"))
"""In the suite; scripts/soak does 50."""
INPUT = Path(__file__).parents[2] / "data" / "input.csv"


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("f30") / "text.txt"
    with path.open("w") as file:
        for i in range(120_000):
            file.write(f"line {i % 70_000} the quick brown fox number {i % 977} jumps over\n")
    return path


def rows(cluster: Cluster, sql: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(cluster.state_dir / "state" / "minispark.db")) as connection:
        return connection.execute(sql).fetchall()


def kill_master(cluster: Cluster) -> int:
    """SIGKILL; returns the dead master's pid."""
    cluster.note_processes()
    pid: int = cluster.process("master")["pid"]
    os.kill(pid, signal.SIGKILL)
    return pid


def executors_of(cluster: Cluster) -> list[psutil.Process]:
    """Of all workers."""
    workers = [p for p in cluster.document()["processes"] if p["name"].startswith("worker")]
    servers = [s for p in workers for s in psutil.Process(p["pid"]).children()]
    return [executor for server in servers for executor in server.children()]


def wait_for_heartbeats(client: Client) -> None:
    """Until every worker was heard: what they sent before now has arrived."""
    now = time.time()
    wait_until(lambda: all(w["last_heartbeat"] > now for w in client.workers()), "heartbeats")


def accepted_twice(cluster: Cluster, job_id: str) -> list[tuple[Any, ...]]:
    """Tasks of which more than one attempt succeeded, or that ran again after one had."""
    return rows(
        cluster,
        "SELECT stage_index, partition, group_concat(attempts.state)"
        " FROM attempts JOIN jobs USING (job_no)"
        f" WHERE job_id = '{job_id}' GROUP BY stage_index, partition"
        " HAVING sum(attempts.state = 'SUCCEEDED') != 1",
    )


def finished_now(cluster: Cluster, job_id: str) -> dict[tuple[int, int], int]:
    """The accepted attempt of each finished task."""
    found = rows(
        cluster,
        "SELECT stage_index, partition, attempt FROM attempts JOIN jobs USING (job_no)"
        f" WHERE job_id = '{job_id}' AND attempts.state = 'SUCCEEDED'",
    )
    return {(stage, partition): attempt for stage, partition, attempt in found}


def kill_at(cluster: Cluster, text: Path, delay_s: float, plan: str) -> None:
    """One job, one kill that long after its submission, the right result, nothing repeated."""
    with cluster.client() as client:
        info = client.submit(jobs.word_count(str(text), 8, plan))
        time.sleep(delay_s)  # the seeded instant of the fault, not a wait for a condition
        pid = kill_master(cluster)
        finished = finished_now(cluster, info["id"])
        wait_until(lambda: cluster.process("master")["pid"] not in (pid, None), "another master")
        info = client.wait(info["id"], timeout_s=60)
        assert info["state"] == "SUCCEEDED", info["status"]
        expected = oracle.word_count(oracle.lines_of([text]))
        assert sorted(client.results(info["id"])) == expected
        after = finished_now(cluster, info["id"])
        assert {task: after[task] for task in finished} == finished
        assert accepted_twice(cluster, info["id"]) == []
    wait_until(lambda: attempts_left(cluster) == [], "attempt directories are deleted")


@pytest.mark.parametrize("number", range(KILLS))
def test_f30_master_killed_at_a_seeded_instant(
    make_cluster: Callable[..., Cluster], text: Path, number: int
) -> None:
    seed = random.SystemRandom().randrange(2**32)
    print(f"seed {seed}")
    rng = random.Random(seed)
    cluster = make_cluster("restart.attempts_max=100")
    kill_at(cluster, text, rng.uniform(0, 1.5), "naive" if number % 2 else "fused")


def test_f32_workers_come_back_with_what_they_still_run(
    make_cluster: Callable[..., Cluster], text: Path
) -> None:
    cluster = make_cluster(workers=2)
    workers = {p["name"]: p["pid"] for p in cluster.document()["processes"]}
    with cluster.client() as client:
        info = client.submit(jobs.word_count(str(text), 12))
        wait_until(
            lambda: client.tasks(info["id"], state="ASSIGNED")["total"] >= 4, "tasks are running"
        )
        kill_master(cluster)
        info = client.wait(info["id"], timeout_s=60)
        assert info["state"] == "SUCCEEDED", info["status"]
    # the running attempts went on: no worker was lost, none of its attempts was
    assert rows(cluster, "SELECT * FROM attempts WHERE state = 'LOST'") == []
    now = {p["name"]: p["pid"] for p in cluster.document()["processes"]}
    assert now["master"] != workers["master"]
    assert all(now[name] == workers[name] for name in ("worker-1", "worker-2"))


def test_f32_a_worker_that_drains_after_a_restart_of_the_master_ends_what_it_runs(
    make_cluster: Callable[..., Cluster],
) -> None:
    cluster = make_cluster(workers=2, threads=1)
    executors = executors_of(cluster)
    with cluster.client() as client:
        for executor in executors:
            executor.suspend()  # their tasks take as long as this test wants
        info = client.submit(jobs.word_count(str(INPUT), 2))
        wait_until(lambda: client.job(info["id"])["tasks"]["running"] == 2, "both maps are placed")
        wait_for_heartbeats(client)  # that they started was said, and confirmed, before that
        kill_master(cluster)
        wait_until(lambda: cluster.said("worker UP", "worker=worker-2") == 2, "it is back")
        os.kill(cluster.process("worker-2")["pid"], DRAIN_SIGNAL)
        wait_for_heartbeats(client)  # and before them, that it drains
        for executor in executors:
            executor.resume()
        assert client.wait(info["id"], timeout_s=60)["state"] == "SUCCEEDED"
    assert rows(cluster, "SELECT * FROM attempts WHERE state != 'SUCCEEDED'") == []


def test_f32_while_the_master_is_away_a_dead_executor_is_replaced_at_once(
    make_cluster: Callable[..., Cluster],
) -> None:
    cluster = make_cluster("restart.backoff_min_s=8", workers=1, threads=1)
    agent = psutil.Process(cluster.process("worker-1")["pid"])
    (executor,) = executors_of(cluster)
    cluster.note_processes()
    before = {c.laddr for c in agent.net_connections("tcp") if c.status == "ESTABLISHED"}
    kill_master(cluster)
    wait_until(
        lambda: (
            {c.laddr for c in agent.net_connections("tcp") if c.status == "ESTABLISHED"} - before
        ),
        "it waits in the queue of the socket that the supervisor holds",
    )
    executor.kill()
    wait_until(
        lambda: [e for e in executors_of(cluster) if e.pid != executor.pid and e.is_running()],
        "another executor",
        timeout_s=1.0,
    )
    assert cluster.process("master")["state"] == "BACKOFF"


def test_f33_an_acknowledged_submit_is_never_lost_nor_doubled(
    make_cluster: Callable[..., Cluster],
) -> None:
    cluster = make_cluster("restart.attempts_max=100", "restart.backoff_max_s=0.2", workers=1)
    acknowledged = []
    with cluster.client() as client:
        for number in range(3):
            key = f"key-{number}"
            info = client.submit(jobs.word_count(str(INPUT), 1), idempotency_key=key)
            pid = kill_master(cluster)
            acknowledged.append(info["id"])
            again = client.submit(jobs.word_count(str(INPUT), 1), idempotency_key=key)
            assert again["id"] == info["id"]
            assert cluster.process("master")["pid"] != pid
        for job_id in acknowledged:
            assert client.wait(job_id, timeout_s=60)["state"] == "SUCCEEDED"
        assert len(client.jobs()) == len(set(acknowledged)) == 3


def test_f33_a_job_that_waits_for_a_worker_outlives_its_master_and_an_absent_input(
    make_cluster: Callable[..., Cluster], tmp_path: Path
) -> None:
    column = tmp_path / "column.txt"
    column.write_text("a b a\n")
    cluster = make_cluster(workers=0)
    with cluster.client() as client:
        info = client.submit(jobs.word_count(str(column), 1))
        column.rename(tmp_path / "away")  # a file system that is not mounted for a while
        pid = kill_master(cluster)
        wait_until(lambda: cluster.process("master")["pid"] not in (pid, None), "another master")
        assert client.job(info["id"])["state"] == "PENDING"
        (tmp_path / "away").rename(column)
        assert cluster.cli("scale", "1").returncode == 0
        assert client.wait(info["id"], timeout_s=60)["state"] == "SUCCEEDED"
        assert sorted(client.results(info["id"])) == [("a", "2"), ("b", "1")]
    cluster.note_processes()


def test_f30_a_client_that_waits_rides_through_the_gap(
    make_cluster: Callable[..., Cluster], text: Path
) -> None:
    cluster = make_cluster(workers=2)
    with cluster.client() as client, Client.of_state_dir(cluster.state_dir) as other:
        info = client.submit(jobs.word_count(str(text), 8))
        kill_master(cluster)
        assert other.job(info["id"])["id"] == info["id"]  # `status` in the middle of it
        assert client.wait(info["id"], timeout_s=60)["state"] == "SUCCEEDED"


def test_f31_torn_state_is_moved_aside_with_a_word(make_cluster: Callable[..., Cluster]) -> None:
    cluster = make_cluster(workers=1)
    with cluster.client() as client:
        info = client.submit(jobs.word_count(str(INPUT), 2))
        assert client.wait(info["id"], timeout_s=60)["state"] == "SUCCEEDED"
    assert cluster.cli("down").returncode == 0
    state = cluster.state_dir / "state"
    snapshot = (state / "jobs.json").read_bytes()
    (state / "jobs.json").write_bytes(snapshot[: len(snapshot) // 2])
    assert cluster.up().returncode == 0
    with cluster.client() as client:
        assert client.job(info["id"])["state"] == "SUCCEEDED"  # the database is the truth
    assert (state / "jobs.json.corrupt-1").read_bytes() == snapshot[: len(snapshot) // 2]
    assert "is corrupt" in cluster.logs()


def test_f31_a_torn_wal_tail_loses_nothing_acknowledged(
    make_cluster: Callable[..., Cluster],
) -> None:
    cluster = make_cluster(workers=1)
    with cluster.client() as client:
        info = client.submit(jobs.word_count(str(INPUT), 2))
        assert client.wait(info["id"], timeout_s=60)["state"] == "SUCCEEDED"
    cluster.note_processes()
    os.kill(cluster.process("supervisor")["pid"], signal.SIGKILL)  # nobody closes the database
    wait_until(lambda: cluster.leftovers() == [], "every process ended")
    wal = cluster.state_dir / "state" / "minispark.db-wal"
    assert wal.stat().st_size > 0
    with wal.open("ab") as file:
        file.write(os.urandom(1000))  # a frame that was being written
    assert cluster.up().returncode == 0
    with cluster.client() as client:
        assert client.job(info["id"])["state"] == "SUCCEEDED"


def test_f31_a_database_out_of_reach_is_named_and_left_alone(
    make_cluster: Callable[..., Cluster],
) -> None:
    cluster = make_cluster("restart.attempts_max=1", workers=0)
    with cluster.client() as client:
        info = client.submit(jobs.word_count(str(INPUT), 2))
    assert cluster.cli("down").returncode == 0
    database = cluster.state_dir / "state" / "minispark.db"
    wal = database.with_name("minispark.db-wal")
    wal.mkdir()  # nobody can open it, as on a disk where nothing can be made
    refused = cluster.up()
    assert refused.returncode == 1
    assert f"{database} cannot be used" in refused.stderr
    assert "let the master's user write" in refused.stderr
    assert "Traceback" not in cluster.logs()
    wal.rmdir()
    wait_until(lambda: cluster.leftovers() == [], "the refused cluster ended")
    assert cluster.up().returncode == 0
    with cluster.client() as client:
        assert client.job(info["id"])["state"] == "PENDING"


def test_f31_one_unreadable_job_does_not_stop_the_master(
    make_cluster: Callable[..., Cluster],
) -> None:
    cluster = make_cluster(workers=0)
    with cluster.client() as client:
        bad, good = (client.submit(jobs.word_count(str(INPUT), 2))["id"] for _ in range(2))
    assert cluster.cli("down").returncode == 0
    with closing(sqlite3.connect(cluster.state_dir / "state" / "minispark.db")) as database:
        database.execute("UPDATE jobs SET request = CAST(x'7bff' AS TEXT) WHERE job_id = ?", [bad])
        database.commit()
    assert cluster.up().returncode == 0
    with cluster.client() as client:
        assert client.job(good)["state"] == "PENDING"
        assert "cannot be read" in client.job(bad)["status"]["Failed"]
    assert cluster.said("job FAILED", f"job={bad}") == 1
    state = f"SELECT state FROM jobs WHERE job_id = '{bad}'"
    wait_until(lambda: rows(cluster, state) == [("FAILED",)], "that is in the journal")


def test_f32_a_foreign_worker_goes_on_under_its_id(
    make_cluster: Callable[..., Cluster], tmp_path: Path
) -> None:
    column = tmp_path / "column.csv"
    column.write_text("text\n" + "".join(f"w{i % 97} w{i % 13}\n" for i in range(300)))
    cluster = make_cluster(workers=0)
    url = cluster.document()["master_url"]
    worker = ForeignWorker(url, cluster.state_dir)
    with cluster.client() as client:
        info = client.submit(jobs.word_count(str(column), 2, "naive", "read_csv"))
        status, task = call(url, "GET", f"/api/v1/workers/task?worker_id={worker.id}")
        assert status == 200
        pid = kill_master(cluster)
        wait_until(lambda: cluster.process("master")["pid"] not in (pid, None), "another master")
        worker.complete(task)  # of the task that the dead master gave out
        worker.start()
        info = client.wait(info["id"], timeout_s=60)
        worker.stop.set()
        worker.join()
        assert info["state"] == "SUCCEEDED", info["status"]
        expected = oracle.word_count(oracle.lines_of([column], is_csv=True))
        assert sorted(client.results(info["id"])) == expected
    assert rows(cluster, "SELECT * FROM attempts WHERE state != 'SUCCEEDED'") == []
    cluster.note_processes()
