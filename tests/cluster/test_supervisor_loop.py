"""The supervision loop with real processes that do next to nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from minispark.supervisor.child import ProcessSpec
from minispark.supervisor.notify import Notifier
from minispark.supervisor.restart_policy import ProcessState, RestartLimits
from minispark.supervisor.supervisor import Supervisor

DEADLINE_S = 10


def sleep(_: Notifier, __: int) -> int:
    while True:
        signal.pause()


def end(_: Notifier, __: int) -> int:
    return 0


def exit_code_of(
    specs: list[ProcessSpec], on_change: Callable[[Supervisor], None], policy: str = "never"
) -> int:
    """Of a supervisor in a process of its own; a signal's number, negative, when it hangs."""
    limits = RestartLimits(policy, backoff_min_s=0.01, attempts_max=2)

    def follow(supervisor: Supervisor) -> bool:
        on_change(supervisor)
        return True

    pid = os.fork()
    if pid == 0:
        code = 99
        try:
            signal.alarm(DEADLINE_S)
            code = Supervisor(specs, limits, follow).run()
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@pytest.mark.skipif(not hasattr(os, "waitid"), reason="no waitid on this system")
def test_f44_one_that_ended_while_another_was_started_is_still_a_child() -> None:
    """Its pid is not free before it is buried, so that a signal reaches no stranger."""

    def on_change(supervisor: Supervisor) -> None:
        first, second = supervisor.children
        if first.pid is not None and second.state is ProcessState.STARTING:
            os.waitid(os.P_PID, first.pid, os.WEXITED | os.WNOWAIT)  # it ended; nobody reaped it
            os.kill(os.getpid(), signal.SIGTERM)  # both are told to stop now

    specs = [ProcessSpec("first", end), ProcessSpec("second", sleep)]
    assert exit_code_of(specs, on_change) == 0


def test_f40_a_signal_right_after_a_fork_reaches_the_child() -> None:
    """Not the handler that it has from its parent until it has its own."""

    told: set[int] = set()

    def on_change(supervisor: Supervisor) -> None:
        for child in supervisor.children:
            if child.pid is not None and child.pid not in told:
                told.add(child.pid)
                os.kill(child.pid, signal.SIGTERM)  # once
        if all(child.state is ProcessState.FATAL for child in supervisor.children):
            os.kill(os.getpid(), signal.SIGTERM)

    specs = [ProcessSpec(str(number), sleep) for number in range(100)]
    assert exit_code_of(specs, on_change) == 0


@pytest.mark.parametrize("has_group", [True, False])
def test_what_a_process_started_ends_with_it_where_it_leads_a_group(
    has_group: bool, tmp_path: Path
) -> None:
    """As Java below a driver that is killed while it starts; others see to that themselves."""
    path = tmp_path / "pid"

    def starter(_: Notifier, __: int) -> int:
        program = subprocess.Popen(["sleep", "60"])
        path.write_text(str(program.pid))
        os.kill(os.getpid(), signal.SIGKILL)
        return 0

    def on_change(supervisor: Supervisor) -> None:
        if supervisor.children[0].state is ProcessState.FATAL:
            os.kill(os.getpid(), signal.SIGTERM)

    assert exit_code_of([ProcessSpec("one", starter, has_group=has_group)], on_change) == 0
    pid = int(path.read_text())
    programs = [psutil.Process(pid)] if psutil.pid_exists(pid) else []
    _, left = psutil.wait_procs(programs, timeout=DEADLINE_S if has_group else 0)
    for program in left:
        program.kill()
    assert bool(left) is not has_group


@pytest.mark.parametrize(
    ("numbers", "is_forced"),
    [
        ((signal.SIGTERM, signal.SIGTERM), False),
        ((signal.SIGINT, signal.SIGTERM), False),
        ((signal.SIGHUP, signal.SIGTERM), False),
        ((signal.SIGINT, signal.SIGINT), True),
    ],
)
def test_f40_only_a_second_ctrl_c_forces_a_stop(
    numbers: tuple[signal.Signals, signal.Signals], is_forced: bool
) -> None:
    """The second comes when the process that is stopped was told already."""

    read_fd, write_fd = os.pipe()

    def stop_slowly(notifier: Notifier, _: int) -> int:
        told: list[int] = []
        signal.signal(signal.SIGTERM, lambda number, _: told.append(number))
        notifier.send({"ready": True})
        while not told:
            time.sleep(0.01)
        notifier.send({"ports": {"told": 1}})
        time.sleep(0.5)  # it takes its time
        os.write(write_fd, b"in order")
        return 0

    sent: list[int] = []

    def on_change(supervisor: Supervisor) -> None:
        (child,) = supervisor.children
        is_due = (child.state is ProcessState.RUNNING, bool(child.ports))[len(sent) : len(sent) + 1]
        if any(is_due):
            sent.append(numbers[len(sent)])
            os.kill(os.getpid(), sent[-1])

    try:
        code = exit_code_of([ProcessSpec("slow", stop_slowly)], on_change)
        assert code == (130 if numbers[0] is signal.SIGINT else 0)
        os.close(write_fd)
        assert os.read(read_fd, 100) == (b"" if is_forced else b"in order")
    finally:
        os.close(read_fd)


@pytest.mark.parametrize(
    ("policy", "status", "state", "restarts"),
    [
        ("always", 0, ProcessState.FATAL, 2),
        ("always", 1, ProcessState.FATAL, 2),
        ("on-failure", 0, ProcessState.STOPPED, 0),
        ("on-failure", 1, ProcessState.FATAL, 2),
        ("never", 0, ProcessState.STOPPED, 0),
        ("never", 1, ProcessState.FATAL, 0),
    ],
)
def test_f45_a_policy_says_who_is_started_again(
    policy: str, status: int, state: ProcessState, restarts: int
) -> None:
    """One that ends too often within the window ends for good, whatever the policy."""

    def on_change(supervisor: Supervisor) -> None:
        (child,) = supervisor.children
        has_ended = child.state in (ProcessState.STOPPED, ProcessState.FATAL)
        if has_ended and not supervisor.is_stopping:
            is_right = (child.state, child.restarts) == (state, restarts)
            os.kill(os.getpid(), signal.SIGTERM if is_right else signal.SIGKILL)

    specs = [ProcessSpec("short", lambda *_: status)]
    assert exit_code_of(specs, on_change, policy) == 0
