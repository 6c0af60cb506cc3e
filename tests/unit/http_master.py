"""A master without processes: its real routes, core, journal and HTTP server, and no worker."""

from __future__ import annotations

import http.client
import json
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from minispark.master.api_actions import ActionsApi
from minispark.master.api_cluster import ClusterApi
from minispark.master.api_events import EventsApi
from minispark.master.api_inputs import InputsApi
from minispark.master.api_jobs import JobsApi
from minispark.master.api_page import PageApi
from minispark.master.api_workers import WorkersApi
from minispark.master.board import SnapshotBoard
from minispark.master.event_stream import EventStream
from minispark.master.loop import MasterLoop
from minispark.master.recovery import open_store
from minispark.master.results import Results
from minispark.master.submission import Submitter
from minispark.model.effects import Fact, ForgetJob
from minispark.model.job import PlanKind
from minispark.scheduling.core import SchedulingCore
from minispark.scheduling.limits import Limits
from minispark.storage.job_history import JobHistory
from minispark.transport.http_connection import connection_to
from minispark.transport.http_server import HttpServer
from minispark.transport.page_session import PageSessions
from minispark.transport.router import Router
from minispark.transport.tls import Tls

TOKEN = "a token for tests"
NO_TLS = Tls(None, None)
JOBS = "/api/v1/jobs"
WORKERS = "/api/v1/workers"


def one_reader(**changes: Any) -> dict[str, Any]:
    """A JobRequest that reads `a.txt`, with its own or its node's fields changed."""
    node = {"id": "r", "op": "read_text", "path": "a.txt", **changes.pop("node", {})}
    request: dict[str, Any] = {"name": "x", "dag": {"nodes": [node], "edges": []}}
    return {**request, "parallelism": 2, **changes}


class HttpMaster:
    """`folder` holds the inputs of submitters without the token, and beside them the state."""

    def __init__(
        self,
        folder: Path,
        jobs_kept_max: int = 100,
        http_auth: str = "auto",
        owner_uid: int | None = None,
        tls: Tls = NO_TLS,
    ) -> None:
        """`owner_uid`: the user whose browser needs no token."""
        self._tls = tls
        self.inputs = folder / "in"
        self.inputs.mkdir()
        (self.inputs / "a.txt").write_text("a b\n")
        state_dir = folder / "state"
        (state_dir / "state").mkdir(parents=True)
        self.store = open_store(state_dir)
        self.write: Callable[[list[Fact | ForgetJob]], None] = self.store.write
        """How the journal is written: a test may put another one here."""
        self.has_failed = threading.Event()
        history = JobHistory(self.store.path)
        self._events = EventStream(history)
        board = SnapshotBoard()
        self.core = SchedulingCore(Limits(jobs_kept_max=jobs_kept_max))
        self.loop = MasterLoop(
            self.core,
            self._write,
            lambda effects: None,
            board,
            self.has_failed.set,
        )
        results = self.results = Results(history, str(state_dir), "here", TOKEN)
        submitter = Submitter(str(self.inputs), (str(self.inputs),), str(state_dir), PlanKind.FUSED)
        router = self.router = Router()
        JobsApi(self.loop, board, history, results, submitter).add_routes(router)
        WorkersApi(self.loop, board, history, str(state_dir), "here").add_routes(router)
        InputsApi(board, results).add_routes(router)
        ClusterApi(board, {}, 2, 0, lambda: False).add_routes(router)
        sock = socket.create_server(("127.0.0.1", 0))
        self.port = sock.getsockname()[1]
        self.sessions = PageSessions(
            TOKEN, self.port, owner_uid=owner_uid, is_secure=tls.server is not None
        )
        PageApi(
            board, dict, self._events, self.sessions, str(state_dir), is_open=http_auth == "never"
        ).add_routes(router)
        ActionsApi(str(state_dir)).add_routes(router)
        EventsApi(self._events).add_routes(router)
        self._http = HttpServer(
            sock, router, token=TOKEN, http_auth=http_auth, sessions=self.sessions, tls=tls.server
        )
        self.loop.start([])
        self._http.start()

    def _write(self, facts: list[Fact | ForgetJob]) -> None:
        self.write(facts)
        self._events.advance(self.store.last_event)

    def close(self) -> None:
        self._events.close()
        self._http.stop()
        self.loop.stop(5)
        self.store.close()

    def connection(self) -> http.client.HTTPConnection:
        return connection_to("127.0.0.1", self.port, self._tls.client, 20)

    def call(
        self, method: str, path: str, body: Any = None, token: bool = False, **headers: str
    ) -> tuple[int, Any]:
        """(status, decoded JSON or text). `body` is sent as it stands when it is bytes."""
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        if token:
            names["Authorization"] = f"Bearer {TOKEN}"
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
        connection = self.connection()
        try:
            connection.request(method, path, body, names)
            response = connection.getresponse()
            data = response.read()
        finally:
            connection.close()
        is_json = response.headers.get_content_type() == "application/json"
        return response.status, json.loads(data) if is_json and data else data.decode()

    def submit(self, **headers: str) -> tuple[int, Any]:
        return self.call("POST", JOBS, one_reader(), **headers)

    def job_ids(self) -> list[str]:
        return [job["id"] for job in self.call("GET", JOBS)[1]]
