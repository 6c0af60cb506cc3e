"""What the user's functions print, and how attempts failed: one log a job, an entry a line, each
with its task in front.

Lines of several tasks mix, but none is torn: each is written at once. Must not know what runs.
"""

from __future__ import annotations

import io
import logging
import os
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from minispark.model.file_names import log_file
from minispark.model.log_fields import FIELDS, about
from minispark.model.plan import TaskOrder
from minispark.supervisor.log_format import json_entry, text_entry

LINE_CHARS_MAX = 4000
TASK_BYTES_MAX = 1024 * 1024
"""What one attempt may print, and its subprocesses as much; the rest is dropped, and the log says
so.
"""
COMPONENT = "task"


@dataclass(frozen=True, slots=True)
class TaskLogs:
    """Where and how a worker's executors write the logs of their tasks. `worker`: its name."""

    state_dir: str
    worker: str
    format: str

    def of(self, order: TaskOrder) -> TaskLog:
        """The log of one attempt; its file is made when there is something to write."""
        return self.with_ids(self.ids(order))

    def with_ids(self, ids: Mapping[str, object]) -> TaskLog:
        """The same, of the attempt of which these are the `ids`."""
        return TaskLog(Path(self.state_dir) / log_file(str(ids["job"])), self, ids)

    def ids(self, order: TaskOrder) -> Mapping[str, object]:
        """What the log's lines about an attempt name."""
        return about(
            job=order.job_id,
            stage=order.stage_id,
            task=order.partition,
            attempt=order.attempt,
            worker=self.worker,
        )[FIELDS]

    def failed(self, order: TaskOrder, error: str) -> None:
        """Write that an attempt failed which printed nothing."""
        with self.of(order) as log:
            log.failed(error)


class _ToStderr(logging.Handler):
    """Whatever stderr is at that moment: the log of the task that runs."""

    def emit(self, record: logging.LogRecord) -> None:
        print(self.format(record), file=sys.stderr)


def take_over_logging() -> None:
    """In an executor: what the user's code logs goes where it prints. The file of the worker's log,
    which rotates, belongs to its agent.
    """
    handler = _ToStderr()
    handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
    root = logging.getLogger()
    for inherited in root.handlers:
        if isinstance(inherited, logging.FileHandler):
            inherited.close()
    root.handlers[:] = [handler]


class TaskLog(io.TextIOBase):
    """A standard output for one attempt. No task fails because the disk is full of prints."""

    def __init__(self, path: Path, logs: TaskLogs, ids: Mapping[str, object]) -> None:
        self._path = path
        self._logs = logs
        self._ids = ids
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

    def failed(self, error: str) -> None:
        """The attempt failed; `error` has the traceback of the user's own lines, if it is theirs.
        That is written whatever was printed before.
        """
        self._put(self._entry("ERROR", error))

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
        data = self._entry("INFO", line)
        self._bytes_left -= len(data)
        if self._bytes_left <= 0:
            data = self._entry("WARN", f"(prints no more: {TASK_BYTES_MAX >> 20} MiB)")
        self._put(data)

    def _entry(self, level: str, text: str) -> bytes:
        ids, worker, now = self._ids, self._logs.worker, time.time()
        if self._logs.format == "json":
            name = "warning" if level == "WARN" else level.lower()
            entry = json_entry(now, name, worker, COMPONENT, text, ids)
        else:
            where = f"{ids['stage']}/{ids['task']}/{ids['attempt']}"
            entry = text_entry(now, level, worker, f"{where} {text}", {})
        return f"{entry}\n".encode(errors="backslashreplace")

    def _put(self, data: bytes) -> None:
        try:
            if self._fd is None:
                flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
                self._fd = os.open(self._path, flags, 0o600)
            os.write(self._fd, data)
        except OSError:
            self._bytes_left = 0
