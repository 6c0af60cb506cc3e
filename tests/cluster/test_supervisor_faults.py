"""F21, F42, F44, F45: what the supervisor meets on its disk, in its limits, and in a directory."""

from __future__ import annotations

import json
import os
import resource
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.cluster.harness import Cluster, all_gone, wait_until

MakeCluster = Callable[..., Cluster]
has_limits = pytest.mark.skipif(
    not hasattr(psutil, "RLIMIT_FSIZE"), reason="no prlimit on this system"
)


def supervisor_of(cluster: Cluster) -> psutil.Process:
    return psutil.Process(cluster.process("supervisor")["pid"])


def limit(process: psutil.Process, what: int, size: int | None) -> None:
    """The soft limit of a running process; None as it is here."""
    soft, hard = resource.getrlimit(what)
    process.rlimit(what, (soft if size is None else size, hard))


def is_back(cluster: Cluster, before: dict[str, Any]) -> bool:
    now = cluster.process(before["name"])
    return now["state"] == "RUNNING" and now["pid"] != before["pid"]


def log_of(cluster: Cluster, name: str) -> str:
    return (cluster.state_dir / "logs" / f"{name}.log").read_text()


# --- ends that have no name ---------------------------------------------------------------------


@pytest.mark.skipif(not hasattr(signal, "SIGRTMIN"), reason="no real-time signals here")
def test_a_real_time_signal_ends_only_who_gets_it(make_cluster: MakeCluster) -> None:
    cluster = make_cluster(workers=1, threads=1)
    number = signal.SIGRTMIN + 1
    before = cluster.process("worker-1")
    server = psutil.Process(before["pid"]).children()[0]
    executor = server.children()[0]
    executor.send_signal(number)
    wait_until(lambda: executor.pid not in [p.pid for p in server.children()], "it is gone")
    wait_until(lambda: len(server.children()) == 1, "another executor is there")
    cluster.note_processes()
    assert cluster.process("worker-1")["pid"] == before["pid"]
    os.kill(before["pid"], number)
    wait_until(lambda: is_back(cluster, before), "the worker is back")
    worker = cluster.process("worker-1")
    assert worker["last_end"] == f"ended with signal {int(number)}"
    assert worker["reason"] is None  # it runs again
    for what in (f"worker-1 {worker['last_end']}", f"worker-1 RUNNING: pid {worker['pid']}"):
        assert cluster.said(what, "worker=worker-1") == 1
    cluster.note_processes()


# --- F21: no room, no descriptors ---------------------------------------------------------------


@has_limits
def test_f21_on_a_full_disk_the_supervisor_goes_on_and_writes_later(
    make_cluster: MakeCluster,
) -> None:
    cluster = make_cluster(workers=1, threads=1)
    supervisor = supervisor_of(cluster)
    before = cluster.process("worker-1")
    limit(supervisor, psutil.RLIMIT_FSIZE, 10)
    untouched = cluster.state_dir.stat().st_mtime_ns
    victim = psutil.Process(before["pid"])
    victim.kill()
    wait_until(lambda: len(supervisor.children()) == 2 and not victim.is_running(), "it is back")
    cluster.note_processes()
    wait_until(lambda: cluster.state_dir.stat().st_mtime_ns != untouched, "a write was tried")
    wait_until(lambda: not (cluster.state_dir / "cluster.json.new").exists(), "it left nothing")
    assert cluster.process("worker-1") == before  # the old file stays, whole
    limit(supervisor, psutil.RLIMIT_FSIZE, None)
    wait_until(lambda: cluster.process("worker-1")["restarts"] == 1, "it is written", 5)
    for child in supervisor.children():  # what was forked in the meantime has its limit
        limit(child, psutil.RLIMIT_FSIZE, None)
    assert "Traceback" not in log_of(cluster, "supervisor")
    assert "Logging error" not in log_of(cluster, "supervisor")


@has_limits
def test_f21_down_on_a_full_disk_is_orderly(make_cluster: MakeCluster) -> None:
    cluster = make_cluster(workers=1, threads=1)
    limit(supervisor_of(cluster), psutil.RLIMIT_FSIZE, 10)
    done = cluster.cli("down")
    assert done.returncode == 0
    assert "stopped." in done.stderr
    all_gone(cluster)
    assert "the master stops" in log_of(cluster, "master")
    left = {path.name for path in cluster.state_dir.iterdir()}
    assert not left & {"cluster.json", "cluster.json.new", "control.sock"}


@has_limits
def test_f21_without_descriptors_a_start_is_tried_again(make_cluster: MakeCluster) -> None:
    cluster = make_cluster(workers=1, threads=1)
    supervisor = supervisor_of(cluster)
    before = cluster.process("worker-1")
    limit(supervisor, psutil.RLIMIT_NOFILE, 3)
    os.kill(before["pid"], signal.SIGKILL)
    wait_until(lambda: "cannot be forked" in log_of(cluster, "supervisor"), "it was tried")
    limit(supervisor, psutil.RLIMIT_NOFILE, None)
    wait_until(lambda: is_back(cluster, before), "the worker is back")
    log = log_of(cluster, "supervisor")
    assert "Too many open files; restart in" in log
    assert log.count("cluster.json cannot be written") == 1
    cluster.note_processes()


@pytest.mark.parametrize(
    "prepare",
    [
        lambda folder: (folder / "cluster.lock").mkdir(),
        lambda folder: (folder / "token").symlink_to("elsewhere"),
        lambda folder: (folder / "token").write_bytes(b"\xff\xfe"),
        lambda folder: (folder / "logs" / "supervisor.log").mkdir(parents=True),
        lambda folder: (folder / "control.sock").mkdir(),
        lambda folder: (folder / "cluster.json").mkdir(),
        lambda folder: (folder / "logs").write_text("no directory"),
    ],
    ids=("lock", "link", "token", "log", "socket", "cluster.json", "logs"),
)
def test_f21_what_makes_a_state_directory_unusable_is_said_in_one_line(
    prepare: Callable[[Path], Any],
) -> None:
    cluster = Cluster(workers=1)
    try:
        cluster.state_dir.mkdir(mode=0o700)
        prepare(cluster.state_dir)
        done = cluster.up()
        assert done.returncode in (1, 2)
        assert str(cluster.state_dir) in done.stderr
        assert len(done.stderr.splitlines()) == 1, done.stderr
        assert cluster.cli("down").returncode in (1, 3)
    finally:
        assert cluster.close() == []


def test_f21_a_disk_that_is_full_at_start_is_said_in_one_line() -> None:
    cluster = Cluster(workers=1)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))  # what is forked has it too
        done = cluster.up()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert cluster.close() == []
    assert done.returncode == 1
    assert "File too large" in done.stderr
    assert len(done.stderr.splitlines()) == 1, done.stderr


# --- F42, F44: whose directory it is ------------------------------------------------------------


def test_f42_a_running_cluster_without_its_cluster_file_is_not_purged(
    make_cluster: MakeCluster,
) -> None:
    cluster = make_cluster(workers=1, threads=1)
    supervisor = supervisor_of(cluster)
    path = cluster.state_dir / "cluster.json"
    kept = path.read_bytes()
    path.unlink()
    done = cluster.cli("down", "--purge")
    assert done.returncode == 3
    assert str(supervisor.pid) in done.stderr
    assert (cluster.state_dir / "token").exists()
    assert cluster.up().returncode == 3
    assert supervisor.is_running()
    path.write_bytes(kept)


def test_f42_a_supervisor_whose_directory_was_taken_leaves_it_alone(
    make_cluster: MakeCluster,
) -> None:
    first = make_cluster(workers=1, threads=1)
    alive = first.note_processes()
    first.state_dir.rename(first.folder / "moved")
    assert first.up().returncode == 0  # a second one
    document = first.document()
    alive[0].terminate()
    _, left = psutil.wait_procs(alive, timeout=10)
    assert left == []
    assert first.document() == document
    assert first.cli("restart", "worker-1").returncode == 0
    first.note_processes()


def test_f44_a_clock_that_was_set_makes_no_difference(make_cluster: MakeCluster) -> None:
    cluster = make_cluster(workers=1, threads=1)
    document = cluster.document()
    for entry in document["processes"]:
        entry["started_at"] -= 3600.0
    (cluster.state_dir / "cluster.json").write_text(json.dumps(document))
    assert cluster.cli("chaos", "kill-executor").returncode == 0
    cluster.note_processes()
    shown = cluster.cli("ps", "--json")
    assert all(p["rss_bytes"] for p in json.loads(shown.stdout)["processes"])
    done = cluster.cli("down")
    assert done.returncode == 0, done.stderr
    all_gone(cluster)


def test_f44_what_a_killed_supervisor_left_is_no_cluster(make_cluster: MakeCluster) -> None:
    cluster = make_cluster(workers=1, threads=1)
    supervisor_of(cluster).kill()
    all_gone(cluster)
    assert (cluster.state_dir / "cluster.json").exists()
    for words in (("ps",), ("chaos", "kill-worker"), ("restart",), ("scale", "2")):
        done = cluster.cli(*words)
        assert done.returncode == 3, (words, done.stderr)
        assert "no cluster" in done.stderr
    doctor = cluster.cli("doctor")
    assert "run `down`" in doctor.stdout
    assert cluster.cli("down").returncode == 3
    assert not (cluster.state_dir / "cluster.json").exists()


def test_f44_a_killed_supervisors_directory_is_purged(make_cluster: MakeCluster) -> None:
    cluster = make_cluster(workers=1, threads=1)
    supervisor_of(cluster).kill()
    assert cluster.cli("down", "--purge").returncode == 0
    assert not cluster.state_dir.exists()


# --- restart policies ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("policy", "number", "state"),
    [
        ("always", signal.SIGUSR1, "RUNNING"),
        ("always", signal.SIGKILL, "RUNNING"),
        ("on-failure", signal.SIGUSR1, "RUNNING"),
        ("never", signal.SIGUSR1, "FATAL"),
        ("never", signal.SIGKILL, "FATAL"),
    ],
)
def test_f45_a_restart_policy_is_kept(
    make_cluster: MakeCluster, policy: str, number: signal.Signals, state: str
) -> None:
    """SIGUSR1 lets a worker end by itself; that a stranger asked for it is a failure."""
    cluster = make_cluster(f"restart.policy={policy}", workers=1, threads=1)
    before = cluster.process("worker-1")
    os.kill(before["pid"], number)
    how = "status 143" if number is signal.SIGUSR1 else "signal SIGKILL"
    wait_until(lambda: cluster.process("worker-1")["last_end"] == f"ended with {how}", "it ended")
    wait_until(lambda: cluster.process("worker-1")["state"] == state, f"it is {state}")
    cluster.note_processes()
    assert (cluster.process("worker-1")["pid"] is not None) == (state == "RUNNING")
    assert cluster.process("worker-1")["restarts"] == (1 if state == "RUNNING" else 0)
    assert cluster.process("master")["pid"] is not None
    again = cluster.cli("restart", "worker-1")
    assert again.returncode == 0, again.stderr
    cluster.note_processes()
