"""A `cluster.json` as if this process were the supervisor, for tests without a cluster."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from minispark.supervisor.process_identity import ProcessIdentity
from minispark.supervisor.state_dir import write_cluster_file


def write_cluster(folder: Path, processes: list[dict[str, Any]], **document: Any) -> None:
    """Of the processes, behind the supervisor, which is alive."""
    identity = ProcessIdentity.of(os.getpid())
    assert identity is not None
    supervisor = {
        "name": "supervisor",
        "pid": os.getpid(),
        "birth": identity.birth,
        "state": "RUNNING",
        "started_at": time.time(),
        "restarts": 0,
        "reason": None,
    }
    write_cluster_file(folder, {**document, "processes": [supervisor, *processes]})
