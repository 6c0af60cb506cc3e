"""Opens the inputs of one task: by their paths where this is the master's host, or where the same
file stands at the path here; otherwise they are read through the master, range by range (ADR 21).

Must not know lines or records, nor who asks for which bytes.
"""

from __future__ import annotations

import json
import re
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.client import HTTPException, HTTPResponse, IncompleteRead
from typing import NoReturn
from urllib.parse import quote, urlencode

from minispark.errors import ProtocolError, TaskError
from minispark.model.plan import Split
from minispark.storage.input_files import PIECE_BYTES
from minispark.storage.input_source import InputSource, Opener, open_here, open_if_same
from minispark.transport.http_connection import connection_to
from minispark.transport.messages import MasterPlace

AHEAD_BYTES = 4 << 20
"""Asked for at once: so much crosses a link of 1 Gbit/s in 35 ms, beside which its latency is
little, and each slot holds it in memory once."""
ANSWER_TIMEOUT_S = 10.0
"""How long one connection may be silent."""
PATIENCE_S = 30.0
"""How long a range is asked for again while the master is away: it is started again within seconds,
and a task that fails costs one of its retries."""
RETRY_MIN_S = 0.05
RETRY_MAX_S = 1.0
ERROR_BYTES_MAX = 64 * 1024
_CONTENT_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18})")


@contextmanager
def opener_of(
    master: MasterPlace,
    host_id: str,
    token: str,
    job_id: str,
    tls: ssl.SSLContext | None = None,
) -> Iterator[Opener]:
    """How a task of the job opens inputs on the host `host_id`."""
    if master.host_id == host_id:
        yield open_here
        return
    far = FarInputs(master, token, job_id, tls)
    try:
        yield far.open
    finally:
        far.close()


class FarInputs:
    """What one task reads through the master, over one connection."""

    def __init__(
        self, master: MasterPlace, token: str, job_id: str, tls: ssl.SSLContext | None = None
    ) -> None:
        self._master = f"{master.host}:{master.http_port}"
        self._target = f"/api/v1/jobs/{quote(job_id, safe='')}/input"
        self._headers = {"Authorization": f"Bearer {token}"}
        self._connection = connection_to(master.host, master.http_port, tls, ANSWER_TIMEOUT_S)

    def open(self, split: Split) -> InputSource:
        """The file here if it is the same one, or the master's. Raises TaskError: nobody knows
        which file it was.
        """
        if split.size is None:
            message = "an earlier version planned this job; submit it again"
            raise TaskError(f"{split.path}: {message}")
        return open_if_same(split) or FarInput(self, split, split.size)

    def close(self) -> None:
        self._connection.close()

    def read(self, split: Split, start: int, end: int) -> bytes:
        """Bytes [start, end) of the file, of which there is at least one.

        Raises TaskError that names the file, and the master: it cannot be reached for PATIENCE_S,
        or says why it does not give them.
        """
        wait_s = RETRY_MIN_S
        give_up_at = time.monotonic() + PATIENCE_S
        while True:
            try:
                return self._ask(split, start, end)
            except (OSError, EOFError, HTTPException, ProtocolError, _Unavailable) as error:
                self._connection.close()  # the next question opens it again
                is_hopeless = isinstance(error, ProtocolError)
                if is_hopeless or time.monotonic() + wait_s > give_up_at:
                    said = str(error) or type(error).__name__
                    message = f"cannot be read through the master at {self._master}: {said}"
                    raise TaskError(f"{split.path} {message}") from error
            time.sleep(wait_s)
            wait_s = min(2 * wait_s, RETRY_MAX_S)

    def _ask(self, split: Split, start: int, end: int) -> bytes:
        target = f"{self._target}?{urlencode({'path': split.path})}"
        headers = {**self._headers, "Range": f"bytes={start}-{end - 1}"}
        self._connection.request("GET", target, headers=headers)
        answer = self._connection.getresponse()
        if answer.status != HTTPStatus.PARTIAL_CONTENT:
            self._refused(split, answer)
        given = _CONTENT_RANGE.fullmatch(answer.headers.get("Content-Range", ""))
        if given is None or tuple(map(int, given.groups())) != (start, end - 1, split.size):
            said = given.group() if given is not None else "something else"
            wanted = f"bytes {start}-{end - 1}/{split.size}"
            raise TaskError(
                f"{split.path}: the master at {self._master} was asked for {wanted}, and gives "
                f"{said}"
            )
        data = answer.read()
        if len(data) != end - start:
            raise IncompleteRead(data, end - start - len(data))
        return data

    def _refused(self, split: Split, answer: HTTPResponse) -> NoReturn:
        """Raises TaskError, or _Unavailable where to ask again may help."""
        body = answer.read(ERROR_BYTES_MAX)
        try:
            said = str(json.loads(body)["error"]["message"])
        except (ValueError, KeyError, TypeError):
            said = f"status {answer.status}"
        # a worker that was stopped for a while within its question was too slow
        if answer.status >= 500 or answer.status == HTTPStatus.REQUEST_TIMEOUT:
            raise _Unavailable(said)
        raise TaskError(f"{split.path}: the master at {self._master} does not give it: {said}")


class _Unavailable(Exception):
    """The master cannot answer now."""


class FarInput:
    """One file, of which the last range that was read is kept."""

    def __init__(self, files: FarInputs, split: Split, size: int) -> None:
        """`size`: of the whole file, in bytes."""
        self._files = files
        self._split = split
        self._size = size
        self._start = 0
        self._data = b""

    def pread(self, count: int, offset: int) -> bytes:
        """As `InputSource` has it. Raises TaskError."""
        end = min(offset + count, self._size)
        if offset >= end:
            return b""
        if not self._start <= offset < end <= self._start + len(self._data):
            self._data = b""  # not two of them at a time
            self._data = self._files.read(self._split, offset, self._end_of_range(offset, end))
            self._start = offset
        return self._data[offset - self._start : end - self._start]

    def _end_of_range(self, offset: int, end: int) -> int:
        """Ahead, but hardly beyond the split, whose last line ends soon."""
        wanted = min(offset + AHEAD_BYTES, self._split.end + PIECE_BYTES, self._size)
        return max(end, wanted)

    def close(self) -> None:
        self._data = b""
