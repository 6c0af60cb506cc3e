"""L4, the composition root: a configuration becomes processes under a supervisor.

The supervisor runs in a process of its own, forked from the caller before it has threads. Must not
know command lines.
"""

from __future__ import annotations

import ipaddress
import json
import logging
import os
import signal
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from minispark import __version__
from minispark.config import Config, WorkerSpec
from minispark.errors import ClusterError, ClusterRuns, ConfigError, DeadlineExceeded
from minispark.master.main import MasterSettings, run_master
from minispark.operations import Operations
from minispark.supervisor import state_dir as state_dirs
from minispark.supervisor.control import ControlServer
from minispark.supervisor.lifeline import die_with_parent
from minispark.supervisor.notify import Notifier
from minispark.supervisor.process_log import configure_logging
from minispark.supervisor.restart_policy import ProcessState, RestartLimits
from minispark.supervisor.supervisor import Child, ProcessSpec, Supervisor
from minispark.worker.main import WorkerSettings, run_worker

BACKLOG = 512
START_TIMEOUT_S = 30.0
MASTER_STOPS_LAST = 1
INTERRUPTED = 130

logger = logging.getLogger("minispark.cluster")


@dataclass(frozen=True, slots=True)
class RunningCluster:
    """What a caller needs to reach a cluster that it started."""

    master_url: str
    token: str
    state_dir: Path
    supervisor_pid: int


@dataclass(frozen=True, slots=True)
class Started:
    """A cluster that was started here; detached, `pid` is that of its first process only."""

    pid: int
    notices: tuple[str, ...]
    fatal: tuple[str, ...]
    """Workers that do not start, each with the reason. The others work."""


# --- inside the supervisor's process --------------------------------------------------------


def supervise(config: Config, base_dir: str, is_default_dir: bool, report_fd: int) -> int:
    """Become the supervisor of a cluster; returns its exit status.

    Over `report_fd` go JSON lines: `{"notice"}`, `{"ready"}`, `{"error", "code"}`.
    """
    report = Notifier(report_fd)
    try:
        check_security(config)
        folder, notice = state_dirs.prepare(config.state_dir, is_default_dir)
        if notice is not None:
            report.send({"notice": notice})
        config = replace(config, state_dir=str(folder))
        lock_fd = state_dirs.lock(folder)
        token = state_dirs.token_of(folder, config.security.token)
        http_sock = listen(config.master.host, config.master.http_port)
        worker_sock = listen(config.master.host, config.master.socket_port)
    except (ClusterError, ConfigError) as error:
        kind = 3 if isinstance(error, ClusterRuns) else 2 if isinstance(error, ConfigError) else 1
        report.send({"error": str(error), "code": kind})
        return kind
    _log_to(config, "supervisor")
    specs = process_specs(config, token, base_dir, http_sock, worker_sock)
    document = _Document(config, folder, http_sock.getsockname()[1], worker_sock.getsockname()[1])
    is_reported = False

    def on_change(supervisor: Supervisor) -> None:
        nonlocal is_reported
        document.write(supervisor)
        if is_reported:
            return
        fatal = [c for c in supervisor.children if c.state is ProcessState.FATAL]
        states = {c.spec.name: c.state for c in supervisor.children}
        settled = (ProcessState.RUNNING, ProcessState.FATAL)
        if states["master"] is ProcessState.FATAL:
            is_reported = True
            report.send({"error": _why_not(fatal[0]), "code": 1})
        elif all(state in settled for state in states.values()):
            is_reported = True
            # the others work: the cluster stays, and its owner is told
            report.send({"ready": True, "fatal": [_why_not(child) for child in fatal]})

    restart = config.restart
    limits = RestartLimits(
        restart.policy,
        restart.backoff_min_s,
        restart.backoff_max_s,
        restart.attempts_max,
        restart.window_s,
    )
    logger.info("the supervisor starts, version %s", __version__)
    supervisor = Supervisor(specs, limits, on_change)
    operations = Operations(
        supervisor,
        config.worker_specs(),
        config.workers,
        partial(worker_process, config, token, http_sock, worker_sock),
    )
    control = ControlServer(folder, operations.answer)
    document.control = str(control.path)
    supervisor.listen(control)
    try:
        return supervisor.run()
    finally:
        control.close()
        (folder / "cluster.json").unlink(missing_ok=True)
        logger.info("the supervisor ends")
        os.close(lock_fd)


def _why_not(child: Child) -> str:
    return f"{child.spec.name} does not start: {child.error or 'it ended; its log says why'}"


def process_specs(
    config: Config,
    token: str,
    base_dir: str,
    http_sock: socket.socket,
    worker_sock: socket.socket,
) -> list[ProcessSpec]:
    """The master, then one process for each worker."""
    workers = config.worker_specs()

    def master(notifier: Notifier, lifeline: int) -> int:
        _log_to(config, "master")
        settings = MasterSettings(token, base_dir, len(workers))
        return run_master(config, settings, http_sock, worker_sock, notifier, lifeline)

    return [
        ProcessSpec("master", master, MASTER_STOPS_LAST),
        *(worker_process(config, token, http_sock, worker_sock, spec) for spec in workers),
    ]


def worker_process(
    config: Config,
    token: str,
    http_sock: socket.socket,
    worker_sock: socket.socket,
    spec: WorkerSpec,
) -> ProcessSpec:
    """One worker of the cluster that listens on these sockets."""

    def worker(notifier: Notifier, lifeline: int) -> int:
        http_sock.close()
        port = worker_sock.getsockname()[1]
        worker_sock.close()
        _log_to(config, spec.name)
        host = config.master.host
        target = "127.0.0.1" if host == "0.0.0.0" else host
        settings = WorkerSettings(spec, token, target, target, port)
        return run_worker(config, settings, notifier, lifeline)

    return ProcessSpec(spec.name, worker)


def _log_to(config: Config, name: str) -> None:
    log = config.logging
    path = Path(config.state_dir) / "logs" / f"{name}.log"
    configure_logging(name, log.level, log.format, path, log.max_mb, log.backups)


class _Document:
    """`cluster.json` (CLI.md, "JSON forms")."""

    def __init__(self, config: Config, folder: Path, http_port: int, socket_port: int) -> None:
        self._folder = folder
        host = "127.0.0.1" if config.master.host == "0.0.0.0" else config.master.host
        self._url = f"http://{host}:{http_port}"
        self._ports = {"http": http_port, "socket": socket_port}
        self._started_at = time.time()
        self.control = ""
        """The path of the supervisor's control socket."""

    def write(self, supervisor: Supervisor) -> None:
        processes: list[dict[str, Any]] = [
            {
                "name": "supervisor",
                "pid": os.getpid(),
                "started_at": self._started_at,
                "state": "RUNNING",
                "ports": {},
                "restarts": 0,
            },
            *(self._process(child) for child in supervisor.children),
        ]
        document = {
            "version": __version__,
            "master_url": self._url,
            "page_url": f"{self._url}/",
            "state_dir": str(self._folder),
            "token_file": str(self._folder / "token"),
            "control": self.control,
            "processes": processes,
        }
        state_dirs.write_cluster_file(self._folder, document)

    def _process(self, child: Child) -> dict[str, Any]:
        return {
            "name": child.spec.name,
            "pid": child.pid,
            "started_at": child.started_at,
            "state": child.state.value,
            "ports": self._ports if child.spec.name == "master" else child.ports,
            "restarts": child.restarts,
            "reason": child.error or child.reason,
        }


def check_security(config: Config) -> None:
    """Raises ConfigError for a master that the network could drive without a token."""
    host = config.master.host
    try:
        is_loopback = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        is_loopback = False
    if is_loopback:
        return
    if config.security.token == "auto":
        raise ConfigError(
            f"master.host {host} can be reached from other hosts: set security.token "
            "(or MINISPARK_TOKEN) to a secret of your own"
        )
    if config.security.http_auth == "never":
        logger.warning("http_auth is never: everybody who reaches %s drives this cluster", host)


def listen(host: str, port: int) -> socket.socket:
    """A listening socket. Raises ClusterError that names the port and, where it can be told, its
    holder.
    """
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((host, port))
        sock.listen(BACKLOG)
    except (OSError, OverflowError) as error:
        sock.close()
        raise ClusterError(
            f"port {port} on {host} cannot be used: {error}{_holder(port)}; free it, or set "
            "master.http_port and master.socket_port (0 is any free port)"
        ) from error
    return sock


def _holder(port: int) -> str:
    import psutil

    try:
        for connection in psutil.net_connections("tcp"):
            is_it = connection.laddr and connection.laddr.port == port
            if is_it and connection.status == psutil.CONN_LISTEN and connection.pid:
                name = psutil.Process(connection.pid).name()
                return f" (process {connection.pid}, {name}, listens there)"
    except psutil.Error:
        pass  # not ours to see
    return ""


# --- for callers ------------------------------------------------------------------------------


def start(
    config: Config, base_dir: str, *, is_default_dir: bool, is_detached: bool, timeout_s: float
) -> Started:
    """Fork a supervisor and wait until every process is ready, or is not going to be.

    Detached it outlives the caller; otherwise it dies with it. Raises ClusterRuns, ConfigError,
    ClusterError, DeadlineExceeded; then nothing is left running.
    """
    read_fd, write_fd = os.pipe()
    caller = os.getpid()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            os.close(read_fd)
            if is_detached:
                os.setsid()
                if os.fork():
                    os._exit(0)
                _detach_streams()
            else:
                die_with_parent(caller)
            code = supervise(config, base_dir, is_default_dir, write_fd)
        except BaseException:
            logging.getLogger("minispark").critical("the supervisor failed", exc_info=True)
        finally:
            logging.shutdown()
            os._exit(code)
    os.close(write_fd)
    if is_detached:
        os.waitpid(pid, 0)
    try:
        return _await_ready(read_fd, pid, timeout_s)
    except BaseException:
        ended = _stop_half_started(Path(config.state_dir), pid, is_detached)
        if ended == INTERRUPTED:  # a Ctrl-C that the supervisor heard first
            raise KeyboardInterrupt from None
        raise
    finally:
        os.close(read_fd)


def _stop_half_started(folder: Path, pid: int, is_detached: bool) -> int | None:
    """A start that failed, timed out or was interrupted leaves nothing running; returns the exit
    status of a supervisor that is this process's child.
    """
    if is_detached:
        # of a detached one `pid` is the session that it was born in
        document = state_dirs.read_cluster_file(folder) or {"processes": []}
        pids = [p["pid"] for p in document["processes"] if p["name"] == "supervisor"]
        if not pids or _session_of(pids[0]) != pid:
            return None  # it ended by itself, or another cluster runs there
        os.kill(pids[0], signal.SIGTERM)
        return None
    try:
        os.kill(pid, signal.SIGTERM)
    except ProcessLookupError:
        return None
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _session_of(pid: int) -> int | None:
    try:
        return os.getsid(pid)
    except ProcessLookupError:
        return None


def _detach_streams() -> None:
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    os.close(null)


def _await_ready(fd: int, pid: int, timeout_s: float) -> Started:
    import select

    notices: list[str] = []
    deadline = time.monotonic() + timeout_s
    buffer = b""
    while True:
        left_s = deadline - time.monotonic()
        if left_s <= 0 or not select.select([fd], [], [], left_s)[0]:
            raise DeadlineExceeded(f"the cluster was not ready within {timeout_s:g} s; see `logs`")
        data = os.read(fd, 65536)
        if not data:
            raise ClusterError("the supervisor ended while it started; see `logs`")
        *lines, buffer = (buffer + data).split(b"\n")
        for line in lines:
            message = json.loads(line)
            if "notice" in message:
                notices.append(message["notice"])
            elif "error" in message:
                kinds: dict[int, type[Exception]] = {2: ConfigError, 3: ClusterRuns}
                raise kinds.get(message["code"], ClusterError)(message["error"])
            else:
                return Started(pid, tuple(notices), tuple(message["fatal"]))


def running_cluster(folder: Path, supervisor_pid: int) -> RunningCluster:
    """How to reach the cluster of a state directory. Raises ClusterError when none runs there."""
    document = state_dirs.read_cluster_file(folder)
    if document is None:
        raise ClusterError(f"no cluster runs on {folder}")
    token = (folder / "token").read_text(encoding="utf-8")
    return RunningCluster(document["master_url"], token, folder, supervisor_pid)


def stop(pid: int, timeout_s: float) -> None:
    """Stop a supervisor that is this process's child, and wait for it."""
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if os.waitpid(pid, os.WNOHANG)[0]:
            return
        time.sleep(0.01)  # there is no portable wait with a deadline
    os.kill(pid, signal.SIGKILL)  # its children die with it
    os.waitpid(pid, 0)


@contextmanager
def private_cluster(config: Config, base_dir: str) -> Iterator[RunningCluster]:
    """A cluster on free ports in a temporary directory, gone when the block ends."""
    with tempfile.TemporaryDirectory(prefix="minispark-run-") as folder:
        config = replace(
            config,
            state_dir=folder,
            master=replace(config.master, http_port=0, socket_port=0),
            workers=replace(config.workers, base_port=0),
        )
        started = start(
            config, base_dir, is_default_dir=False, is_detached=False, timeout_s=START_TIMEOUT_S
        )
        try:
            yield running_cluster(Path(folder), started.pid)
        finally:
            stop(started.pid, START_TIMEOUT_S)
