"""The documented protocol of foreign HTTP workers: register, heartbeat, ask for a task, complete
it.

Must not know how tasks are chosen. Source: API.md, "Endpoints of the master".
"""

from __future__ import annotations

import time
import uuid
from typing import Any

from minispark.errors import NotFound
from minispark.master.board import SnapshotBoard
from minispark.master.documents import task_document, worker_document
from minispark.master.loop import MasterLoop
from minispark.model import events as ev
from minispark.model.ids import NIL_ID, is_uuid
from minispark.model.states import WorkerKind
from minispark.storage.job_history import JobHistory
from minispark.storage.result_files import size_of
from minispark.transport.router import HttpError, Request, Response, Router, json_response

PATHS_MAX = 100_000
ERROR_CHARS_MAX = 8000


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
        router.add("GET", workers, self.list, summary="All workers")
        router.add("POST", f"{workers}/register", self.register, summary="A worker registers")
        router.add("POST", f"{workers}/heartbeat", self.heartbeat, summary="A worker is alive")
        router.add(
            "GET",
            f"{workers}/task",
            self.task,
            has_effects=True,
            summary="A task for a worker, or 204",
        )
        router.add("POST", f"{workers}/task/complete", self.complete, summary="A task ended")

    def list(self, request: Request) -> Response:
        workers = self._board.latest.workers.values()
        return json_response([worker_document(worker) for worker in workers])

    def register(self, request: Request) -> Response:
        body = _object(request)
        worker_id, host, port = _uuid(body, "id"), _text(body, "host"), _count(body, "port")
        if worker_id == NIL_ID:
            worker_id = str(uuid.uuid4())
        self._refuse_ours(worker_id)
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
        worker_id, active = _uuid(body, "worker_id"), _count(body, "active_tasks")
        if not self._is_known(worker_id):
            raise NotFound(f"there is no worker {worker_id}; register first")
        self._refuse_ours(worker_id)
        self._loop.ask(ev.HeartbeatReceived(worker_id, active, time.time()))
        return Response(200)

    def task(self, request: Request) -> Response:
        worker_id = request.query.get("worker_id", "")
        if not is_uuid(worker_id):
            raise HttpError(400, "bad_id", "worker_id must be the UUID of a worker", "worker_id")
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
        paths = body.get("shuffle_outputs") or []
        output = body.get("output_path")
        if output is not None:
            paths = [output, *paths]
        if not isinstance(paths, list) or not all(isinstance(p, str) for p in paths):
            raise HttpError(400, "invalid_request", "paths are strings", "shuffle_outputs")
        if len(paths) > PATHS_MAX or type(body.get("success")) is not bool:
            raise HttpError(400, "invalid_request", "success is true or false", "success")
        prefix = f"{self._state_dir}/"
        files = tuple(path.removeprefix(prefix) for path in paths)
        event = ev.HttpTaskCompleted(
            attempt_id=_uuid(body, "task_id"),
            is_success=body["success"],
            error=str(body.get("error") or "the worker gave no reason")[:ERROR_CHARS_MAX],
            files=files,
            records=_count(body, "records_processed"),
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
    if not isinstance(value, str) or not 0 < len(value) <= 255:
        raise HttpError(400, "invalid_request", f"{name} must be a string", name)
    return value


def _count(body: dict[str, Any], name: str) -> int:
    value = body.get(name)
    if type(value) is not int or not 0 <= value < 2**62:
        raise HttpError(400, "invalid_request", f"{name} must be a whole number", name)
    return value
