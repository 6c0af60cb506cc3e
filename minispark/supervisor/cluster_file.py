"""`cluster.json`: who runs here, as the supervisor writes it down (CLI.md, "JSON forms").

Must not know what the processes do.
"""

from __future__ import annotations

import logging
import os
import time
from pathlib import Path
from typing import Any

from minispark.model.name_order import in_order
from minispark.supervisor import state_dir
from minispark.supervisor.child import Child
from minispark.supervisor.process_identity import ProcessIdentity
from minispark.supervisor.supervisor import Supervisor

logger = logging.getLogger("minispark.supervisor")


class ClusterFile:
    """Written only while the directory's lock is ours."""

    def __init__(
        self,
        folder: Path,
        lock_fd: int,
        about: dict[str, Any],
        fixed_ports: dict[str, dict[str, int]],
    ) -> None:
        """`about` is what stands above the processes; `fixed_ports` those that the supervisor
        bound, by the name of the process that they are for.
        """
        self._folder = folder
        self._lock_fd = lock_fd
        self._about = about
        self._fixed_ports = fixed_ports
        self._started_at = time.time()
        self._identity = ProcessIdentity.of(os.getpid())
        self._is_stale = False

    def write(self, supervisor: Supervisor) -> None:
        """Raises OSError."""
        if not state_dir.holds(self._folder, self._lock_fd):
            raise OSError(f"somebody removed {self._folder}, or its lock")
        own = {
            "name": "supervisor",
            **_identity(os.getpid(), self._identity),
            "started_at": self._started_at,
            "state": "RUNNING",
            "ports": {},
            "restarts": 0,
        }
        processes = [own, *map(self._entry, sorted(supervisor.children, key=_place))]
        document = {**self._about, "processes": processes}
        state_dir.write_cluster_file(self._folder, document)

    def try_write(self, supervisor: Supervisor) -> bool:
        """False when it cannot be written now (a full disk): it is to be tried again."""
        try:
            self.write(supervisor)
        except OSError as error:
            if not self._is_stale:
                logger.error("cluster.json cannot be written, it is tried again: %s", error)
            self._is_stale = True
            return False
        if self._is_stale:
            logger.info("cluster.json is written again")
        self._is_stale = False
        return True

    def remove(self) -> None:
        """Unless the directory is another cluster's by now."""
        if state_dir.holds(self._folder, self._lock_fd):
            (self._folder / "cluster.json").unlink(missing_ok=True)

    def _entry(self, child: Child) -> dict[str, Any]:
        return {
            "name": child.spec.name,
            **_identity(child.pid, child.identity),
            "started_at": child.started_at,
            "state": child.state.value,
            "ports": self._fixed_ports.get(child.spec.name, child.ports),
            "restarts": child.restarts,
            "reason": child.error or child.reason,
            "last_end": child.last_end,
        }


def _place(child: Child) -> tuple[bool, object]:
    """Workers last, by name."""
    return child.spec.worker is not None, in_order(child.spec.name)


def _identity(pid: int | None, identity: ProcessIdentity | None) -> dict[str, Any]:
    return {"pid": pid, "birth": None if identity is None else identity.birth}
