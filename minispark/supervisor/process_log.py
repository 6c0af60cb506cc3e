"""Where a process writes its log: a file of its own that rotates by size, or stderr.

Must not know what is logged, nor how an entry looks.
"""

from __future__ import annotations

import io
import logging
import logging.handlers
import os
import sys
import threading
from pathlib import Path

from minispark.supervisor.log_format import JsonFormatter, TextFormatter

LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "warn": logging.WARNING,
    "error": logging.ERROR,
}


class _LogFile(logging.handlers.RotatingFileHandler):
    """What cannot be written (a full disk) is lost, without a word on stderr, which is the same
    file: also after it rotated.
    """

    def _open(self) -> io.TextIOWrapper:
        """Without a buffer: nothing unwritten is kept, nor written again by who is forked."""
        file = io.FileIO(self.baseFilename, "a", opener=_open_private)
        # whatever else the process says (an interpreter's last words) belongs there too
        for number in (1, 2):
            os.dup2(file.fileno(), number)
        return io.TextIOWrapper(file, encoding=self.encoding, write_through=True)

    def handleError(self, record: logging.LogRecord) -> None:
        if not isinstance(sys.exc_info()[1], OSError):
            super().handleError(record)


def _open_private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _log_failed_thread(failed: threading.ExceptHookArgs) -> None:
    """Instead of a bare traceback on stderr, which would be no entry of the log."""
    name = failed.thread.name if failed.thread is not None else "?"
    info = (failed.exc_type, failed.exc_value, failed.exc_traceback)
    logging.getLogger("minispark.process").error("thread %s failed", name, exc_info=info)  # type: ignore[arg-type]


def configure_logging(
    process_name: str,
    level: str,
    format: str,
    path: Path | None,
    max_mb: int,
    backups: int,
    worker: str | None = None,
) -> None:
    """Send this process's log to `path` (None: stderr); with a path, its stdout and stderr too.
    `worker`: the name of the worker whose process this is.
    """
    handler: logging.Handler
    if path is None:
        handler = logging.StreamHandler(sys.stderr)
    else:
        path.parent.mkdir(parents=True, exist_ok=True)
        handler = _LogFile(path, maxBytes=max_mb * 2**20, backupCount=backups, encoding="utf-8")
    if format == "json":
        own = {"worker": worker} if worker is not None else {}
        handler.setFormatter(JsonFormatter(process_name, own))
    else:
        handler.setFormatter(TextFormatter(process_name))
    root = logging.getLogger()
    for old in list(root.handlers):
        root.removeHandler(old)
        if isinstance(old, logging.FileHandler):
            old.close()  # of the process that this one was forked from
    root.addHandler(handler)
    root.setLevel(LEVELS[level])
    threading.excepthook = _log_failed_thread
