"""The memory of another process. Must not know what the process does."""

from __future__ import annotations

import psutil


def rss_bytes(pid: int) -> int:
    """The resident memory of a process; 0 of one that died just now."""
    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.Error:
        return 0
