"""The master process: recovers what it finds, wires its threads, and stops them in order.

Main thread: signals and the lifeline. Must not know who started it.
"""

from __future__ import annotations

import logging
import operator
import os
import selectors
import signal
import socket
import sqlite3
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from minispark.errors import ClusterError, ConfigError
from minispark.master.api_actions import ActionsApi
from minispark.master.api_cluster import ClusterApi
from minispark.master.api_events import EventsApi
from minispark.master.api_inputs import InputsApi
from minispark.master.api_jobs import JobsApi
from minispark.master.api_page import PageApi
from minispark.master.api_workers import WorkersApi
from minispark.master.board import SnapshotBoard
from minispark.master.documents import state_document
from minispark.master.driver_wanted import DriverWanted
from minispark.master.event_stream import EventStream
from minispark.master.loop import MasterLoop
from minispark.master.parts import PartsPublisher, unsaved
from minispark.master.performer import Performer
from minispark.master.recovery import (
    Found,
    check_snapshot,
    clear_attempts,
    database_path,
    open_store,
)
from minispark.master.results import Results
from minispark.master.retention import ResultsDeleter, clear_results
from minispark.master.sessions import CONNECTIONS_MAX, Sessions
from minispark.master.submission import Submitter, no_spark
from minispark.master.transitions import TransitionLog
from minispark.model.effects import Fact, ForgetJob
from minispark.model.job import Engine, PlanKind
from minispark.model.settings import Config
from minispark.scheduling.core import SchedulingCore
from minispark.scheduling.limits import Limits
from minispark.storage.database_errors import remedy
from minispark.storage.job_history import JobHistory
from minispark.storage.jobs_json import write_snapshot
from minispark.supervisor.notify import Notifier
from minispark.supervisor.supervisor import INTERRUPTED, TERMINATED
from minispark.transport.file_limit import connections_within, raise_file_limit
from minispark.transport.host import host_id, is_loopback
from minispark.transport.http_server import CONNECTIONS_MAX as HTTP_CONNECTIONS_MAX
from minispark.transport.http_server import HttpServer
from minispark.transport.page_session import PageSessions
from minispark.transport.router import Router
from minispark.transport.tls import tls_of

SNAPSHOT_INTERVAL_S = 10.0
"""`jobs.json` is also written when nothing changed for so long."""
STOP_TIMEOUT_S = 3.0
HISTORY_CONNECTIONS = 4

logger = logging.getLogger("minispark.master")


@dataclass(frozen=True, slots=True)
class MasterSettings:
    """What a master needs to know besides the configuration."""

    token: str
    base_dir: str
    """What relative inputs and `input_roots` are relative to: where `up` was called."""
    workers_expected: int = 1
    require_spark: Callable[[], None] = no_spark
    """Raises ClusterError that says what is missing, where jobs cannot run on Spark."""


def run_master(
    config: Config,
    settings: MasterSettings,
    http_sock: socket.socket,
    worker_sock: socket.socket,
    notifier: Notifier,
    lifeline: int | None,
) -> int:
    """Serve on two listening sockets until told to stop; returns the exit status.

    One that cannot start says in one line what to do about it.
    """
    try:
        master = _Master(config, settings, http_sock, worker_sock)
    except (sqlite3.Error, ClusterError, ConfigError) as error:
        message = _why_not(error, Path(config.state_dir))
        logger.critical("the master cannot start: %s", message)
        notifier.send({"error": message})
        return 1
    return master.run(notifier, lifeline)


def _why_not(error: sqlite3.Error | ClusterError | ConfigError, state_dir: Path) -> str:
    """One line for people. A broken invariant is raised again."""
    if isinstance(error, (ClusterError, ConfigError)):
        return str(error)
    what_to_do = remedy(error)
    if what_to_do is None:
        raise error
    path = database_path(state_dir)
    return f"{path} cannot be used ({error}); nothing in it is lost: {what_to_do}"


class _Master:
    def __init__(
        self,
        config: Config,
        settings: MasterSettings,
        http_sock: socket.socket,
        worker_sock: socket.socket,
    ) -> None:
        self._config = config
        files = raise_file_limit()
        state_dir = Path(config.state_dir)
        for name in ("state", "attempts"):
            (state_dir / name).mkdir(mode=0o700, parents=True, exist_ok=True)
        self._snapshot_path = state_dir / "state" / "jobs.json"
        check_snapshot(self._snapshot_path)
        self._store = open_store(state_dir)
        history = self._history = JobHistory(self._store.path, HISTORY_CONNECTIONS)
        self._found = Found(history)
        self._found.log()
        self._board = SnapshotBoard()
        core = SchedulingCore(_limits(config))
        submitter = Submitter(
            base_dir=settings.base_dir,
            input_roots=tuple(os.path.join(settings.base_dir, root) for root in config.input_roots),
            state_dir=config.state_dir,
            default_plan=PlanKind(config.scheduler.plan),
            default_engine=Engine(config.engine.name),
            require_spark=settings.require_spark,
        )
        records = self._found.unfinished
        clear_attempts(state_dir, records)
        clear_results(state_dir, self._found.job_ids)
        self._restored = core.restore(
            records,
            self._found.workers(),
            time.monotonic(),
            time.time(),
            self._found.ended,
            self._found.totals(),
        )
        here = host_id()
        tls = tls_of(config.security.tls)
        results = Results(history, config.state_dir, here, settings.token, tls.client)
        self._sessions = Sessions(
            worker_sock,
            settings.token,
            lambda event: self._loop.post(event),
            lambda key, call: self._loop.call_when_durable(key, call),
            connections_within(files, 0.5, CONNECTIONS_MAX),
            tls.server,
        )
        self._deleter = ResultsDeleter(state_dir)
        self._driver_wanted = DriverWanted(state_dir, lambda event: self._loop.post(event))
        self._parts = PartsPublisher(lambda event: self._loop.post(event))
        for ended in unsaved(self._found.ended):
            self._parts.order(ended)  # where an earlier master did not come to it
        performer = Performer(
            self._sessions,
            config.scheduler.heartbeat_interval_s,
            config.scheduler.task_timeout_s,
            here,
            http_sock.getsockname()[1],
            self._deleter.delete,
            self._parts.order,
            self._driver_wanted.want,
            TransitionLog(self._found.plans(), self._found.worker_names()),
        )
        self._failed = threading.Event()
        self._is_stopping = threading.Event()
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_write, False)
        self._events = EventStream(history)
        self._loop = MasterLoop(core, self._write, performer.perform, self._board, self._on_failure)
        jobs = JobsApi(self._loop, self._board, history, results, submitter)
        workers = WorkersApi(self._loop, self._board, history, config.state_dir, here)
        about: dict[str, Any] = {
            "http_port": http_sock.getsockname()[1],
            "socket_port": worker_sock.getsockname()[1],
            "state_dir": config.state_dir,
            "task_retries_max": config.scheduler.task_retries_max,
            "worker_losses_max": config.scheduler.worker_losses_max,
        }
        cluster = ClusterApi(
            self._board,
            about,
            config.scheduler.max_load_diff,
            settings.workers_expected,
            lambda: self._loop.blocked_by is not None,
        )
        is_local = is_loopback(config.master.host)
        http_auth = config.security.http_auth
        owner_uid = os.getuid() if is_local and http_auth == "auto" else None
        page_sessions = PageSessions(
            settings.token,
            about["http_port"],
            owner_uid=owner_uid,
            is_secure=tls.server is not None,
        )
        page = PageApi(
            self._board,
            self._sessions.loads,
            self._events,
            page_sessions,
            config.state_dir,
            is_open=http_auth == "never",
        )
        router = Router()
        for api in (
            jobs,
            workers,
            cluster,
            InputsApi(self._board, results),
            EventsApi(self._events),
            page,
            ActionsApi(config.state_dir),
        ):
            api.add_routes(router)
        self._http = HttpServer(
            http_sock,
            router,
            token=settings.token,
            http_auth=http_auth,
            is_loopback=is_local,
            connections_max=connections_within(files, 0.25, HTTP_CONNECTIONS_MAX),
            sessions=page_sessions,
            tls=tls.server,
        )

    def _write(self, facts: list[Fact | ForgetJob]) -> None:
        self._store.write(facts)
        self._events.advance(self._store.last_event)

    def _on_failure(self) -> None:
        self._failed.set()
        os.write(self._wake_write, b"f")

    def run(self, notifier: Notifier, lifeline: int | None) -> int:
        stopping: list[int] = []
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        signal.signal(signal.SIGTERM, lambda number, _: stopping.append(number))
        if lifeline is None:
            for own in (signal.SIGINT, signal.SIGHUP):
                if signal.getsignal(own) is not signal.SIG_IGN:  # as nohup wants it
                    signal.signal(own, lambda number, _: stopping.append(number))
        self._deleter.start()
        self._parts.start()
        self._driver_wanted.start()
        self._loop.start(self._restored)
        self._sessions.start()
        self._http.start()
        threading.Thread(target=self._save_often, name="jobs.json", daemon=True).start()
        logger.info("the master is ready")
        notifier.send({"ready": True})
        with selectors.DefaultSelector() as selector:
            selector.register(self._wake_read, selectors.EVENT_READ)
            if lifeline is not None:
                selector.register(lifeline, selectors.EVENT_READ)
            while not stopping and not self._failed.is_set():
                for key, _ in selector.select():
                    if key.fd == lifeline:
                        logger.warning("the supervisor is gone; the master stops")
                        stopping.append(0)
                    else:
                        os.read(self._wake_read, 4096)
        code = self._stop()
        if code == 0 and lifeline is not None and signal.SIGTERM in stopping:
            code = TERMINATED
        elif code == 0 and signal.SIGINT in stopping:
            code = INTERRUPTED
        return code

    def _stop(self) -> int:
        logger.info("the master stops")
        self._is_stopping.set()
        self._board.close()
        self._events.close()
        self._http.stop()
        self._sessions.stop(STOP_TIMEOUT_S)
        self._parts.stop(STOP_TIMEOUT_S)
        self._driver_wanted.stop(STOP_TIMEOUT_S)
        self._loop.stop(STOP_TIMEOUT_S)
        self._save()
        self._history.close()
        self._store.close()
        self._deleter.stop(STOP_TIMEOUT_S)
        return 1 if self._failed.is_set() else 0

    def _save_often(self) -> None:
        interval_s = self._config.persistence.save_interval_s
        while not self._is_stopping.wait(interval_s):
            saved = self._board.latest
            self._save()
            self._board.wait_for(partial(operator.is_not, saved), SNAPSHOT_INTERVAL_S)

    def _save(self) -> None:
        try:
            write_snapshot(self._snapshot_path, state_document(self._board.latest, time.time()))
        except OSError as error:
            logger.warning("%s cannot be written: %s", self._snapshot_path, error)


def _limits(config: Config) -> Limits:
    scheduler = config.scheduler
    return Limits(
        heartbeat_timeout_s=scheduler.heartbeat_timeout_s,
        task_timeout_s=scheduler.task_timeout_s,
        task_retries_max=scheduler.task_retries_max,
        worker_losses_max=scheduler.worker_losses_max,
        max_load_diff=scheduler.max_load_diff,
        prefetch=scheduler.prefetch if isinstance(scheduler.prefetch, int) else None,
        jobs_kept_max=config.retention.jobs_max,
        result_bytes_max=int(config.retention.results_max_gb * 2**30),
        speculation=scheduler.speculation,
    )
