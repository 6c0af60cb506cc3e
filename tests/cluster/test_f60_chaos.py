"""F60: a monkey breaks everything but the results, and tells what it did."""

from __future__ import annotations

import itertools
import json
import os
import random
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from minispark.chaos.schedule import schedule
from minispark.model.settings import RestartSection
from tests import jobs, oracle
from tests.cluster.harness import TIMEOUT_S, Cluster, attempts_left, wait_until

MONKEY_S = int(os.environ.get("SOAK_MONKEY_S", "6"))


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("f60") / "text.txt"
    with path.open("w") as file:
        for i in range(100_000):
            file.write(f"line {i % 70_000} the quick brown fox number {i % 977} jumps over\n")
    return path


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
    make_cluster: Callable[..., Cluster], text: Path, seed: int
) -> None:
    expected = oracle.word_count(oracle.lines_of([text]))
    cluster = make_cluster(
        "restart.attempts_max=1000",
        "restart.backoff_max_s=0.5",
        "scheduler.heartbeat_timeout_s=2",
        "scheduler.worker_losses_max=100",
        "scheduler.task_retries_max=20",
        "retention.jobs_max=1000",
    )
    with Work(cluster, text) as work:
        words = ("--for", f"{MONKEY_S}s", "--every", "0.7s", "--seed", str(seed))
        done = cluster.cli("chaos", "monkey", *words, timeout_s=TIMEOUT_S + MONKEY_S)
    assert done.returncode == 0, done.stderr + done.stdout
    assert work.error is None, work.error
    assert f"seed {seed}" in done.stderr
    replay = f"chaos monkey --seed {seed} --for {MONKEY_S}s --every 0.7s\n"
    assert done.stdout.endswith(f"replay: minispark {replay}")
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


def monkey(cluster: Cluster, *words: str) -> tuple[int, dict[str, Any]]:
    """Its exit status, and what it reports."""
    done = cluster.cli("chaos", "monkey", *words, "--json")
    cluster.note_processes()
    assert done.stdout, done.stderr
    document: dict[str, Any] = json.loads(done.stdout)
    return done.returncode, document


def test_f60_verify_compares_with_a_run_without_faults(
    make_cluster: Callable[..., Cluster], text: Path, tmp_path: Path
) -> None:
    long = tmp_path / "long.txt"
    long.write_bytes(text.read_bytes() * 8)  # it must still run when the monkey comes
    cluster = make_cluster("scheduler.heartbeat_timeout_s=2", workers=2)
    names = {p["name"] for p in cluster.document()["processes"]}
    with cluster.client() as client:
        info = client.submit(jobs.word_count(str(long), 24))
        words = ("--for", "2s", "--every", "0.5s", "--seed", "11", "--verify")
        status, document = monkey(cluster, *words)
        assert status == 0, document
        (job,) = document["jobs"]
        assert (job["id"], job["name"], job["state"]) == (info["id"], "wordcount", "SUCCEEDED")
        assert job["same_result"] is True and job["error"] is None
        assert document["tasks_retried"] == job["tasks_retried"]
    assert (document["seed"], document["for_s"], document["every_s"]) == (11, 2.0, 0.5)
    assert document["ended_for_good"] == [] and document["error"] is None
    assert document["inflicted"]
    assert sum(document["faults"].values()) == len(document["inflicted"])
    for fault in document["inflicted"]:
        assert set(fault) == {"action", "target", "pid", "at"}
        assert fault["at"] > 1e9
        is_file = fault["action"] == "corrupt-shuffle"
        assert (fault["pid"] is None) == is_file and (fault["target"] in names) != is_file


def early_and_late(workers: list[str], for_s: float, every_s: float) -> int:
    """A seed of killed executors only: the first is early, the last one late."""
    for seed in itertools.count():
        planned = schedule(seed, for_s, every_s, workers, RestartSection())
        is_harmless = all(one.action == "kill-executor" for one in planned)
        if is_harmless and planned[0].at_s < 0.3 * for_s and planned[-1].at_s > 0.9 * for_s:
            return seed
    raise AssertionError


def test_f60_verify_finds_another_result(
    make_cluster: Callable[..., Cluster],
    start_cli: Callable[..., subprocess.Popen[str]],
    tmp_path: Path,
) -> None:
    cluster = make_cluster(workers=1)
    path = tmp_path / "short.txt"
    path.write_text("one two two\n" * 10)
    seed = early_and_late(["worker-1"], 4.0, 3.0)
    words = ("--for", "4s", "--every", "3s", "--seed", str(seed), "--verify", "--json")
    process = start_cli(cluster, "chaos", "monkey", *words)
    assert process.stderr is not None
    while "SIGKILL to an executor" not in process.stderr.readline():
        pass  # its schedule
    with cluster.client() as client:
        info = client.submit(jobs.word_count(str(path), 2))
        assert client.wait(info["id"], timeout_s=60)["state"] == "SUCCEEDED"
    path.write_text("one two three\n" * 10)  # so that the same job has another result now
    out, err = process.communicate(timeout=60)
    assert process.returncode == 1, err
    (job,) = json.loads(out)["jobs"]
    assert (job["id"], job["state"], job["same_result"]) == (info["id"], "SUCCEEDED", False)
    cluster.note_processes()


def test_f60_a_process_that_ended_for_good_is_reported(
    make_cluster: Callable[..., Cluster],
) -> None:
    cluster = make_cluster("restart.attempts_max=0", workers=2, threads=1)
    os.kill(cluster.process("worker-2")["pid"], signal.SIGKILL)
    wait_until(lambda: cluster.process("worker-2")["state"] == "FATAL", "it is given up")
    status, document = monkey(cluster, "--for", "0.4s", "--every", "0.1s", "--seed", "1")
    assert status == 1
    (ended,) = document["ended_for_good"]
    assert ended["name"] == "worker-2" and "SIGKILL" in ended["why"]
    shown = cluster.cli("chaos", "monkey", "--for", "0.1s", "--seed", "1")
    assert shown.returncode == 1 and "worker-2 is FATAL" in shown.stdout


def test_f60_a_monkey_leaves_every_process_a_restart(
    make_cluster: Callable[..., Cluster],
) -> None:
    restart = RestartSection(attempts_max=1, backoff_min_s=0.05)
    cluster = make_cluster("restart.attempts_max=1", "restart.backoff_min_s=0.05", workers=2)
    workers = ["worker-1", "worker-2"]
    seeds = (
        seed
        for seed in itertools.count()
        if (planned := [one.action for one in schedule(seed, 1.0, 0.1, workers, restart)])
        and not {"pause-worker", "slow-worker"} & set(planned)
        and planned.count("kill-worker") == 2
    )
    for seed in itertools.islice(seeds, 2):  # the second finds nobody that it may kill
        words = ("--for", "1s", "--every", "0.1s", "--seed", str(seed))
        status, document = monkey(cluster, *words)
        assert status == 0, document
        assert document["ended_for_good"] == []
    restarts = {p["name"]: p["restarts"] for p in cluster.document()["processes"]}
    assert max(restarts.values()) == 1 and document["missed"]["kill-worker"] == 2
