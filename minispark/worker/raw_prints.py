"""What a task writes past Python's `print`: its subprocesses, C libraries, a crash's last words.

An executor's stdout and stderr are a pipe to its agent, where a thread writes line by line into
the log of the attempt. Which attempt that is stands in the pipe, too, so that no line goes astray.
Must not know what runs.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from minispark.model.ids import is_uuid
from minispark.model.plan import TaskOrder
from minispark.worker.task_log import LINE_CHARS_MAX, TaskLog, TaskLogs

READ_BYTES = 65536
_IDS = {"job", "stage", "task", "attempt", "worker"}
_MARK = b"\0attempt:"
"""It ends what was written before. What follows, up to a newline, says whose the next lines are."""


class RawPrints:
    """The executor's end: its own descriptors until the first order with a user's own code."""

    def __init__(self, fd: int, logs: TaskLogs) -> None:
        self._fd = fd
        self._logs = logs
        self._is_open = False

    def begin(self, order: TaskOrder, is_users: bool) -> None:
        """What is written from here on is this attempt's."""
        if is_users and not self._is_open:
            self._is_open = True
            for number in (1, 2):
                os.dup2(self._fd, number)
        self._mark(order)

    def end(self, order: TaskOrder) -> None:
        """Its last line is over, also when nobody ended it. What it left running may say more."""
        self._mark(order)

    def _mark(self, order: TaskOrder) -> None:
        if self._is_open:
            mark = _MARK + json.dumps(self._logs.ids(order)).encode() + b"\n"
            try:
                os.write(self._fd, mark)
            except OSError:
                pass  # the agent is gone, and this process will be


def keep_prints(fd: int, logs: TaskLogs) -> None:
    """Write what comes from one executor into its tasks' logs, from a thread that ends with it."""
    threading.Thread(target=_keep, args=(fd, logs), name="prints", daemon=True).start()


def _keep(fd: int, logs: TaskLogs) -> None:
    keeper = Keeper(logs)
    try:
        while data := os.read(fd, READ_BYTES):
            keeper.feed(data)
    finally:
        os.close(fd)
        keeper.close()


class Keeper:
    """Takes the pipe's bytes apart."""

    def __init__(self, logs: TaskLogs) -> None:
        self._logs = logs
        self._log: TaskLog | None = None
        self._begun = b""

    def feed(self, data: bytes) -> None:
        *lines, self._begun = (self._begun + data).split(b"\n")
        for line in lines:
            text, mark, ids = line.partition(_MARK)
            if mark and (log := self._log_of(ids)) is not None:
                self._write(text)
                self._switch(log)
            else:
                self._write(line + b"\n")
        if len(self._begun) > LINE_CHARS_MAX and _MARK not in self._begun:
            self._write(self._begun)
            self._begun = b""

    def close(self) -> None:
        self._write(self._begun)
        self._switch(None)

    def _log_of(self, ids: bytes) -> TaskLog | None:
        """None where a task only wrote something that looks like a mark."""
        try:
            named = json.loads(ids)
        except ValueError:
            return None
        if not isinstance(named, Mapping) or named.keys() != _IDS or not is_uuid(str(named["job"])):
            return None
        return self._logs.with_ids(named)

    def _switch(self, log: TaskLog | None) -> None:
        if self._log is not None:
            self._log.close()
        self._log = log

    def _write(self, data: bytes) -> None:
        if data and self._log is not None:
            self._log.write(data.decode(errors="replace"))


@contextmanager
def descriptors(targets: Mapping[int, int]) -> Iterator[None]:
    """Within the block each of these file descriptors is what another one is, also for processes
    that are started there.
    """
    kept = {number: os.dup(number) for number in targets}
    try:
        for number, target in targets.items():
            os.dup2(target, number)
        yield
    finally:
        for number, before in kept.items():
            os.dup2(before, number)
            os.close(before)
