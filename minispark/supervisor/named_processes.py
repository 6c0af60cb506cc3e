"""The processes that `cluster.json` names, found by name, and only when they are the ones that it
means.

Must not know what is done to them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import psutil

from minispark.errors import ClusterError, NoCluster
from minispark.supervisor.process_identity import ProcessIdentity
from minispark.supervisor.state_dir import read_cluster_file


def entries(folder: Path) -> list[dict[str, Any]]:
    """The processes of `cluster.json`. Raises NoCluster."""
    document = read_cluster_file(folder)
    if document is None:
        raise NoCluster(f"no cluster runs on {folder}; start one with `up`")
    return list(document["processes"])


def find_process(folder: Path, name: str) -> psutil.Process:
    """The process of that name. It refuses signals once its pid is another one's. Raises
    ClusterError when it is not running.
    """
    process = process_of(next((e for e in entries(folder) if e["name"] == name), {}))
    if process is None:
        raise ClusterError(f"{name} is not running now")
    return process


def process_of(entry: dict[str, Any]) -> psutil.Process | None:
    """The process that the entry means, while it is alive."""
    identity = ProcessIdentity.in_entry(entry)
    if identity is None:
        return None
    try:
        process = psutil.Process(identity.pid)
    except psutil.NoSuchProcess:
        return None  # it ended, and the file does not say so yet
    return process if identity.is_alive else None


def executors_of(agent: psutil.Process) -> list[psutil.Process]:
    """The worker's executors; their parent is its executor server."""
    return [executor for server in agent.children() for executor in server.children()]


def family_of(agent: psutil.Process) -> tuple[psutil.Process, ...]:
    """All processes of a worker, in the order in which they are to stop and to go on."""
    return (agent, *agent.children(), *executors_of(agent))


def is_paused(entry: dict[str, Any]) -> bool:
    """Whether the process that the entry means is stopped, and can go on."""
    process = process_of(entry)
    try:
        return process is not None and process.status() == psutil.STATUS_STOPPED
    except psutil.Error:
        return False  # it ended just now
