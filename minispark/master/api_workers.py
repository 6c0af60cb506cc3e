"""The documented protocol of foreign HTTP workers: register, heartbeat, ask for a task, complete
it.

Must not know how tasks are chosen. Source: API.md, "Endpoints of the master".
"""

from __future__ import annotations

import time
import uuid
from typing import Any

from minispark.errors import NotFound
from minispark.master.api_cluster_types import (
    COUNT_MAX,
    HEARTBEAT,
    HOST_CHARS_MAX,
    PATHS_MAX,
    PORT_MAX,
    TASK,
    TASK_COMPLETION,
    WORKER_INFO,
    WORKER_REGISTRATION,
)
from minispark.master.board import SnapshotBoard
from minispark.master.documents import task_document, worker_document
from minispark.master.loop import MasterLoop
from minispark.model import events as ev
from minispark.model.ids import NIL_ID, is_uuid
from minispark.model.safe_text import has_control
from minispark.model.states import WorkerKind
from minispark.storage.job_history import JobHistory
from minispark.storage.result_files import size_of
from minispark.transport.api_schema import (
    UNAVAILABLE,
    Description,
    Id,
    ListOf,
    Problem,
    empty_answer,
    json_answer,
)
from minispark.transport.router import HttpError, Request, Response, Router, json_response

ERROR_CHARS_MAX = 8000
FOREIGN_WORKERS_MAX = 1000
"""Anybody may register on loopback, and an id is valid until the master ends."""


WORKER_ID = Id("worker_id", "the id of a worker", is_in_path=False)
NOT_YOURS = Problem(403, "not_yours", "The worker does not speak HTTP")


class WorkersApi:
    """`/api/v1/workers` and what lies below."""

    def __init__(
        self,
        loop: MasterLoop,
        board: SnapshotBoard,
        history: JobHistory,
        state_dir: str,
        host_id: str,
    ) -> None:
        self._loop = loop
        self._board = board
        self._history = history
        self._state_dir = state_dir
        self._host_id = host_id

    def add_routes(self, router: Router) -> None:
        workers = "/api/v1/workers"
        router.add(
            "GET",
            workers,
            self.list,
            summary="All workers",
            description=Description((json_answer(ListOf(WORKER_INFO)),)),
        )
        router.add(
            "POST",
            f"{workers}/register",
            self.register,
            summary="A foreign worker registers; with the nil UUID for its first time",
            description=Description(
                (json_answer(WORKER_REGISTRATION, "With its id"),),
                body=WORKER_REGISTRATION,
                problems=(
                    NOT_YOURS,
                    Problem(429, "too_many_workers", "Too many foreign workers have registered"),
                    UNAVAILABLE,
                ),
            ),
        )
        router.add(
            "POST",
            f"{workers}/heartbeat",
            self.heartbeat,
            summary="A foreign worker is alive",
            description=Description(
                (empty_answer(200, "Noted"),),
                body=HEARTBEAT,
                problems=(
                    NOT_YOURS,
                    Problem(404, "not_found", "No worker has this id: register first"),
                    UNAVAILABLE,
                ),
            ),
        )
        router.add(
            "GET",
            f"{workers}/task",
            self.task,
            has_effects=True,
            summary="A task for a foreign worker",
            description=Description(
                (json_answer(TASK, "The worker has it now"), empty_answer(204, "None is there")),
                parameters=(WORKER_ID,),
                problems=(
                    Problem(403, "unknown_worker", "The worker is unknown or Down"),
                    UNAVAILABLE,
                ),
            ),
        )
        router.add(
            "POST",
            f"{workers}/task/complete",
            self.complete,
            summary="A task of a foreign worker ended",
            description=Description(
                (empty_answer(200, "Noted; a stale or repeated completion changes nothing"),),
                body=TASK_COMPLETION,
                problems=(UNAVAILABLE,),
            ),
        )

    def list(self, request: Request) -> Response:
        workers = self._board.latest.workers.values()
        return json_response([worker_document(worker) for worker in workers])

    def register(self, request: Request) -> Response:
        body = _object(request)
        worker_id, host = _uuid(body, "id"), _text(body, "host")
        port = _count(body, "port", PORT_MAX)
        if worker_id == NIL_ID:
            worker_id = str(uuid.uuid4())
        self._refuse_ours(worker_id)
        self._refuse_too_many(worker_id)
        self._register(worker_id, host, port)
        return json_response({"id": worker_id, "host": host, "port": port})

    def _register(self, worker_id: str, host: str, port: int) -> None:
        identity = ev.WorkerIdentity(
            worker_id=worker_id,
            kind=WorkerKind.HTTP,
            name=f"http-{worker_id[:8]}",
            host=host,
            port=port,
            slots=0,
            pid=None,
            host_id=self._host_id,
            state_dir=self._state_dir,
        )
        self._loop.ask(ev.WorkerRegistered(identity, 0, (), time.time()))

    def heartbeat(self, request: Request) -> Response:
        body = _object(request)
        worker_id, active = _uuid(body, "worker_id"), _count(body, "active_tasks", COUNT_MAX)
        if not self._is_known(worker_id):
            raise NotFound(f"there is no worker {worker_id}; register first")
        self._refuse_ours(worker_id)
        self._loop.ask(ev.HeartbeatReceived(worker_id, active, time.time()))
        return Response(200)

    def task(self, request: Request) -> Response:
        worker_id = request.id(WORKER_ID)
        self._is_known(worker_id)
        answer = self._loop.ask(ev.TaskRequested(worker_id, str(uuid.uuid4()), time.time()))
        if answer is None or not answer.is_known:
            raise HttpError(403, "unknown_worker", f"worker {worker_id} is unknown or Down")
        if answer.task is None:
            return Response(204)
        return json_response(task_document(answer.task, worker_id, self._state_dir))

    def complete(self, request: Request) -> Response:
        """A stale or duplicate completion is also 200, and changes nothing."""
        body = _object(request)
        if type(body.get("success")) is not bool:
            raise HttpError(400, "invalid_request", "success is true or false", "success")
        output = _optional_text(body, "output_path")
        paths = [*([] if output is None else [output]), *_paths(body, "shuffle_outputs")]
        error = _optional_text(body, "error") or "the worker gave no reason"
        prefix = f"{self._state_dir}/"
        files = tuple(path.removeprefix(prefix) for path in paths)
        event = ev.HttpTaskCompleted(
            attempt_id=_uuid(body, "task_id"),
            is_success=body["success"],
            error=error[:ERROR_CHARS_MAX],
            files=files,
            records=_count(body, "records_processed", COUNT_MAX),
            at_unix_s=time.time(),
            bytes_written=size_of(self._state_dir, files),
        )
        self._loop.ask(event)
        return Response(200)

    def _is_known(self, worker_id: str) -> bool:
        """Whether it ever registered; one that an earlier master knew is taken in again."""
        if worker_id in self._board.latest.workers:
            return True
        for row in self._history.workers():
            if row.worker_id == worker_id and row.kind == WorkerKind.HTTP.value:
                self._register(worker_id, row.host, row.port)
                return True
        return False

    def _refuse_too_many(self, worker_id: str) -> None:
        known = self._board.latest.workers
        foreign = sum(worker.identity.kind is WorkerKind.HTTP for worker in known.values())
        if worker_id not in known and foreign >= FOREIGN_WORKERS_MAX:
            raise HttpError(
                429,
                "too_many_workers",
                f"{foreign} foreign workers have registered, which is the limit; "
                "a restart of the master forgets those that do nothing",
            )

    def _refuse_ours(self, worker_id: str) -> None:
        known = self._board.latest.workers.get(worker_id)
        if known is not None and known.identity.kind is WorkerKind.SOCKET:
            raise HttpError(403, "not_yours", f"worker {worker_id} does not speak HTTP")


def _object(request: Request) -> dict[str, Any]:
    body = request.json()
    if not isinstance(body, dict):
        raise HttpError(400, "invalid_request", "the body must be a JSON object")
    return body


def _uuid(body: dict[str, Any], name: str) -> str:
    value = body.get(name)
    if not isinstance(value, str) or not is_uuid(value):
        raise HttpError(400, "invalid_request", f"{name} must be a UUID", name)
    return value.lower()


def _text(body: dict[str, Any], name: str) -> str:
    value = body.get(name)
    if not isinstance(value, str) or not 0 < len(value) <= HOST_CHARS_MAX or has_control(value):
        raise HttpError(400, "invalid_request", f"{name} must be a string of one line", name)
    return value


def _optional_text(body: dict[str, Any], name: str) -> str | None:
    value = body.get(name)
    if value is not None and not isinstance(value, str):
        raise HttpError(400, "invalid_request", f"{name} must be a string or null", name)
    return value


def _paths(body: dict[str, Any], name: str) -> list[str]:
    value = [] if body.get(name) is None else body[name]
    is_right = isinstance(value, list) and all(isinstance(path, str) for path in value)
    if not is_right or len(value) > PATHS_MAX:
        message = f"{name} must be a list of up to {PATHS_MAX} strings"
        raise HttpError(400, "invalid_request", message, name)
    return list(value)


def _count(body: dict[str, Any], name: str, most: int) -> int:
    value = body.get(name)
    if type(value) is not int or not 0 <= value <= most:
        raise HttpError(
            400, "invalid_request", f"{name} must be a whole number from 0 to {most}", name
        )
    return value
