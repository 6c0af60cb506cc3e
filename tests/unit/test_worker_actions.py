"""Kill, pause, resume and restart over HTTP: which process gets a signal, and which never does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from minispark.supervisor.control import ControlServer
from minispark.supervisor.process_identity import ProcessIdentity
from tests.cluster.harness import wait_until
from tests.unit.http_master import HttpMaster

FAMILY = """
import subprocess, sys
if len(sys.argv) > 1:
    child = subprocess.Popen([sys.executable, __file__, *sys.argv[2:]])
print("ready", flush=True)
sys.stdin.read()
"""
"""A process with children as deep as it has arguments."""


@pytest.fixture
def master(tmp_path: Path) -> Iterator[HttpMaster]:
    made = HttpMaster(tmp_path)
    yield made
    made.close()


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """An agent with a server that has an executor."""
    script = tmp_path / "family.py"
    script.write_text(FAMILY)
    process = subprocess.Popen(
        [sys.executable, str(script), "server", "executor"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None and process.stdin is not None
    for _ in range(3):
        assert process.stdout.readline() == b"ready\n"
    family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    assert len(family) == 3
    yield process
    for member in family:
        if member.is_running():
            member.kill()
    process.wait()
    process.stdout.close()
    process.stdin.close()


def entry(name: str, pid: int | None, birth: str | None = None, state: str = "RUNNING") -> Any:
    identity = ProcessIdentity.of(pid) if pid is not None else None
    return {
        "name": name,
        "pid": pid,
        "birth": birth or (identity.birth if identity is not None else None),
        "state": state,
        "restarts": 0,
        "reason": None,
        "ports": {},
    }


def write_cluster(
    master: HttpMaster, *workers: Any, master_pid: int | None = None, control: Path | None = None
) -> None:
    own = os.getpid()
    processes = [entry("supervisor", own), entry("master", master_pid or own), *workers]
    folder = master.inputs.parent / "state"
    document = {"processes": processes, "control": str(control or folder / "control.sock")}
    (folder / "cluster.json").write_text(json.dumps(document))


def act(master: HttpMaster, action: str, name: str = "worker-1") -> tuple[int, Any]:
    return master.call("POST", f"/api/v1/workers/{name}/{action}", token=True)


def states(process: subprocess.Popen[bytes]) -> set[str]:
    agent = psutil.Process(process.pid)
    return {member.status() for member in (agent, *agent.children(recursive=True))}


def process_of(master: HttpMaster) -> Any:
    (waiting,) = master.call("GET", "/api/v1/overview")[1]["waiting"]
    return waiting["process"]


def test_kill_ends_the_worker(master: HttpMaster, worker: subprocess.Popen[bytes]) -> None:
    write_cluster(master, entry("worker-1", worker.pid))
    status, answer = act(master, "kill")
    assert (status, answer["action"], answer["target"]) == (200, "kill", "worker-1")
    assert (answer["pid"], type(answer["at"])) == (worker.pid, float)
    assert worker.wait(10) == -9


def test_pause_stops_the_whole_worker_and_resume_lets_it_go_on(
    master: HttpMaster, worker: subprocess.Popen[bytes]
) -> None:
    write_cluster(master, entry("worker-1", worker.pid))
    assert not process_of(master)["is_paused"]
    assert act(master, "pause")[0] == 200
    wait_until(lambda: states(worker) == {psutil.STATUS_STOPPED}, "all of it is stopped", 10)
    assert process_of(master)["is_paused"]
    assert act(master, "pause")[0] == 200, "twice is once"
    assert act(master, "resume")[0] == 200
    wait_until(lambda: psutil.STATUS_STOPPED not in states(worker), "all of it goes on", 10)
    assert not process_of(master)["is_paused"]


def test_restart_asks_the_supervisor(master: HttpMaster, worker: subprocess.Popen[bytes]) -> None:
    asked: list[dict[str, Any]] = []

    def answer(question: dict[str, Any]) -> dict[str, Any]:
        asked.append(question)
        return {"names": ["worker-1"]} if len(asked) == 1 else {"error": "it is stopping"}

    control = ControlServer(master.inputs.parent / "state", answer)
    # which lies elsewhere where the directory's name is long
    write_cluster(master, entry("worker-1", worker.pid), control=control.path)
    try:
        for status in (200, 503):
            control._sock.settimeout(10)
            thread = threading.Thread(target=control.serve)
            thread.start()
            assert act(master, "restart")[0] == status
            thread.join()
    finally:
        control.close()
    assert asked == [{"restart": ["worker-1"]}] * 2
    assert worker.poll() is None


@pytest.mark.parametrize("action", ["kill", "pause", "resume", "restart"])
def test_a_pid_that_is_another_process_by_now_gets_no_signal(
    master: HttpMaster, worker: subprocess.Popen[bytes], action: str
) -> None:
    write_cluster(master, entry("worker-1", worker.pid, birth="an earlier boot/1"))
    status, answer = act(master, action)
    assert (status, answer["error"]["code"]) == (409, "not_running")
    assert worker.poll() is None
    assert psutil.STATUS_STOPPED not in states(worker)


def test_a_worker_that_waits_for_its_restart_has_no_process(master: HttpMaster) -> None:
    write_cluster(master, entry("worker-1", None, state="BACKOFF"))
    assert act(master, "kill")[1]["error"]["code"] == "not_running"


@pytest.mark.parametrize("name", ["master", "supervisor", "worker-2", "..%2f", "%00"])
def test_only_workers_are_touched(
    master: HttpMaster, worker: subprocess.Popen[bytes], name: str
) -> None:
    write_cluster(master, entry("worker-1", worker.pid))
    assert act(master, "kill", name)[0] == 404
    assert worker.poll() is None


@pytest.mark.parametrize("write", [None, write_cluster])
def test_a_master_without_a_supervisor_touches_nothing(
    master: HttpMaster, worker: subprocess.Popen[bytes], write: Callable[..., None] | None
) -> None:
    """Also not what an earlier cluster on its directory left in `cluster.json`."""
    if write is not None:
        write(master, entry("worker-1", worker.pid), master_pid=os.getppid())
    status, answer = act(master, "kill")
    assert (status, answer["error"]["code"]) == (409, "no_supervisor")
    assert "`up`" in answer["error"]["message"]
    assert worker.poll() is None


def test_actions_need_the_token(master: HttpMaster) -> None:
    for action in ("kill", "pause", "resume", "restart"):
        assert master.call("POST", f"/api/v1/workers/worker-1/{action}")[0] == 401
