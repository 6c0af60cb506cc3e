"""Which process it is: a pid, and what no later process with that pid shares.

Must not know what the process does.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_STATE, _START_TICKS = 0, 19
"""Fields of /proc/PID/stat after the name, which may hold anything. Source: proc(5)."""
_DEAD = ("Z", "X")


@dataclass(frozen=True, slots=True)
class ProcessIdentity:
    """`birth` does not move with the wall clock: of Linux it is the boot and the ticks since."""

    pid: int
    birth: str

    @classmethod
    def of(cls, pid: int) -> ProcessIdentity | None:
        """Of the process that has this pid now; None when there is none, or only a zombie."""
        birth = _birth(pid)
        return None if birth is None else cls(pid, birth)

    @classmethod
    def gone(cls, pid: int) -> ProcessIdentity:
        """Of one that had ended before anybody looked."""
        return cls(pid, "")

    @classmethod
    def in_entry(cls, entry: dict[str, Any]) -> ProcessIdentity | None:
        """Of a process as `cluster.json` names it; None when it has none."""
        pid, birth = entry.get("pid"), entry.get("birth")
        return cls(pid, birth) if isinstance(pid, int) and isinstance(birth, str) else None

    @property
    def is_alive(self) -> bool:
        return _birth(self.pid) == self.birth

    def signal(self, number: int) -> None:
        """Send it, unless the process is gone."""
        try:
            if self.is_alive:
                os.kill(self.pid, number)
        except ProcessLookupError:
            pass  # just now


def _birth(pid: int) -> str | None:
    if sys.platform != "linux":
        return _birth_elsewhere(pid)
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = stat[stat.rindex(")") + 1 :].split()
    return None if fields[_STATE] in _DEAD else f"{_boot_id()}/{fields[_START_TICKS]}"


def _boot_id() -> str:
    try:
        return _BOOT_ID.read_text(encoding="ascii").strip()
    except FileNotFoundError:
        return ""


def _birth_elsewhere(pid: int) -> str | None:
    import psutil

    try:
        process = psutil.Process(pid)
        is_dead = process.status() == psutil.STATUS_ZOMBIE
        return None if is_dead else repr(process.create_time())
    except psutil.NoSuchProcess:
        return None
