"""Processes that somebody runs by hand: how signals end them, and what clients see meanwhile."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from minispark.client import Client
from minispark.errors import MiniSparkError
from tests.cluster.harness import PLAIN_ENVIRONMENT, ROOT, wait_until

Spawn = Callable[..., "subprocess.Popen[str]"]
TOKEN = "a-token-for-processes-by-hand-0123456789"


@pytest.fixture
def spawn() -> Iterator[Spawn]:
    """Starts a command as a terminal would: as a group of its own."""
    started: list[subprocess.Popen[str]] = []

    def start(*words: str, **env: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, str(ROOT / "minispark.py"), *words],
            cwd=ROOT,
            env={**PLAIN_ENVIRONMENT, "MINISPARK_TOKEN": TOKEN, **env},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


def free_ports(count: int) -> list[int]:
    socks = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [int(sock.getsockname()[1]) for sock in socks]
    for sock in socks:
        sock.close()
    return ports


class ByHand:
    """A master and a worker, each started on its own."""

    def __init__(self, spawn: Spawn, folder: Path) -> None:
        self._spawn = spawn
        self._folder = folder
        http_port, socket_port = free_ports(2)
        self.url = f"http://127.0.0.1:{http_port}"
        self._socket = f"127.0.0.1:{socket_port}"
        self._ports = {"MASTER_HTTP_PORT": str(http_port), "MASTER_SOCKET_PORT": str(socket_port)}

    def start_master(self) -> subprocess.Popen[str]:
        state_dir = str(self._folder / "master")
        return self._spawn("master", MINISPARK_STATE_DIR=state_dir, **self._ports)

    def start_worker(self) -> subprocess.Popen[str]:
        state_dir = str(self._folder / "worker")
        words = ("worker", "--master", self._socket)
        return self._spawn(
            *words, MINISPARK_STATE_DIR=state_dir, WORKER_PORT="0", WORKER_THREADS="1"
        )

    def command(self, *words: str) -> subprocess.Popen[str]:
        return self._spawn(*words, "-m", self.url)

    def workers(self) -> list[dict[str, Any]]:
        try:
            with Client(self.url, TOKEN) as client:
                return client.workers()
        except MiniSparkError:
            return []


@pytest.fixture
def by_hand(spawn: Spawn, tmp_path: Path) -> ByHand:
    return ByHand(spawn, tmp_path)


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 0), (signal.SIGHUP, 0)]
)
def test_f40_a_signal_ends_a_worker_and_a_master_by_hand_in_order(
    by_hand: ByHand, number: int, status: int
) -> None:
    master, worker = by_hand.start_master(), by_hand.start_worker()
    wait_until(by_hand.workers, "the worker registered")
    family = psutil.Process(worker.pid).children(recursive=True)
    wait_until(
        lambda: len(psutil.Process(worker.pid).children(recursive=True)) == 2,
        "its executor server has an executor",
    )
    for process in (worker, master):
        os.killpg(process.pid, number)
        out, err = process.communicate(timeout=10)
        assert process.returncode == status, err
        assert "Traceback" not in out + err and "KeyboardInterrupt" not in out + err
    _, left = psutil.wait_procs(family, timeout=3)
    assert left == []
    assert "the master stops" in err


def test_f30_commands_ride_through_a_master_that_is_started_again_by_hand(
    by_hand: ByHand, tmp_path: Path
) -> None:
    text = tmp_path / "text.txt"
    text.write_text("".join(f"word{i % 5000} again\n" for i in range(400_000)))
    master = by_hand.start_master()
    by_hand.start_worker()
    wait_until(by_hand.workers, "the worker registered")
    waiting = by_hand.command("submit", "-p", "8", "-i", str(text), "--wait")
    with Client(by_hand.url, TOKEN) as client:
        wait_until(lambda: any(job["tasks"]["completed"] for job in client.jobs()), "the job runs")
    master.kill()
    master.communicate()
    commands = [
        by_hand.command("status"),
        by_hand.command("submit", "-n", "later", "-i", "data/input.csv"),
    ]
    by_hand.start_master()
    for process in (*commands, waiting):
        out, err = process.communicate(timeout=30)
        assert process.returncode == 0, err
        assert "wordcount" in out or "ID: " in out


def test_a_command_that_finds_no_master_says_so_in_the_end(by_hand: ByHand) -> None:
    done = by_hand.command("status")
    _, err = done.communicate(timeout=15)
    assert done.returncode == 3
    assert f"no master answers at {by_hand.url}" in err and len(err.splitlines()) == 1


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
@pytest.mark.parametrize("moment", ["starting", "running"])
def test_f40_a_run_that_is_ended_leaves_nothing(
    spawn: Spawn, tmp_path: Path, number: int, status: int, moment: str
) -> None:
    text, temporary = tmp_path / "text.txt", tmp_path / "tmp"
    text.write_text("a b c\n" * 2_000_000)
    temporary.mkdir()
    process = spawn("run", "wordcount", str(text), "--threads", "1", TMPDIR=str(temporary))
    what = "minispark-run-*/cluster.json" if moment == "starting" else "minispark-run-*/attempts/*"
    wait_until(lambda: list(temporary.glob(what)), f"it is {moment}")
    family = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(number)  # to it alone, as `kill` does
    _, err = process.communicate(timeout=20)
    expected = (status, 130) if moment == "starting" else (status,)
    assert process.returncode in expected, err
    assert "Traceback" not in err
    _, left = psutil.wait_procs(family, timeout=3)
    assert left == []
    assert list(temporary.iterdir()) == []
