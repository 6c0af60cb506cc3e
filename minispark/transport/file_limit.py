"""How many files a process may have open, and how many of them may be connections.

Must not know what the connections are for.
"""

from __future__ import annotations

import resource

FILES_MAX = 65_536
"""More would only let one process take the whole system's."""
FILES_OF_OUR_OWN = 64
"""Kept free of connections: logs, the database, pipes, inputs, executors."""
CONNECTIONS_MIN = 4


def raise_file_limit() -> int:
    """Raise this process's soft limit as far as it may; returns what it is then."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES_MAX if hard == resource.RLIM_INFINITY else min(hard, FILES_MAX)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return FILES_MAX if soft == resource.RLIM_INFINITY else soft
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    except (OSError, ValueError):
        return soft  # macOS promises more than it gives
    return wanted


def connections_within(files: int, share: float, most: int, files_each: int = 1) -> int:
    """How many connections may use `share` of what the limit `files` leaves; at most `most`."""
    room = int((files - FILES_OF_OUR_OWN) * share) // files_each
    return max(CONNECTIONS_MIN, min(most, room))
