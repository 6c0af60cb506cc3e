"""Forks a supervisor, hears how it starts, and leaves nothing behind when it does not.

Must not know what is supervised.
"""

from __future__ import annotations

import os
import select
import signal
import time
from collections import deque
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from minispark.errors import ClusterError, ClusterRuns, ConfigError, DeadlineExceeded
from minispark.supervisor.forked import ForkedProcess
from minispark.supervisor.lifeline import die_with_parent
from minispark.supervisor.notify import NotificationReader, Notifier
from minispark.supervisor.process_identity import ProcessIdentity
from minispark.supervisor.stop_signals import StopSignals

FORK_TIMEOUT_S = 5.0
STOP_TIMEOUT_S = 15.0
"""How long an orderly stop may take: workers, then the master, each with its own patience."""
KILLED_TIMEOUT_S = 3.0
"""How long the processes of a killed supervisor may live."""
_ERRORS: dict[int, type[Exception]] = {3: ClusterRuns, 2: ConfigError, 1: ClusterError}
"""What the `code` of an error means; the narrower come first."""


@dataclass(frozen=True, slots=True)
class Started:
    """A cluster that was started here. Its supervisor is a child; detached, it is none."""

    supervisor: ForkedProcess | ProcessIdentity
    place: str
    """Where it said that it is to be found: its state directory."""
    notices: tuple[str, ...]
    fatal: tuple[str, ...]
    """Workers that do not start, each with the reason. The others work."""


def launch(
    main: Callable[[int], int], *, is_detached: bool, timeout_s: float, signals: StopSignals
) -> Started:
    """Fork a process that runs `main(report_fd)`, and wait until it says that it is ready.

    It says so by JSON lines: `{"notice"}`, `{"fatal"}`, `{"ready": PLACE}`, or
    `{"error", "code"}`.
    Detached it outlives the caller; otherwise it dies with it. `signals` are handed to it from its
    first moment on; one that comes before it is ready is a KeyboardInterrupt here. Raises
    ClusterRuns, ConfigError, ClusterError, DeadlineExceeded; then nothing is left running.
    """
    read_fd, write_fd = os.pipe()
    caller = os.getpid()

    def attached() -> int:
        os.close(read_fd)
        os.setpgid(0, 0)  # a terminal's Ctrl-C comes from the caller, once
        _redirect((0,))
        die_with_parent(caller)
        return main(write_fd)

    def detached() -> int:
        Notifier(write_fd).send({"pid": os.getpid()})
        os.close(read_fd)
        _redirect((0, 1, 2))
        return main(write_fd)

    def leader() -> int:
        os.setsid()
        ForkedProcess(detached)
        return 0

    with closing(NotificationReader(read_fd)) as reader:
        report = _Report(reader)
        try:
            child = ForkedProcess(leader if is_detached else attached)
        except OSError as error:
            raise ClusterError(f"the supervisor could not be forked: {error}") from error
        finally:
            os.close(write_fd)
        supervisor = _detached_process(report, child) if is_detached else child
        signals.hand_to(supervisor.signal)
        try:
            place, notices, fatal = _await_ready(report, timeout_s)
            if signals.received:
                raise KeyboardInterrupt
        except BaseException as error:
            _stop_half_started(supervisor, report)
            if signals.received and not isinstance(error, KeyboardInterrupt):
                raise KeyboardInterrupt from None
            raise
    return Started(supervisor, place, notices, fatal)


def code_of(error: Exception) -> int:
    """What an error that keeps a supervisor from starting is reported as."""
    return next((code for code, kind in _ERRORS.items() if isinstance(error, kind)), 1)


class _Report:
    """What a supervisor says while it starts. It ends when all are gone that hold the pipe: the
    supervisor, and whatever it forked.
    """

    def __init__(self, reader: NotificationReader) -> None:
        self._reader = reader
        self._messages: deque[dict[str, Any]] = deque()

    def next(self, deadline: float) -> dict[str, Any] | None:
        """The next message; None when none came in time. Raises EOFError."""
        while not self._messages:
            left_s = max(0.0, deadline - time.monotonic())
            if not select.select([self._reader], [], [], left_s)[0]:
                return None
            self._messages.extend(self._reader.read())
        return self._messages.popleft()

    def ends_within(self, timeout_s: float) -> bool:
        """Whether it ends; what is said meanwhile is not heard."""
        deadline = time.monotonic() + timeout_s
        try:
            while self.next(deadline) is not None:
                pass
        except EOFError:
            return True
        return False


def _detached_process(report: _Report, leader: ForkedProcess) -> ProcessIdentity:
    """The process that the leader of the new session left. Raises ClusterError."""
    try:
        message = report.next(time.monotonic() + FORK_TIMEOUT_S)
    except EOFError:
        message = None
    leader.wait(FORK_TIMEOUT_S)
    if message is None:
        raise ClusterError("the supervisor could not be forked")
    return ProcessIdentity.of(message["pid"]) or ProcessIdentity.gone(message["pid"])


def _await_ready(report: _Report, timeout_s: float) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
    """Its place, its notices, and who does not start."""
    notices: list[str] = []
    fatal: list[str] = []
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            message = report.next(deadline)
        except EOFError:
            raise ClusterError("the supervisor ended while it started; see `logs`") from None
        match message:
            case None:
                raise DeadlineExceeded(
                    f"the cluster was not ready within {timeout_s:g} s; see `logs`"
                )
            case {"notice": text}:
                notices.append(text)
            case {"fatal": text}:
                fatal.append(text)
            case {"error": text, "code": code}:
                raise _ERRORS[code](text)
            case {"ready": place}:
                return place, tuple(notices), tuple(fatal)


def _stop_half_started(supervisor: ForkedProcess | ProcessIdentity, report: _Report) -> None:
    """A start that failed, came too late or was interrupted leaves nothing running."""
    supervisor.signal(signal.SIGTERM)
    if not report.ends_within(STOP_TIMEOUT_S):
        supervisor.signal(signal.SIGKILL)  # its processes die with it
        report.ends_within(KILLED_TIMEOUT_S)
    if isinstance(supervisor, ForkedProcess):
        supervisor.wait(KILLED_TIMEOUT_S)


def _redirect(fds: tuple[int, ...]) -> None:
    null = os.open(os.devnull, os.O_RDWR)
    for fd in fds:
        os.dup2(null, fd)
    os.close(null)
