"""Inputs that a worker of another host reads: its own copy if it is the same file, or ranges of the
master's, which gives those of the job's plan and nothing else.
"""

from __future__ import annotations

import bz2
import gzip
import http.client
import os
import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from minispark.compute.batch import records
from minispark.errors import TaskError
from minispark.master import api_inputs
from minispark.model.job import ReaderOptions
from minispark.model.plan import ReadSplits, Split
from minispark.storage import input_source
from minispark.storage.input_source import LocalInput, open_here
from minispark.storage.readers import Reader
from minispark.transport.messages import MasterPlace
from minispark.worker import far_inputs
from minispark.worker.far_inputs import FarInputs, opener_of
from tests.certificates import tls
from tests.unit.http_master import JOBS, TOKEN, HttpMaster, one_reader

THERE, ELSEWHERE = "the master's host", "another host"


@pytest.fixture
def master(tmp_path: Path) -> Iterator[HttpMaster]:
    made = HttpMaster(tmp_path)
    yield made
    made.close()


@pytest.fixture
def not_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """No worker sees any file. (The master opens them by another name.)"""
    monkeypatch.setattr(far_inputs, "open_if_same", lambda split: None)


def place(master: HttpMaster) -> MasterPlace:
    return MasterPlace(THERE, "127.0.0.1", master.port)


def submitted(master: HttpMaster, path: str, **request: Any) -> tuple[str, Split]:
    """A job that reads this file, and its first split."""
    node = {"path": path, **request.pop("node", {})}
    asked = one_reader(node=node, plan="naive", parallelism=1, **request)
    status, answer = master.call("POST", JOBS, asked, token=True)
    assert status == 200, answer
    plan = master.results.plan(answer["id"])
    assert plan is not None
    return answer["id"], plan.stages[0].splits[0][0]


def ask(
    master: HttpMaster, job_id: str, path: object, range: str | None = "bytes=0-", **more: Any
) -> tuple[int, http.client.HTTPMessage, bytes]:
    headers = {"Authorization": f"Bearer {TOKEN}", **more.pop("headers", {})}
    headers |= {"Range": range} if range is not None else {}
    connection = http.client.HTTPConnection("127.0.0.1", master.port, timeout=20)
    try:
        target = f"{JOBS}/{job_id}/input?path={path}"
        connection.request(more.pop("method", "GET"), target, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()
    finally:
        connection.close()


# --- what the master gives -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "start", "end"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=2-5", 2, 6),
        ("bytes=7-", 7, 10),
        ("bytes=5-99", 5, 10),
        ("bytes=-3", 7, 10),
        ("bytes=-99", 0, 8),
        ("bytes=0-", 0, 8),
    ],
)
def test_a_range_is_given_as_http_has_it(
    master: HttpMaster, monkeypatch: pytest.MonkeyPatch, asked: str, start: int, end: int
) -> None:
    monkeypatch.setattr(api_inputs, "RANGE_BYTES_MAX", 8)
    monkeypatch.setattr(api_inputs, "PIECE_BYTES", 3)
    path = master.inputs / "x.txt"
    path.write_bytes(b"0123456789")
    job_id, _ = submitted(master, "x.txt")
    given = (206, f"bytes {start}-{end - 1}/10", str(end - start))
    for method, body in (("GET", b"0123456789"[start:end]), ("HEAD", b"")):
        status, headers, data = ask(master, job_id, path, asked, method=method)
        assert (status, headers["Content-Range"], headers["Content-Length"]) == given
        assert data == body


def test_a_range_that_is_none_or_lies_behind_the_end_is_refused(master: HttpMaster) -> None:
    path = master.inputs / "a.txt"
    job_id, _ = submitted(master, "a.txt")
    for asked in (None, "", "bytes=", "bytes=-", "bytes=2-1", "bytes=0-1,2-3", "lines=0-1"):
        status, _, body = ask(master, job_id, path, asked)
        assert status == 400 and b'"bad_header"' in body, (asked, body)
    for asked in ("bytes=4-", "bytes=9-3", f"bytes={10**17}-", "bytes=-0"):
        status, headers, body = ask(master, job_id, path, asked)
        assert (status, headers["Content-Range"]) == (416, "bytes */4"), (asked, body)
        assert b'"bad_range"' in body


def test_only_what_the_job_reads_is_given(master: HttpMaster) -> None:
    job_id, _ = submitted(master, "a.txt")
    (master.inputs / "other.txt").write_text("secret")
    (master.inputs / "link.txt").symlink_to("a.txt")
    database = master.store.path
    for path in ("/etc/passwd", master.inputs / "other.txt", master.inputs / "link.txt", database):
        status, _, body = ask(master, job_id, path)
        assert (status, b"secret" in body) == (404, False), path
    for path in ("a.txt", f"{master.inputs}/./a.txt", f"{master.inputs}/../in/a.txt", ""):
        assert ask(master, job_id, path)[0] == 404, path
    assert ask(master, "00000000-0000-0000-0000-000000000000", master.inputs / "a.txt")[0] == 404


@pytest.mark.parametrize("http_auth", ["auto", "required", "never"])
def test_nobody_gets_bytes_without_the_token(tmp_path: Path, http_auth: str) -> None:
    master = HttpMaster(tmp_path, http_auth=http_auth)
    try:
        job_id, _ = submitted(master, "a.txt")
        path = master.inputs / "a.txt"
        for headers in ({"Authorization": ""}, {"Authorization": "Bearer wrong"}):
            assert ask(master, job_id, path, headers=headers)[0] == 401
        target = f"{JOBS}/{job_id}/input?path={path}"
        status, answer = master.call("GET", target, Range="bytes=0-1")
        assert (status, answer["error"]["code"]) == (401, "token_needed")
        assert ask(master, job_id, path)[0] == 206
    finally:
        master.close()


@pytest.mark.parametrize("how", ["other size", "other time", "gone", "a link", "a folder"])
def test_a_file_that_changed_since_the_plan_is_not_given(master: HttpMaster, how: str) -> None:
    path = master.inputs / "a.txt"
    job_id, _ = submitted(master, "a.txt")
    code = b'"input_changed"'
    match how:
        case "other size":
            status = path.stat()
            path.write_text("a b c\n")
            os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
        case "other time":
            os.utime(path, ns=(0, 0))
        case "gone":
            path.unlink()
        case "a link":
            shutil.copy2(path, master.inputs / "same")
            path.unlink()
            path.symlink_to("same")
            code = b'"input_refused"'
        case _:
            path.unlink()
            path.mkdir()
            code = b'"input_refused"'
    status_code, _, body = ask(master, job_id, path)
    assert status_code == 409 and code in body, body


def test_a_file_that_changes_while_it_is_sent_is_not_given_to_its_end(
    master: HttpMaster, not_here: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even its last range: the connection ends, and the next answer says why."""
    path = master.inputs / "a.txt"
    job_id, split = submitted(master, "a.txt")
    far = FarInputs(place(master), TOKEN, job_id)
    opened: list[str] = []

    class Changing(LocalInput):
        def pread(self, count: int, offset: int) -> bytes:
            data = super().pread(count, offset)
            os.utime(path, ns=(0, 0))
            opened.append(str(path))
            return data

    monkeypatch.setattr(api_inputs, "LocalInput", Changing)
    with pytest.raises(TaskError, match="changed since the job was planned"):
        far.read(split, 0, 4)
    far.close()
    assert len(opened) == 1


def test_over_tls_it_is_read_from_whom_the_worker_believes(
    tmp_path: Path, not_here: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Split] = []

    class Counting(FarInputs):
        def _ask(self, split: Split, start: int, end: int) -> bytes:
            asked.append(split)
            return super()._ask(split, start, end)

    monkeypatch.setattr(far_inputs, "FarInputs", Counting)
    monkeypatch.setattr(far_inputs, "PATIENCE_S", 0.3)
    master = HttpMaster(tmp_path, tls=tls())
    try:
        (master.inputs / "a.txt").write_text(TEXT)
        job_id, split = submitted(master, "a.txt")
        with opener_of(place(master), ELSEWHERE, TOKEN, job_id, tls().client) as opener:
            assert content(opener, split) == LINES
        for context, words in (
            (tls("others").client, r"a\.txt cannot be read .* certificate of .* is not valid here"),
            (None, r"a\.txt: the master at .* this port speaks TLS only"),
        ):
            asked.clear()
            with opener_of(place(master), ELSEWHERE, TOKEN, job_id, context) as opener:
                with pytest.raises(TaskError, match=words):
                    content(opener, split)
            assert len(asked) == 1  # to ask again would not help
    finally:
        master.close()


# --- what a worker reads -------------------------------------------------------------------------


def content(opener: Callable[[Split], Any], split: Split, **options: Any) -> list[str]:
    source = ReadSplits("r", "text", ReaderOptions(**options))
    batches = Reader(opener).read(source, (split,), 0)
    return [value for batch in batches for _, value in records(batch)]


LINES = [f"línea {i}" + "x" * (i % 90) for i in range(3000)] + ["z" * 200_000, "end"]
TEXT = "\n".join(LINES)


@pytest.mark.parametrize(
    ("name", "data", "options"),
    [
        ("t.txt", TEXT.encode(), {}),
        ("t.txt", TEXT.encode("utf-16"), {"encoding": "utf-16"}),
        ("t.gz", gzip.compress(TEXT.encode()), {}),
        ("t.bz2", bz2.compress(TEXT.encode()), {}),
    ],
)
@pytest.mark.parametrize("ahead", [1, 1000, 4 << 20])
def test_what_is_read_through_the_master_is_what_is_there(
    master: HttpMaster,
    not_here: None,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    data: bytes,
    options: dict[str, str],
    ahead: int,
) -> None:
    monkeypatch.setattr(far_inputs, "AHEAD_BYTES", ahead)
    (master.inputs / name).write_bytes(data)
    job_id, split = submitted(master, name, node=dict(options))
    with opener_of(place(master), ELSEWHERE, TOKEN, job_id) as opener:
        assert content(opener, split, **options) == LINES


def test_bytes_are_asked_for_ahead_and_hardly_beyond_the_split(
    master: HttpMaster, not_here: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = 20 << 20
    (master.inputs / "big.txt").write_bytes(b"x" * 99 + b"\n" + b"a b\n" * (size // 4 - 25))
    asked_for = one_reader(node={"path": "big.txt"}, plan="naive")
    answer = master.call("POST", JOBS, asked_for, token=True)[1]
    plan = master.results.plan(answer["id"])
    assert plan is not None
    ((first,), (second,)) = plan.stages[0].splits
    asked: list[tuple[int, int]] = []
    read = FarInputs.read

    def noted(self: FarInputs, split: Split, start: int, end: int) -> bytes:
        asked.append((start, end))
        return read(self, split, start, end)

    monkeypatch.setattr(FarInputs, "read", noted)
    with opener_of(place(master), ELSEWHERE, TOKEN, answer["id"]) as opener:
        assert len(content(opener, first)) + len(content(opener, second)) == size // 4 - 24
    assert max(end - start for start, end in asked) == far_inputs.AHEAD_BYTES
    assert len(asked) == 6
    assert sum(end - start for start, end in asked) < size + 8 * 64 * 1024


def test_near_and_far(master: HttpMaster, tmp_path: Path) -> None:
    job_id, split = submitted(master, "a.txt")
    with opener_of(place(master), THERE, TOKEN, job_id) as opener:
        assert opener is open_here
    with opener_of(place(master), ELSEWHERE, TOKEN, job_id) as opener:
        source = opener(split)
        assert isinstance(source, LocalInput)  # the very file, as on a shared file system
        source.close()


@pytest.mark.parametrize("how", ["other time", "other size", "a link", "a folder", "a FIFO"])
def test_another_file_at_the_path_here_is_never_read(
    master: HttpMaster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    job_id, split = submitted(master, "a.txt")
    here = tmp_path / "here"
    match how:
        case "other time":
            here.write_text("c d\n")
        case "other size":
            here.write_text("c d e\n")
            os.utime(here, ns=(split.mtime_ns, split.mtime_ns))
        case "a link":
            shutil.copy2(split.path, tmp_path / "copy")
            here.symlink_to("copy")
        case "a folder":
            here.mkdir()
        case _:
            os.mkfifo(here)

    def seen_here(path: str) -> LocalInput:
        return LocalInput(str(here) if path == split.path else path)

    monkeypatch.setattr(input_source, "LocalInput", seen_here)
    with opener_of(place(master), ELSEWHERE, TOKEN, job_id) as opener:
        assert content(opener, split) == ["a b"]


def test_what_the_master_refuses_fails_the_task_at_once_and_says_why(
    master: HttpMaster, not_here: None
) -> None:
    job_id, split = submitted(master, "a.txt")
    os.utime(split.path, ns=(0, 0))
    with opener_of(place(master), ELSEWHERE, TOKEN, job_id) as opener:
        with pytest.raises(TaskError) as caught:
            content(opener, split)
    assert str(caught.value).startswith(f"{split.path}: the master at 127.0.0.1:{master.port}")
    assert "changed since the job was planned" in str(caught.value)


def test_a_far_worker_reads_nothing_for_a_job_of_which_nobody_noted_the_files(
    master: HttpMaster,
) -> None:
    job_id, split = submitted(master, "a.txt")
    older = replace(split, size=None, mtime_ns=None)
    with opener_of(place(master), ELSEWHERE, TOKEN, job_id) as opener:
        with pytest.raises(TaskError, match="an earlier version planned this job; submit it again"):
            content(opener, older)
    with opener_of(place(master), THERE, TOKEN, job_id) as opener:
        assert content(opener, older) == ["a b"]


# --- a master that comes and goes ----------------------------------------------------------------


def answer_of(data: bytes, content_range: str, left_out: int = 0) -> bytes:
    head = f"HTTP/1.1 206 Partial Content\r\nContent-Length: {len(data)}\r\n"
    head += f"Content-Range: {content_range}\r\n\r\n"
    return head.encode() + data[: len(data) - left_out]


UNAVAILABLE = b"HTTP/1.1 503 x\r\nContent-Length: 0\r\n\r\n"
RIGHT = answer_of(b"abcd", "bytes 0-3/4")
SPLIT = Split("/a", 0, 4, size=4, mtime_ns=0)


class Scripted:
    """A server that gives one answer a connection, and then closes it."""

    def __init__(self, *answers: bytes) -> None:
        self._sock = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._sock.getsockname()[1])
        self.asked: list[bytes] = []
        self._thread = threading.Thread(target=self._serve, args=(answers,), daemon=True)
        self._thread.start()

    def _serve(self, answers: tuple[bytes, ...]) -> None:
        for answer in answers:
            taken, _ = self._sock.accept()
            with taken:
                self.asked.append(taken.recv(65536))
                taken.sendall(answer)

    def close(self) -> None:
        self._sock.close()
        self._thread.join(5)


@pytest.mark.parametrize(
    "before",
    [
        (b"",),
        (UNAVAILABLE, UNAVAILABLE),
        (answer_of(b"abcd", "bytes 0-3/4", left_out=2),),
        (b"HTTP/1.1 2", b"no HTTP at all\r\n\r\n"),
        (b"HTTP/1.1 408 x\r\nContent-Length: 0\r\n\r\n",),
    ],
    ids=["closed", "unavailable", "half an answer", "no answer", "too slow"],
)
def test_what_breaks_is_asked_for_again(before: tuple[bytes, ...]) -> None:
    server = Scripted(*before, RIGHT)
    far = FarInputs(MasterPlace(THERE, "127.0.0.1", server.port), TOKEN, "j")
    try:
        assert far.read(SPLIT, 0, 4) == b"abcd"
    finally:
        far.close()
        server.close()
    assert len(set(server.asked)) == 1 and len(server.asked) == len(before) + 1
    assert b"Range: bytes=0-3\r\n" in server.asked[0]


@pytest.mark.parametrize(
    "wrong",
    ["bytes 0-2/4", "bytes 1-4/5", "bytes 0-3/5", "bytes 0-3/*", "", "lines 0-3/4"],
)
def test_another_range_than_asked_for_is_never_taken(wrong: str) -> None:
    server = Scripted(answer_of(b"abcd", wrong))
    far = FarInputs(MasterPlace(THERE, "127.0.0.1", server.port), TOKEN, "j")
    try:
        with pytest.raises(TaskError, match=r"was asked for bytes 0-3/4, and gives"):
            far.read(SPLIT, 0, 4)
    finally:
        far.close()
        server.close()


def test_a_master_that_stays_away_is_named_with_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(far_inputs, "PATIENCE_S", 0.2)
    sock = socket.create_server(("127.0.0.1", 0))
    port = sock.getsockname()[1]
    sock.close()
    far = FarInputs(MasterPlace(THERE, "127.0.0.1", port), TOKEN, "j")
    with pytest.raises(TaskError, match=f"^/a cannot be read through .* at 127.0.0.1:{port}: "):
        far.read(SPLIT, 0, 4)
