"""F40, F41: every way to stop a cluster, in every phase, ends in order and leaves nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from minispark.supervisor import state_dir
from tests.cluster.harness import (
    PLAIN_ENVIRONMENT,
    ROOT,
    Cluster,
    all_gone,
    finish,
    interrupt,
    wait_until,
    workers_up,
)

Foreground = Callable[..., subprocess.Popen[str]]
EXIT_STATUSES = [(signal.SIGHUP, 0), (signal.SIGTERM, 0), (signal.SIGQUIT, 130)]
"""Of an `up` that got the signal when the cluster ran."""


def assert_in_order(cluster: Cluster, output: str) -> None:
    all_gone(cluster)
    logs = cluster.logs()
    assert "Traceback" not in output + logs
    assert "the supervisor ends" in logs
    left = {path.name for path in cluster.state_dir.iterdir()}
    assert not left & {"cluster.json", "cluster.json.new", "control.sock"}


def slow_to_stop(cluster: Cluster) -> None:
    """A worker waits for its executor server before it ends."""
    psutil.Process(cluster.process("worker-1")["pid"]).children()[0].suspend()


@pytest.mark.parametrize(("number", "status"), EXIT_STATUSES)
def test_f40_whatever_ends_a_foreground_up_stops_the_cluster_in_order(
    foreground: Foreground, number: signal.Signals, status: int
) -> None:
    cluster = Cluster(workers=1)
    process = foreground(cluster)
    try:
        assert process.stdout is not None
        assert any("The cluster is up" in line for line in process.stdout)
        cluster.note_processes()
        process.send_signal(number)
        output = finish(process)
        assert process.returncode == status, output
        assert_in_order(cluster, output)
        assert "the master stops" in cluster.logs()
    finally:
        assert cluster.close() == []


@pytest.mark.parametrize("number", [number for number, _ in EXIT_STATUSES])
def test_f40_whatever_ends_an_up_that_still_starts_leaves_nothing(
    foreground: Foreground, number: signal.Signals
) -> None:
    cluster = Cluster(workers=3)
    process = foreground(cluster)
    try:
        wait_until((cluster.state_dir / "cluster.json").exists, "the first process starts")
        cluster.note_processes()
        process.send_signal(number)
        output = finish(process)
        assert process.returncode == 130, output
        assert_in_order(cluster, output)
    finally:
        assert cluster.close() == []


def test_f40_a_request_to_stop_that_comes_twice_is_one(foreground: Foreground) -> None:
    """As a group gets it, when `up` hands it on; and from `down`."""
    cluster = Cluster(workers=1)
    process = foreground(cluster)
    try:
        wait_until(lambda: workers_up(cluster), "the worker is Up")
        cluster.note_processes()
        slow_to_stop(cluster)
        supervisor = cluster.process("supervisor")["pid"]
        interrupt(process)
        wait_until(lambda: cluster.process("worker-1")["state"] == "STOPPING", "it is stopping")
        os.kill(supervisor, signal.SIGTERM)
        process.send_signal(signal.SIGTERM)
        output = finish(process)
        assert process.returncode == 130, output
        assert_in_order(cluster, output)
        assert "the master stops" in cluster.logs()
    finally:
        assert cluster.close() == []


def test_f40_when_nobody_reads_the_logs_the_cluster_goes_on(foreground: Foreground) -> None:
    """up | head -n 1"""
    cluster = Cluster(workers=1)
    process = foreground(cluster, stderr=subprocess.PIPE)
    try:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        wait_until(lambda: workers_up(cluster), "the worker is Up")
        os.kill(cluster.process("worker-1")["pid"], signal.SIGKILL)  # there is something to show
        said = process.stderr.readline() + process.stderr.readline()
        assert "no longer shown" in said
        wait_until(lambda: workers_up(cluster), "the worker is back")
        cluster.note_processes()
        assert process.poll() is None
        interrupt(process)
        assert process.wait(30) == 130
        assert_in_order(cluster, process.stderr.read())
    finally:
        assert cluster.close() == []


def test_f41_an_up_whose_supervisor_was_killed_says_so(foreground: Foreground) -> None:
    cluster = Cluster(workers=1)
    process = foreground(cluster)
    try:
        assert process.stdout is not None
        assert any("The cluster is up" in line for line in process.stdout)
        cluster.note_processes()
        os.kill(cluster.process("supervisor")["pid"], signal.SIGKILL)
        output = finish(process)
        assert process.returncode == 1
        assert "ended with signal SIGKILL" in output
        all_gone(cluster)
    finally:
        assert cluster.close() == []


def test_f40_ctrl_c_during_a_run_leaves_nothing(tmp_path: Path) -> None:
    text = tmp_path / "text.txt"
    text.write_text("the quick brown fox jumps over the lazy dog\n" * 1_000_000)
    folder = tmp_path / "temporary"
    folder.mkdir()
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "minispark.py"), "run", "wordcount", str(text)],
        env={**PLAIN_ENVIRONMENT, "TMPDIR": str(folder)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        wait_until(lambda: list(folder.glob("*/attempts/*")), "a task runs")
        (log,) = folder.glob("*/logs/master.log")
        with log.open() as file:
            interrupt(process)
            output = finish(process)
            assert "the master stops" in file.read()  # in order, not by force
        assert process.returncode == 130, output
        assert "Traceback" not in output
        assert list(folder.iterdir()) == []
    finally:
        process.kill()
        process.wait()


# --- up -d --------------------------------------------------------------------------------------


def processes_of(folder: Path) -> list[psutil.Process]:
    """Forked or not, a process's command line is that of its `up`."""
    return [p for p in psutil.process_iter() if str(folder) in " ".join(command_of(p))]


def command_of(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def assert_nothing_left(cluster: Cluster) -> None:
    assert processes_of(cluster.state_dir) == []
    assert not (cluster.state_dir / "cluster.json").exists()
    if cluster.state_dir.exists():
        lock = state_dir.try_lock(cluster.state_dir)
        assert lock is not None
        os.close(lock)


@pytest.mark.parametrize("timeout_s", ["0.001", "0.02"])
def test_f40_an_up_that_comes_too_late_leaves_nothing(timeout_s: str) -> None:
    cluster = Cluster(workers=5)
    try:
        done = cluster.up("--timeout", timeout_s)
        assert done.returncode == 4, done.stderr
        assert "not ready" in done.stderr and "Traceback" not in done.stderr
        assert_nothing_left(cluster)
    finally:
        assert cluster.close() == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_f40_an_interrupted_up_leaves_nothing(foreground: Foreground, number: int) -> None:
    cluster = Cluster(workers=3)
    process = foreground(cluster, "-d")
    try:
        wait_until((cluster.state_dir / "cluster.json").exists, "the first process starts")
        process.send_signal(number)
        output = finish(process)
        assert process.returncode == 130, output
        assert_nothing_left(cluster)
    finally:
        assert cluster.close() == []


# --- what dies while it starts or stops ---------------------------------------------------------


@pytest.fixture
def detached_up() -> Callable[[Cluster], subprocess.Popen[bytes]]:
    def start(cluster: Cluster) -> subprocess.Popen[bytes]:
        command = [sys.executable, str(ROOT / "minispark.py"), "up", "-d", "--state-dir"]
        return subprocess.Popen(
            [*command, str(cluster.state_dir), *cluster.settings],
            cwd=ROOT,
            env=PLAIN_ENVIRONMENT,
            stdout=subprocess.DEVNULL,
        )

    return start


def masters_of(cluster: Cluster) -> list[psutil.Process]:
    return family_of(cluster, "master")[:1]


def executors_of(cluster: Cluster) -> list[psutil.Process]:
    return [process for process in family_of(cluster, "worker-1") if process.children() == []]


def family_of(cluster: Cluster, name: str) -> list[psutil.Process]:
    """A process with its descendants; of a cluster that may still be starting."""
    try:
        pid = cluster.process(name)["pid"]
        parent = psutil.Process(pid) if pid is not None else None
        return [parent, *parent.children(recursive=True)] if parent is not None else []
    except (OSError, ValueError, psutil.Error):
        return []


@pytest.mark.parametrize("victim", ["master", "executor"])
def test_f41_what_is_killed_while_it_starts_is_started_again(
    detached_up: Callable[[Cluster], subprocess.Popen[bytes]], victim: str
) -> None:
    cluster = Cluster(workers=2, threads=1)
    up = detached_up(cluster)
    try:
        find = masters_of if victim == "master" else executors_of
        wait_until(lambda: find(cluster), f"there is a {victim}")[0].kill()
        assert up.wait(30) == 0
        cluster.note_processes()
        assert workers_up(cluster)
        assert cluster.process("master")["restarts"] == (1 if victim == "master" else 0)
        wait_until(lambda: executors_of(cluster), "there is an executor")
    finally:
        assert cluster.close() == []


@pytest.mark.parametrize("victim", ["master", "executor"])
def test_f41_what_is_killed_while_it_stops_stays_so(victim: str) -> None:
    cluster = Cluster(workers=1, threads=1)
    try:
        assert cluster.up().returncode == 0
        victims = masters_of(cluster) if victim == "master" else executors_of(cluster)
        slow_to_stop(cluster)
        os.kill(cluster.process("supervisor")["pid"], signal.SIGTERM)
        wait_until(lambda: cluster.process("worker-1")["state"] == "STOPPING", "it is stopping")
        victims[0].kill()
        assert_in_order(cluster, "")
        assert cluster.logs().count("the master is ready") == 1
    finally:
        assert cluster.close() == []
