"""What a child tells its supervisor: its ports, that it is ready, or why it cannot start.

JSON lines over a pipe. Must not know what the supervisor does about it.
"""

from __future__ import annotations

import json
import os
from typing import Any

LINE_BYTES_MAX = 4096
"""Lines up to PIPE_BUF are written at once or not at all."""
TEXT_CHARS_MAX = 600
"""Of one text: a character takes at most six bytes of JSON."""


class Notifier:
    """The child's end. With `fd` None (a process that runs alone) nothing is told."""

    def __init__(self, fd: int | None) -> None:
        self._fd = fd

    def send(self, message: dict[str, Any]) -> None:
        """`{"ports": {...}}`, `{"ready": true}` or `{"error": "one line"}`; a long text is cut."""
        if self._fd is None:
            return
        short = {name: _shortened(value) for name, value in message.items()}
        # what is no Unicode (a file's name) goes as it is; json.loads takes it back
        line = json.dumps(short, ensure_ascii=False).encode("utf-8", "surrogatepass") + b"\n"
        assert len(line) <= LINE_BYTES_MAX
        try:
            os.write(self._fd, line)
        except OSError:
            pass  # the supervisor is gone; the lifeline says so too


def _shortened(value: Any) -> Any:
    if not isinstance(value, str) or len(value) <= TEXT_CHARS_MAX:
        return value
    return value[: TEXT_CHARS_MAX - 1] + "…"


class NotificationReader:
    """The supervisor's end of one child's pipe."""

    def __init__(self, fd: int) -> None:
        os.set_blocking(fd, False)
        self._fd = fd
        self._buffer = b""

    def fileno(self) -> int:
        return self._fd

    def read(self) -> list[dict[str, Any]]:
        """The messages that are here; a line that is none is skipped. Raises EOFError when
        everybody who held the other end closed it.
        """
        try:
            data = os.read(self._fd, 65536)
        except BlockingIOError:
            return []
        if not data:
            raise EOFError("the child closed its pipe")
        *lines, rest = (self._buffer + data).split(b"\n")
        self._buffer = rest[-LINE_BYTES_MAX:]
        return [message for line in lines if (message := _parsed(line)) is not None]

    def close(self) -> None:
        os.close(self._fd)


def _parsed(line: bytes) -> dict[str, Any] | None:
    try:
        message = json.loads(line)
    except ValueError:
        return None
    return message if isinstance(message, dict) else None
