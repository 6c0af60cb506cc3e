"""Foreign HTTP workers beside our own, and masters and workers that somebody starts by hand."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from minispark.client import Client
from minispark.model.ids import attempt_id
from tests import jobs, oracle
from tests.cluster.foreign_worker import ForeignWorker
from tests.cluster.harness import PLAIN_ENVIRONMENT, ROOT, Cluster, wait_until

Spawn = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def column(tmp_path: Path) -> Path:
    """A CSV of one column, as foreign workers can read it."""
    path = tmp_path / "column.csv"
    path.write_text("text\n" + "".join(f"w{i % 97} w{i % 13} ñ{i % 5}\n" for i in range(3000)))
    return path


def test_a_foreign_worker_takes_part_beside_our_own(
    make_cluster: Callable[..., Cluster], column: Path
) -> None:
    cluster = make_cluster(workers=1, threads=1)
    worker = ForeignWorker(cluster.document()["master_url"], cluster.state_dir)
    worker.start()
    with cluster.client() as client:
        info = client.submit(jobs.word_count(str(column), 8, "naive", "read_csv"))
        info = client.wait(info["id"], timeout_s=60)
        worker.stop.set()
        worker.join()
        assert info["state"] == "SUCCEEDED", info["status"]
        expected = oracle.word_count(oracle.lines_of([column], is_csv=True))
        assert sorted(client.results(info["id"])) == expected
        made = {task["worker"] for task in client.tasks(info["id"], limit=1000)["tasks"]}
    assert len(made) == 2  # both had a part
    assert worker.done


@pytest.fixture
def spawn(tmp_path: Path) -> Iterator[Spawn]:
    """Starts one command in the foreground, its output in a file of its own."""
    started: list[subprocess.Popen[bytes]] = []
    logs: list[Path] = []

    def start(*words: str, **env: str) -> subprocess.Popen[bytes]:
        logs.append(tmp_path / f"process-{len(started)}.log")
        with logs[-1].open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, str(ROOT / "minispark.py"), *words],
                cwd=ROOT,
                env={**PLAIN_ENVIRONMENT, **env},
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        started.append(process)
        return process

    yield start
    for process in reversed(started):
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
    codes = []
    for process in reversed(started):
        try:
            codes.append(process.wait(timeout=10))
        except subprocess.TimeoutExpired:
            process.kill()
            codes.append(process.wait())
    print("\n".join(path.read_text() for path in logs))
    assert set(codes) == {0}


def free_port() -> int:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])


def test_a_master_and_two_workers_started_by_hand(
    spawn: Spawn, tmp_path: Path, column: Path
) -> None:
    http_port, token = free_port(), "a token of our own"
    url = f"http://127.0.0.1:{http_port}"
    shared = {"MINISPARK_TOKEN": token, "LOG_LEVEL": "INFO", "HEARTBEAT_INTERVAL_SECS": "1"}
    spawn(
        "master",
        MASTER_HTTP_PORT=str(http_port),
        MASTER_SOCKET_PORT="0",
        MINISPARK_STATE_DIR=str(tmp_path / "master"),
        **shared,
    )

    def answers() -> bool:
        try:
            with Client(url, token) as client:
                return bool(client.cluster())
        except Exception:
            return False

    wait_until(answers, "the master answers")
    for number in (1, 2):
        # state directories of their own, as on hosts of their own
        spawn(
            "worker",
            "--name",
            f"alone-{number}",
            MASTER_URL=url,
            WORKER_PORT="0",
            WORKER_THREADS="1",
            MINISPARK_STATE_DIR=str(tmp_path / f"worker-{number}"),
            **shared,
        )
    with Client(url, token) as client:
        wait_until(lambda: len(client.workers()) == 2, "both registered")
        expected = oracle.word_count(oracle.lines_of([column], is_csv=True))
        for plan in ("fused", "naive"):
            info = client.submit(jobs.word_count(str(column), 4, plan, "read_csv"))
            info = client.wait(info["id"], timeout_s=60)
            assert info["state"] == "SUCCEEDED", info["status"]
            assert sorted(client.results(info["id"])) == expected


def test_shuffles_travel_over_sockets_without_the_short_circuit(
    make_cluster: Callable[..., Cluster], column: Path
) -> None:
    cluster = make_cluster("workers.short_circuit=false")
    expected = oracle.word_count(oracle.lines_of([column], is_csv=True))
    with cluster.client() as client:
        for plan in ("fused", "naive"):
            info = client.submit(jobs.word_count(str(column), 5, plan, "read_csv"))
            info = client.wait(info["id"], timeout_s=60)
            assert info["state"] == "SUCCEEDED", info["status"]
            assert sorted(client.results(info["id"])) == expected


def test_f16_a_damaged_shuffle_file_is_made_again(
    make_cluster: Callable[..., Cluster], tmp_path: Path
) -> None:
    text = tmp_path / "text.txt"
    text.write_text("".join(f"word{i % 50_000} and more words\n" for i in range(200_000)))
    cluster = make_cluster(workers=1, threads=1)
    with cluster.client() as client:
        info = client.submit(jobs.word_count(str(text), 8))
        attempts = cluster.state_dir / "attempts"

        def finished() -> list[Path]:
            tasks = client.tasks(info["id"], state="SUCCEEDED")["tasks"]
            return sorted(attempts.glob("*/shuffle.blocks"))[:2] if len(tasks) >= 2 else []

        damaged, deleted = wait_until(finished, "two map tasks are done")
        data = bytearray(damaged.read_bytes())
        data[len(data) // 3] ^= 0xFF
        damaged.write_bytes(data)
        os.unlink(deleted)
        info = client.wait(info["id"], timeout_s=60)
        assert info["state"] == "SUCCEEDED", info["status"]
        expected = oracle.word_count(oracle.lines_of([text]))
        assert sorted(client.results(info["id"])) == expected
        assert info["retries"] > 0


def test_f32_what_a_killed_worker_left_on_a_disk_of_its_own_goes_when_it_is_back(
    make_cluster: Callable[..., Cluster], spawn: Spawn, tmp_path: Path
) -> None:
    text = tmp_path / "text.txt"
    text.write_text("".join(f"word{i % 50_000} and more words\n" for i in range(300_000)))
    cluster, folder = make_cluster(workers=0), tmp_path / "far"
    words = ("worker", "--name", "far", "--master", cluster.document()["master_url"])
    env = {
        "MINISPARK_TOKEN": (cluster.state_dir / "token").read_text(),
        "MINISPARK_STATE_DIR": str(folder),
        "WORKER_PORT": "0",
        "WORKER_THREADS": "1",
    }

    def left() -> list[Path]:
        return list((folder / "attempts").glob("*"))

    first = subprocess.Popen(
        [sys.executable, str(ROOT / "minispark.py"), *words],
        cwd=ROOT,
        env={**PLAIN_ENVIRONMENT, **env},
        stderr=subprocess.DEVNULL,
    )
    with cluster.client() as client:
        try:
            info = client.submit(jobs.word_count(str(text), 8))
            wait_until(lambda: len(left()) >= 2, "it has written something")
            family = psutil.Process(first.pid).children(recursive=True)
        finally:
            first.kill()
            first.wait()
        psutil.wait_procs(family, timeout=5)
        client.cancel(info["id"])
        cluster.note_processes()
        pid = cluster.process("master")["pid"]
        os.kill(pid, signal.SIGKILL)  # and nobody remembers that something is to be deleted
        wait_until(lambda: cluster.process("master")["pid"] not in (pid, None), "another master")
        assert left()
        spawn(*words, **env)
        wait_until(lambda: left() == [], "its directories are deleted", timeout_s=10)
    cluster.note_processes()


@pytest.mark.parametrize("short_circuit", ["true", "false"])
def test_f16_a_damaged_output_of_the_naive_plan_is_made_again(
    make_cluster: Callable[..., Cluster], tmp_path: Path, short_circuit: str
) -> None:
    text = tmp_path / "text.txt"
    text.write_text("".join(f"word{i % 5000} and more words\n" for i in range(40_000)))
    settings = [f"workers.short_circuit={short_circuit}", "workers.cache_max_mb=0"]  # from files
    cluster = make_cluster(*settings, workers=1, threads=1)
    with cluster.client() as client:
        info = client.submit(jobs.word_count(str(text), 6, "naive"))

        def finished() -> list[str]:
            tasks = client.tasks(info["id"], limit=1000, state="SUCCEEDED")["tasks"]
            writers = [t for t in tasks if t["node_id"] == "map_shuffle_write"]
            found = [
                attempt_id(info["id"], t["node_id"], t["partition_id"], t["attempt"])
                for t in writers
            ]
            return found if len(found) >= 2 else []

        # of two writers; nobody reads before all six have written
        first, second, *_ = wait_until(finished, "two writers of the shuffle are done")
        altered, deleted = (
            cluster.state_dir / "attempts" / attempt / "shuffle.blocks"
            for attempt in (first, second)
        )
        data = altered.read_bytes()
        altered.write_bytes(data.replace(b"word", b"WORD"))
        deleted.unlink()
        info = client.wait(info["id"], timeout_s=60)
        assert info["state"] == "SUCCEEDED", info["status"]
        expected = oracle.word_count(oracle.lines_of([text]))
        assert sorted(client.results(info["id"])) == expected
        lost = client.tasks(info["id"], limit=1000, state="LOST")["tasks"]
        writers = [t for t in lost if t["node_id"] == "map_shuffle_write"]
        assert len(writers) == 2  # and nothing else of them ran again
        assert {task["node_id"] for task in lost} == {"map_shuffle_write", "reduce"}


def test_a_data_error_fails_the_job_with_its_reason(
    make_cluster: Callable[..., Cluster], tmp_path: Path
) -> None:
    path = tmp_path / "bad.txt"
    path.write_bytes(b"fine\n\xff\xfe broken\n")
    cluster = make_cluster("scheduler.task_retries_max=1", workers=1)
    done = cluster.cli("submit", "-i", str(path), "--wait")
    assert done.returncode == 1
    assert "byte 5" in done.stderr and str(path) in done.stderr
    with cluster.client() as client:
        job = client.find_job("last")
        assert job["state"] == "FAILED"
        tasks = client.tasks(job["id"])["tasks"]
        assert [task["state"] for task in tasks].count("FAILED") == 2
        # the cluster goes on
        good = client.submit(jobs.word_count(str(ROOT / "data/input.csv"), 2))
        assert client.wait(good["id"], timeout_s=30)["state"] == "SUCCEEDED"


def test_anonymous_submitters_read_only_below_the_input_roots(
    shared_cluster: Cluster, tmp_path: Path
) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("secret")
    url = shared_cluster.document()["master_url"]
    from tests.cluster.foreign_worker import call

    status, body = call(url, "POST", "/api/v1/jobs", jobs.word_count(str(secret), 1))
    assert status == 400
    assert body["error"]["field"] == "dag.nodes[0].path"
    assert "input roots" in body["error"]["message"]
    status, _ = call(url, "POST", "/api/v1/jobs", jobs.word_count("data/input.csv", 1))
    assert status == 200
    with shared_cluster.client() as client:  # with the token
        info = client.submit(jobs.word_count(str(secret), 1))
        assert client.wait(info["id"], timeout_s=30)["state"] == "SUCCEEDED"


def test_cancel_and_idempotency(shared_cluster: Cluster, tmp_path: Path) -> None:
    text = tmp_path / "text.txt"
    text.write_text("a b c\n" * 400_000)
    with shared_cluster.client() as client:
        first = client.submit(jobs.word_count(str(text), 64, "naive"), idempotency_key="once")
        again = client.submit(jobs.word_count(str(text), 64, "naive"), idempotency_key="once")
        assert first["id"] == again["id"]
        done = shared_cluster.cli("cancel", first["id"][:13], "--json")
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["state"] == "CANCELLED"
        assert client.job(first["id"])["status"]["Failed"].startswith("cancelled:")
        good = client.submit(jobs.word_count("data/input.csv", 2))
        assert client.wait(good["id"], timeout_s=30)["state"] == "SUCCEEDED"
