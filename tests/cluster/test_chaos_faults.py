"""The single faults: each says what it did, what the cluster does about it, and what it held goes
on whatever ends the command. Every job still has the right result.
"""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from minispark.chaos.schedule import schedule
from minispark.model.settings import RestartSection
from minispark.storage.task_files import is_whole
from tests import jobs, oracle
from tests.cluster.harness import Cluster, attempts_left, wait_until

Start = Callable[..., subprocess.Popen[str]]
RESTARTS = 1000


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("chaos") / "text.txt"
    with path.open("w") as file:
        for i in range(600_000):
            file.write(f"line {i % 70_000} the quick brown fox number {i % 977} jumps over\n")
    return path


@pytest.fixture(scope="module")
def expected(text: Path) -> list[tuple[str, str]]:
    return oracle.word_count(oracle.lines_of([text]))


@pytest.fixture(scope="module")
def broken_cluster() -> Iterator[Cluster]:
    """One cluster that every test of this module breaks, and that is whole again after each."""
    cluster = Cluster(
        "scheduler.heartbeat_timeout_s=1",
        "restart.backoff_max_s=0.2",
        f"restart.attempts_max={RESTARTS}",
    )
    done = cluster.up()
    assert done.returncode == 0, done.stderr + cluster.logs()
    yield cluster
    logs = cluster.logs()
    print(logs)
    assert cluster.close() == [], logs


@pytest.fixture
def cluster(broken_cluster: Cluster) -> Iterator[Cluster]:
    yield broken_cluster
    broken_cluster.note_processes()
    wait_until(
        lambda: all(p["state"] == "RUNNING" for p in broken_cluster.document()["processes"]),
        "every process is back",
    )
    with broken_cluster.client() as client:
        for name in ("worker-1", "worker-2", "worker-3"):
            wait_until(
                lambda name=name: (
                    [w["status"] for w in client.workers() if w["name"] == name] == ["Up"]
                ),
                f"{name} is Up",
            )


def chaos(cluster: Cluster, *words: str) -> dict[str, Any]:
    cluster.note_processes()
    done = cluster.cli("chaos", *words, "--json")
    assert done.returncode == 0, done.stderr
    document: dict[str, Any] = json.loads(done.stdout)
    document["told"] = done.stderr
    return document


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("kill-worker", "worker-2", "--watch"), ("killed", "running again", "worker-2 is Up")),
        (("kill-worker", "worker-1", "--signal", "TERM", "--watch"), ("killed", "worker-1 is Up")),
        (
            ("kill-worker", "worker-1", "--signal", "STOP", "--watch"),
            ("stopped", "worker-1 noticed: Down", "worker-1 goes on", "worker-1 is Up"),
        ),
        (("kill-executor", "worker-1", "--watch"), ("killed", "noticed by", "replaced by pid")),
        (
            ("kill-executor", "worker-1", "--signal", "STOP", "--watch", "--for", "0.5s"),
            ("stopped", "goes on"),
        ),
        (("kill-master", "--watch"), ("killed", "running again", "accepting again")),
        (
            ("kill-master", "--signal", "STOP", "--watch", "--for", "0.5s"),
            ("stopped", "master goes on", "accepting again"),
        ),
        (
            ("pause-worker", "worker-1", "--watch", "--for", "2s"),
            ("stopped", "worker-1 noticed: Down", "worker-1 goes on", "worker-1 is Up"),
        ),
        (("slow-worker", "worker-3", "--watch", "--for", "0.5s"), ("slow", "worker-3 goes on")),
        (("slow-worker", "worker-3", "--for", "0.5s"), ("for 0.5 s",)),
    ],
    ids=lambda value: "-".join(value[:4]) if value[0].count("-") else "",
)
def test_one_fault_during_a_job(
    cluster: Cluster,
    text: Path,
    expected: list[tuple[str, str]],
    words: tuple[str, ...],
    said: tuple[str, ...],
) -> None:
    with cluster.client() as client:
        info = client.submit(jobs.word_count(str(text), 12))
        wait_until(lambda: client.tasks(info["id"], state="ASSIGNED")["total"] > 0, "it runs")
        document = chaos(cluster, *words)
        assert document["action"] == words[0]
        assert document["target"] in ("master", words[1])
        assert isinstance(document["pid"], int) and document["at"] > 1e9
        told = document["told"]
        positions = [told.find(part) for part in (*said, *ends_of(words))]
        assert -1 not in positions and positions == sorted(positions), told
        info = client.wait(info["id"], timeout_s=60)
        assert info["state"] == "SUCCEEDED", info["status"]
        assert sorted(client.results(info["id"])) == expected
    cluster.note_processes()
    wait_until(lambda: attempts_left(cluster) == [], "attempt directories are deleted")


def ends_of(words: tuple[str, ...]) -> tuple[str, ...]:
    return ("job wordcount SUCCEEDED", "tasks rerun") if "--watch" in words else ()


def executors(cluster: Cluster, name: str) -> list[int]:
    agent = psutil.Process(cluster.process(name)["pid"])
    return [executor.pid for server in agent.children() for executor in server.children()]


def test_a_killed_executor_fails_only_its_attempt_and_its_successor_is_named(
    cluster: Cluster,
) -> None:
    before = executors(cluster, "worker-1")
    restarts = cluster.process("worker-1")["restarts"]
    document = chaos(cluster, "kill-executor", "worker-1", "--watch")
    after = executors(cluster, "worker-1")
    assert document["pid"] in before and document["pid"] not in after
    (new,) = set(after) - set(before)
    assert f"replaced by pid {new}\n" in document["told"]
    assert cluster.process("worker-1")["restarts"] == restarts


def test_a_worker_that_is_stopped_without_a_watch_stays_stopped(cluster: Cluster) -> None:
    document = chaos(cluster, "kill-worker", "worker-2", "--signal", "STOP")
    agent = psutil.Process(document["pid"])
    assert agent.status() == psutil.STATUS_STOPPED
    assert f"kill -CONT {agent.pid}" in document["told"]
    assert cluster.process("worker-2")["pid"] == agent.pid
    agent.resume()


LATE = """
import os, time
def words(line):
    while line.startswith("late") and not os.path.exists({gate!r}):
        time.sleep(0.01)
    return line.split()
"""
"""Maps that have such a line end when they may: until then nobody reads what others made."""


def test_f16_a_watch_tells_that_damage_was_noticed_and_mended(
    cluster: Cluster, start_cli: Start, tmp_path: Path
) -> None:
    lines, gate = tmp_path / "lines.txt", tmp_path / "gate"
    lines.write_text("early one\n" * 600 + "late one\n" * 600)
    nodes = [
        {"id": "read", "op": "read_text", "path": str(lines)},
        {"id": "flatmap", "op": "flat_map", "fn": "late:words"},
        {"id": "map", "op": "map", "fn": "pair_with_one"},
        {"id": "reduce", "op": "reduce_by_key", "fn": "sum"},
    ]
    late = {"late": LATE.format(gate=str(gate))}
    with cluster.client() as client:
        info = client.submit(jobs.job(nodes, 12, modules=late))
        shuffled = cluster.state_dir / "attempts"
        wait_until(lambda: any(map(is_whole, shuffled.glob("*/shuffle.blocks"))), "a map is done")
        watching = start_cli(cluster, "chaos", "corrupt-shuffle", "--watch", "--json")
        assert watching.stderr is not None
        told = ""
        while "damaged" not in told and (line := watching.stderr.readline()):
            told += line
        gate.touch()
        out, rest = watching.communicate(timeout=60)
        told += rest
        assert watching.returncode == 0, told
        document = json.loads(out)
        assert document["pid"] is None and (shuffled / document["target"]).name
        parts = ("damaged", "noticed by a reader: lost: ", "recomputed: read+flatmap+map/")
        positions = [told.find(part) for part in (*parts, "SUCCEEDED", "tasks rerun")]
        assert -1 not in positions and positions == sorted(positions), told
        assert sorted(client.results(info["id"])) == oracle.word_count(oracle.lines_of([lines]))


# --- ends of the command ------------------------------------------------------------------------


def is_held(cluster: Cluster, name: str) -> bool:
    pid = cluster.process(name)["pid"]
    return bool(pid and psutil.Process(pid).status() == psutil.STATUS_STOPPED)


def ends_in_order(process: subprocess.Popen[str], number: int, status: int) -> None:
    process.send_signal(number)
    out, err = process.communicate(timeout=5)
    assert process.returncode == status, err
    assert "Traceback" not in out + err


@pytest.mark.parametrize(
    ("words", "number", "status"),
    [
        (("pause-worker", "worker-1"), signal.SIGTERM, 143),
        (("slow-worker", "worker-1"), signal.SIGHUP, 129),
        (("pause-worker", "worker-1", "--watch"), signal.SIGINT, 130),
        (("slow-worker", "worker-1", "--watch"), signal.SIGTERM, 143),
    ],
)
def test_what_is_held_goes_on_when_the_command_is_ended(
    cluster: Cluster, start_cli: Start, words: tuple[str, ...], number: int, status: int
) -> None:
    process = start_cli(cluster, "chaos", *words, "--for", "60s")
    wait_until(lambda: is_held(cluster, "worker-1"), "it is held")
    ends_in_order(process, number, status)
    wait_until(lambda: not is_held(cluster, "worker-1"), "it goes on", 5)
    done = cluster.cli("submit", "-i", "data/input.csv", "--wait")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_f60_what_a_monkey_holds_goes_on_when_it_is_ended(
    cluster: Cluster, start_cli: Start, number: int, status: int
) -> None:
    workers = [p["name"] for p in cluster.document()["processes"]][2:]
    restart = RestartSection(attempts_max=RESTARTS)
    seed, first = next(
        (seed, planned[0])
        for seed in range(10_000)
        if (planned := schedule(seed, 60.0, 3.0, workers, restart))[0].action == "pause-worker"
        and planned[0].at_s < 0.5
        and planned[1].at_s > 3.0
    )
    words = ("monkey", "--for", "60s", "--every", "3s", "--seed", str(seed))
    process = start_cli(cluster, "chaos", *words)
    assert first.target is not None
    target = first.target
    wait_until(lambda: is_held(cluster, target), "it is held")
    ends_in_order(process, number, status)
    wait_until(lambda: not is_held(cluster, target), "it goes on", 5)


def test_a_second_ctrl_c_brings_no_traceback(cluster: Cluster, start_cli: Start) -> None:
    process = start_cli(cluster, "chaos", "slow-worker", "worker-1", "--for", "8s", "--watch")
    wait_until(lambda: is_held(cluster, "worker-1"), "it is held")
    process.send_signal(signal.SIGINT)
    ends_in_order(process, signal.SIGINT, 130)
    wait_until(lambda: not is_held(cluster, "worker-1"), "it goes on", 5)


def test_f19_a_slow_worker_does_not_hold_the_job_up(
    make_cluster: Callable[..., Cluster],
    start_cli: Start,
    text: Path,
    expected: list[tuple[str, str]],
) -> None:
    cluster = make_cluster("scheduler.heartbeat_timeout_s=30", workers=2, threads=1)
    with cluster.client() as client:
        info = client.submit(jobs.word_count(str(text), 8))
        wait_until(lambda: client.job(info["id"])["tasks"]["completed"] >= 2, "half way")
        slow = start_cli(cluster, "chaos", "pause-worker", "worker-1", "--for", "60s")
        ended = client.wait(info["id"], timeout_s=30)
        assert ended["state"] == "SUCCEEDED", ended["status"]
        assert slow.poll() is None, "the job waited for the slow worker"
        assert sorted(client.results(info["id"])) == expected
    ends_in_order(slow, signal.SIGTERM, 143)
    wait_until(lambda: attempts_left(cluster) == [], "the losers' output is dropped")
    cluster.note_processes()
