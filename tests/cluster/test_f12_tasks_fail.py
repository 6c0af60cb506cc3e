"""F12 to F21: what goes wrong inside a task stays inside its job, and says what it was."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from minispark.client import Client
from minispark.errors import ClusterError
from tests import jobs, oracle
from tests.cluster.harness import Cluster, attempts_left, wait_until

SMALL = Path(__file__).parents[2] / "data" / "input.csv"
BUSY_S = 0.05
"""An executor that used so much processor time works on a task."""


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("f12") / "text.txt"
    with path.open("w") as file:
        for i in range(250_000):
            file.write(f"line {i % 70_000} the quick brown fox number {i % 977} jumps over\n")
    return path


def executors(cluster: Cluster, name: str = "worker-1") -> list[psutil.Process]:
    agent = psutil.Process(cluster.process(name)["pid"])
    return [executor for server in agent.children() for executor in server.children()]


def busy(cluster: Cluster) -> list[psutil.Process]:
    found = []
    for executor in executors(cluster):
        try:
            if executor.cpu_times().user > BUSY_S:
                found.append(executor)
        except psutil.NoSuchProcess:
            pass  # it died just now
    return found


def still_runs(client: Client, job_id: str) -> bool:
    return client.job(job_id)["state"] in ("PENDING", "RUNNING")


def test_f12_a_task_that_kills_its_process_fails_only_its_job(
    make_cluster: Callable[..., Cluster], text: Path
) -> None:
    cluster = make_cluster("scheduler.task_retries_max=2", workers=1, threads=1)
    with cluster.client() as client:
        info = client.submit(jobs.word_count(str(text), 1))
        other = client.submit(jobs.word_count(str(SMALL), 2))
        deaths = 0
        while still_runs(client, info["id"]):
            for executor in busy(cluster):
                executor.send_signal(signal.SIGSEGV)
                psutil.wait_procs([executor], timeout=5)
                deaths += 1
        failed = client.job(info["id"])
        assert failed["state"] == "FAILED"
        message = failed["status"]["Failed"]
        assert deaths == 3 and message.count("SIGSEGV") >= 3
        assert all(f"attempt {number} on worker-1: crash" in message for number in range(3))
        assert client.wait(other["id"], timeout_s=60)["state"] == "SUCCEEDED"
    assert cluster.process("worker-1")["restarts"] == 0
    wait_until(lambda: attempts_left(cluster) == [], "attempt directories are deleted")


def test_f13_a_worker_that_dies_with_the_last_allowed_attempt(
    make_cluster: Callable[..., Cluster], text: Path
) -> None:
    cluster = make_cluster("scheduler.task_retries_max=0", workers=1, threads=1)
    with cluster.client() as client:
        info = client.submit(jobs.word_count(str(text), 1))
        wait_until(lambda: busy(cluster), "the task runs")
        cluster.note_processes()
        os.kill(cluster.process("worker-1")["pid"], signal.SIGKILL)
        info = client.wait(info["id"], timeout_s=60)
        assert info["state"] == "SUCCEEDED", info["status"]  # on the budget for lost workers


def test_f15_a_hung_task_is_stopped_at_its_limit_and_its_slot_is_used_again(
    make_cluster: Callable[..., Cluster], text: Path
) -> None:
    cluster = make_cluster(
        "scheduler.task_timeout_s=2", "scheduler.task_retries_max=0", workers=1, threads=1
    )
    with cluster.client() as client:
        info = client.submit(jobs.word_count(str(text), 1))
        (hung,) = wait_until(lambda: busy(cluster), "the task runs")
        hung.suspend()
        begun = time.monotonic()
        info = client.wait(info["id"], timeout_s=30)
        assert time.monotonic() - begun < 10
        assert info["state"] == "FAILED"
        assert info["status"]["Failed"].startswith("stopped after 2 s (scheduler.task_timeout_s)")
        after = client.submit(jobs.word_count(str(SMALL), 2))
        assert client.wait(after["id"], timeout_s=30)["state"] == "SUCCEEDED"
    assert not hung.is_running()


def test_f17_all_workers_die_and_come_back(
    make_cluster: Callable[..., Cluster], text: Path
) -> None:
    cluster = make_cluster()
    with cluster.client() as client:
        info = client.submit(jobs.word_count(str(text), 12))
        wait_until(lambda: client.job(info["id"])["tasks"]["completed"] >= 2, "it is half done")
        cluster.note_processes()
        for process in cluster.document()["processes"]:
            if process["name"].startswith("worker"):
                os.kill(process["pid"], signal.SIGKILL)
        info = client.wait(info["id"], timeout_s=60)
        assert info["state"] == "SUCCEEDED", info["status"]
        expected = oracle.word_count(oracle.lines_of([text]))
        assert sorted(client.results(info["id"])) == expected
    cluster.note_processes()
    wait_until(lambda: attempts_left(cluster) == [], "attempt directories are deleted")


def test_f18_every_second_task_fails_and_the_job_completes(
    make_cluster: Callable[..., Cluster],
) -> None:
    cluster = make_cluster("workers.fail_probability=50", "scheduler.task_retries_max=20")
    with cluster.client() as client:
        info = client.submit(jobs.word_count(str(SMALL), 12))
        info = client.wait(info["id"], timeout_s=120)
        assert info["state"] == "SUCCEEDED", info["status"]
        assert sorted(client.results(info["id"])) == oracle.word_count(oracle.lines_of([SMALL]))
        told = client.metrics("metrics/failures")
        failed = sum(worker_metrics(w)["tasks"]["total_failed"] for w in client.workers())
        assert told["job_failures"][info["id"]] == failed > 0
        page = client.tasks(info["id"], limit=1000, state="FAILED")
        assert all("FAIL_PROBABILITY=50" in task["error"] for task in page["tasks"])


def worker_metrics(worker: dict[str, Any]) -> Any:
    """What the worker itself says."""
    import json
    import urllib.request

    with urllib.request.urlopen(worker["metrics_url"], timeout=10) as answer:
        return json.load(answer)


def test_f20_the_cause_comes_first_and_the_last_attempt_is_kept(
    make_cluster: Callable[..., Cluster], tmp_path: Path
) -> None:
    lines = tmp_path / "numbers.csv"
    lines.write_text("key,value\na,1\nb,not a number\n")
    cluster = make_cluster("scheduler.task_retries_max=1", workers=1)
    request = jobs.job(
        [
            {"id": "read", "op": "read_csv", "path": str(lines)},
            {"id": "map", "op": "map", "fn_name": "extract_key"},
            {"id": "reduce", "op": "reduce_by_key", "fn_name": "sum"},
        ],
        1,
    )
    with cluster.client() as client:
        info = client.wait(client.submit(request)["id"], timeout_s=30)
        assert info["state"] == "FAILED"
        message = info["status"]["Failed"]
        first = message.splitlines()[0]
        assert "not a number" in first and "Traceback" not in first
        assert "attempt 0 on worker-1: error" in message
        assert "attempt 1 on worker-1: error" in message


@pytest.fixture
def file_limit() -> Iterator[Callable[[psutil.Process, int | None], None]]:
    """Bounds how large a file a running process may write: to it, the disk is full."""

    def limit(process: psutil.Process, size: int | None) -> None:
        soft = resource.RLIM_INFINITY if size is None else size
        process.rlimit(psutil.RLIMIT_FSIZE, (soft, resource.RLIM_INFINITY))

    yield limit


@pytest.mark.skipif(not hasattr(psutil, "RLIMIT_FSIZE"), reason="no prlimit on this system")
def test_f21_a_full_disk_under_a_task_is_named_and_the_cluster_works_afterwards(
    make_cluster: Callable[..., Cluster],
    text: Path,
    file_limit: Callable[[psutil.Process, int | None], None],
) -> None:
    cluster = make_cluster("scheduler.task_retries_max=1", workers=1, threads=1)
    (executor,) = executors(cluster)
    file_limit(executor, 1000)
    with cluster.client() as client:
        info = client.wait(client.submit(jobs.word_count(str(text), 1))["id"], timeout_s=60)
        assert info["state"] == "FAILED"
        assert "File too large" in info["status"]["Failed"].splitlines()[0]
        file_limit(executor, None)
        info = client.wait(client.submit(jobs.word_count(str(text), 1))["id"], timeout_s=60)
        assert info["state"] == "SUCCEEDED", info["status"]
    assert cluster.process("worker-1")["restarts"] == 0
    wait_until(lambda: attempts_left(cluster) == [], "attempt directories are deleted")


@pytest.mark.skipif(not hasattr(psutil, "RLIMIT_FSIZE"), reason="no prlimit on this system")
def test_f21_a_full_disk_under_the_journal_holds_work_until_there_is_room(
    make_cluster: Callable[..., Cluster],
    file_limit: Callable[[psutil.Process, int | None], None],
) -> None:
    cluster = make_cluster(workers=1)
    master = psutil.Process(cluster.process("master")["pid"])
    with cluster.client() as client:
        first = client.submit(jobs.word_count(str(SMALL), 1))
        assert client.wait(first["id"], timeout_s=30)["state"] == "SUCCEEDED"
        file_limit(master, 4096)
        with pytest.raises(ClusterError, match=r"held, and may still be accepted|journal"):
            client.submit(jobs.word_count(str(SMALL), 1))
        assert client.job(first["id"])["state"] == "SUCCEEDED"  # reading goes on
        file_limit(master, None)
        again = wait_until(lambda: submitted(client), "there is room")
        assert client.wait(again["id"], timeout_s=30)["state"] == "SUCCEEDED"
    assert cluster.process("master")["restarts"] == 0


def submitted(client: Client) -> Any:
    try:
        return client.submit(jobs.word_count(str(SMALL), 1))
    except ClusterError:
        return None


def test_f21_a_directory_that_cannot_be_written_is_named(
    make_cluster: Callable[..., Cluster],
) -> None:
    cluster = make_cluster("scheduler.task_retries_max=0", workers=1)
    attempts = cluster.state_dir / "attempts"
    attempts.rmdir()
    attempts.write_text("somebody put a file here")
    with cluster.client() as client:
        info = client.wait(client.submit(jobs.word_count(str(SMALL), 1))["id"], timeout_s=30)
        assert info["state"] == "FAILED"
        assert str(attempts) in info["status"]["Failed"].splitlines()[0]
        attempts.unlink()
        attempts.mkdir()
        info = client.wait(client.submit(jobs.word_count(str(SMALL), 1))["id"], timeout_s=30)
        assert info["state"] == "SUCCEEDED", info["status"]


def test_f21_a_worker_that_cannot_keep_its_id_registers_once_and_says_so(
    make_cluster: Callable[..., Cluster],
) -> None:
    cluster = make_cluster(workers=1)
    shutil.rmtree(cluster.state_dir / "workers")
    (cluster.state_dir / "workers" / "worker-1.new").mkdir(parents=True)  # no file can be there
    before = cluster.process("worker-1")["pid"]
    cluster.note_processes()
    os.kill(before, signal.SIGKILL)
    with cluster.client() as client:
        wait_until(
            lambda: [w["status"] for w in client.workers()] == ["Down", "Up"], "it is back, new"
        )
        for _ in range(5):  # it works on, and is the same worker all the time
            info = client.wait(client.submit(jobs.word_count(str(SMALL), 2))["id"], timeout_s=30)
            assert info["state"] == "SUCCEEDED"
        assert [w["status"] for w in client.workers()] == ["Down", "Up"]
    wait_until(lambda: "cannot be kept" in (cluster.process("worker-1")["reason"] or ""), "said")
    assert cluster.logs().count("ERROR worker-1 its id cannot be kept") == 1


GREEDY = """
import time

HELD = []

def take(value):
    while len(HELD) < 512:  # MB, should nobody stop it
        HELD.append(b"x" * (1 << 20))
        time.sleep(0.01)
    return value
"""


def test_f21_a_task_far_over_its_memory_is_stopped_and_the_worker_survives(
    make_cluster: Callable[..., Cluster],
) -> None:
    cluster = make_cluster(
        "memory.task_max_mb=4", "scheduler.task_retries_max=0", workers=1, threads=1
    )
    nodes = [
        {"id": "read", "op": "read_text", "path": str(SMALL)},
        {"id": "take", "op": "map", "fn": "greedy:take"},
    ]
    with cluster.client() as client:
        request = jobs.job(nodes, 1, modules={"greedy": GREEDY})
        info = client.wait(client.submit(request)["id"], timeout_s=60)
        assert info["state"] == "FAILED"
        assert "memory.task_max_mb (4 MB)" in info["status"]["Failed"].splitlines()[0]
        info = client.wait(client.submit(jobs.word_count(str(SMALL), 1))["id"], timeout_s=60)
        assert info["state"] == "SUCCEEDED"
    assert cluster.process("worker-1")["restarts"] == 0


@pytest.mark.parametrize("stopped", ["executor server", "everything, for a moment"])
def test_f15_a_stopped_executor_server_does_not_hold_a_job_up(
    make_cluster: Callable[..., Cluster], text: Path, stopped: str
) -> None:
    cluster = make_cluster("scheduler.heartbeat_timeout_s=30", workers=1, threads=1)
    pid = cluster.process("worker-1")["pid"]
    agent = psutil.Process(pid)
    (server,) = agent.children()
    with cluster.client() as client:
        info = client.submit(jobs.word_count(str(text), 1))
        (executor,) = wait_until(lambda: busy(cluster), "the task runs")
        cluster.note_processes()
        server.suspend()
        executor.kill()
        if stopped == "executor server":  # it cannot bury its child, nor fork another
            info = client.wait(info["id"], timeout_s=20)
            assert cluster.process("worker-1")["pid"] != pid
        else:  # a look at the clock after a long stop is no proof that the server is stuck
            agent.suspend()
            wait_until(lambda: agent.status() == psutil.STATUS_STOPPED, "it stopped")
            psutil.wait_procs([executor], timeout=2.5)  # longer than a stuck server is given
            server.resume()
            agent.resume()
            info = client.wait(info["id"], timeout_s=20)
            assert cluster.process("worker-1")["pid"] == pid
        assert info["state"] == "SUCCEEDED", info["status"]
        expected = oracle.word_count(oracle.lines_of([text]))
        assert sorted(client.results(info["id"])) == expected
    cluster.note_processes()
