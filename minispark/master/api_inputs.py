"""The HTTP handler through which workers of other hosts read inputs that they do not see themselves
(ADR 21): ranges of files that a job's plan reads, and nothing else.

Must not know sockets, nor what is in the files.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import closing

from minispark.errors import ClusterError, InputRefused, NotFound, TokenNeeded
from minispark.master.board import SnapshotBoard
from minispark.master.results import Results
from minispark.model.plan import PhysicalPlan, Split
from minispark.storage.input_files import OURS
from minispark.storage.input_source import LocalInput
from minispark.transport.api_schema import (
    UNAVAILABLE,
    Answer,
    Anything,
    Description,
    Header,
    Id,
    Problem,
    TextQuery,
)
from minispark.transport.router import Access, HttpError, Request, Response, Router

RANGE_BYTES_MAX = 8 << 20
"""Of one answer; whoever asks for more gets so much, as HTTP allows (RFC 9110, 14.2)."""
PIECE_BYTES = 256 * 1024
"""Read, checked and sent at once."""
PATH_CHARS_MAX = 4096
RANGE_CHARS_MAX = 100
JOBS_MAX = 32
"""So many jobs' inputs are kept, since a plan takes long to read."""
BYTES_TYPE = "application/octet-stream"

JOB = Id("id", "the id of a job")
PATH = TextQuery("path", "the path of a file that the job reads", PATH_CHARS_MAX, None)
RANGE = Header("Range", "which bytes, as `bytes=FIRST-LAST`", RANGE_CHARS_MAX)
PROBLEMS = (
    Problem(404, "not_found", "There is no such job, or it does not read this file"),
    Problem(409, "input_changed", "The file is not what it was when the job was planned"),
    Problem(409, "input_refused", "Something that must not be read stands at the path"),
    Problem(416, "bad_range", "The file ends before this range; `Content-Range` says where"),
    UNAVAILABLE,
)
_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")


class InputsApi:
    """`/api/v1/jobs/{id}/input`."""

    def __init__(self, board: SnapshotBoard, results: Results) -> None:
        self._board = board
        self._results = results
        self._lock = threading.Lock()
        # Protected by self._lock:
        self._inputs: dict[str, dict[str, Split]] = {}
        """Of each job, by path, one split of each file; who was asked for last stands last."""

    def add_routes(self, router: Router) -> None:
        answer = Answer(206, "The bytes, at most 8 MiB of them", {BYTES_TYPE: Anything()})
        router.add(
            "GET",
            "/api/v1/jobs/{id}/input",
            self.read,
            access=Access.TOKEN,
            summary="A range of a file that the job reads, for workers that do not see it",
            description=Description((answer,), (JOB, PATH, RANGE), problems=PROBLEMS),
        )

    def read(self, request: Request) -> Response:
        if not request.is_authenticated:  # not even where http_auth is `never`
            raise TokenNeeded("inputs are read with the token")
        split = self._planned(request.id(JOB), request.text(PATH))
        with closing(_open(split)) as source:
            size = source.size
        start, end = _range_of(request.header(RANGE), size)
        return Response(
            206,
            content_type=BYTES_TYPE,
            headers={"Content-Range": f"bytes {start}-{end - 1}/{size}"},
            stream=_pieces(split, start, end),
            stream_bytes=end - start,
        )

    def _planned(self, job_id: str, path: str) -> Split:
        """A split of the file, for what it says of it. Raises NotFound."""
        with self._lock:
            inputs = self._inputs.pop(job_id, None)
            if inputs is not None:
                self._inputs[job_id] = inputs
        if job_id not in self._board.latest.jobs:
            raise NotFound(f"there is no job {job_id}")
        if inputs is None:
            plan = self._results.plan(job_id)
            if plan is None:
                raise NotFound(f"job {job_id} has no plan yet: nobody reads for it")
            inputs = _inputs_of(plan)
            with self._lock:
                self._inputs[job_id] = inputs
                while len(self._inputs) > JOBS_MAX:
                    del self._inputs[next(iter(self._inputs))]
        if path not in inputs:
            raise NotFound(f"job {job_id} does not read {path}")
        return inputs[path]


def _inputs_of(plan: PhysicalPlan) -> dict[str, Split]:
    splits = (split for stage in plan.stages for task in stage.splits for split in task)
    return {split.path: split for split in splits}


def _open(split: Split) -> LocalInput:
    """The file as it was planned with. Raises HttpError 409, ClusterError."""
    try:
        source = LocalInput(split.path)
    except InputRefused as error:
        raise HttpError(409, error.code, str(error)) from error
    except OSError as error:
        if error.errno in OURS:
            raise ClusterError(f"{split.path}: {error.strerror}") from error
        raise _changed(split.path, f"it cannot be opened ({error.strerror})") from error
    if not source.is_as_planned(split):
        source.close()
        raise _changed(split.path, "its size or the time of its last change is another")
    return source


def _changed(path: str, how: str) -> HttpError:
    message = f"{path} changed since the job was planned: {how}; submit the job again"
    return HttpError(409, "input_changed", message)


def _range_of(text: str | None, size: int) -> tuple[int, int]:
    """[start, end) within a file of `size` bytes. Raises HttpError 400, 416.

    Source: RFC 9110, 14.1.
    """
    found = _RANGE.fullmatch((text or "").strip())
    if found is None or found.groups() == ("", ""):
        raise HttpError(400, "bad_header", "send one range: `Range: bytes=FIRST-LAST`", "Range")
    first, last = found.groups()
    if not first:
        start, end = max(0, size - int(last)), size
    else:
        start, end = int(first), min(size, int(last) + 1 if last else size)
    if start >= size:
        headers = {"Content-Range": f"bytes */{size}"}
        message = f"the file has {size} bytes"
        raise HttpError(416, "bad_range", message, "Range", headers)
    if start >= end:
        raise HttpError(400, "bad_header", "the range ends before it begins", "Range")
    return start, min(end, start + RANGE_BYTES_MAX)


def _pieces(split: Split, start: int, end: int) -> Iterator[bytes]:
    """The bytes. The connection ends without some of them when the file changes: whoever asks again
    is told so. It is opened for it, since nobody reads the answer of a HEAD request.
    """
    try:
        source = _open(split)
    except (HttpError, ClusterError) as error:
        raise OSError(str(error)) from error
    with closing(source):
        while start < end:
            piece = source.pread(min(PIECE_BYTES, end - start), start)
            if not piece or not source.is_as_planned(split):
                raise OSError(f"{split.path} changed while it was read")
            yield piece
            start += len(piece)
