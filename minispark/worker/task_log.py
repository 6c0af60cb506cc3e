"""What the user's functions print: one log a job, a line for a line, each with its task in front.

Lines of several tasks mix, but none is torn: each is written at once. Must not know what runs.
"""

from __future__ import annotations

import io
import os
import time
from pathlib import Path

LINE_CHARS_MAX = 4000
TASK_BYTES_MAX = 1024 * 1024
"""What one attempt may print; the rest is dropped, and the log says so."""


class TaskLog(io.TextIOBase):
    """A standard output for one attempt. No task fails because the disk is full of prints."""

    def __init__(self, path: Path, prefix: str) -> None:
        self._path = path
        self._prefix = prefix
        self._begun = ""
        self._bytes_left = TASK_BYTES_MAX
        self._fd: int | None = None

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        *lines, self._begun = (self._begun + text).split("\n")
        for line in lines:
            self._write_line(line)
        while len(self._begun) > LINE_CHARS_MAX:
            self._write_line(self._begun[:LINE_CHARS_MAX])
            self._begun = self._begun[LINE_CHARS_MAX:]
        return len(text)

    def close(self) -> None:
        if self._begun:
            self._write_line(self._begun)
            self._begun = ""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None
        super().close()

    def _write_line(self, line: str) -> None:
        if self._bytes_left <= 0:
            return
        stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        data = f"{stamp} {self._prefix} {line}\n".encode(errors="backslashreplace")
        self._bytes_left -= len(data)
        if self._bytes_left <= 0:
            data = f"{stamp} {self._prefix} (prints no more: {TASK_BYTES_MAX >> 20} MiB)\n".encode()
        try:
            if self._fd is None:
                flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
                self._fd = os.open(self._path, flags, 0o600)
            os.write(self._fd, data)
        except OSError:
            self._bytes_left = 0
