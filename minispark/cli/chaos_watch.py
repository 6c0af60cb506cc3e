"""What a cluster does about a fault, with times: for `chaos ... --watch`."""

from __future__ import annotations

import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

from minispark.chaos.faults import Inflicted, hold, release
from minispark.client import Client
from minispark.errors import DeadlineExceeded, MiniSparkError

TIMEOUT_S = 60.0
POLL_S = 0.005
"""How often the cluster is looked at: the precision of the times."""


def watch(watcher: Watcher, done: Inflicted, held_s: float) -> None:
    """Report until the cluster is whole again. Raises DeadlineExceeded."""
    watcher.begin(done)
    is_stopped = done.fault.signal is signal.SIGSTOP
    match done.fault.action:
        case "kill-worker" | "kill-master":
            if is_stopped:
                watcher.until_noticed()
                release(done)
            watcher.until_restarted(may_stay=is_stopped)
        case "kill-executor":
            watcher.until_executors_are_back()
        case "pause-worker" | "slow-worker":
            holder = threading.Thread(target=_hold_and_release, args=(done, held_s))
            holder.start()
            watcher.until_noticed(deadline_s=held_s)
            holder.join()
            watcher.say(f"{done.fault.target} goes on")
        case _:
            pass  # a damaged file is noticed by whoever reads it
    watcher.until_jobs_end()


def _hold_and_release(done: Inflicted, held_s: float) -> None:
    try:
        hold(done, held_s)
    finally:
        release(done)


class Watcher:
    """Looks at one cluster. Made before the fault: it notes how things stood."""

    def __init__(self, folder: Path, is_quiet: bool) -> None:
        self._folder = folder
        self._is_quiet = is_quiet
        self._retries_before = self._retries()

    def begin(self, done: Inflicted) -> None:
        self._done = done
        self._begun = time.monotonic() - (time.time() - done.at)
        is_kill = done.pid is not None and not done.held
        self.say("killed" if is_kill else "broken")

    def say(self, what: str) -> None:
        if not self._is_quiet:
            print(f"{time.monotonic() - self._begun:7.2f} s  {what}", file=sys.stderr, flush=True)

    def until_noticed(self, deadline_s: float = TIMEOUT_S) -> None:
        """The master calls the worker Down, or the time is over."""
        name = self._done.fault.target
        try:
            self._until(lambda: self._worker_state(name) == "Down", deadline_s)
            self.say(f"{name} noticed: Down")
        except DeadlineExceeded:
            self.say(f"{name} was never called Down")

    def until_restarted(self, may_stay: bool) -> None:
        """The supervisor saw the end, started another process, and that one is ready."""
        name, pid = self._done.fault.target, self._done.pid
        if not may_stay:
            self._until(lambda: self._entry(name).get("pid") != pid)
            self.say(f"noticed by the supervisor: {self._entry(name).get('reason')}")
        self._until(
            lambda: (
                self._entry(name).get("state") == "RUNNING"
                and (may_stay or self._entry(name).get("pid") != pid)
            )
        )
        self.say(f"running again, pid {self._entry(name)['pid']}")
        if name == "master":
            self._until(lambda: self._jobs() is not None)
            self.say("accepting again")
        else:
            self._until(lambda: self._worker_state(name) == "Up")
            self.say(f"{name} is Up")

    def until_executors_are_back(self) -> None:
        import psutil

        pid = self._done.pid
        agent = psutil.Process(self._entry(self._done.fault.target)["pid"])

        def executors() -> list[int]:
            return [e.pid for server in agent.children() for e in server.children()]

        self._until(lambda: pid not in executors())
        self.say("noticed by the executor server")
        count = len(executors())
        self._until(lambda: len(executors()) > count or pid not in executors())
        self.say(f"replaced: executors {', '.join(map(str, executors()))}")

    def until_jobs_end(self) -> None:
        """Of the jobs that were running: how they ended, and what ran again."""
        running = [
            job["id"] for job in self._jobs() or [] if job["state"] in ("PENDING", "RUNNING")
        ]
        with Client.of_state_dir(self._folder) as client:
            for job_id in running:
                info = client.wait(job_id, timeout_s=TIMEOUT_S)
                self.say(f"job {info['request']['name']} {info['state']}")
        self.say(f"tasks rerun {self._retries() - self._retries_before}")

    def _until(self, condition: Any, timeout_s: float = TIMEOUT_S) -> None:
        deadline = time.monotonic() + timeout_s
        while not condition():
            if time.monotonic() > deadline:
                target = self._done.fault.target
                raise DeadlineExceeded(f"{target} was not back within {timeout_s:g} s; see `logs`")
            time.sleep(POLL_S)  # how often it is looked at

    def _entry(self, name: str) -> dict[str, Any]:
        from minispark.supervisor.state_dir import read_cluster_file

        document = read_cluster_file(self._folder) or {"processes": []}
        found = [p for p in document["processes"] if p["name"] == name]
        return found[0] if found else {}

    def _worker_state(self, name: str) -> str | None:
        try:
            with Client.of_state_dir(self._folder) as client:
                workers = [w for w in client.workers() if w.get("name") == name]
        except MiniSparkError:
            return None
        return workers[-1]["status"] if workers else None

    def _jobs(self) -> list[dict[str, Any]] | None:
        try:
            with Client.of_state_dir(self._folder) as client:
                return client.jobs()
        except MiniSparkError:
            return None

    def _retries(self) -> int:
        return sum(job.get("retries", 0) for job in self._jobs() or [])
