"""The supervision loop: starts processes, hears from them, restarts them, stops them in order.

Single-threaded, so that forking is safe. Must not know what the processes do.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import selectors
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from multiprocessing.process import BaseProcess
from typing import Any

from minispark.supervisor.lifeline import die_with_parent
from minispark.supervisor.notify import NotificationReader, Notifier
from minispark.supervisor.restart_policy import RestartLimits, RestartPolicy

STOP_TIMEOUT_S = 5.0
"""How long a process may take to stop before it is killed."""

logger = logging.getLogger("minispark.supervisor")


class ProcessState(Enum):
    STARTING = "STARTING"
    UP = "UP"
    BACKOFF = "BACKOFF"
    """It ended and will be started again."""
    FATAL = "FATAL"
    """It ended too often, or said why it cannot start."""
    STOPPED = "STOPPED"


@dataclass(frozen=True, slots=True)
class ProcessSpec:
    """`target(notifier, lifeline_fd)` runs in the process and returns its exit status.

    Processes are started in the order of their specs and stopped group by group, lowest
    `stop_order` first.
    """

    name: str
    target: Callable[[Notifier, int], int]
    stop_order: int = 0


class Child:
    """One supervised process, over all its lives."""

    def __init__(self, spec: ProcessSpec, limits: RestartLimits) -> None:
        self.spec = spec
        self.policy = RestartPolicy(limits)
        self.state = ProcessState.STOPPED
        self.process: BaseProcess | None = None
        self.notifications: NotificationReader | None = None
        self.started_at = 0.0
        self.restarts = 0
        self.restart_due: float | None = None
        self.ports: dict[str, int] = {}
        self.error: str | None = None

    @property
    def pid(self) -> int | None:
        return self.process.pid if self.process is not None else None


class Supervisor:
    """Runs the processes until it is told to stop."""

    def __init__(
        self,
        specs: list[ProcessSpec],
        limits: RestartLimits,
        on_change: Callable[[Supervisor], None],
    ) -> None:
        """`on_change` is called after every change of state; it must be quick."""
        self.children = [Child(spec, limits) for spec in specs]
        self._on_change = on_change
        self._selector = selectors.DefaultSelector()
        self._context = multiprocessing.get_context("fork")
        self._lifeline_read, self._lifeline_write = os.pipe()
        self._wake_read, self._wake_write = os.pipe()
        self._stop_signals = 0
        self.exit_code = 0

    @property
    def is_ready(self) -> bool:
        return all(child.state is ProcessState.UP for child in self.children)

    def request_stop(self, exit_code: int) -> None:
        """Stop in order; asked twice, at once. Safe in a signal handler."""
        self._stop_signals += 1
        if self._stop_signals == 1:
            self.exit_code = exit_code

    def run(self) -> int:
        """Start everything; return the exit code once everything has stopped."""
        self._catch_signals()
        try:
            for child in self.children:
                if not self._stop_signals:
                    self._start(child)
            while not self._stop_signals:
                self._turn(self._next_timeout())
                self._restart_due()
        finally:
            self._stop_all()
            self._selector.close()
        return self.exit_code

    # --- turns of the loop -----------------------------------------------------------------

    def _catch_signals(self) -> None:
        os.set_blocking(self._wake_write, False)
        os.set_blocking(self._wake_read, False)
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        signal.signal(signal.SIGTERM, lambda *_: self.request_stop(0))
        signal.signal(signal.SIGINT, lambda *_: self.request_stop(130))
        signal.signal(signal.SIGHUP, lambda *_: self.request_stop(0))
        self._selector.register(self._wake_read, selectors.EVENT_READ, None)

    def _next_timeout(self) -> float | None:
        due = [child.restart_due for child in self.children if child.restart_due is not None]
        return max(0.0, min(due) - time.monotonic()) if due else None

    def _turn(self, timeout_s: float | None) -> None:
        """Wait for a signal, a word or the end of a child, and take it in."""
        for key, _ in self._selector.select(timeout_s):
            if key.fd == self._wake_read:
                try:
                    os.read(self._wake_read, 4096)
                except BlockingIOError:
                    pass  # read in the meantime
            elif isinstance(key.data, Child):
                self._hear(key.data)
            else:
                self._bury(key.data[0])

    def _hear(self, child: Child) -> None:
        if child.notifications is None:
            return
        try:
            messages = child.notifications.read()
        except EOFError:
            self._stop_hearing(child)
            return
        for message in messages:
            self._take(child, message)

    def _take(self, child: Child, message: dict[str, Any]) -> None:
        if "ports" in message:
            child.ports = message["ports"]
        if "error" in message:
            child.error = message["error"]
            logger.error("%s: %s", child.spec.name, child.error)
        if message.get("ready") and child.state is ProcessState.STARTING:
            child.state, child.error = ProcessState.UP, None
        self._on_change(self)

    def _stop_hearing(self, child: Child) -> None:
        if child.notifications is not None:
            self._selector.unregister(child.notifications)
            child.notifications.close()
            child.notifications = None

    def _restart_due(self) -> None:
        now = time.monotonic()
        for child in self.children:
            if (
                child.restart_due is not None
                and child.restart_due <= now
                and not self._stop_signals
            ):
                child.restarts += 1
                self._start(child)

    # --- lives -------------------------------------------------------------------------------

    def _start(self, child: Child) -> None:
        read_fd, write_fd = os.pipe()
        process = self._context.Process(
            target=_child_main,
            name=child.spec.name,
            args=(
                child.spec.target,
                write_fd,
                self._lifeline_read,
                self._lifeline_write,
                os.getpid(),
            ),
        )
        process.start()
        os.close(write_fd)
        child.process = process
        child.notifications = NotificationReader(read_fd)
        child.state, child.restart_due = ProcessState.STARTING, None
        child.started_at = time.time()
        self._selector.register(child.notifications, selectors.EVENT_READ, child)
        self._selector.register(process.sentinel, selectors.EVENT_READ, (child,))
        self._on_change(self)

    def _bury(self, child: Child) -> None:
        """The process ended: note how, and decide whether it comes back."""
        assert child.process is not None
        self._hear(child)
        self._stop_hearing(child)
        self._selector.unregister(child.process.sentinel)
        child.process.join()
        code = child.process.exitcode or 0
        child.process.close()
        child.process = None
        if self._stop_signals:
            child.state = ProcessState.STOPPED
        else:
            delay_s = child.policy.delay_after(code, time.monotonic())
            how = f"signal {signal.Signals(-code).name}" if code < 0 else f"status {code}"
            if delay_s is None:
                child.state = ProcessState.FATAL if code else ProcessState.STOPPED
                logger.error("%s ended with %s and is not restarted", child.spec.name, how)
            else:
                child.state, child.restart_due = ProcessState.BACKOFF, time.monotonic() + delay_s
                logger.warning("%s ended with %s; restart in %.1f s", child.spec.name, how, delay_s)
        self._on_change(self)

    def _stop_all(self) -> None:
        """Ask each group to stop, wait, then kill; a second request to stop kills at once."""
        self._stop_signals = max(1, self._stop_signals)
        for order in sorted({child.spec.stop_order for child in self.children}):
            group = [child for child in self.children if child.spec.stop_order == order]
            self._signal(group, signal.SIGTERM)
            deadline = time.monotonic() + STOP_TIMEOUT_S
            while any(child.process is not None for child in group) and self._stop_signals < 2:
                left_s = deadline - time.monotonic()
                if left_s <= 0:
                    break
                self._turn(left_s)
            self._signal(group, signal.SIGKILL)
            while any(child.process is not None for child in group):
                self._turn(None)
        for fd in (self._lifeline_write, self._lifeline_read):
            os.close(fd)

    def _signal(self, group: list[Child], number: signal.Signals) -> None:
        for child in group:
            if child.pid is not None:
                os.kill(child.pid, number)
                if number is signal.SIGTERM:
                    os.kill(child.pid, signal.SIGCONT)  # a stopped process hears nothing else


def _child_main(
    target: Callable[[Notifier, int], int],
    notify_fd: int,
    lifeline_read: int,
    lifeline_write: int,
    parent_pid: int,
) -> None:
    """The first thing that runs in a child."""
    signal.set_wakeup_fd(-1)
    signal.signal(
        signal.SIGINT, signal.SIG_IGN
    )  # a terminal's Ctrl-C is the supervisor's to handle
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    die_with_parent(parent_pid)
    os.close(lifeline_write)
    notifier = Notifier(notify_fd)
    try:
        code = target(notifier, lifeline_read)
    except Exception as error:
        logging.getLogger("minispark").critical("the process failed", exc_info=True)
        notifier.send({"error": f"{type(error).__name__}: {error}"})
        code = 1
    logging.shutdown()
    os._exit(code)
