"""The HTTP handlers that act on workers' processes: kill, pause, resume, restart.

A signal goes only to a process that our own supervisor's `cluster.json` names, and that is still
the one that it means. Must not know what the cluster does about it.
"""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from minispark.errors import NotFound
from minispark.model.places import SERVERS
from minispark.supervisor.control import ask
from minispark.supervisor.named_processes import family_of, process_of
from minispark.supervisor.process_identity import ProcessIdentity
from minispark.supervisor.state_dir import read_cluster_file
from minispark.transport.api_schema import (
    COUNT,
    UNAVAILABLE,
    Choice,
    Description,
    Object,
    PathName,
    Problem,
    Real,
    Text,
    json_answer,
)
from minispark.transport.router import (
    Access,
    HttpError,
    Request,
    Response,
    Router,
    json_response,
)

logger = logging.getLogger("minispark.master")

NAME = PathName("name", "the name of a worker that the supervisor runs")
ACTION = Object(
    "Action",
    {
        "action": Choice(("kill", "pause", "resume", "restart")),
        "target": Text(),
        "pid": COUNT,
        "at": Real(),
    },
)
PROBLEMS = (
    Problem(404, "not_found", "The supervisor runs no such worker"),
    Problem(409, "no_supervisor", "This master runs without a supervisor"),
    Problem(409, "not_running", "The worker is not running now"),
    UNAVAILABLE,
)


class ActionsApi:
    """`/api/v1/workers/{name}/kill`, and so on."""

    def __init__(self, state_dir: str) -> None:
        self._folder = Path(state_dir)

    def add_routes(self, router: Router) -> None:
        what = {
            "kill": (self._kill, "SIGKILL to a worker; its supervisor starts it again"),
            "pause": (self._pause, "SIGSTOP to all processes of a worker"),
            "resume": (self._resume, "SIGCONT to them"),
            "restart": (self._restart, "Stop a worker in order and start it again"),
        }
        for action, (act, summary) in what.items():
            router.add(
                "POST",
                f"/api/v1/workers/{{name}}/{action}",
                self._handler(action, act),
                access=Access.TOKEN,
                summary=summary,
                description=Description((json_answer(ACTION),), (NAME,), problems=PROBLEMS),
            )

    def _handler(
        self, action: str, act: Callable[[str, psutil.Process, dict[str, Any]], None]
    ) -> Callable[[Request], Response]:
        def handle(request: Request) -> Response:
            name = request.path_name(NAME)
            document = self._own_cluster()
            process = _worker_process(document, name)
            at = time.time()
            try:
                act(name, process, document)
            except psutil.NoSuchProcess as error:
                raise _not_running(name) from error
            logger.warning(
                "%s of %s (pid %d), asked for by %s", action, name, process.pid, request.peer
            )
            return json_response({"action": action, "target": name, "pid": process.pid, "at": at})

        return handle

    def _own_cluster(self) -> dict[str, Any]:
        """`cluster.json`, if this master is the one in it. Raises HttpError 409."""
        document = read_cluster_file(self._folder)
        processes = document["processes"] if document is not None else []
        master: dict[str, Any] = next((e for e in processes if e["name"] == "master"), {})
        if document is None or ProcessIdentity.in_entry(master) != ProcessIdentity.of(os.getpid()):
            raise HttpError(
                409,
                "no_supervisor",
                "this master runs without a supervisor, so nobody knows the workers' processes: "
                "start the cluster with `up`",
            )
        return document

    # --- actions ---------------------------------------------------------------------------

    def _kill(self, name: str, process: psutil.Process, document: dict[str, Any]) -> None:
        process.send_signal(signal.SIGKILL)

    def _pause(self, name: str, process: psutil.Process, document: dict[str, Any]) -> None:
        _signal_family(process, signal.SIGSTOP)

    def _resume(self, name: str, process: psutil.Process, document: dict[str, Any]) -> None:
        _signal_family(process, signal.SIGCONT)

    def _restart(self, name: str, process: psutil.Process, document: dict[str, Any]) -> None:
        _signal_family(process, signal.SIGCONT)  # what is stopped cannot stop in order
        ask(document["control"], {"restart": [name]})


def _worker_process(document: dict[str, Any], name: str) -> psutil.Process:
    """The worker's agent. Raises NotFound, HttpError 409."""
    workers = {e["name"]: e for e in document["processes"] if e["name"] not in SERVERS}
    if name not in workers:
        there = ", ".join(workers) or "none"
        raise NotFound(f"the supervisor runs no worker {name[:100]!r}; there are {there}")
    process = process_of(workers[name])
    if process is None:
        raise _not_running(name)
    return process


def _not_running(name: str) -> HttpError:
    return HttpError(409, "not_running", f"{name} is not running now; its supervisor may start it")


def _signal_family(agent: psutil.Process, number: signal.Signals) -> None:
    """Raises NoSuchProcess when the agent is gone; any of the others may go meanwhile."""
    first, *others = family_of(agent)
    first.send_signal(number)
    for process in others:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(number)
