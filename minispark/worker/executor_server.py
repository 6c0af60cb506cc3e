"""The executor server: a single-threaded process that forks executors, and reaps and reports them.

It is forked from the agent before the agent's first thread, with everything imported that a task
needs,
so that a replacement executor is ready in milliseconds. Over a Unix socket the agent sends lines
`{"fork": slot}` and `{"kill": pid}`, and gets `{"slot", "pid"}` with the executor's two sockets
and the pipe of its prints attached, and
`{"dead": pid, "how"}`. When the agent ends, so do all executors. Must not know orders.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import socket
import traceback
from functools import partial
from typing import Any

from minispark.model.plan import OutputLocation, StageProgram
from minispark.supervisor.forked import ForkedProcess, hear_signals, how_it_ended
from minispark.supervisor.lifeline import die_with_parent
from minispark.transport.channel import Channel
from minispark.transport.messages import MasterPlace, OutputsMade, Run
from minispark.worker.executor import serve_orders
from minispark.worker.task import TaskContext
from minispark.worker.task_log import take_over_logging

RECEIVE_BYTES = 65536
STOP_TIMEOUT_S = 2.0
ANSWER_S_MAX = 1.0
"""A server that leaves a question open for twice that long is stuck. Twice: after this whole worker
was stopped, the first look at the clock proves nothing.
"""


class OpenQuestions:
    """What the server was asked and has not answered, and whether it is stuck. Pure."""

    def __init__(self) -> None:
        self._open: dict[str, tuple[float, int]] = {}
        """When to look again, and how often that time passed."""

    def ask(self, question: str, now: float) -> None:
        self._open.setdefault(question, (now + ANSWER_S_MAX, 0))

    def answered(self, question: str) -> None:
        self._open.pop(question, None)

    @property
    def due(self) -> list[float]:
        """When `is_stuck` wants to be asked again (monotonic seconds)."""
        return [due for due, _ in self._open.values()]

    def is_stuck(self, now: float) -> bool:
        """Whether a question is open for too long."""
        for question, (due, times) in self._open.items():
            if now >= due:
                self._open[question] = (now + ANSWER_S_MAX, times + 1)
        return any(times >= 2 for _, times in self._open.values())


class Executor:
    """The agent's end of one executor process."""

    def __init__(
        self, slot: int, pid: int, channel: Channel, now: float, inherited_bytes: int
    ) -> None:
        self.slot = slot
        self.pid = pid
        self.channel = channel
        self.forked_at = now
        self.inherited_bytes = inherited_bytes
        """What it had when it was forked: pages that it shares with its server, and others."""
        self.is_heard = True
        """Its socket is watched; not so once it closed."""
        self.is_retiring = False
        """It ends by itself once it has reported."""
        self._unsent: list[MasterPlace | Run | OutputsMade] = []
        # What it was sent last; the same is not sent again.
        self._master: MasterPlace | None = None
        self._program: StageProgram | None = None
        self._outputs: tuple[OutputLocation, ...] | None = ()

    def add(self, run: Run, master: MasterPlace) -> None:
        """An order for the next `send`."""
        if master != self._master:
            self._master = master
            self._unsent.append(master)
        self._unsent.append(self._unlike_the_last(run))

    def tell(self, made: OutputsMade) -> None:
        """Where outputs lie for which its task waits; for the next `send`."""
        self._unsent.append(made)

    def send(self) -> None:
        """Have it run what was added, in order. One that died just now reports nothing: its death
        is announced.
        """
        messages, self._unsent = self._unsent, []
        try:
            if messages:
                self.channel.send(*messages)
        except OSError:
            pass  # the orders are reported when the server says how it died

    def _unlike_the_last(self, run: Run) -> Run:
        program = None if run.program is self._program else run.program
        outputs = None if run.outputs is self._outputs else run.outputs
        self._program, self._outputs = run.program, run.outputs
        return Run(run.order, program, outputs)

    def flush(self) -> None:
        """Send what its socket takes now."""
        try:
            self.channel.flush()
        except OSError:
            pass  # as above


class ExecutorServer:
    """The agent's view of the server."""

    def __init__(self, context: TaskContext) -> None:
        """Fork it. The caller must have no threads yet."""
        mine, theirs = socket.socketpair()
        self._process = ForkedProcess(partial(_serve, theirs, mine, context, os.getpid()))
        theirs.close()
        mine.setblocking(False)
        self.sock = mine
        self._buffer = b""
        self._fds: list[int] = []
        self.questions = OpenQuestions()

    def fileno(self) -> int:
        return self.sock.fileno()

    def fork(self, slot: int, now: float) -> None:
        """Ask for an executor; it is announced by `receive`."""
        self.questions.ask(f"slot {slot}", now)
        self._ask({"fork": slot})

    def kill(self, pid: int, now: float) -> None:
        """SIGKILL an executor, if it still is one."""
        self.expect_death(pid, now)
        self._ask({"kill": pid})

    def expect_death(self, pid: int, now: float) -> None:
        """The executor is dead, or as good as dead: `receive` will say so."""
        self.questions.ask(f"dead {pid}", now)

    def _ask(self, question: dict[str, int]) -> None:
        try:
            self.sock.sendall(json.dumps(question).encode() + b"\n")
        except BlockingIOError:
            pass  # it has not read for a long time: `is_stuck` will say so
        except OSError:
            pass  # it has ended: `receive` will say so

    def kill_server(self) -> None:
        """SIGKILL the server, and with it its executors; `receive` then raises EOFError."""
        self.questions = OpenQuestions()
        self._process.signal(signal.SIGKILL)

    def receive(self) -> list[dict[str, Any]]:
        """What it says; a new executor's socket stands under `sock`, under `cache` the one for the
        partition cache, under `prints` what it writes to stdout and stderr. Raises EOFError at its
        end.
        """
        try:
            data, fds, _, _ = socket.recv_fds(self.sock, RECEIVE_BYTES, 64)
        except BlockingIOError:
            return []
        if not data:
            raise EOFError("the executor server ended")
        self._fds += fds
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        messages: list[dict[str, Any]] = []
        for line in lines:
            message = json.loads(line)
            if "slot" in message:
                self.questions.answered(f"slot {message['slot']}")
                message["sock"] = socket.socket(fileno=self._fds.pop(0))
                message["cache"] = socket.socket(fileno=self._fds.pop(0))
                message["prints"] = self._fds.pop(0)
            else:
                self.questions.answered(f"dead {message['dead']}")
            messages.append(message)
        return messages

    def stop(self) -> None:
        """Close the control socket: the server kills its executors and ends."""
        self.sock.close()
        if self._process.wait(STOP_TIMEOUT_S) is None:
            self._process.signal(signal.SIGKILL)
            self._process.wait(STOP_TIMEOUT_S)


def _serve(control: socket.socket, others: socket.socket, context: TaskContext, parent: int) -> int:
    """The server process."""
    others.close()
    # the agent says when; a terminal's Ctrl-C, or its end, is for the agent too
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    die_with_parent(parent)
    wake_read, wake_write = os.pipe()
    os.set_blocking(wake_read, False)
    os.set_blocking(wake_write, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
    hear_signals()
    server = _Server(control, context)
    with selectors.DefaultSelector() as selector:
        selector.register(control, selectors.EVENT_READ)
        selector.register(wake_read, selectors.EVENT_READ)
        try:
            while True:
                for key, _ in selector.select():
                    if key.fd == wake_read:
                        os.read(wake_read, 4096)
                        server.reap()
                    else:
                        server.listen()
        except (EOFError, OSError):
            server.kill_all()
    return 0


class _Server:
    def __init__(self, control: socket.socket, context: TaskContext) -> None:
        self._control = control
        self._context = context
        self._buffer = b""
        self._pids: dict[int, None] = {}

    def listen(self) -> None:
        data = self._control.recv(RECEIVE_BYTES)
        if not data:
            raise EOFError("the agent ended")
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        for line in lines:
            message = json.loads(line)
            if "fork" in message:
                self._fork(message["fork"])
            elif message["kill"] in self._pids:
                os.kill(message["kill"], signal.SIGKILL)

    def _fork(self, slot: int) -> None:
        (mine, theirs), (cache_mine, cache_theirs) = socket.socketpair(), socket.socketpair()
        prints_read, prints_write = os.pipe()
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            try:
                mine.close()
                cache_mine.close()
                self._control.close()
                os.close(prints_read)
                _run_executor(slot, theirs, cache_theirs, prints_write, self._context, parent)
            except Exception:
                traceback.print_exc()  # into its worker's log: no task is to blame
            finally:
                os._exit(1)
        theirs.close()
        cache_theirs.close()
        os.close(prints_write)
        self._pids[pid] = None
        line = json.dumps({"slot": slot, "pid": pid}).encode() + b"\n"
        fds = [mine.fileno(), cache_mine.fileno(), prints_read]
        socket.send_fds(self._control, [line], fds)
        mine.close()
        cache_mine.close()
        os.close(prints_read)

    def reap(self) -> None:
        for pid in list(self._pids):
            found, status = os.waitpid(pid, os.WNOHANG)
            if found:
                del self._pids[pid]
                how = how_it_ended(os.waitstatus_to_exitcode(status))
                line = json.dumps({"dead": pid, "how": how}).encode() + b"\n"
                self._control.sendall(line)

    def kill_all(self) -> None:
        for pid in self._pids:
            os.kill(pid, signal.SIGKILL)
        for pid in self._pids:
            os.waitpid(pid, 0)


def _run_executor(
    slot: int,
    sock: socket.socket,
    cache: socket.socket,
    prints: int,
    context: TaskContext,
    parent: int,
) -> None:
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    die_with_parent(parent)
    take_over_logging()
    serve_orders(slot, sock, cache, prints, context)
    os._exit(0)
