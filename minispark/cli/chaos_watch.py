"""What a cluster does about a fault, with times: for `chaos ... --watch`."""

from __future__ import annotations

import math
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from minispark.chaos.faults import Fault, Inflicted
from minispark.chaos.hold import HELD_S, Hold
from minispark.client import Client
from minispark.errors import ClusterError, DeadlineExceeded, NoCluster
from minispark.model.ids import attempt_id
from minispark.supervisor.named_processes import entries, executors_of
from minispark.supervisor.state_dir import why_ended

TIMEOUT_S = 60.0
POLL_S = 0.01
"""How often the cluster is looked at: the precision of the times."""


def watch(watcher: Watcher, done: Inflicted, held_s: float | None) -> None:
    """Report until the cluster is whole again, and the jobs that ran have ended.

    What was stopped is held for `held_s`, by default HELD_S, or, of a worker that `kill-worker`
    stopped, until it is noticed. Raises DeadlineExceeded, ClusterError when a process ended for
    good.
    """
    watcher.begin(done)
    match done.fault.action:
        case "kill-executor" if not done.held:
            watcher.until_executor_is_back()
        case "kill-executor":
            with Hold(done, held_s or HELD_S) as hold:
                hold.wait()
            watcher.say("it goes on")
        case "kill-master" if done.held:
            with Hold(done, held_s or HELD_S) as hold:
                hold.wait()
            watcher.say("master goes on")
            watcher.until_accepting()
        case "kill-worker" | "kill-master" | "kill-driver" if not done.held:
            watcher.until_restarted()
        case "kill-worker" | "pause-worker" | "slow-worker":
            is_until_noticed = done.fault.action == "kill-worker" and held_s is None
            with Hold(done, TIMEOUT_S if is_until_noticed else held_s or HELD_S) as hold:
                watcher.until_noticed(hold)
                if not is_until_noticed:
                    hold.wait()
            watcher.say(f"{done.fault.target} goes on")
            watcher.until_up()
        case _:
            watcher.until_recomputed()
    watcher.until_jobs_end()


class Watcher:
    """Looks at one cluster. Made before the fault: it notes how things stand."""

    def __init__(self, folder: Path, fault: Fault, is_quiet: bool) -> None:
        self._folder = folder
        self._fault = fault
        self._is_quiet = is_quiet
        self._begun = time.monotonic()
        jobs = self._jobs() or []
        self._retries_before = {job["id"]: job["retries"] for job in jobs}
        self._running = [job["id"] for job in jobs if job["state"] in ("PENDING", "RUNNING")]
        self._executors = self._executors_now() if fault.action == "kill-executor" else set()

    def begin(self, done: Inflicted) -> None:
        self._begun = time.monotonic() - (time.time() - done.at)
        if done.fault.path is not None:
            self.say("damaged")
        elif done.is_slow:
            self.say("slow")
        else:
            self.say("stopped" if done.fault.signal is signal.SIGSTOP else "killed")

    def say(self, what: str) -> None:
        if not self._is_quiet:
            print(f"{time.monotonic() - self._begun:7.2f} s  {what}", file=sys.stderr, flush=True)

    def until_noticed(self, hold: Hold) -> None:
        """The master calls the worker Down, or it is held no more."""
        name = self._fault.target
        self._until(lambda: hold.is_over or self._worker_state(name) == "Down", math.inf)
        is_noticed = self._worker_state(name) == "Down"
        self.say(f"{name} noticed: Down" if is_noticed else f"{name} was never called Down")

    def until_up(self) -> None:
        name = self._fault.target
        self._until(lambda: self._worker_state(name) == "Up")
        self.say(f"{name} is Up")

    def until_restarted(self) -> None:
        """The supervisor saw the end, started another process, and that one is ready."""
        name, pid = self._fault.target, self._fault.processes[0].pid
        self._until(lambda: self._entry(name)["pid"] != pid)
        self.say(f"noticed by the supervisor: {self._entry(name).get('last_end')}")
        self._until(
            lambda: self._entry(name)["state"] == "RUNNING" and self._entry(name)["pid"] != pid
        )
        self.say(f"running again, pid {self._entry(name)['pid']}")
        if name == "master":
            self.until_accepting()
        else:
            self.until_up()

    def until_accepting(self) -> None:
        self._until(lambda: self._jobs() is not None)
        self.say("accepting again")

    def until_executor_is_back(self) -> None:
        """Another one was forked in the place of the dead one."""
        pid = self._fault.processes[0].pid
        self._until(lambda: pid not in self._executors_now())
        self.say("noticed by the executor server")
        self._until(lambda: bool(self._executors_now() - self._executors))
        new = sorted(self._executors_now() - self._executors)
        self.say(f"replaced by pid {', '.join(map(str, new))}")

    def until_recomputed(self) -> None:
        """Who reads the damaged output reports it, and the task that made it runs again."""
        with Client.of_state_dir(self._folder) as client:

            def are_jobs_over() -> bool:
                jobs = [client.job(job_id) for job_id in self._running]
                return all(job["state"] not in ("PENDING", "RUNNING") for job in jobs)

            self._until(lambda: self._lost(client) is not None or are_jobs_over(), math.inf)
            lost = self._lost(client)
            if lost is None:
                self.say("nobody read it any more")
                return
            job_id, attempt = lost
            self.say(f"noticed by a reader: {str(attempt['error']).splitlines()[0]}")
            self._until(
                lambda: bool(_successors(client, job_id, attempt)) or are_jobs_over(), math.inf
            )
            for again in _successors(client, job_id, attempt)[:1]:
                task = f"{again['node_id']}/{again['partition_id']}"
                self.say(f"recomputed: {task} ran again on {again['worker']}")

    def until_jobs_end(self) -> None:
        """Of the jobs that were running: how they ended, and what ran again."""
        with Client.of_state_dir(self._folder) as client:
            for job_id in self._running:
                info = client.wait(job_id)
                self.say(f"job {info['request']['name']} {info['state']}")
            jobs = client.jobs()
        rerun = sum(job["retries"] - self._retries_before.get(job["id"], 0) for job in jobs)
        self.say(f"tasks rerun {rerun}")

    # --- looking ---------------------------------------------------------------------------

    def _until(self, condition: Callable[[], bool], timeout_s: float = TIMEOUT_S) -> None:
        deadline = time.monotonic() + timeout_s
        while not condition():
            for name in ("master", self._fault.target):
                why = why_ended(self._entry(name)) if self._is_process(name) else None
                if why is not None:
                    raise ClusterError(why)
            if time.monotonic() > deadline:
                target = self._fault.target
                raise DeadlineExceeded(f"{target} was not back within {timeout_s:g} s; see `logs`")
            time.sleep(POLL_S)  # how often it is looked at

    def _is_process(self, name: str) -> bool:
        return name == "master" or self._fault.path is None

    def _entry(self, name: str) -> dict[str, Any]:
        """What `cluster.json` says of it. Raises ClusterError when it is no longer there."""
        for entry in entries(self._folder):
            if entry["name"] == name:
                return entry
        raise ClusterError(f"{name} is no longer part of the cluster: it was scaled away")

    def _worker_state(self, name: str) -> str | None:
        try:
            with Client.of_state_dir(self._folder) as client:
                cluster = client.cluster()
                driver = [cluster["driver"]] if cluster["driver"] is not None else []
                workers = [w for w in (*cluster["workers"], *driver) if w.get("name") == name]
        except NoCluster:
            return None
        return workers[-1]["status"] if workers else None

    def _jobs(self) -> list[dict[str, Any]] | None:
        try:
            with Client.of_state_dir(self._folder) as client:
                return client.jobs()
        except NoCluster:
            return None

    def _executors_now(self) -> set[int]:
        pid = self._entry(self._fault.target)["pid"]
        try:
            return {e.pid for e in executors_of(psutil.Process(pid))} if pid is not None else set()
        except psutil.NoSuchProcess:
            return set()  # the whole worker ended; another one has executors again

    def _lost(self, client: Client) -> tuple[str, dict[str, Any]] | None:
        """The job and the attempt whose output was damaged, once it is called lost."""
        for job_id in self._running:
            for attempt in client.attempts(job_id, "LOST"):
                key = (attempt["node_id"], attempt["partition_id"], attempt["attempt"])
                if attempt_id(job_id, *key) == self._fault.target:
                    return job_id, attempt
        return None


def _successors(client: Client, job_id: str, lost: dict[str, Any]) -> list[dict[str, Any]]:
    """Later attempts of the task that succeeded."""
    return [
        attempt
        for attempt in client.attempts(job_id, "SUCCEEDED")
        if (attempt["node_id"], attempt["partition_id"]) == (lost["node_id"], lost["partition_id"])
        and attempt["attempt"] > lost["attempt"]
    ]
