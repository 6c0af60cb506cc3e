"""L4: faults of a running cluster, inflicted from outside: signals, and bytes of its files.

Only processes that `cluster.json` names are touched, and only when they are the ones that it means.
Must not know command lines, nor what the cluster does about it.
"""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from minispark.errors import ClusterError, NotFound
from minispark.model.places import DRIVER, SERVERS
from minispark.storage.task_files import SHUFFLE_FILE, is_whole
from minispark.supervisor.named_processes import (
    entries,
    executors_of,
    family_of,
    find_process,
)

SLOWNESS = 10
"""A slow worker runs one part in so many of the time."""
DAMAGED_BYTES = 64


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
    """A fault, and what was done of it. `release` must follow, whatever happens meanwhile."""

    fault: Fault
    at: float = 0.0
    """When it was inflicted (UNIX seconds)."""
    sentence: str = ""
    held: list[psutil.Process] = field(default_factory=list)
    """Processes that must go on again."""
    is_over: threading.Event = field(default_factory=threading.Event)
    """Nothing may be stopped any more."""

    @property
    def pid(self) -> int | None:
        return self.fault.processes[0].pid if self.fault.processes else None

    @property
    def is_slow(self) -> bool:
        """It is not stopped all the time."""
        return self.fault.action == "slow-worker"

    def document(self) -> dict[str, Any]:
        fault = self.fault
        return {"action": fault.action, "target": fault.target, "pid": self.pid, "at": self.at}

    def signal_held(self, number: signal.Signals) -> None:
        """Stop what is held, or let it run."""
        for process in self.held:
            with suppress(psutil.NoSuchProcess):  # it ended, and needs nothing any more
                process.send_signal(number)


def choose(
    folder: Path, action: str, name: str | None, seed: int | None, number: signal.Signals
) -> Fault:
    """Look for something to break, of a worker `name` or a random one. Raises NotFound for a worker
    that is not there, ClusterError when nothing can be broken in that way now.
    """
    rng = random.Random(seed)
    if action in ("kill-master", "kill-driver"):
        target = "master" if action == "kill-master" else DRIVER
        return Fault(action, target, (find_process(folder, target),), number)
    if action == "corrupt-shuffle":
        return _shuffle_file(folder, rng)
    worker = _choose_worker(folder, name, rng)
    agent = find_process(folder, worker)
    if action == "kill-worker":
        return Fault(action, worker, (agent,), number)
    if action == "kill-executor":
        executors = executors_of(agent)
        if not executors:
            raise ClusterError(f"{worker} has no executor now")
        return Fault(action, worker, (rng.choice(executors),), number)
    return Fault(action, worker, family_of(agent), signal.SIGSTOP)


def inflict(done: Inflicted) -> None:
    """Break it, now. Raises ClusterError when it ended by itself in the meantime."""
    fault = done.fault
    done.at = time.time()
    if fault.path is not None:
        _flip_bytes(fault.path)
        done.sentence = f"flipped bytes of {fault.path.parent.name}/{fault.path.name}"
        return
    for process in fault.processes:
        if fault.signal is signal.SIGSTOP:
            done.held.append(process)  # before it stops: this may be interrupted anywhere
        try:
            process.send_signal(fault.signal)  # psutil refuses a pid that was used again
        except psutil.NoSuchProcess as error:
            if process is fault.processes[0]:
                raise ClusterError(f"{fault.target} ended by itself just now") from error
    what = f"an executor of {fault.target}" if fault.action == "kill-executor" else fault.target
    done.sentence = f"{fault.signal.name} to {what} (pid {done.pid})"
    if done.is_slow:
        done.sentence = f"{fault.target} (pid {done.pid}) runs {SLOWNESS} times slower"


def release(done: Inflicted) -> None:
    """What was held goes on, and whoever holds it lets go."""
    done.is_over.set()
    done.signal_held(signal.SIGCONT)


# --- victims ------------------------------------------------------------------------------------


def _choose_worker(folder: Path, name: str | None, rng: random.Random) -> str:
    workers = [e for e in entries(folder) if e["name"] not in SERVERS]
    running = [e["name"] for e in workers if e["state"] == "RUNNING"]
    if name is not None:
        if name not in running:
            there = ", ".join(running) or "none"
            raise NotFound(f"{name!r} is no worker that is Up; Up are {there}")
        return name
    if not running:
        raise ClusterError("no worker is Up")
    return str(rng.choice(running))


def _shuffle_file(folder: Path, rng: random.Random) -> Fault:
    written = sorted((folder / "attempts").glob(f"*/{SHUFFLE_FILE}"))
    paths = [path for path in written if is_whole(path)]
    if not paths:
        raise ClusterError(
            "no shuffle file is there now: they are written by a job with a shuffle, while it runs"
        )
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
            # not every bit of them: another damage in this place would mend it
            file.write(bytes((byte + 1) % 256 for byte in data))
            file.flush()
            os.fsync(file.fileno())
    except FileNotFoundError as error:
        raise ClusterError("its job ended just now; try again") from error
