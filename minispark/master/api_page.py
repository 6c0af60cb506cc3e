"""The HTTP handlers of the page: its files, its session, and the JSON that only it reads.

Must not know what the page looks like.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from minispark import __version__
from minispark.master.api_overview_types import OVERVIEW
from minispark.master.board import SnapshotBoard
from minispark.master.documents import (
    job_summary_document,
    load_document,
    system_document,
    worker_document,
)
from minispark.master.event_stream import EventStream
from minispark.metrics.worker_load import WorkerLoad
from minispark.model.places import SERVERS
from minispark.supervisor.named_processes import is_paused
from minispark.supervisor.state_dir import read_cluster_file
from minispark.transport.api_schema import (
    Description,
    Flag,
    Header,
    Nullable,
    Object,
    Text,
    empty_answer,
    json_answer,
    text_answer,
)
from minispark.transport.page_session import PageSessions, Proof, Session
from minispark.transport.router import (
    Access,
    HttpError,
    Request,
    Response,
    Router,
    json_response,
)
from minispark.web.static_files import INDEX, StaticFile, load_files

TOKEN_CHARS_MAX = 1000
KNOWN = Header("If-None-Match", "the ETag of what is there already")
TOKEN = Object("Token", {"token": Text(chars_min=1, chars_max=TOKEN_CHARS_MAX)})
SESSION = Object("Session", {"is_open": Flag(), "guard": Nullable(Text())})


class PageApi:
    """`/`, `/static/` and what the page asks for that is about no one job."""

    def __init__(
        self,
        board: SnapshotBoard,
        loads: Callable[[], dict[str, WorkerLoad]],
        events: EventStream,
        sessions: PageSessions,
        state_dir: str,
        is_open: bool = False,
    ) -> None:
        """`loads`: what each worker uses, by its id. `is_open`: nobody needs a token."""
        self._board = board
        self._loads = loads
        self._events = events
        self._sessions = sessions
        self._folder = Path(state_dir)
        self._is_open = is_open
        self._started_at = time.time()

    def add_routes(self, router: Router) -> None:
        files = load_files()
        _add_file(router, "/", files.pop(INDEX))
        for name, file in files.items():
            _add_file(router, f"/static/{name}", file)
        session = "/api/v1/session"
        router.add(
            "GET",
            session,
            self.session,
            access=Access.OPEN,
            summary="Whether the page needs a token; a session for the cluster's own user",
            description=Description((json_answer(SESSION),)),
        )
        router.add(
            "POST",
            session,
            self.begin,
            access=Access.OPEN,
            summary="A session of the page",
            description=Description((json_answer(SESSION),), body=TOKEN),
        )
        router.add(
            "GET",
            "/api/v1/overview",
            self.overview,
            summary="Workers and jobs, in short",
            description=Description((json_answer(OVERVIEW),)),
        )

    # --- sessions --------------------------------------------------------------------------

    def session(self, request: Request) -> Response:
        """Our own user's browser has or gets a session; another one keeps the one that it has.

        The guard is told only to who proves who it is: a cookie alone changes nothing.
        """
        if self._sessions.is_owner(request.find_uid):
            kept = self._sessions.find(request.headers, request.find_uid)
            return self._given(kept or self._sessions.give(Proof.USER))
        return json_response({"is_open": self._is_open or request.is_authenticated, "guard": None})

    def begin(self, request: Request) -> Response:
        body = request.json()
        token = body.get("token") if isinstance(body, dict) else None
        if not isinstance(token, str) or not 0 < len(token) <= TOKEN_CHARS_MAX:
            raise HttpError(400, "invalid_request", 'send {"token": "..."}', "token")
        if not self._sessions.is_token(token):
            raise HttpError(401, "wrong_token", "the token is wrong")
        return self._given(self._sessions.give(Proof.TOKEN))

    def _given(self, session: Session) -> Response:
        answer = json_response({"is_open": True, "guard": self._sessions.guard(session)})
        headers = {"Set-Cookie": self._sessions.header(session), "Cache-Control": "no-store"}
        return Response(answer.status, answer.body, answer.content_type, headers)

    # --- what it shows -----------------------------------------------------------------------

    def overview(self, request: Request) -> Response:
        """One answer for the view that is asked for every few seconds."""
        snapshot = self._board.latest
        loads, processes = self._loads(), self._processes()
        workers: list[dict[str, Any]] = []
        for worker in snapshot.workers.values():
            workers.append(
                {
                    **worker_document(worker),
                    "load": load_document(loads.get(worker.identity.worker_id)),
                    "process": processes.pop(worker.identity.name, None),
                }
            )
        document = {
            "at": time.time(),
            "version": __version__,
            "started_at": self._started_at,
            "last_event_id": self._events.last,
            "system": system_document(snapshot) | {"retries_total": snapshot.retries_total},
            "workers": workers,
            "driver": None if snapshot.driver is None else worker_document(snapshot.driver),
            "waiting": [{"name": name, "process": entry} for name, entry in processes.items()],
            "jobs": [job_summary_document(job) for job in snapshot.jobs.values()],
        }
        return json_response(document)

    def _processes(self) -> dict[str, dict[str, Any]]:
        """What the supervisor says of the workers' processes, by name; none without one."""
        document = read_cluster_file(self._folder)
        entries = document["processes"] if document is not None else []
        return {
            entry["name"]: {
                "state": entry["state"],
                "pid": entry["pid"],
                "restarts": entry["restarts"],
                "reason": entry.get("reason"),
                "is_paused": is_paused(entry),
            }
            for entry in entries
            if entry["name"] not in SERVERS
        }


def _add_file(router: Router, path: str, file: StaticFile) -> None:
    def serve(request: Request) -> Response:
        if file.is_known_to(request.headers):
            return Response(304, headers=file.headers)
        return Response(200, file.body, file.content_type, file.headers)

    router.add(
        "GET",
        path,
        serve,
        access=Access.OPEN,
        summary="A file of the page",
        description=Description(
            (
                text_answer("As it is now", file.content_type),
                empty_answer(304, "It is still what its ETag says"),
            ),
            (KNOWN,),
        ),
    )
