"""The processes that a command changes: of which cluster they are, and waiting for them.

Must not know what was asked of them.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from minispark.cli.find import document_of, find_client, state_dir_of
from minispark.errors import ClusterError, DeadlineExceeded, InvalidRequest
from minispark.supervisor.state_dir import why_ended

POLL_S = 0.05


def own_cluster(args: argparse.Namespace) -> tuple[Path, dict[str, Any]]:
    """State directory and `cluster.json` of the cluster on this host that the command is about.

    Raises NoCluster, and InvalidRequest when `--master` or MASTER_URL names another one: that one's
    processes are not there to be touched.
    """
    folder = state_dir_of(args)
    document = document_of(folder)
    with find_client(args) as client:
        if client.master_url != document["master_url"]:
            raise InvalidRequest(
                f"the cluster on {folder} is at {document['master_url']}, not at "
                f"{client.master_url}: name the one that you mean with --state-dir"
            )
    return folder, document


def await_processes(
    folder: Path, names: Iterable[str], timeout_s: float, leaving: Iterable[str] = ()
) -> None:
    """Return when each of `names` runs, and those that leave are gone.

    Raises ClusterError as soon as one has ended for good, or was taken out of the cluster;
    DeadlineExceeded.
    """
    names, leaving = list(names), list(leaving)
    deadline = time.monotonic() + timeout_s
    while True:
        processes = {p["name"]: p for p in document_of(folder)["processes"]}
        late = [name for name in leaving if name in processes]
        for name in names:
            process = processes.get(name)
            if process is None:
                raise ClusterError(f"{name} is no longer part of the cluster: it was scaled away")
            why = why_ended(process)
            if why is not None:
                raise ClusterError(why)
            if process["state"] != "RUNNING":
                late.append(name)
        if not late:
            return
        if time.monotonic() > deadline:
            states = ", ".join(f"{name} is {processes[name]['state']}" for name in late)
            raise DeadlineExceeded(f"after {timeout_s:g} s {states}; see `logs`")
        time.sleep(POLL_S)  # how often the file is looked at
