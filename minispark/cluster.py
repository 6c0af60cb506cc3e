"""L5, the composition root: a configuration becomes processes under a supervisor.

The supervisor runs in a process of its own, forked from the caller before it has threads. Must not
know command lines.
"""

from __future__ import annotations

import gc
import logging
import os
import signal
import socket
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

from minispark import __version__
from minispark.driver.main import DriverSettings, run_driver
from minispark.errors import ClusterError, ConfigError
from minispark.master.main import MasterSettings, run_master
from minispark.model.job import Engine
from minispark.model.places import DRIVER
from minispark.model.settings import Config, WorkerSpec
from minispark.operations import Operations
from minispark.spark.installed import require_spark
from minispark.supervisor import state_dir as state_dirs
from minispark.supervisor.child import Child, ProcessSpec
from minispark.supervisor.cluster_file import ClusterFile
from minispark.supervisor.control import ControlServer
from minispark.supervisor.forked import ForkedProcess
from minispark.supervisor.launch import Started, code_of, launch
from minispark.supervisor.notify import Notifier
from minispark.supervisor.process_log import configure_logging
from minispark.supervisor.restart_policy import ProcessState, RestartLimits
from minispark.supervisor.stop_signals import StopSignals
from minispark.supervisor.supervisor import Supervisor
from minispark.transport.host import is_loopback, local_address_toward
from minispark.transport.tls import tls_of
from minispark.worker.main import WorkerSettings, run_worker

BACKLOG = 512
START_TIMEOUT_S = 30.0
COLLECT_AFTER = (20_000, 5, 2)
"""When the collector looks for cycles: after so many new objects, not after 700, which a few tasks
leave; and through all objects that often that what is in one does not stay long.
"""
EVERY_ADDRESS = "0.0.0.0"
READABLE = (
    "without TLS what passes {} can be read on the wire: jobs and their code, blocks and results, "
    "and the token in HTTP requests (the socket sessions never send it)"
)
MASTER = "master"
MASTER_STOPS_LAST = 1

logger = logging.getLogger("minispark.supervisor")


@dataclass(frozen=True, slots=True)
class RunningCluster:
    """What a caller needs to reach a cluster that it started."""

    master_url: str
    token: str
    state_dir: Path
    supervisor_pid: int


# --- inside the supervisor's process --------------------------------------------------------


def supervise(config: Config, base_dir: str, is_default_dir: bool, report_fd: int) -> int:
    """Become the supervisor of a cluster; returns its exit status.

    Over `report_fd` goes what `supervisor/launch.py` waits for.
    """
    report = Notifier(report_fd)
    gc.set_threshold(*COLLECT_AFTER)
    with ExitStack() as at_end:
        try:
            supervisor = _set_up(config, base_dir, is_default_dir, report, at_end)
        except (ClusterError, ConfigError, OSError) as error:
            what = f"{config.state_dir} cannot be used: " if isinstance(error, OSError) else ""
            code = code_of(error)
            report.send({"error": f"{what}{error}", "code": code})
            return code
        logger.info("the supervisor starts, version %s", __version__)
        return supervisor.run()


def _set_up(
    config: Config, base_dir: str, is_default_dir: bool, report: Notifier, at_end: ExitStack
) -> Supervisor:
    """A supervisor that only has to run; `at_end` gives back what it holds.

    Raises ClusterError, ConfigError, and OSError for what lies in the state directory.
    """
    if config.engine.name == Engine.SPARK.value:
        require_spark()
    notices = check_security(config)
    folder, notice = state_dirs.prepare(config.state_dir, is_default_dir)
    for text in (*([notice] if notice is not None else []), *notices):
        report.send({"notice": text})
    config = replace(config, state_dir=str(folder))
    lock_fd = state_dirs.lock(folder)
    at_end.callback(os.close, lock_fd)
    token = state_dirs.token_of(folder, config.security.token)
    http_sock = listen(config.master.host, config.master.http_port)
    worker_sock = listen(config.master.host, config.master.socket_port)
    _log_to(config, "supervisor")
    at_end.callback(logger.info, "the supervisor ends")
    start_report = _StartReport(report, config.state_dir)

    def on_change(supervisor: Supervisor) -> bool:
        is_written = cluster_file.try_write(supervisor)
        start_report.follow(supervisor)
        return is_written

    specs = process_specs(config, token, base_dir, http_sock, worker_sock)
    supervisor = Supervisor(specs, _restart_limits(config), on_change)
    operations = Operations(
        supervisor,
        config.own_workers(),
        config.workers,
        partial(worker_process, config, token, http_sock, worker_sock),
        driver_process(config, token, http_sock, worker_sock),
    )
    control = ControlServer(folder, operations.answer)
    at_end.callback(control.close)
    supervisor.listen(control)
    ports = {"http": http_sock.getsockname()[1], "socket": worker_sock.getsockname()[1]}
    about = _about(config, str(control.path), ports["http"])
    cluster_file = ClusterFile(folder, lock_fd, about, {MASTER: ports})
    at_end.callback(cluster_file.remove)
    cluster_file.write(supervisor)
    return supervisor


def _restart_limits(config: Config) -> RestartLimits:
    restart = config.restart
    return RestartLimits(
        restart.policy,
        restart.backoff_min_s,
        restart.backoff_max_s,
        restart.attempts_max,
        restart.window_s,
    )


def _about(config: Config, control: str, http_port: int) -> dict[str, Any]:
    """What stands in `cluster.json` above the processes (CLI.md, "JSON forms")."""
    url = f"{config.security.scheme}://{own_address(config)}:{http_port}"
    tls = {name: os.path.abspath(path) for name, path in asdict(config.security.tls).items()}
    return {
        "version": __version__,
        "master_url": url,
        "page_url": f"{url}/",
        "state_dir": config.state_dir,
        "token_file": str(Path(config.state_dir) / "token"),
        "tls": tls if config.security.tls.is_on else None,
        "restart": asdict(config.restart),
        "control": control,
    }


class _StartReport:
    """Says once that every process is ready, or is not going to be. When some of the workers are
    not, the others work: the cluster stays, and its owner is told.
    """

    def __init__(self, report: Notifier, place: str) -> None:
        self._report = report
        self._place = place
        self._is_told = False

    def follow(self, supervisor: Supervisor) -> None:
        if self._is_told:
            return
        fatal = [c for c in supervisor.children if c.state is ProcessState.FATAL]
        settled = (ProcessState.RUNNING, ProcessState.FATAL)
        if any(child.spec.name == MASTER for child in fatal):
            self._is_told = True
            self._report.send({"error": _why_not(fatal[0]), "code": 1})
        elif all(child.state in settled for child in supervisor.children):
            self._is_told = True
            for child in fatal:
                self._report.send({"fatal": _why_not(child)})
            self._report.send({"ready": self._place})


def _why_not(child: Child) -> str:
    return f"{child.spec.name} does not start: {child.error or 'it ended; its log says why'}"


def process_specs(
    config: Config,
    token: str,
    base_dir: str,
    http_sock: socket.socket,
    worker_sock: socket.socket,
) -> list[ProcessSpec]:
    """The master, then one process for each worker that runs here, and Spark's driver where jobs
    run there by themselves.
    """

    def master(notifier: Notifier, lifeline: int) -> int:
        _log_to(config, MASTER)
        expected = len(config.worker_specs())
        settings = MasterSettings(token, base_dir, expected, cache(require_spark))
        return run_master(config, settings, http_sock, worker_sock, notifier, lifeline)

    process = partial(worker_process, config, token, http_sock, worker_sock)
    specs = [ProcessSpec(MASTER, master, MASTER_STOPS_LAST), *map(process, config.own_workers())]
    if config.engine.name == Engine.SPARK.value:
        specs.append(driver_process(config, token, http_sock, worker_sock))
    return specs


def driver_process(
    config: Config, token: str, http_sock: socket.socket, worker_sock: socket.socket
) -> ProcessSpec:
    """The driver of a Spark application."""

    def driver(notifier: Notifier, lifeline: int) -> int:
        http_sock.close()
        port = worker_sock.getsockname()[1]
        worker_sock.close()
        _log_to(config, DRIVER)
        settings = DriverSettings(DRIVER, token, own_address(config), port)
        return run_driver(config, settings, notifier, lifeline)

    return ProcessSpec(DRIVER, driver, has_group=True)


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
        _log_to(config, spec.name, spec.name)
        bound, advertised = _addresses(config)
        settings = WorkerSettings(spec, token, bound, advertised, own_address(config), port)
        return run_worker(config, settings, notifier, lifeline)

    return ProcessSpec(spec.name, worker, worker=spec.name)


def own_address(config: Config) -> str:
    """Where processes of this host reach the master."""
    return "127.0.0.1" if config.master.host == EVERY_ADDRESS else config.master.host


def _addresses(config: Config) -> tuple[str, str]:
    """Where a worker that runs here binds, and where others reach it."""
    away = config.awaited_workers()
    if config.master.host != EVERY_ADDRESS or not away:
        return own_address(config), own_address(config)
    return EVERY_ADDRESS, address_toward(config, away[0])


def address_toward(config: Config, worker: WorkerSpec) -> str:
    """Where the host of a worker that runs elsewhere reaches this one. Raises ConfigError."""
    if config.master.host != EVERY_ADDRESS:
        return config.master.host
    try:
        return local_address_toward(str(worker.host))
    except OSError as error:
        raise ConfigError(
            f"{worker.name} is to run on {worker.host}, and no way leads there ({error.strerror}): "
            "correct its host, or set master.host to this host's address there"
        ) from error


def _log_to(config: Config, name: str, worker: str | None = None) -> None:
    log = config.logging
    path = Path(config.state_dir) / "logs" / f"{name}.log"
    configure_logging(name, log.level, log.format, path, log.max_mb, log.backups, worker)


def check_security(config: Config) -> tuple[str, ...]:
    """What its owner should know. Raises ConfigError for a master that the network could drive
    without a token, or that a worker of another host could not reach, and for what TLS cannot use.
    """
    tls_of(config.security.tls)
    host = config.master.host
    if is_loopback(host):
        for spec in config.awaited_workers():
            if not is_loopback(str(spec.host)):
                raise ConfigError(
                    f"{spec.name} is to run on {spec.host}, from where master.host {host} cannot "
                    "be reached: set master.host to this host's address there, or to 0.0.0.0"
                )
        return ()
    if config.security.token == "auto":
        raise ConfigError(
            f"master.host {host} can be reached from other hosts: set security.token "
            "(or MINISPARK_TOKEN) to a secret of your own"
        )
    for spec in config.awaited_workers():
        address_toward(config, spec)
    if config.security.http_auth == "never":
        logger.warning("http_auth is never: everybody who reaches %s drives this cluster", host)
    return () if config.security.tls.is_on else (READABLE.format(host),)


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
    config: Config,
    base_dir: str,
    *,
    is_default_dir: bool,
    is_detached: bool,
    timeout_s: float,
    signals: StopSignals,
) -> Started:
    """Fork a supervisor and wait until every process is ready, or is not going to be.

    Contract and errors are those of `launch`.
    """
    main = partial(supervise, config, base_dir, is_default_dir)
    gc.freeze()  # what is imported stays: no process of the cluster looks through it for cycles
    return launch(main, is_detached=is_detached, timeout_s=timeout_s, signals=signals)


def running_cluster(folder: Path, supervisor_pid: int) -> RunningCluster:
    """How to reach the cluster of a state directory. Raises ClusterError when none runs there."""
    document = state_dirs.read_cluster_file(folder)
    if document is None:
        raise ClusterError(f"no cluster runs on {folder}")
    token = (folder / "token").read_text(encoding="utf-8")
    return RunningCluster(document["master_url"], token, folder, supervisor_pid)


def stop(supervisor: ForkedProcess, timeout_s: float) -> None:
    """Stop a supervisor that is this process's child, and wait for it."""
    supervisor.signal(signal.SIGTERM)
    if supervisor.wait(timeout_s) is None:
        supervisor.signal(signal.SIGKILL)  # its children die with it
        supervisor.wait(timeout_s)


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
        with StopSignals() as signals:
            started = start(
                config,
                base_dir,
                is_default_dir=False,
                is_detached=False,
                timeout_s=START_TIMEOUT_S,
                signals=signals,
            )
        assert isinstance(started.supervisor, ForkedProcess)
        try:
            yield running_cluster(Path(folder), started.supervisor.pid)
        finally:
            stop(started.supervisor, START_TIMEOUT_S)
