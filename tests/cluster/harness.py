"""A real cluster for a test: private ports and directory, logs on failure, no leftovers."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from minispark.client import Client

ROOT = Path(__file__).parents[2]
TIMEOUT_S = 60.0
PLAIN_ENVIRONMENT = {
    name: value
    for name, value in os.environ.items()
    if not name.startswith(("MINISPARK_", "MASTER_", "WORKER_", "LOG_", "MAX_TASK"))
}


def wait_until(condition: Callable[[], Any], what: str, timeout_s: float = TIMEOUT_S) -> Any:
    """The condition's first true value. Fails the test after the deadline."""
    deadline = time.monotonic() + timeout_s
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, f"not within {timeout_s:g} s: {what}"
        time.sleep(0.005)


def run_cli(
    *words: str,
    env: dict[str, str] | None = None,
    cwd: Path = ROOT,
    timeout_s: float = TIMEOUT_S,
) -> Any:
    """Run a command line to its end."""
    return subprocess.run(
        [sys.executable, str(ROOT / "minispark.py"), *words],
        cwd=cwd,
        env={**PLAIN_ENVIRONMENT, **(env or {})},
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )


class Cluster:
    """`up -d` on free ports in a directory of its own."""

    def __init__(self, *settings: str, workers: int = 3, threads: int = 2) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="minispark-test-"))
        self.state_dir = self.folder / "state"
        self.cwd = ROOT
        """Where `up` is called: what relative inputs of jobs are relative to."""
        self.settings = [
            f"--set={setting}"
            for setting in (
                "master.http_port=0",
                "master.socket_port=0",
                "workers.base_port=0",
                f"workers.count={workers}",
                f"workers.threads={threads}",
                "scheduler.heartbeat_interval_s=0.2",
                *settings,
            )
        ]
        self._seen: dict[int, psutil.Process] = {}

    def up(self, *words: str) -> Any:
        done = run_cli(
            "up", "-d", "--state-dir", str(self.state_dir), *self.settings, *words, cwd=self.cwd
        )
        self.note_processes()
        return done

    def cli(self, *words: str, timeout_s: float = TIMEOUT_S) -> Any:
        return run_cli(*words, "--state-dir", str(self.state_dir), timeout_s=timeout_s)

    def client(self) -> Client:
        return Client.of_state_dir(self.state_dir)

    def document(self) -> dict[str, Any]:
        value: dict[str, Any] = json.loads((self.state_dir / "cluster.json").read_text())
        return value

    def process(self, name: str) -> dict[str, Any]:
        return next(p for p in self.document()["processes"] if p["name"] == name)

    def note_processes(self) -> list[psutil.Process]:
        """All processes of the cluster that are alive now; they are remembered."""
        try:
            supervisor = psutil.Process(self.process("supervisor")["pid"])
            alive = [supervisor, *supervisor.children(recursive=True)]
        except (OSError, psutil.NoSuchProcess, StopIteration):
            return []
        self._seen.update({process.pid: process for process in alive})
        return alive

    def leftovers(self) -> list[psutil.Process]:
        """Processes seen earlier that still live. (psutil tells a recycled pid from an old one.)"""
        return [process for process in self._seen.values() if process.is_running()]

    def logs(self) -> str:
        parts = []
        for path in sorted((self.state_dir / "logs").glob("*.log")):
            parts.append(f"--- {path.name}\n{path.read_text(errors='replace')[-6000:]}")
        return "\n".join(parts)

    def said(self, what: str, about: str) -> int:
        """How many lines of the logs say that of somebody: `worker=worker-1`."""
        return sum(what in line and about in line.split() for line in self.logs().split("\n"))

    def close(self) -> list[psutil.Process]:
        """Stop it; returns what had to be killed, and removes the directory."""
        self.note_processes()
        if (self.state_dir / "cluster.json").exists():
            self.cli("down", "--timeout", "10")
        _, alive = psutil.wait_procs(self.leftovers(), timeout=3)
        for process in alive:
            process.kill()
        psutil.wait_procs(alive, timeout=5)
        shutil.rmtree(self.folder, ignore_errors=True)
        return list(alive)


def attempts_left(cluster: Cluster) -> list[str]:
    return [path.name for path in (cluster.state_dir / "attempts").iterdir()]


def all_gone(cluster: Cluster) -> None:
    wait_until(lambda: cluster.leftovers() == [], "every process ended", 10)


def workers_up(cluster: Cluster) -> bool:
    """All of them, of a cluster that may still be starting."""
    try:
        states = [p["state"] for p in cluster.document()["processes"]]
    except (OSError, ValueError):
        return False
    return set(states) == {"RUNNING"}


def interrupt(process: subprocess.Popen[str]) -> None:
    """Ctrl-C: the terminal sends SIGINT to the whole group."""
    os.killpg(process.pid, signal.SIGINT)


def finish(process: subprocess.Popen[str]) -> str:
    output, _ = process.communicate(timeout=30)
    return output
