"""Commands while a process is away: for a moment, or for good (F30, F45)."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from tests import oracle
from tests.cluster.harness import ROOT, Cluster, wait_until

INPUT = str(ROOT / "data" / "input.csv")


def kill(cluster: Cluster, name: str) -> int:
    cluster.note_processes()
    pid: int = cluster.process(name)["pid"]
    os.kill(pid, signal.SIGKILL)
    return pid


def test_f30_submit_wait_and_status_ride_through_a_killed_master(
    make_cluster: Callable[..., Cluster],
    start_cli: Callable[..., subprocess.Popen[str]],
    tmp_path: Path,
) -> None:
    text = tmp_path / "text.txt"
    text.write_text("".join(f"word{i % 5000} again\n" for i in range(400_000)))
    cluster = make_cluster("restart.backoff_min_s=0.5", workers=1)
    waiting = start_cli(cluster, "submit", "-p", "8", "-i", str(text), "--wait", "--json")
    with cluster.client() as client:
        wait_until(lambda: any(job["tasks"]["completed"] for job in client.jobs()), "the job runs")
        (job,) = client.jobs()
    pid = kill(cluster, "master")
    looking = [start_cli(cluster, "status"), start_cli(cluster, "status", job["id"])]
    for process in looking:
        out, err = process.communicate(timeout=30)
        assert process.returncode == 0, err
        assert "wordcount" in out
    assert cluster.process("master")["pid"] != pid
    out, err = waiting.communicate(timeout=30)
    assert waiting.returncode == 0, err
    with cluster.client() as client:
        assert sorted(client.results(job["id"])) == oracle.word_count(oracle.lines_of([text]))


def test_f45_commands_name_a_master_that_will_not_come_back(
    make_cluster: Callable[..., Cluster], start_cli: Callable[..., subprocess.Popen[str]]
) -> None:
    cluster = make_cluster("restart.attempts_max=0", workers=1, threads=1)
    watching = start_cli(cluster, "chaos", "kill-master", "--watch")
    _, err = watching.communicate(timeout=20)
    assert watching.returncode == 1, err
    assert "master is FATAL (ended with signal SIGKILL)" in err
    for words in (("status",), ("submit", "-i", INPUT, "--wait"), ("jobs",)):
        begun = time.monotonic()
        done = cluster.cli(*words)
        assert time.monotonic() - begun < 5
        assert done.returncode == 3, done.stderr
        assert "SIGKILL" in done.stderr and "restart master" in done.stderr
    assert cluster.cli("restart", "master").returncode == 0
    assert cluster.cli("status").returncode == 0
    cluster.note_processes()


def test_f45_restart_and_scale_do_not_wait_for_a_worker_that_cannot_start(
    make_cluster: Callable[..., Cluster],
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        cluster = make_cluster(
            f"workers.base_port={port - 10}",
            "restart.attempts_max=1",
            "restart.backoff_min_s=0.05",
            workers=1,
            threads=1,
        )
        for words in (("scale", "2"), ("restart", "worker-2")):
            begun = time.monotonic()
            done = cluster.cli(*words)
            assert time.monotonic() - begun < 10
            assert done.returncode == 1, done.stderr
            assert f"worker-2 is FATAL (worker-2 cannot listen: port {port}" in done.stderr
            assert "Traceback" not in done.stderr
    assert cluster.cli("restart", "worker-2").returncode == 0
    cluster.note_processes()
