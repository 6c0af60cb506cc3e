"""The supervision loop: starts processes, hears from them, restarts them, stops them in order.

Single-threaded, so that forking is safe. Must not know what the processes do.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import random
import selectors
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from typing import Any

from minispark.supervisor.control import ControlServer
from minispark.supervisor.lifeline import die_with_parent
from minispark.supervisor.notify import NotificationReader, Notifier
from minispark.supervisor.restart_policy import Life, ProcessState, RestartLimits

STOP_TIMEOUT_S = 5.0
"""How long a process may take to stop before it is killed."""
TERMINATED = 128 + signal.SIGTERM
"""Exit status of a supervised process that stops because of a signal. The supervisor knows when it
sent one itself; a signal from anybody else is a failure, and the process comes back.
"""
DRAIN_SIGNAL = signal.SIGUSR1
"""Finish what you do, take nothing new, then end."""

logger = logging.getLogger("minispark.supervisor")


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
        self.life = Life(limits, random.random)
        self.process: BaseProcess | None = None
        self.notifications: NotificationReader | None = None
        self.started_at = 0.0
        self.restarts = 0
        self.reason: str | None = None
        """Why it was started again last, or ended for good."""
        self.ports: dict[str, int] = {}
        self.error: str | None = None

    @property
    def state(self) -> ProcessState:
        return self.life.state

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
        self._limits = limits
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
        return all(child.state is ProcessState.RUNNING for child in self.children)

    def request_stop(self, exit_code: int) -> None:
        """Stop in order; asked twice, at once. Safe in a signal handler."""
        self._stop_signals += 1
        if self._stop_signals == 1:
            self.exit_code = exit_code

    def listen(self, control: ControlServer) -> None:
        """Answer there while the loop runs."""
        self._selector.register(control, selectors.EVENT_READ, control)

    def restart(self, names: list[str]) -> None:
        """Stop these and start them again, in the order of their stopping."""
        for child in sorted(self.children, key=lambda child: child.spec.stop_order):
            if child.spec.name in names:
                child.reason = "asked to restart"
                self._stop_one(child, STOP_TIMEOUT_S, comes_back=True)
        self._on_change(self)

    def add(self, spec: ProcessSpec) -> None:
        """Start another process."""
        child = Child(spec, self._limits)
        self.children.append(child)
        self._start(child)

    def retire(self, name: str, drain_s: float) -> None:
        """Let a process finish what it does, for so long, and forget it once it ended."""
        child = next(child for child in self.children if child.spec.name == name)
        child.reason = "it drains"
        self._stop_one(child, drain_s, is_retired=True, number=DRAIN_SIGNAL)
        self._forget_retired()
        self._on_change(self)

    def _stop_one(
        self,
        child: Child,
        timeout_s: float,
        *,
        comes_back: bool = False,
        is_retired: bool = False,
        number: signal.Signals = signal.SIGTERM,
    ) -> None:
        kill_due = time.monotonic() + timeout_s
        if child.life.stop(kill_due, comes_back=comes_back, is_retired=is_retired):
            self._signal([child], number)

    def _forget_retired(self) -> None:
        gone = [c for c in self.children if c.life.is_retired and c.process is None]
        self.children = [child for child in self.children if child not in gone]

    def run(self) -> int:
        """Start everything; return the exit code once everything has stopped."""
        self._catch_signals()
        try:
            for child in list(self.children):
                if not self._stop_signals:
                    self._start(child)
            while not self._stop_signals:
                self._turn(self._next_timeout())
                self._follow_clock()
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
        lives = [child.life for child in self.children]
        due = [d for life in lives for d in (life.start_due, life.kill_due) if d is not None]
        return max(0.0, min(due) - time.monotonic()) if due else None

    def _turn(self, timeout_s: float | None) -> None:
        """Wait for a signal, a word or the end of a child, and take it in."""
        for key, _ in self._selector.select(timeout_s):
            if key.fd == self._wake_read:
                try:
                    os.read(self._wake_read, 4096)
                except BlockingIOError:
                    pass  # read in the meantime
            elif isinstance(key.data, ControlServer):
                key.data.serve()
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
        if message.get("ready"):
            child.error = None
            child.life.ready()
        self._on_change(self)

    def _stop_hearing(self, child: Child) -> None:
        if child.notifications is not None:
            self._selector.unregister(child.notifications)
            child.notifications.close()
            child.notifications = None

    def _follow_clock(self) -> None:
        """Start what is due; kill what did not stop in time."""
        now = time.monotonic()
        for child in self.children:
            if self._stop_signals:
                return
            life = child.life
            if life.start_due is not None and life.start_due <= now:
                child.restarts += 1
                self._start(child)
            elif life.kill_due is not None and life.kill_due <= now:
                life.kill_due = None
                logger.warning("%s did not stop in time; it is killed", child.spec.name)
                self._signal([child], signal.SIGKILL)

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
        child.life.started()
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
        was_asked = child.state is ProcessState.STOPPING
        delay_s = child.life.ended(code, time.monotonic())
        how = f"signal {signal.Signals(-code).name}" if code < 0 else f"status {code}"
        if not was_asked:
            child.reason = f"ended with {how}"
        if was_asked:
            logger.info("%s stopped", child.spec.name)
        elif delay_s is None:
            logger.error("%s ended with %s and is not restarted", child.spec.name, how)
        else:
            logger.warning("%s ended with %s; restart in %.2f s", child.spec.name, how, delay_s)
        self._forget_retired()
        self._on_change(self)

    def _stop_all(self) -> None:
        """Ask each group to stop, wait, then kill; a second request to stop kills at once."""
        self._stop_signals = max(1, self._stop_signals)
        for order in sorted({child.spec.stop_order for child in self.children}):
            group = [child for child in self.children if child.spec.stop_order == order]
            for child in group:
                self._stop_one(child, STOP_TIMEOUT_S)
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
                if number is not signal.SIGKILL:
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
    signal.signal(DRAIN_SIGNAL, signal.SIG_DFL)
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
