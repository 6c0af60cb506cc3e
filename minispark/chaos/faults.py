"""L4: faults of a running cluster, inflicted from outside: signals, and bytes of its files.

Only processes that `cluster.json` names are touched, and only when they are the ones that it means.
Must not know command lines, nor what the cluster does about it.
"""

from __future__ import annotations

import os
import random
import signal
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from minispark.errors import ClusterError, NoCluster, NotFound
from minispark.storage.task_files import SHUFFLE_FILE, is_whole
from minispark.supervisor.process_identity import ProcessIdentity
from minispark.supervisor.state_dir import read_cluster_file

HELD_S = 5.0
"""How long a worker stays paused or slow."""
SLOWNESS = 10
"""A slow worker runs one part in so many of the time."""
SLICE_S = 0.02
DAMAGED_BYTES = 64
SERVERS = ("supervisor", "master")


@dataclass(frozen=True, slots=True)
class Fault:
    """What is going to be broken. `processes` get the signal, in order."""

    action: str
    target: str
    processes: tuple[psutil.Process, ...] = ()
    signal: signal.Signals = signal.SIGKILL
    path: Path | None = None


@dataclass(slots=True)
class Inflicted:
    """What was broken, and when (UNIX seconds)."""

    fault: Fault
    at: float
    sentence: str
    held: list[psutil.Process] = field(default_factory=list)
    """Processes that must go on again."""

    @property
    def pid(self) -> int | None:
        return self.fault.processes[0].pid if self.fault.processes else None

    def document(self) -> dict[str, Any]:
        fault = self.fault
        return {"action": fault.action, "target": fault.target, "pid": self.pid, "at": self.at}


def choose(
    folder: Path, action: str, name: str | None, seed: int | None, number: signal.Signals
) -> Fault:
    """Look for something to break. Raises NotFound for a worker that is not there, ClusterError
    when nothing can be broken in that way now.
    """
    rng = random.Random(seed)
    if action == "kill-master":
        return Fault(action, "master", (_process(folder, "master"),), number)
    if action == "corrupt-shuffle":
        return _shuffle_file(folder, rng)
    worker = _choose_worker(folder, name, rng)
    agent = _process(folder, worker)
    if action == "kill-worker":
        return Fault(action, worker, (agent,), number)
    executors = _executors(agent)
    if action == "kill-executor":
        if not executors:
            raise ClusterError(f"{worker} has no executor now")
        return Fault(action, worker, (rng.choice(executors),), number)
    family = (agent, *agent.children(), *executors)
    return Fault(action, worker, family, signal.SIGSTOP)


def inflict(fault: Fault) -> Inflicted:
    """Break it, now. Raises ClusterError when it ended by itself in the meantime."""
    at = time.time()
    if fault.path is not None:
        _flip_bytes(fault.path)
        return Inflicted(fault, at, f"flipped bytes of {fault.path.parent.name}/{fault.path.name}")
    done = Inflicted(fault, at, "")
    is_held = fault.signal is signal.SIGSTOP
    for process in fault.processes:
        try:
            process.send_signal(fault.signal)  # psutil refuses a pid that was used again
            if is_held:
                done.held.append(process)
        except psutil.NoSuchProcess as error:
            if process is fault.processes[0]:
                raise ClusterError(f"{fault.target} ended by itself just now") from error
    pid = fault.processes[0].pid
    what = f"an executor of {fault.target}" if fault.action == "kill-executor" else fault.target
    done.sentence = f"{fault.signal.name} to {what} (pid {pid})"
    if fault.action == "slow-worker":
        done.sentence = f"{fault.target} (pid {pid}) runs {SLOWNESS} times slower"
    return done


def hold(done: Inflicted, duration_s: float) -> None:
    """Keep it paused, or slow, for so long."""
    if done.fault.action != "slow-worker":
        time.sleep(duration_s)  # the fault itself: it lasts that long
        return
    deadline = time.monotonic() + duration_s
    while time.monotonic() < deadline and done.held:
        _signal_all(done, signal.SIGCONT)
        time.sleep(SLICE_S)  # its share of the time
        _signal_all(done, signal.SIGSTOP)
        time.sleep(SLICE_S * (SLOWNESS - 1))


def release(done: Inflicted) -> None:
    """What was held goes on."""
    _signal_all(done, signal.SIGCONT)
    done.held.clear()


def _signal_all(done: Inflicted, number: signal.Signals) -> None:
    for process in list(done.held):
        try:
            process.send_signal(number)
        except psutil.NoSuchProcess:
            done.held.remove(process)


# --- victims ------------------------------------------------------------------------------------


def _entries(folder: Path) -> list[dict[str, Any]]:
    document = read_cluster_file(folder)
    if document is None:
        raise NoCluster(f"no cluster runs on {folder}; start one with `up`")
    return list(document["processes"])


def _process(folder: Path, name: str) -> psutil.Process:
    """The process of that name. Raises ClusterError when it is not running."""
    entry = next((e for e in _entries(folder) if e["name"] == name), None)
    identity = ProcessIdentity.in_entry(entry) if entry is not None else None
    try:
        if identity is not None:
            process = psutil.Process(identity.pid)
            if identity.is_alive:
                return process
    except psutil.NoSuchProcess:
        pass  # it ended, and the file does not say so yet
    raise ClusterError(f"{name} is not running now")


def _choose_worker(folder: Path, name: str | None, rng: random.Random) -> str:
    entries = [e for e in _entries(folder) if e["name"] not in SERVERS]
    running = [e["name"] for e in entries if e["state"] == "RUNNING"]
    if name is not None:
        if name not in running:
            there = ", ".join(running) or "none"
            raise NotFound(f"{name!r} is no worker that is Up; Up are {there}")
        return name
    if not running:
        raise ClusterError("no worker is Up")
    return str(rng.choice(running))


def _executors(agent: psutil.Process) -> list[psutil.Process]:
    # an executor's parent is the worker's executor server
    return [executor for server in agent.children() for executor in server.children()]


def _shuffle_file(folder: Path, rng: random.Random) -> Fault:
    written = sorted((folder / "attempts").glob(f"*/{SHUFFLE_FILE}"))
    paths = [path for path in written if is_whole(path)]
    if not paths:
        raise ClusterError("no shuffle file is there now; run a job with a shuffle, and try again")
    path = rng.choice(paths)
    return Fault("corrupt-shuffle", path.parent.name, path=path)


def _flip_bytes(path: Path) -> None:
    """Damage the data of a block in the middle, and leave the length as it is."""
    try:
        with path.open("r+b") as file:
            middle = path.stat().st_size // 3
            file.seek(middle)
            data = file.read(DAMAGED_BYTES)
            file.seek(middle)
            file.write(bytes(byte ^ 0xFF for byte in data))
            file.flush()
            os.fsync(file.fileno())
    except FileNotFoundError as error:
        raise ClusterError("its job ended just now; try again") from error
