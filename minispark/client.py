"""A small client of the HTTP API: submit, wait, results as an iterator. The command line uses it
too.

Standard library only. Of processes it knows one thing: whether `cluster.json` says that no master
will come. Must not know how anything is shown.
"""

from __future__ import annotations

import json
import math
import os
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from http.client import BadStatusLine, HTTPException, HTTPResponse, IncompleteRead
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote, urlencode

from minispark.errors import (
    ClusterError,
    DeadlineExceeded,
    InvalidRequest,
    MiniSparkError,
    NoCluster,
    NotFound,
    ProtocolError,
)
from minispark.supervisor.state_dir import read_cluster_file, why_ended
from minispark.transport.http_connection import http_connection
from minispark.transport.tls import TLS_NEEDED, TlsSocket, client_context, peek

DEFAULT_URL = "http://127.0.0.1:8080"
TIMEOUT_S = 60.0
WAIT_S = 20
"""One long poll; shorter than any proxy's patience."""
GAP_S = 30.0
"""How long a killed master is waited for, by calls that may be repeated."""
FIRST_GAP_S = 5.0
"""How long one that was never reached is: somebody starts it again by hand, or the address is
wrong.
"""
GAP_POLL_S = 0.1
LOOK_S = 0.25
"""How often it is looked at whether there will be an answer at all."""
PAGE_ATTEMPTS = 1000
READ_BYTES = 65536
_BROKEN = (BadStatusLine, IncompleteRead)
ENDED = ("SUCCEEDED", "FAILED", "CANCELLED")
"""States of a job that stay."""


class Client:
    """One connection to a master, used by one thread. Closes with `with`, or `close()`."""

    def __init__(
        self,
        master_url: str | None = None,
        token: str | None = None,
        *,
        ca: str | None = None,
        state_dir: Path | None = None,
    ) -> None:
        """Defaults: `MASTER_URL`, else http://127.0.0.1:8080; `MINISPARK_TOKEN`, else no token.

        `ca`: the file of whom to believe at https://; else `MINISPARK_TLS_CA`. `state_dir` is that
        of a cluster on this host: its `cluster.json` says when to stop waiting. Raises NoCluster
        for an address that is none, ConfigError for a CA that is none.
        """
        self.master_url = master_url or os.environ.get("MASTER_URL") or DEFAULT_URL
        self._token = token if token is not None else os.environ.get("MINISPARK_TOKEN")
        tls = client_context(ca) if ca else None
        self._connection = http_connection(self.master_url, tls, TIMEOUT_S, self._shake_hands)
        self._state_dir = state_dir
        self._was_reached = False

    @classmethod
    def of_state_dir(cls, state_dir: str | Path) -> Self:
        """The client of the cluster that runs on a state directory of yours. Raises NoCluster."""
        folder = Path(state_dir)
        try:
            if (folder / "cluster.json").stat().st_uid != os.getuid():
                raise NoCluster(f"the cluster on {folder} is another user's")
            document = json.loads((folder / "cluster.json").read_text(encoding="utf-8"))
            token = (folder / "token").read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            raise NoCluster(f"no cluster runs on {folder}; start one with `up`") from error
        ca = (document.get("tls") or {}).get("ca")
        return cls(document["master_url"], token, ca=ca, state_dir=folder)

    def close(self) -> None:
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- jobs ------------------------------------------------------------------------------

    def submit(
        self, request: Mapping[str, Any], idempotency_key: str | None = None
    ) -> dict[str, Any]:
        """Submit a JobRequest; returns its JobInfo. Raises InvalidRequest with `field`.

        One that breaks off is repeated, under one key, so that the job is submitted once.
        """
        headers = {"Idempotency-Key": idempotency_key or str(uuid.uuid4())}
        return self._dict(self._call("POST", "/api/v1/jobs", request, headers))

    def job(self, job_id: str, wait_s: int = 0) -> dict[str, Any]:
        """JobInfo; with `wait_s` after the next change, or that many seconds."""
        query = f"?wait_s={wait_s}" if wait_s else ""
        return self._dict(self._call("GET", f"/api/v1/jobs/{quote(job_id)}{query}"))

    def wait(
        self,
        job_id: str,
        timeout_s: float | None = None,
        on_progress: Callable[[dict[str, Any]], None] | None = None,
    ) -> dict[str, Any]:
        """Wait until the job ended, also while the master is started again; returns its JobInfo.

        Raises DeadlineExceeded, and NoCluster when there is no master for GAP_S.
        """
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        if on_progress is not None:
            on_progress(self.job(job_id))  # before anything changes
        while True:
            left_s = WAIT_S if deadline is None else deadline - time.monotonic()
            job = self.job(job_id, max(0, min(WAIT_S, math.ceil(left_s))))
            if on_progress is not None:
                on_progress(job)
            if job["state"] in ENDED:
                return job
            if left_s <= 0:
                raise DeadlineExceeded(f"job {job_id} did not end within {timeout_s:g} s")

    def results(
        self, job_id: str, limit: int | None = None, offset: int = 0
    ) -> Iterator[tuple[str | None, str]]:
        """The records of the job's final stage, one (key, value) at a time. Raises as
        `result_lines` does.
        """
        for lines in self.result_lines(job_id, limit, offset):
            rows = json.loads(b"[%b]" % lines[:-1].replace(b"\n", b","))
            yield from ((row["key"], row["value"]) for row in rows)

    def result_lines(
        self, job_id: str, limit: int | None = None, offset: int = 0
    ) -> Iterator[bytes]:
        """The same as whole lines of JSON, many at a time.

        A stream that breaks off goes on where it stopped. Raises ClusterError when it breaks off
        there again.
        """
        end = None if limit is None else offset + limit
        broken_at = None
        while True:
            query = {"format": "jsonl", "offset": offset}
            if end is not None:
                query["limit"] = end - offset
            path = f"/api/v1/jobs/{quote(job_id)}/results?{urlencode(query)}"
            response = self._exchange("GET", path, None, None, lambda response: response)
            try:
                for lines in _whole_lines(response):
                    offset += lines.count(b"\n")
                    yield lines
                return
            except (OSError, HTTPException) as error:
                if broken_at == offset:
                    why = "the results broke off; the master's log says why"
                    raise ClusterError(why) from error
                broken_at = offset
            finally:
                if not response.isclosed():
                    self._connection.close()  # the rest was not wanted

    def result_files(self, job_id: str) -> list[dict[str, Any]]:
        """The documented TaskResults."""
        return self._list(self._call("GET", f"/api/v1/jobs/{quote(job_id)}/results"))

    def cancel(self, job_id: str) -> dict[str, Any]:
        return self._dict(self._call("DELETE", f"/api/v1/jobs/{quote(job_id)}"))

    def jobs(self) -> list[dict[str, Any]]:
        """All jobs, newest last."""
        return self._list(self._call("GET", "/api/v1/jobs"))

    def stages(self, job_id: str) -> list[dict[str, Any]]:
        return self._list(self._call("GET", f"/api/v1/jobs/{quote(job_id)}/stages"))

    def tasks(
        self, job_id: str, limit: int = 100, offset: int = 0, state: str | None = None, **only: Any
    ) -> Any:
        """One page of attempts: `{"tasks": [...], "total": n}`. `only`: of a `stage`, and of a
        `partition` of it; `order="newest"`: those that ended last come first.
        """
        query = {"limit": limit, "offset": offset, "state": state, **only}
        query = {name: value for name, value in query.items() if value is not None}
        return self._call("GET", f"/api/v1/jobs/{quote(job_id)}/tasks?{urlencode(query)}")

    def attempts(
        self, job_id: str, state: str | None = None, **only: Any
    ) -> Iterator[dict[str, Any]]:
        """Every attempt of the job, or of those that `tasks` may be asked for, however many pages
        they fill.
        """
        offset = 0
        while True:
            page = self.tasks(job_id, PAGE_ATTEMPTS, offset, state, **only)
            yield from page["tasks"]
            offset += len(page["tasks"])
            if not page["tasks"] or offset >= page["total"]:
                return

    def plan(self, job_id: str) -> dict[str, Any]:
        """The physical plan: `kind`, `text`, `stages`."""
        return self._dict(self._call("GET", f"/api/v1/jobs/{quote(job_id)}/plan"))

    def profile(self, job_id: str) -> dict[str, Any]:
        """Where the time of the complete stages went, phase by phase and operator by operator."""
        return self._dict(self._call("GET", f"/api/v1/jobs/{quote(job_id)}/profile"))

    def timeline(self, job_id: str) -> Iterator[bytes]:
        """The job's attempts as Chrome trace events: one JSON document, in pieces.

        Raises ClusterError when it breaks off.
        """
        path = f"/api/v1/jobs/{quote(job_id)}/timeline"
        response = self._exchange("GET", path, None, None, lambda response: response)
        try:
            while piece := response.read1(READ_BYTES):
                yield piece
        except (OSError, HTTPException) as error:
            why = "the timeline broke off; ask again"
            raise ClusterError(why) from error
        finally:
            if not response.isclosed():
                self._connection.close()  # the rest was not wanted

    def events(
        self, job_id: str, stage: str | None = None, partition: int | None = None
    ) -> Iterator[dict[str, Any]]:
        """What became of the job and of all workers, or of one of its stages or tasks, oldest
        first. Needs the token.
        """
        after = 0
        named = {"job": job_id, "stage": stage, "partition": partition}
        while True:
            asked = {"after": after, "limit": PAGE_ATTEMPTS, **named}
            query = urlencode({name: value for name, value in asked.items() if value is not None})
            headers = {"Accept": "application/json"}
            page = self._dict(self._call("GET", f"/api/v1/events?{query}", headers=headers))
            yield from page["events"]
            after = page["last_id"]
            if len(page["events"]) < PAGE_ATTEMPTS:
                return

    def explain(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """The plan that a request would get."""
        return self._dict(self._call("POST", "/api/v1/explain", request))

    def find_job(self, text: str) -> dict[str, Any]:
        """The job of an id, a unique prefix of one, a name (its newest job), or `last`."""
        jobs = self.jobs()
        return jobs[choose_job([(job["id"], job["request"]["name"]) for job in jobs], text)]

    # --- cluster ---------------------------------------------------------------------------

    def workers(self) -> list[dict[str, Any]]:
        return self._list(self._call("GET", "/api/v1/workers"))

    def cluster(self) -> dict[str, Any]:
        """Version, ports, state directory, workers."""
        return self._dict(self._call("GET", "/api/v1/cluster"))

    def metrics(self, path: str) -> Any:
        """A documented metrics document: `metrics/system`, `jobs/{id}/metrics` …"""
        return self._call("GET", f"/api/v1/{path}")

    # --- the wire ----------------------------------------------------------------------------

    def _call(
        self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> Any:
        data = self._exchange(method, path, body, headers, HTTPResponse.read)
        try:
            return json.loads(data) if data else None
        except ValueError as error:
            raise NoCluster(f"{self.master_url} is no master: it answers no JSON") from error

    def _exchange(
        self,
        method: str,
        path: str,
        body: Any,
        headers: Mapping[str, str] | None,
        take: Callable[[HTTPResponse], Any],
    ) -> Any:
        """What `take` reads of the successful response. Raises the error that another one means.

        While the master is gone, what may be repeated is; then NoCluster.
        """
        sent = dict(headers or {})
        if self._token is not None:
            sent["Authorization"] = f"Bearer {self._token}"
        data = None
        if body is not None:
            data = json.dumps(body).encode()
            sent["Content-Type"] = "application/json"
        deadline = None
        while True:
            try:
                self._connection.request(method, path, data, sent)
                self._await_answer()
                response = self._connection.getresponse()
                self._was_reached = True
                if response.status >= 400:
                    raise _error(response.status, response.read())
                return take(response)
            except (OSError, EOFError, HTTPException, ProtocolError) as error:
                self._connection.close()
                now = time.monotonic()
                deadline = deadline or now + self._patience_s(error)
                if now >= deadline or not _is_gap(error, method, sent):
                    raise NoCluster(f"no master answers at {self.master_url}: {error}") from error
                time.sleep(GAP_POLL_S)  # the master died, and another one is started

    def _shake_hands(self, sock: TlsSocket) -> None:
        self._await(lambda: sock.shake_hands(f"the master at {self.master_url}", LOOK_S))

    def _await_answer(self) -> None:
        """Until it begins. Raises as `_await` does."""
        sock = self._connection.sock
        sock.settimeout(LOOK_S)
        self._await(lambda: peek(sock))
        sock.settimeout(TIMEOUT_S)

    def _await(self, step: Callable[[], object]) -> None:
        """Until the step does not raise TimeoutError any more. Raises NoCluster when the supervisor
        says that there will be no master: it holds the listening socket, which takes connections as
        long as it lives.
        """
        deadline = time.monotonic() + TIMEOUT_S
        while True:
            try:
                step()
                return
            except TimeoutError:
                self._check_master()
                if time.monotonic() > deadline:
                    raise

    def _check_master(self) -> None:
        document = read_cluster_file(self._state_dir) if self._state_dir is not None else None
        for entry in document["processes"] if document is not None else ():
            why = why_ended(entry) if entry["name"] == "master" else None
            if why is not None:
                self._connection.close()
                raise NoCluster(why)

    def _patience_s(self, error: Exception) -> float:
        if self._was_reached or not isinstance(error, ConnectionRefusedError):
            return GAP_S
        # nobody listens: the supervisor of a state directory would, and is gone
        return FIRST_GAP_S if self._state_dir is None else 0.0

    @staticmethod
    def _dict(value: Any) -> dict[str, Any]:
        return dict(value)

    @staticmethod
    def _list(value: Any) -> list[dict[str, Any]]:
        return list(value)


def _whole_lines(response: HTTPResponse) -> Iterator[bytes]:
    """Raises IncompleteRead when the response breaks off; iterating over it would just end."""
    rest = b""
    while data := response.read1(READ_BYTES):
        lines, newline, rest = (rest + data).rpartition(b"\n")
        if newline:
            yield lines + newline


def _is_gap(error: Exception, method: str, headers: Mapping[str, str]) -> bool:
    """Whether the master broke off, and it does no harm to ask again."""
    if isinstance(error, ConnectionRefusedError):
        return True  # it never heard the question
    is_repeatable = method == "GET" or "Idempotency-Key" in headers
    return is_repeatable and isinstance(error, (ConnectionError, EOFError, *_BROKEN))


def _error(status: int, data: bytes) -> MiniSparkError:
    try:
        error = json.loads(data)["error"]
        message, code, field = error["message"], error["code"], error.get("field")
    except (ValueError, KeyError, TypeError):
        message, code, field = f"the master answered {status}", "unknown", None
    if code == TLS_NEEDED:
        return NoCluster(message)
    if status in (400, 413, 415):
        return InvalidRequest(message, field, code)
    if status == 404:
        return NotFound(message)
    return ClusterError(message)


def choose_job(jobs: Sequence[tuple[str, str]], text: str) -> int:
    """Which of the jobs, (id, name) each, oldest first, a user means. Raises NotFound."""
    if text == "last" and jobs:
        return len(jobs) - 1
    exact = [i for i, (job_id, _) in enumerate(jobs) if job_id == text.lower()]
    named = [i for i, (_, name) in enumerate(jobs) if name == text]
    prefixed = [i for i, (job_id, _) in enumerate(jobs) if job_id.startswith(text.lower())]
    if exact or named:
        return (exact or named)[-1]
    if len(prefixed) > 1:
        raise NotFound(f"{len(prefixed)} jobs have ids that begin with {text}; write more of it")
    if not prefixed:
        raise NotFound(f"there is no job {text!r}; `jobs` lists them")
    return prefixed[0]
