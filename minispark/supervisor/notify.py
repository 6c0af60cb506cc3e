"""What a child tells its supervisor: its ports, that it is ready, or why it cannot start.

JSON lines over a pipe. Must not know what the supervisor does about it.
"""

from __future__ import annotations

import json
import os
from typing import Any

LINE_BYTES_MAX = 4096
"""Lines up to PIPE_BUF are written at once or not at all."""


class Notifier:
    """The child's end. With `fd` None (a process that runs alone) nothing is told."""

    def __init__(self, fd: int | None) -> None:
        self._fd = fd

    def send(self, message: dict[str, Any]) -> None:
        """`{"ports": {...}}`, `{"ready": true}` or `{"error": "one line"}`."""
        if self._fd is None:
            return
        line = json.dumps(message).encode()[: LINE_BYTES_MAX - 1] + b"\n"
        try:
            os.write(self._fd, line)
        except OSError:
            pass  # the supervisor is gone; the lifeline says so too


class NotificationReader:
    """The supervisor's end of one child's pipe."""

    def __init__(self, fd: int) -> None:
        os.set_blocking(fd, False)
        self._fd = fd
        self._buffer = b""

    def fileno(self) -> int:
        return self._fd

    def read(self) -> list[dict[str, Any]]:
        """The messages that are here. Raises EOFError when the child closed its end."""
        try:
            data = os.read(self._fd, 65536)
        except BlockingIOError:
            return []
        if not data:
            raise EOFError("the child closed its pipe")
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        return [json.loads(line) for line in lines]

    def close(self) -> None:
        os.close(self._fd)
