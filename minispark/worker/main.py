"""The worker process: binds its ports, forks its executor server, and runs its agent.

Must not know who started it: a supervisor (`lifeline`), or somebody by hand.
"""

from __future__ import annotations

import logging
import os
import random
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from minispark.errors import ConfigError
from minispark.metrics.worker_metrics import WorkerCounters, flat
from minispark.model.log_fields import figures
from minispark.model.settings import Config, WorkerSpec
from minispark.storage.partition_cache import PartitionCache
from minispark.supervisor.notify import Notifier
from minispark.transport.file_limit import connections_within, raise_file_limit
from minispark.transport.host import host_id, is_loopback
from minispark.transport.http_server import CONNECTIONS_MAX, HttpServer
from minispark.transport.messages import Register
from minispark.transport.tls import tls_of
from minispark.worker.agent import Agent
from minispark.worker.agent_state import AgentState
from minispark.worker.attempt_files import AttemptFiles
from minispark.worker.data_server import DataServer
from minispark.worker.executor_server import ExecutorServer
from minispark.worker.guests import FETCHERS_MAX, STRANGERS_MAX, Guests
from minispark.worker.identity import WorkerId
from minispark.worker.master_link import MasterLink
from minispark.worker.metrics_http import build_router
from minispark.worker.metrics_source import MetricsSource
from minispark.worker.task import TaskContext
from minispark.worker.task_log import TaskLogs

METRICS_PORT_OFFSET = 1000
METRICS_LOG_TIMEOUT_S = 1.0

logger = logging.getLogger("minispark.worker")


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """What one worker needs to know besides the configuration."""

    spec: WorkerSpec
    token: str
    host: str
    """Where it binds."""
    advertised: str
    """Where others reach it."""
    master_host: str
    master_port: int


def run_worker(
    config: Config, settings: WorkerSettings, notifier: Notifier, lifeline: int | None
) -> int:
    """Serve until told to stop; returns the exit status."""
    spec = settings.spec
    files = raise_file_limit()
    try:
        tls = tls_of(config.security.tls)
        data_sock = _listen(settings.host, spec.port)
        port = data_sock.getsockname()[1]
        metrics_port = port + METRICS_PORT_OFFSET if spec.port else 0
        metrics_sock = _listen(settings.host, metrics_port)
    except (OSError, ConfigError) as error:
        message = f"{spec.name} cannot listen: {error}"
        logger.error("%s", message)
        notifier.send({"error": message})
        return 1
    metrics_port = metrics_sock.getsockname()[1]
    notifier.send({"ports": {"data": port, "metrics": metrics_port}})
    here = host_id()
    context = TaskContext(
        config.state_dir,
        here,
        settings.token,
        config.workers.short_circuit,
        config.memory.task_max_mb,
        spec.cache_max_mb << 20,
        (settings.advertised, port),
        spec.name,
        config.logging.format,
        tls.client,
    )
    server = ExecutorServer(context)  # before the first thread: it forks
    state = AgentState(
        spec.threads,
        config.scheduler.task_timeout_s,
        config.memory.task_max_mb,
        spec.fail_probability,
        partial(random.Random(spec.name).uniform, 0, 100),
    )
    worker_id = WorkerId(config.state_dir, spec.name)
    counters = WorkerCounters(config.metrics.latency_window, time.monotonic())
    cache = PartitionCache(config.state_dir, spec.name, spec.cache_max_mb << 20)

    def registration() -> Register:
        return Register(
            worker_id=worker_id.value,
            name=spec.name,
            host=settings.advertised,
            port=port,
            slots=spec.threads,
            pid=os.getpid(),
            host_id=here,
            state_dir=config.state_dir,
            metrics_url=f"{config.security.scheme}://{settings.advertised}:{metrics_port}/metrics",
            running=(*state.held, *link.unsent),
            waiting=state.waiting,
        )

    link = MasterLink(
        settings.master_host,
        settings.master_port,
        settings.token,
        registration,
        config.scheduler.heartbeat_timeout_s,
        tls.client,
    )
    agent = Agent(
        link=link,
        state=state,
        server=server,
        worker_id=worker_id,
        files=AttemptFiles(config.state_dir),
        counters=counters,
        cache=cache,
        task_logs=TaskLogs(config.state_dir, spec.name, config.logging.format),
        heartbeat_interval_s=config.scheduler.heartbeat_interval_s,
        lifeline=lifeline,
        notifier=notifier,
    )
    metrics = MetricsSource(
        spec.name,
        spec.threads,
        worker_id,
        counters,
        cache,
        lambda: (agent.active_tasks, agent.executors, agent.load),
    )
    http = HttpServer(
        metrics_sock,
        build_router(metrics.document, metrics.families),
        token=settings.token,
        http_auth=config.security.http_auth,
        is_loopback=is_loopback(settings.host),
        connections_max=connections_within(files, 0.2, CONNECTIONS_MAX),
        tls=tls.server,
    )
    guests = Guests(
        connections_within(files, 0.2, STRANGERS_MAX),
        connections_within(files, 0.4, FETCHERS_MAX, files_each=3),
    )
    DataServer(data_sock, config.state_dir, settings.token, guests, tls.server).start()
    http.start()
    stop = threading.Event()
    interval_s = config.metrics.log_interval_s
    metrics_log = threading.Thread(
        target=_log_metrics,
        args=(metrics.document, interval_s, stop),
        name="metrics-log",
        daemon=True,
    )
    metrics_log.start()
    try:
        return agent.run()
    finally:
        stop.set()
        metrics_log.join(METRICS_LOG_TIMEOUT_S)
        http.stop()
        data_sock.close()
        cache.close()


def _listen(host: str, port: int) -> socket.socket:
    """A listening socket. Raises OSError that names the port."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((host, port))
        sock.listen(128)
    except OSError as error:
        sock.close()
        raise OSError(f"port {port} on {host}: {error.strerror}") from error
    return sock


def _log_metrics(
    document: Callable[[], dict[str, Any]], interval_s: float, stop: threading.Event
) -> None:
    """The periodic line; one more when the worker ends, so that a brief one has said it too."""
    is_over = False
    while not is_over:
        is_over = stop.wait(interval_s)
        logger.info("metrics", extra=figures(flat(document())))
