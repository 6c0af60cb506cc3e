"""F60 and the single faults: each says what it did, and every job still has the right result."""

from __future__ import annotations

import json
import os
import random
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from minispark.chaos.monkey import KINDS, schedule
from minispark.storage.task_files import is_whole
from tests import jobs, oracle
from tests.cluster.harness import Cluster, attempts_left, wait_until

MONKEY_S = os.environ.get("SOAK_MONKEY_S", "6")


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("f60") / "text.txt"
    with path.open("w") as file:
        for i in range(100_000):
            file.write(f"line {i % 70_000} the quick brown fox number {i % 977} jumps over\n")
    return path


@pytest.fixture(scope="module")
def expected(text: Path) -> list[tuple[str, str]]:
    return oracle.word_count(oracle.lines_of([text]))


def chaos(cluster: Cluster, *words: str) -> dict[str, Any]:
    cluster.note_processes()
    done = cluster.cli("chaos", *words, "--json")
    assert done.returncode == 0, done.stderr
    document: dict[str, Any] = json.loads(done.stdout)
    document["told"] = done.stderr
    return document


def test_the_same_seed_gives_the_same_schedule() -> None:
    first, again = schedule(7, 60, 2), schedule(7, 60, 2)
    assert first == again
    assert first != schedule(8, 60, 2)
    assert 20 <= len(first) <= 45
    assert all(0 <= one.at_s < 60 and one.action in KINDS for one in first)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("kill-worker", "worker-2", "--watch"), ("killed", "running again", "worker-2 is Up")),
        (("kill-worker", "worker-1", "--signal", "TERM", "--watch"), ("running again",)),
        (("kill-executor", "worker-1", "--watch"), ("killed", "replaced")),
        (("kill-master", "--watch"), ("killed", "running again", "accepting again")),
        (("pause-worker", "worker-1", "--watch", "--for", "3s"), ("noticed: Down", "goes on")),
    ],
)
def test_one_fault_during_a_job(
    make_cluster: Callable[..., Cluster],
    text: Path,
    expected: list[tuple[str, str]],
    words: tuple[str, ...],
    said: tuple[str, ...],
) -> None:
    cluster = make_cluster("scheduler.heartbeat_timeout_s=1")
    with cluster.client() as client:
        info = client.submit(jobs.word_count(str(text), 12))
        wait_until(lambda: client.tasks(info["id"], state="ASSIGNED")["total"] > 0, "it runs")
        document = chaos(cluster, *words)
        assert document["action"] == words[0]
        assert document["target"] in ("master", words[1])
        assert isinstance(document["pid"], int) and document["at"] > 1e9
        for part in (*said, "tasks rerun"):
            assert part in document["told"]
        info = client.wait(info["id"], timeout_s=60)
        assert info["state"] == "SUCCEEDED", info["status"]
        assert sorted(client.results(info["id"])) == expected
    cluster.note_processes()
    wait_until(lambda: attempts_left(cluster) == [], "attempt directories are deleted")


def test_a_killed_executor_fails_only_its_attempt_and_is_replaced_at_once(
    make_cluster: Callable[..., Cluster], text: Path
) -> None:
    cluster = make_cluster(workers=1)
    agent = psutil.Process(cluster.process("worker-1")["pid"])
    document = chaos(cluster, "kill-executor")
    wait_until(
        lambda: (
            len([e for server in agent.children() for e in server.children()]) == 2
            and not psutil.pid_exists(document["pid"])
        ),
        "there are two executors again",
    )
    assert cluster.process("worker-1")["restarts"] == 0


def test_f19_a_slow_worker_does_not_hold_the_job_up(
    make_cluster: Callable[..., Cluster], text: Path, expected: list[tuple[str, str]]
) -> None:
    cluster = make_cluster("scheduler.heartbeat_timeout_s=30", workers=2, threads=1)
    slow = threading.Thread(
        target=chaos, args=(cluster, "pause-worker", "worker-1", "--for", "20s")
    )
    with cluster.client() as client:
        info = client.submit(jobs.word_count(str(text), 8))
        wait_until(lambda: client.job(info["id"])["tasks"]["completed"] >= 2, "half way")
        slow.start()
        ended = client.wait(info["id"], timeout_s=19)
        assert ended["state"] == "SUCCEEDED", ended["status"]
        assert sorted(client.results(info["id"])) == expected
    slow.join()
    wait_until(lambda: attempts_left(cluster) == [], "the losers' output is dropped")


def test_corrupted_shuffle_files_are_made_again(
    make_cluster: Callable[..., Cluster], text: Path, tmp_path: Path
) -> None:
    long = tmp_path / "long.txt"
    long.write_bytes(text.read_bytes() * 6)  # it must still run when the fault comes
    cluster = make_cluster(workers=2, threads=1)
    with cluster.client() as client:
        info = client.submit(jobs.word_count(str(long), 60))
        shuffled = cluster.state_dir / "attempts"
        wait_until(lambda: any(map(is_whole, shuffled.glob("*/shuffle.blocks"))), "a map is done")
        document = chaos(cluster, "corrupt-shuffle")
        assert document["pid"] is None and (shuffled / document["target"]).name
        info = client.wait(info["id"], timeout_s=60)
        assert info["state"] == "SUCCEEDED", info["status"]
        expected = oracle.word_count(oracle.lines_of([long]))
        assert sorted(client.results(info["id"])) == expected
        lost = client.tasks(info["id"], state="LOST")["tasks"]
        assert any("damaged" in task["error"] or "checksum" in task["error"] for task in lost)


class Work:
    """Submits one job after the other until it is told to stop."""

    def __init__(self, cluster: Cluster, text: Path) -> None:
        self._cluster = cluster
        self._text = text
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.ids: list[str] = []
        self.error: BaseException | None = None

    def __enter__(self) -> Work:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            with self._cluster.client() as client:
                while not self._stop.is_set():
                    plan = "naive" if len(self.ids) % 3 == 2 else "fused"
                    info = client.submit(jobs.word_count(str(self._text), 8, plan))
                    self.ids.append(info["id"])
                    client.wait(info["id"], timeout_s=100)
        except BaseException as error:
            self.error = error


@pytest.fixture
def seed() -> Iterator[int]:
    value = random.SystemRandom().randrange(2**32)
    print(f"monkey seed {value}")
    yield value


def test_f60_the_monkey_breaks_everything_but_the_results(
    make_cluster: Callable[..., Cluster], text: Path, expected: list[tuple[str, str]], seed: int
) -> None:
    cluster = make_cluster(
        "restart.attempts_max=1000",
        "restart.backoff_max_s=0.5",
        "scheduler.heartbeat_timeout_s=2",
        "scheduler.worker_losses_max=100",
        "scheduler.task_retries_max=20",
    )
    with Work(cluster, text) as work:
        done = cluster.cli(
            "chaos", "monkey", "--for", f"{MONKEY_S}s", "--every", "0.7s", "--seed", str(seed)
        )
    assert done.returncode == 0, done.stderr + done.stdout
    assert work.error is None, work.error
    assert f"seed {seed}" in done.stderr and f"--seed {seed}" in done.stdout
    assert "tasks retried" in done.stdout
    assert work.ids
    with cluster.client() as client:
        for job_id in work.ids:
            info = client.wait(job_id, timeout_s=60)
            assert info["state"] == "SUCCEEDED", info["status"]
            assert sorted(client.results(job_id)) == expected
    wait_until(
        lambda: all(p["state"] == "RUNNING" for p in cluster.document()["processes"]), "all is back"
    )
    cluster.note_processes()
    wait_until(lambda: attempts_left(cluster) == [], "attempt directories are deleted")


def test_f60_verify_compares_with_a_run_without_faults(
    make_cluster: Callable[..., Cluster], text: Path
) -> None:
    cluster = make_cluster("scheduler.heartbeat_timeout_s=2", workers=2)
    with cluster.client() as client:
        info = client.submit(jobs.word_count(str(text), 8))
        document = chaos(
            cluster, "monkey", "--for", "2s", "--every", "0.5s", "--seed", "11", "--verify"
        )
        (job,) = document["jobs"]
        assert job == {
            "id": info["id"],
            "name": "wordcount",
            "state": "SUCCEEDED",
            "same_result": True,
        }
        assert document["seed"] == 11 and sum(document["faults"].values()) > 0
    cluster.note_processes()
