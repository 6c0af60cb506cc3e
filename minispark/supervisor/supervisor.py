"""The supervision loop: starts processes, hears from them, restarts them, stops them in order.

Single-threaded, so that forking is safe. Must not know what the processes do.
"""

from __future__ import annotations

import logging
import os
import select
import selectors
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

from minispark.model.log_fields import about
from minispark.supervisor.child import Child, ProcessSpec, live
from minispark.supervisor.control import ControlServer
from minispark.supervisor.forked import ForkedProcess, hear_signals, how_it_ended
from minispark.supervisor.notify import NotificationReader
from minispark.supervisor.restart_policy import ProcessState, RestartLimits
from minispark.supervisor.stop_signals import STOP_SIGNALS

STOP_TIMEOUT_S = 5.0
"""How long a process may take to stop before it is killed."""
KILLED_TIMEOUT_S = 1.0
"""How long what a killed process leaves may take to follow it."""
RETRY_S = 1.0
"""After a change that could not be told."""
INTERRUPTED = 130
INTERRUPTS = (signal.SIGINT, signal.SIGQUIT)
"""What a keyboard sends."""
TERMINATED = 128 + signal.SIGTERM
"""Exit status of a supervised process that stops because of a signal. The supervisor knows when it
sent one itself; a signal from anybody else is a failure, and the process comes back.
"""
DRAIN_SIGNAL = signal.SIGUSR1
"""Finish what you do, take nothing new, then end."""

logger = logging.getLogger("minispark.supervisor")


class Supervisor:
    """Runs the processes until it is told to stop."""

    def __init__(
        self,
        specs: list[ProcessSpec],
        limits: RestartLimits,
        on_change: Callable[[Supervisor], bool],
    ) -> None:
        """`on_change` is called after changes of state, once for all of one turn; it must be quick,
        and raise nothing. It returns False when it has to be called again.
        """
        self._limits = limits
        self.children = [Child(spec, limits) for spec in specs]
        self._on_change = on_change
        self._selector = selectors.DefaultSelector()
        self._lifeline_read, self._lifeline_write = os.pipe()
        self._wake_read, self._wake_write = os.pipe()
        self.is_stopping = False
        self._interrupts = 0
        self._is_changed = False
        """Something is to be told at the end of this turn."""
        self._tell_due: float | None = None
        """When a change is told again."""
        self.exit_code = 0

    def request_stop(self, number: int, _: object = None) -> None:
        """Stop in order; at once after a second Ctrl-C. Safe in a signal handler.

        Any other request may come twice: to a group of processes, and handed on by one of them.
        """
        is_interrupt = number in INTERRUPTS
        self._interrupts += is_interrupt
        if not self.is_stopping:
            self.is_stopping = True
            self.exit_code = INTERRUPTED if is_interrupt else 0

    def listen(self, control: ControlServer) -> None:
        """Answer there while the loop runs."""
        self._selector.register(control, selectors.EVENT_READ, control)

    def restart(self, names: list[str]) -> None:
        """Stop these and start them again, in the order of their stopping."""
        for child in sorted(self.children, key=lambda child: child.spec.stop_order):
            if child.spec.name in names:
                child.reason = child.last_end = "asked to restart"
                self._stop_one(child, STOP_TIMEOUT_S, comes_back=True)
        self._tell()

    def add(self, spec: ProcessSpec) -> None:
        """Start another process."""
        child = Child(spec, self._limits)
        self.children.append(child)
        self._start(child)
        self._tell()

    def retire(self, name: str, drain_s: float) -> None:
        """Let a process finish what it does, for so long, and forget it once it ended."""
        child = next(child for child in self.children if child.spec.name == name)
        child.reason = "it drains"
        self._stop_one(child, drain_s, is_retired=True, number=DRAIN_SIGNAL)
        self._forget_retired()
        self._tell()

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
            self._say(logging.INFO, child, "is told to stop")
            self._signal([child], number)

    def _forget_retired(self) -> None:
        gone = [c for c in self.children if c.life.is_retired and c.process is None]
        self.children = [child for child in self.children if child not in gone]

    def run(self) -> int:
        """Start everything; return the exit code once everything has stopped."""
        self._catch_signals()
        try:
            for child in list(self.children):
                if not self.is_stopping:
                    self._start(child)
            self._tell_changes()
            while not self.is_stopping:
                self._turn(self._next_timeout())
                self._follow_clock()
                self._tell_changes()
        finally:
            self._stop_all()
            self._selector.close()
        return self.exit_code

    # --- turns of the loop -----------------------------------------------------------------

    def _catch_signals(self) -> None:
        os.set_blocking(self._wake_write, False)
        os.set_blocking(self._wake_read, False)
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        for number in STOP_SIGNALS:
            signal.signal(number, self.request_stop)
        signal.signal(signal.SIGCHLD, lambda *_: None)  # it wakes the loop
        self._selector.register(self._wake_read, selectors.EVENT_READ, None)
        hear_signals()

    def _next_timeout(self) -> float | None:
        lives = [child.life for child in self.children]
        dates = [self._tell_due, *(d for life in lives for d in (life.start_due, life.kill_due))]
        due = [date for date in dates if date is not None]
        return max(0.0, min(due) - time.monotonic()) if due else None

    def _tell_changes(self) -> None:
        if self._is_changed:
            self._tell()

    def _tell(self) -> None:
        """What could not be told is told again, by the clock."""
        self._is_changed = False
        self._tell_due = None if self._on_change(self) else time.monotonic() + RETRY_S

    def _turn(self, timeout_s: float | None) -> None:
        """Wait for a signal, a word or the end of a child, and take it in."""
        is_signalled = False
        for key, _ in self._selector.select(timeout_s):
            if key.fd == self._wake_read:
                is_signalled = True
                try:
                    os.read(self._wake_read, 4096)
                except BlockingIOError:
                    pass  # read in the meantime
            elif isinstance(key.data, ControlServer):
                key.data.serve()
            else:
                self._hear(key.data)
        for child in list(self.children) if is_signalled else ():
            if child.process is not None and (code := child.process.reap()) is not None:
                self._bury(child, code)

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
            self._say(logging.ERROR, child, f"reports: {child.error}")
        if message.get("ready"):
            child.error = None
            if child.life.ready():
                child.reason = None
                self._say(logging.INFO, child, f"RUNNING: pid {child.pid}")
        self._is_changed = True

    def _stop_hearing(self, child: Child) -> None:
        if child.notifications is not None:
            self._selector.unregister(child.notifications)
            child.notifications.close()
            child.notifications = None

    def _follow_clock(self) -> None:
        """Start what is due; kill what did not stop in time."""
        now = time.monotonic()
        if self._tell_due is not None and self._tell_due <= now:
            self._tell()
        for child in self.children:
            if self.is_stopping:
                return
            life = child.life
            if life.start_due is not None and life.start_due <= now:
                child.restarts += 1
                self._start(child)
            elif life.kill_due is not None and life.kill_due <= now:
                life.kill_due = None
                self._say(logging.WARNING, child, "did not stop in time; it is killed")
                self._signal([child], signal.SIGKILL)

    # --- lives -------------------------------------------------------------------------------

    def _start(self, child: Child) -> None:
        child.started_at = time.time()
        child.life.started()
        try:
            child.process, child.notifications = self._fork(child.spec)
        except OSError as error:  # too many files or processes
            child.error = f"it cannot be forked: {error}"
            self._ended(child, 1, f"cannot be forked: {error}")
            return
        self._selector.register(child.notifications, selectors.EVENT_READ, child)
        self._is_changed = True

    def _fork(self, spec: ProcessSpec) -> tuple[ForkedProcess, NotificationReader]:
        read_fd, write_fd = os.pipe()
        lifeline = (self._lifeline_read, self._lifeline_write)
        main = partial(live, spec.target, write_fd, *lifeline, os.getpid(), spec.has_group)
        try:
            return ForkedProcess(main), NotificationReader(read_fd)
        except OSError:
            os.close(read_fd)
            raise
        finally:
            os.close(write_fd)

    def _bury(self, child: Child, exit_code: int) -> None:
        """The process ended, and was reaped."""
        self._hear(child)
        self._stop_hearing(child)
        if child.spec.has_group and child.pid is not None:
            with suppress(ProcessLookupError, PermissionError):  # nothing is left of it
                os.killpg(child.pid, signal.SIGKILL)
        child.process = None
        self._ended(child, exit_code, f"ended with {how_it_ended(exit_code)}")

    def _ended(self, child: Child, exit_code: int, how: str) -> None:
        """Note how, and decide whether it comes back."""
        was_asked = child.state is ProcessState.STOPPING
        delay_s = child.life.ended(exit_code, time.monotonic())
        if not was_asked:
            child.reason = child.last_end = how
        if was_asked:
            self._say(logging.INFO, child, "stopped")
        elif delay_s is None:
            self._say(logging.ERROR, child, f"{how} and is not restarted")
        else:
            self._say(logging.WARNING, child, f"{how}; restart in {delay_s:.2f} s")
        self._forget_retired()
        self._is_changed = True

    @staticmethod
    def _say(level: int, child: Child, text: str) -> None:
        spec = child.spec
        logger.log(level, "%s %s", spec.name, text, extra=about(worker=spec.worker))

    def _stop_all(self) -> None:
        """Ask each group to stop, wait, then kill; a second Ctrl-C kills at once."""
        self.is_stopping = True
        for order in sorted({child.spec.stop_order for child in self.children}):
            group = [child for child in self.children if child.spec.stop_order == order]
            for child in group:
                self._stop_one(child, STOP_TIMEOUT_S)
            self._tell()
            deadline = time.monotonic() + STOP_TIMEOUT_S
            while any(child.process is not None for child in group) and self._interrupts < 2:
                left_s = deadline - time.monotonic()
                if left_s <= 0:
                    break
                self._turn(left_s)
                self._tell_changes()
            self._signal(group, signal.SIGKILL)
            while any(child.process is not None for child in group):
                self._turn(None)
                self._tell_changes()
        self._await_descendants()

    def _await_descendants(self) -> None:
        """What a killed process forked dies after it: when nobody holds the lifeline any more."""
        os.close(self._lifeline_read)
        poller = select.poll()
        poller.register(self._lifeline_write, 0)  # an error is always told
        poller.poll(KILLED_TIMEOUT_S * 1000)
        os.close(self._lifeline_write)

    def _signal(self, group: list[Child], number: signal.Signals) -> None:
        for child in group:
            if child.process is not None:
                child.process.signal(number)
                if number is not signal.SIGKILL:
                    child.process.signal(signal.SIGCONT)  # a stopped one hears nothing else
