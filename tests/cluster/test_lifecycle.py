"""F40 to F44: starting and stopping, side by side, and leaving nothing behind."""

from __future__ import annotations

import itertools
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from tests import jobs, oracle
from tests.cluster.harness import (
    PLAIN_ENVIRONMENT,
    ROOT,
    Cluster,
    all_gone,
    attempts_left,
    finish,
    interrupt,
    run_cli,
    wait_until,
    workers_up,
)

INPUT = str(ROOT / "data" / "input.csv")


def test_f40_ctrl_c_while_it_runs_stops_in_order(
    foreground: Callable[[Cluster], subprocess.Popen[str]],
) -> None:
    cluster = Cluster()
    process = foreground(cluster)
    try:
        wait_until(lambda: workers_up(cluster), "workers are Up")
        cluster.note_processes()
        interrupt(process)
        output = finish(process)
        assert process.returncode == 130, output
        assert "Traceback" not in output
        all_gone(cluster)
        assert "the supervisor ends" in cluster.logs()
        assert not (cluster.state_dir / "cluster.json").exists()
    finally:
        cluster.close()


def test_f40_ctrl_c_while_it_starts(
    foreground: Callable[[Cluster], subprocess.Popen[str]],
) -> None:
    cluster = Cluster(workers=5)
    process = foreground(cluster)
    try:
        wait_until((cluster.state_dir / "cluster.json").exists, "the first process started")
        cluster.note_processes()
        interrupt(process)
        output = finish(process)
        assert process.returncode == 130, output + cluster.logs()
        assert "Traceback" not in output + cluster.logs()
        all_gone(cluster)
    finally:
        cluster.close()


def test_f40_a_second_ctrl_c_forces_it(
    foreground: Callable[[Cluster], subprocess.Popen[str]],
) -> None:
    cluster = Cluster()
    process = foreground(cluster)
    try:
        wait_until(lambda: workers_up(cluster), "workers are Up")
        cluster.note_processes()
        stopped = psutil.Process(cluster.process("master")["pid"])
        stopped.suspend()  # one that cannot stop in order
        interrupt(process)
        wait_until(lambda: not workers_up(cluster), "it is stopping, or stopped already")
        if process.poll() is None:
            interrupt(process)
        finish(process)
        assert process.returncode == 130
        all_gone(cluster)
    finally:
        cluster.close()


def test_f41_nobody_outlives_a_killed_supervisor(make_cluster: Callable[..., Cluster]) -> None:
    cluster = make_cluster()
    with cluster.client() as client:
        client.submit(jobs.word_count(INPUT, 8))
    alive = cluster.note_processes()
    assert len(alive) == 1 + 1 + 3 * (1 + 1 + 2)
    os.kill(cluster.process("supervisor")["pid"], signal.SIGKILL)
    _, left = psutil.wait_procs(alive, timeout=3)
    assert left == []


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM])
def test_f41_what_a_dead_agent_or_executor_server_leaves_is_gone(
    make_cluster: Callable[..., Cluster], number: signal.Signals
) -> None:
    cluster = make_cluster(workers=2)
    for depth in ("agent", "executor server"):
        before = cluster.process("worker-1")
        agent = psutil.Process(before["pid"])
        wait_until(
            lambda agent=agent: len(agent.children(recursive=True)) == 3,  # type: ignore[misc]
            "the executor server and two executors",
        )
        family = agent.children(recursive=True)
        victim = agent if depth == "agent" else agent.children()[0]
        if depth != "agent" and number is signal.SIGTERM:
            continue  # it leaves that to its agent
        victim.send_signal(number)
        _, left = psutil.wait_procs([agent, *family], timeout=5)
        assert left == []

        def is_back(old_pid: int = before["pid"]) -> bool:
            now = cluster.process("worker-1")
            return now["state"] == "RUNNING" and now["pid"] != old_pid

        wait_until(is_back, "the worker is back")
        cluster.note_processes()


@pytest.mark.parametrize("moment", ["starting", "stopping"])
def test_f41_a_supervisor_killed_while_it_starts_or_stops(moment: str) -> None:
    cluster = Cluster(workers=5)
    try:
        if moment == "stopping":
            assert cluster.up().returncode == 0
            psutil.Process(cluster.process("worker-2")["pid"]).suspend()  # this takes long
            os.kill(cluster.process("supervisor")["pid"], signal.SIGTERM)
            wait_until(lambda: cluster.process("worker-1")["state"] == "STOPPED", "it stops")
        else:
            command = [sys.executable, str(ROOT / "minispark.py"), "up", "-d", "--state-dir"]
            up = subprocess.Popen(
                [*command, str(cluster.state_dir), *cluster.settings],
                cwd=ROOT,
                env=PLAIN_ENVIRONMENT,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            wait_until((cluster.state_dir / "cluster.json").exists, "the first process started")
        alive = cluster.note_processes()
        os.kill(cluster.process("supervisor")["pid"], signal.SIGKILL)
        if moment == "starting":
            assert up.wait(10) == 1
        _, left = psutil.wait_procs(alive, timeout=3)
        assert left == []
    finally:
        assert cluster.close() == []


def test_logs_are_followed_across_restarts(make_cluster: Callable[..., Cluster]) -> None:
    cluster = make_cluster(workers=1)
    follower = subprocess.Popen(
        [
            sys.executable,
            str(ROOT / "minispark.py"),
            *("logs", "worker-1", "-f", "--state-dir", str(cluster.state_dir)),
        ],
        cwd=ROOT,
        env=PLAIN_ENVIRONMENT,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert follower.stdout is not None
        assert "registered as" in follower.stdout.readline()
        os.kill(cluster.process("worker-1")["pid"], signal.SIGKILL)
        assert "registered as" in follower.stdout.readline()  # by the next process
    finally:
        follower.kill()
        follower.wait()
        follower.stdout.close()
    cluster.note_processes()


def test_f42_a_second_up_names_the_first(make_cluster: Callable[..., Cluster]) -> None:
    cluster = make_cluster(workers=1)
    again = cluster.up()
    assert again.returncode == 3
    assert str(cluster.process("supervisor")["pid"]) in again.stderr
    assert len(cluster.document()["processes"]) == 3


def test_f42_two_clusters_run_side_by_side(make_cluster: Callable[..., Cluster]) -> None:
    first, second = make_cluster(workers=1), make_cluster(workers=1)
    for cluster in (first, second):
        done = cluster.cli("submit", "-i", INPUT, "--wait", "--json")
        assert done.returncode == 0, done.stderr
    for cluster in (first, second):
        with cluster.client() as client:
            assert len(client.jobs()) == 1


@pytest.mark.parametrize("which", ["http_port", "socket_port"])
def test_f43_a_busy_port_is_named_with_its_holder(which: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        cluster = Cluster(f"master.{which}={port}")
        try:
            done = cluster.up()
            assert done.returncode == 1
            assert f"port {port}" in done.stderr
            assert str(os.getpid()) in done.stderr
        finally:
            assert cluster.close() == []


def test_f44_a_stale_lock_and_a_strangers_pid_do_no_harm(
    make_cluster: Callable[..., Cluster],
) -> None:
    stranger = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
    cluster = Cluster(workers=1)
    try:
        cluster.state_dir.mkdir()
        (cluster.state_dir / "cluster.lock").write_text(f"{stranger.pid}\n")
        entry = {"name": "supervisor", "pid": stranger.pid, "started_at": 1.0, "state": "RUNNING"}
        (cluster.state_dir / "cluster.json").write_text(json.dumps({"processes": [entry]}))
        assert cluster.cli("down").returncode == 3
        assert cluster.up().returncode == 0
        assert cluster.cli("down").returncode == 0
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()
        assert cluster.close() == []


def test_a_dead_master_and_a_dead_worker_come_back(make_cluster: Callable[..., Cluster]) -> None:
    cluster = make_cluster(workers=2)
    for name in ("worker-1", "master"):
        before = cluster.process(name)
        os.kill(before["pid"], signal.SIGKILL)
        wait_until(
            lambda name=name, before=before: (
                cluster.process(name)["state"] == "RUNNING"
                and cluster.process(name)["pid"] != before["pid"]
            ),
            f"{name} is back",
        )
        cluster.note_processes()
        assert cluster.process(name)["restarts"] == 1
    done = cluster.cli("submit", "-i", INPUT, "--wait")
    assert done.returncode == 0, done.stderr


def test_purge_removes_only_what_is_ours() -> None:
    cluster = Cluster(workers=1)
    try:
        assert cluster.up().returncode == 0
        assert cluster.cli("submit", "-i", INPUT, "--wait").returncode == 0
        (cluster.state_dir / "mine.txt").write_text("keep me")
        assert cluster.cli("down", "--purge").returncode == 0
        assert [path.name for path in cluster.state_dir.iterdir()] == ["mine.txt"]
    finally:
        assert cluster.close() == []


def test_an_open_address_needs_a_token() -> None:
    cluster = Cluster("master.host=0.0.0.0")
    try:
        done = cluster.up()
        assert done.returncode == 2
        assert "token" in done.stderr
    finally:
        assert cluster.close() == []


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (("--help",), 0, "kill-worker"),
        ((), 2, "commands"),
        (("submt",), 2, "did you mean submit?"),
        (("up", "--sett", "x=1"), 2, "did you mean --set?"),
        (("status",), 3, "no cluster"),
        (("down",), 3, "no cluster"),
        (("up", "--set", "workers.cout=1"), 2, "did you mean workers.count?"),
        (("run", "wordcount", "/nowhere/at/all"), 2, "/nowhere/at/all"),
        (("explain", "/nowhere.json"), 2, "cannot be read"),
        (("--version",), 0, "minispark 0."),
    ],
)
def test_exit_statuses(tmp_path: Path, words: tuple[str, ...], status: int, said: str) -> None:
    done = run_cli(*words, env={"MINISPARK_STATE_DIR": str(tmp_path / "none")})
    assert done.returncode == status, done.stderr
    assert said in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_f45_a_worker_that_crashes_at_start_ends_fatal_and_the_rest_works(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        config = tmp_path / "one-bad.yaml"
        config.write_text(
            "workers:\n"
            "  - {name: good, port: 0, threads: 1}\n"
            f"  - {{name: bad, port: {port}, threads: 1}}\n"
            "restart: {backoff_min_s: 0.05, attempts_max: 3}\n"
        )
        cluster = Cluster()
        cluster.settings = ["--set=master.http_port=0", "--set=master.socket_port=0"]
        try:
            done = cluster.up("-c", str(config))
            assert done.returncode == 1
            assert "bad does not start" in done.stderr and str(port) in done.stderr
            names = [process["name"] for process in cluster.document()["processes"]]
            assert names == ["supervisor", "master", "bad", "good"]
            bad = cluster.process("bad")
            assert (bad["state"], bad["restarts"], bad["pid"]) == ("FATAL", 3, None)
            assert str(port) in bad["reason"]
            log = (cluster.state_dir / "logs" / "supervisor.log").read_text()
            delays = [float(d) for d in re.findall(r"bad ended .* restart in ([0-9.]+) s", log)]
            assert len(delays) == 3
            assert all(b > a for a, b in itertools.pairwise(delays))  # doubled, jitter below that
            submitted = cluster.cli("submit", "-i", INPUT, "--wait")
            assert submitted.returncode == 0, submitted.stderr
            shown = cluster.cli("ps")
            assert "FATAL" in shown.stdout
        finally:
            assert cluster.close() == []


def open_files(pid: int) -> int:
    return psutil.Process(pid).num_fds()


def test_f46_cycles_of_up_and_down_leave_nothing() -> None:
    """Five here; scripts/soak does twenty."""
    cluster = Cluster(workers=2, threads=1)
    own = open_files(os.getpid())
    try:
        for _ in range(int(os.environ.get("SOAK_CYCLES", "5"))):
            assert cluster.up().returncode == 0
            ports = [port for p in cluster.document()["processes"] for port in p["ports"].values()]
            assert cluster.cli("down").returncode == 0
            all_gone(cluster)
            for port in ports:
                with socket.create_server(("127.0.0.1", port)):
                    pass  # it is free again
            left = {path.name for path in cluster.state_dir.iterdir()}
            assert not left & {"cluster.json", "control.sock"}
            assert attempts_left(cluster) == []
        assert open_files(os.getpid()) == own
    finally:
        assert cluster.close() == []


def test_f46_a_running_cluster_leaks_no_descriptor(make_cluster: Callable[..., Cluster]) -> None:
    cluster = make_cluster(workers=1)
    with cluster.client() as client:

        def run_jobs() -> None:
            for _ in range(10):
                info = client.submit(jobs.word_count(INPUT, 2))
                assert client.wait(info["id"], timeout_s=30)["state"] == "SUCCEEDED"

        def descriptors() -> dict[str, int]:
            counts = {name: open_files(cluster.process(name)["pid"]) for name in names}
            (server,) = psutil.Process(cluster.process("worker-1")["pid"]).children()
            return {**counts, "executor server": server.num_fds()}

        names = ("supervisor", "master", "worker-1")
        run_jobs()
        before = descriptors()
        for _ in range(5):
            # the last one's successor may not be there yet
            wait_until(lambda: cluster.cli("chaos", "kill-executor").returncode == 0, "one died")
        run_jobs()
        # connections of the last command lines are closed a little later
        wait_until(lambda: descriptors() == before, "as many descriptors as before", 10)
    cluster.note_processes()


def test_f47_down_while_a_job_runs_and_the_job_goes_on_at_the_next_up(tmp_path: Path) -> None:
    text = tmp_path / "text.txt"
    with text.open("w") as file:
        for i in range(150_000):
            file.write(f"line {i % 70_000} the quick brown fox {i % 977} jumps over\n")
    cluster = Cluster(workers=2)
    try:
        assert cluster.up().returncode == 0
        with cluster.client() as client:
            info = client.submit(jobs.word_count(str(text), 12))
            wait_until(
                lambda: client.job(info["id"])["tasks"]["completed"] >= 2, "some tasks are complete"
            )
        begun = time.monotonic()
        assert cluster.cli("down").returncode == 0
        assert time.monotonic() - begun < 20
        all_gone(cluster)
        assert cluster.up().returncode == 0
        with cluster.client() as client:
            done = client.wait(info["id"], timeout_s=60)
            assert done["state"] == "SUCCEEDED", done["status"]
            expected = oracle.word_count(oracle.lines_of([text]))
            assert sorted(client.results(info["id"])) == expected
        wait_until(lambda: attempts_left(cluster) == [], "attempt directories are deleted")
    finally:
        assert cluster.close() == []


def test_restart_and_scale_while_a_job_runs(
    make_cluster: Callable[..., Cluster], tmp_path: Path
) -> None:
    text = tmp_path / "text.txt"
    with text.open("w") as file:
        for i in range(150_000):
            file.write(f"line {i % 70_000} the quick brown fox {i % 977} jumps over\n")
    cluster = make_cluster(workers=2)
    with cluster.client() as client:
        info = client.submit(jobs.word_count(str(text), 16))
        grown = cluster.cli("scale", "4")
        assert grown.returncode == 0, grown.stderr
        cluster.note_processes()
        assert len(cluster.document()["processes"]) == 6
        before = cluster.process("worker-1")["pid"]
        again = cluster.cli("restart", "worker-1")
        assert again.returncode == 0, again.stderr
        assert cluster.process("worker-1")["pid"] != before
        assert cluster.process("worker-1")["last_end"] == "asked to restart"
        shrunk = cluster.cli("scale", "1")
        assert shrunk.returncode == 0, shrunk.stderr
        names = [p["name"] for p in cluster.document()["processes"]]
        assert names == ["supervisor", "master", "worker-1"]
        done = client.wait(info["id"], timeout_s=60)
        assert done["state"] == "SUCCEEDED", done["status"]
        expected = oracle.word_count(oracle.lines_of([text]))
        assert sorted(client.results(info["id"])) == expected
    cluster.note_processes()
    refused = cluster.cli("restart", "worker-9")
    assert refused.returncode == 1 and "worker-9" in refused.stderr


def test_scale_drains_at_once_where_there_is_no_master_to_tell() -> None:
    cluster = Cluster("restart.policy=never", workers=2)
    try:
        assert cluster.up().returncode == 0
        os.kill(cluster.process("master")["pid"], signal.SIGKILL)
        wait_until(lambda: cluster.process("master")["state"] == "FATAL", "nobody restarts it")
        assert cluster.cli("scale", "1", "--timeout", "10").returncode == 0  # DRAIN_S is 30 s
        assert [p["name"] for p in cluster.document()["processes"]][2:] == ["worker-1"]
    finally:
        assert cluster.close() == []


def test_a_worker_that_a_stranger_tells_to_drain_comes_back(
    make_cluster: Callable[..., Cluster],
) -> None:
    cluster = make_cluster(workers=1)
    pid = cluster.process("worker-1")["pid"]
    os.kill(pid, signal.SIGUSR1)
    wait_until(
        lambda: (
            cluster.process("worker-1")["state"] == "RUNNING"
            and cluster.process("worker-1")["pid"] != pid
        ),
        "it is back",
        10,
    )
    cluster.note_processes()
