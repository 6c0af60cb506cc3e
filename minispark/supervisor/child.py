"""One supervised process: what it is, what is known of it, and the first thing that runs in it.

Must not know when it is started or stopped.
"""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Callable
from dataclasses import dataclass

from minispark.supervisor.forked import ForkedProcess, forget_handlers, hear_signals
from minispark.supervisor.lifeline import die_with_parent
from minispark.supervisor.notify import NotificationReader, Notifier
from minispark.supervisor.process_identity import ProcessIdentity
from minispark.supervisor.restart_policy import Life, ProcessState, RestartLimits


@dataclass(frozen=True, slots=True)
class ProcessSpec:
    """`target(notifier, lifeline_fd)` runs in the process and returns its exit status.

    Processes are started in the order of their specs and stopped group by group, lowest
    `stop_order` first.
    """

    name: str
    target: Callable[[Notifier, int], int]
    stop_order: int = 0
    worker: str | None = None
    """The worker that it is, for who reads the log."""
    has_group: bool = False
    """It runs programs that do not die with it by themselves: it leads a group of processes, and
    what is left of that is killed when it ended.
    """


class Child:
    """One supervised process, over all its lives."""

    def __init__(self, spec: ProcessSpec, limits: RestartLimits) -> None:
        self.spec = spec
        self.life = Life(limits, random.random)
        self.process: ForkedProcess | None = None
        """From its fork until it is buried."""
        self.notifications: NotificationReader | None = None
        self.started_at = 0.0
        self.restarts = 0
        self.reason: str | None = None
        """Why it does not run."""
        self.last_end: str | None = None
        """How its life before this one ended."""
        self.ports: dict[str, int] = {}
        self.error: str | None = None

    @property
    def state(self) -> ProcessState:
        return self.life.state

    @property
    def pid(self) -> int | None:
        return self.process.pid if self.process is not None else None

    @property
    def identity(self) -> ProcessIdentity | None:
        return self.process.identity if self.process is not None else None


def live(
    target: Callable[[Notifier, int], int],
    notify_fd: int,
    lifeline_read: int,
    lifeline_write: int,
    parent_pid: int,
    has_group: bool,
) -> int:
    """What runs in a child, from its fork; returns its exit status."""
    if has_group:
        os.setpgid(0, 0)
    forget_handlers()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C is the supervisor's to handle
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    hear_signals()
    die_with_parent(parent_pid)
    os.close(lifeline_write)
    notifier = Notifier(notify_fd)
    try:
        return target(notifier, lifeline_read)
    except Exception as error:
        notifier.send({"error": f"{type(error).__name__}: {error}"})
        raise
