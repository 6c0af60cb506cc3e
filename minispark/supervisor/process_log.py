"""Where a process writes its log: a file of its own that rotates by size, or stderr.

Must not know what is logged.
"""

from __future__ import annotations

import io
import json
import logging
import logging.handlers
import os
import sys
import time
from pathlib import Path

from minispark.model.safe_text import escaped

LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "warn": logging.WARNING,
    "error": logging.ERROR,
}


class _TextFormatter(logging.Formatter):
    """A line an entry; its further lines are indented, so that no text passes for an entry."""

    def __init__(self, process_name: str) -> None:
        super().__init__()
        self._process_name = process_name

    def format(self, record: logging.LogRecord) -> str:
        text = self._text(record).replace("\n", "\n    ")
        level = "WARN" if record.levelname == "WARNING" else record.levelname
        return f"{stamp(record.created)} {level:<5} {self._process_name} {text}"

    def _text(self, record: logging.LogRecord) -> str:
        text = record.getMessage()
        if record.exc_info:
            text += "\n" + self.formatException(record.exc_info)
        return escaped(text)


class _JsonFormatter(_TextFormatter):
    """A JSON object an entry."""

    def format(self, record: logging.LogRecord) -> str:
        entry = {
            "ts": stamp(record.created),
            "level": record.levelname.lower(),
            "process": self._process_name,
            "component": record.name,
            "msg": self._text(record),
        }
        return json.dumps(entry, ensure_ascii=False)


class _LogFile(logging.handlers.RotatingFileHandler):
    """What cannot be written (a full disk) is lost, without a word on stderr, which is the same
    file.
    """

    def _open(self) -> io.TextIOWrapper:
        """Without a buffer: nothing unwritten is kept, nor written again by who is forked."""
        return io.TextIOWrapper(
            io.FileIO(self.baseFilename, "a"), encoding=self.encoding, write_through=True
        )

    def handleError(self, record: logging.LogRecord) -> None:
        if not isinstance(sys.exc_info()[1], OSError):
            super().handleError(record)


def stamp(unix_s: float) -> str:
    """UTC with milliseconds: 2026-01-02T03:04:05.678Z."""
    whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(unix_s))
    return f"{whole}.{int(unix_s * 1000) % 1000:03d}Z"


def configure_logging(
    process_name: str, level: str, format: str, path: Path | None, max_mb: int, backups: int
) -> None:
    """Send this process's log to `path` (None: stderr); with a path, its stderr too."""
    handler: logging.Handler
    if path is None:
        handler = logging.StreamHandler(sys.stderr)
    else:
        path.parent.mkdir(parents=True, exist_ok=True)
        handler = _LogFile(path, maxBytes=max_mb * 2**20, backupCount=backups, encoding="utf-8")
        # whatever else the process says (an interpreter's last words) belongs there too
        fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        os.dup2(fd, 2)
        os.dup2(fd, 1)
        os.close(fd)
    formatter = _JsonFormatter if format == "json" else _TextFormatter
    handler.setFormatter(formatter(process_name))
    root = logging.getLogger()
    for old in list(root.handlers):
        root.removeHandler(old)
        if isinstance(old, logging.FileHandler):
            old.close()  # of the process that this one was forked from
    root.addHandler(handler)
    root.setLevel(LEVELS[level])
