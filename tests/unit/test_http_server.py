"""The HTTP server: keep-alive, limits, who may call, and errors in one shape."""

from __future__ import annotations

import errno
import http.client
import json
import logging
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import pytest

from minispark.errors import InvalidRequest
from minispark.transport import http_server, request_limits
from minispark.transport.connection_slots import ConnectionSlots
from minispark.transport.gate import REFUSAL_INTERVAL_S, RefusalLog
from minispark.transport.http_server import HttpServer
from minispark.transport.router import (
    Access,
    HttpError,
    Request,
    Response,
    Router,
    json_response,
    text_response,
)
from tests.unit.sockets import Failing, said_of_ports

TOKEN = "secret"


def build_router() -> Router:
    router = Router()
    router.add("GET", "/open", lambda _: text_response("OK"), access=Access.OPEN, summary="open")
    router.add("GET", "/doc/{id}", lambda r: json_response(dict(r.params)), summary="documented")
    router.add("POST", "/echo", lambda r: json_response(r.json()), summary="echo")
    router.add("DELETE", "/doc/{id}", lambda _: Response(204), access=Access.TOKEN, summary="token")

    def stream(_: Request) -> Response:
        return Response(200, stream=iter([b"one", b"", b"two"]))

    def news(_: Request) -> Response:
        return Response(200, stream=iter([b"", b"news"]), is_live=True)

    def fail(_: Request) -> Response:
        raise KeyError("a bug")

    def refuse(_: Request) -> Response:
        raise InvalidRequest("the link \udcff leads out", "dag.nodes[0].path")

    router.add("GET", "/stream", stream, summary="stream")
    router.add("GET", "/news", news, summary="a live stream")
    router.add("GET", "/bug", fail, summary="bug")
    router.add("GET", "/refuse", refuse, summary="refuses what is no UTF-8")
    router.add("GET", "/take", lambda _: text_response("it"), has_effects=True, summary="takes")
    return router


def make_server(listening: socket.socket | None = None, **options: Any) -> HttpServer:
    sock = listening or socket.create_server(("127.0.0.1", 0))
    router = build_router()
    server = HttpServer(sock, router, **{"token": TOKEN, **options})
    server.router = router  # type: ignore[attr-defined]
    server.port = sock.getsockname()[1]  # type: ignore[attr-defined]
    server.start()
    return server


@pytest.fixture
def server() -> Iterator[HttpServer]:
    server = make_server()
    yield server
    server.stop()


def call(
    server: Any, method: str, path: str, body: bytes | None = None, **headers: str
) -> tuple[int, Any, http.client.HTTPResponse]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(method, path, body, names)
    response = connection.getresponse()
    data = response.read()
    connection.close()
    is_json = response.headers.get_content_type() == "application/json"
    return response.status, json.loads(data) if is_json and data else data, response


def raw(server: Any, data: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as sock:
        sock.sendall(data)
        sock.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: sock.recv(65536), b""))


def test_many_requests_share_a_connection_without_a_stall(server: Any) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    sockets = set()
    took_s = []
    for _ in range(200):
        begun = time.monotonic()
        connection.request("GET", "/open")
        assert connection.getresponse().read() == b"OK"
        took_s.append(time.monotonic() - begun)
        sockets.add(id(connection.sock))
    connection.close()
    assert len(sockets) == 1
    # with Nagle's algorithm nearly each of them would take 44 ms, on a busy machine some do anyway
    assert sorted(took_s)[50] < 0.03


def test_head_has_no_body(server: Any) -> None:
    status, body, response = call(server, "HEAD", "/open")
    assert (status, body, response.headers["Content-Length"]) == (200, b"", "2")


def test_head_takes_nothing(server: Any) -> None:
    status, _, response = call(server, "HEAD", "/take")
    assert (status, response.headers["Allow"]) == (405, "GET")
    assert call(server, "GET", "/take")[0] == 200


@pytest.mark.parametrize("method", ["TRACE", "CONNECT", "PROPFIND", "get", "OPTIONS"])
def test_f51_a_method_that_a_path_does_not_take_is_answered_with_those_it_does(
    server: Any, method: str
) -> None:
    head = f"{method} /echo HTTP/1.1\r\nHost: localhost\r\n\r\n"
    answer = raw(server, head.encode())
    assert answer.startswith(b"HTTP/1.1 405 ")
    assert b"\r\nAllow: POST\r\n" in answer


def test_a_live_stream_goes_on_after_a_quiet_while(server: Any) -> None:
    status, body, _ = call(server, "GET", "/news")
    assert (status, body) == (200, b"news")


def test_a_stream_is_chunked(server: Any) -> None:
    status, body, response = call(server, "GET", "/stream")
    assert (status, body, response.headers["Transfer-Encoding"]) == (200, b"onetwo", "chunked")
    assert raw(server, b"GET /stream HTTP/1.0\r\nHost: localhost\r\n\r\n").endswith(
        b"\r\n\r\nonetwo"
    )


@pytest.mark.parametrize(
    ("method", "path", "body", "headers", "status", "code"),
    [
        ("GET", "/nope", None, {}, 404, "not_found"),
        ("POST", "/open", None, {}, 405, "method_not_allowed"),
        ("POST", "/echo", b"{", {"Content_Type": "application/json"}, 400, "malformed_json"),
        ("POST", "/echo", b"NaN", {"Content_Type": "application/json"}, 400, "malformed_json"),
        ("POST", "/echo", b"{}", {"Content_Type": "text/html"}, 415, "not_json"),
        ("GET", "/bug", None, {}, 500, "internal"),
        ("DELETE", "/doc/1", None, {}, 401, "token_needed"),
        ("GET", "/open", None, {"Authorization": "Bearer wrong"}, 401, "wrong_token"),
        ("GET", "/nope", None, {"Authorization": "Bearer wrong"}, 401, "wrong_token"),
        ("GET", "/open", None, {"Authorization": "Basic secret"}, 401, "wrong_token"),
        ("GET", "/open", None, {"Host": "evil.example"}, 403, "foreign_host"),
        ("GET", "/open", None, {"Origin": "http://evil.example"}, 403, "foreign_origin"),
        ("POST", "/echo", b"x", {"Content_Length": "-1"}, 400, "bad_content_length"),
        ("POST", "/echo", b"", {"Transfer_Encoding": "chunked"}, 411, "length_required"),
        ("GET", "/open?" + "a=1&" * 100, None, {}, 400, "invalid_query"),
    ],
)  # fmt: skip
def test_f54_errors_have_one_shape(
    server: Any,
    method: str,
    path: str,
    body: bytes | None,
    headers: dict[str, str],
    status: int,
    code: str,
) -> None:
    got, document, response = call(server, method, path, body, **headers)
    assert (got, document["error"]["code"]) == (status, code)
    assert document["error"]["message"]
    if status == 405:
        assert response.headers["Allow"] == "GET"


def test_the_right_token_opens_everything(server: Any) -> None:
    assert call(server, "DELETE", "/doc/1", Authorization=f"Bearer {TOKEN}")[0] == 204


@pytest.mark.parametrize("token", ["", None])
@pytest.mark.parametrize("sent", ["Bearer", "Bearer ", "Bearer None"])
def test_f54_no_token_is_no_token_that_somebody_could_know(token: str | None, sent: str) -> None:
    server: Any = make_server(token=token)
    try:
        assert call(server, "DELETE", "/doc/1", Authorization=sent)[0] == 401
    finally:
        server.stop()


def test_documented_routes_need_the_token_when_it_is_required() -> None:
    server: Any = make_server(http_auth="required")
    try:
        assert call(server, "GET", "/doc/1")[0] == 401
        assert call(server, "GET", "/open")[0] == 200
        assert call(server, "GET", "/doc/1", Authorization=f"Bearer {TOKEN}")[1] == {"id": "1"}
    finally:
        server.stop()


def test_f50_a_body_above_the_limit_is_refused_unread(
    server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_server, "BODY_BYTES_MAX", 10)
    head = b"POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 11\r\n\r\n"
    assert raw(server, head).startswith(b"HTTP/1.1 413 ")


def test_f50_headers_have_limits(server: Any) -> None:
    many = "".join(f"X-{i}: 1\r\n" for i in range(200))
    assert b" 431 " in raw(server, f"GET /open HTTP/1.1\r\n{many}\r\n".encode())
    long = b"GET /open HTTP/1.1\r\nX: " + b"x" * 70_000 + b"\r\n\r\n"
    assert b" 431 " in raw(server, long)
    assert b" 414 " in raw(server, b"GET /" + b"x" * 70_000 + b" HTTP/1.1\r\n\r\n")


def test_f50_two_lengths_are_refused(server: Any) -> None:
    head = (
        b"POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n"
    )
    assert raw(server, head + b"{} ").startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize(
    "length", ["00000000000000000000005", "9" * 30, "+5", "5, 5", "", "\u0665"]
)
def test_f50_a_length_that_is_none_is_refused(server: Any, length: str) -> None:
    head = f"POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n"
    answer = raw(server, head.encode() + b"GET /open HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert answer.count(b"HTTP/1.1") == 1, "what follows is no request"


HOST = b"Host: localhost"


@pytest.mark.parametrize(
    "lines",
    [
        [HOST, b"Transfer-Encoding : chunked"],
        [b"Transfer-Encoding : chunked", HOST],
        [HOST, b"no colon"],
        [b" folded: first", HOST],
        [HOST, b": no name"],
        [HOST, b"\xe9: x"],
        [HOST, b"From me"],
        [HOST, b"Host: evil.example"],
        [b"Host: evil.example", HOST],
    ],
    ids=lambda lines: b", ".join(lines).decode("latin-1"),
)
def test_f50_a_line_that_is_no_header_is_refused(server: Any, lines: list[bytes]) -> None:
    head = b"\r\n".join([b"POST /echo HTTP/1.1", *lines, b"Authorization: Bearer wrong"])
    answer = raw(server, head + b"\r\n\r\n2\r\n{}\r\n0\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert answer.count(b"HTTP/1.1") == 1


@pytest.mark.parametrize(
    ("target", "host", "code"),
    [
        ("/open", "[", "bad_host"),
        ("http://[/open", "localhost", "bad_target"),
        ("x://[", "localhost", "bad_target"),
        ("/doc/1?a=\xff", "localhost", None),
        ("http://localhost/open", "localhost", None),
    ],
)
def test_f54_a_malformed_host_or_target_is_the_callers_fault(
    server: Any, target: str, host: str, code: str | None
) -> None:
    head = f"GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n"
    answer = raw(server, head.encode("latin-1"))
    assert answer.startswith(b"HTTP/1.1 200 " if code is None else b"HTTP/1.1 400 ")
    assert (code or "").encode() in answer


def test_f53_an_error_about_a_name_that_is_no_text_is_answered(server: Any) -> None:
    status, body, _ = call(server, "GET", "/refuse")
    assert (status, body["error"]["message"]) == (400, "the link \\udcff leads out")


def trickle(server: Any, head: bytes) -> bytes:
    """Send the head, then a byte whenever the server was silent for a moment; its last words."""
    deadline = time.monotonic() + 10
    with socket.create_connection(("127.0.0.1", server.port), timeout=0.02) as sock:
        sock.sendall(head)
        while time.monotonic() < deadline:
            try:
                return sock.recv(65536)
            except TimeoutError:
                sock.sendall(b"x")
            except ConnectionError:
                return b""
    raise AssertionError("it was let in for 10 s")


def test_f50_a_request_that_trickles_in_is_cut_off(
    server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(request_limits, "REQUEST_S_MAX", 0.3)
    assert trickle(server, b"GET /open HTTP/1.1\r\nX: ") == b""
    head = b"POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5000\r\n\r\n"
    assert trickle(server, head).startswith(b"HTTP/1.1 408 ")
    assert call(server, "GET", "/open")[0] == 200


def test_f50_a_connection_may_idle_longer_than_a_request_may_take(
    server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(request_limits, "REQUEST_S_MAX", 0.05)
    with socket.create_connection(("127.0.0.1", server.port), timeout=0.3) as sock:
        for _ in range(2):
            sock.sendall(b"GET /open HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert b"200 OK" in sock.recv(65536)
            with pytest.raises(TimeoutError):
                sock.recv(1)


def test_f50_a_head_without_end_is_refused(server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_limits, "HEAD_BYTES_MAX", 20_000)
    lines = b"".join(b"X-%d: %b\r\n" % (i, b"x" * 9000) for i in range(9))
    assert b" 431 " in raw(server, b"GET /open HTTP/1.1\r\nHost: localhost\r\n" + lines)
    body = b'"' + b"x" * 60_000 + b'"'
    assert call(server, "POST", "/echo", body)[1] == "x" * 60_000


class Slow:
    """A handler that tells when it begun, and ends when it may."""

    def __init__(self) -> None:
        self.begun = threading.Semaphore(0)
        self.may_end = threading.Event()

    def __call__(self, _: Request) -> Response:
        self.begun.release()
        assert self.may_end.wait(10)
        return text_response("at last")


def test_f50_large_bodies_share_a_room_that_small_ones_do_not_need(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(request_limits, "BODIES_BYTES_MAX", 200_000)
    server: Any = make_server()
    slow = Slow()
    server.router.add("POST", "/slow", slow, summary="slow")
    large = b'"' + b"x" * 100_000 + b'"'
    try:
        with ThreadPoolExecutor(1) as threads:
            first = threads.submit(call, server, "POST", "/slow", b"x" * 150_000)
            assert slow.begun.acquire(timeout=10)
            status, answer, _ = call(server, "POST", "/echo", large)
            assert (status, answer["error"]["code"]) == (503, "too_many_bodies")
            assert call(server, "POST", "/echo", b"{}")[0] == 200
            slow.may_end.set()
            assert first.result()[0] == 200
        assert call(server, "POST", "/echo", large)[0] == 200
    finally:
        server.stop()


def test_f54_who_is_refused_is_in_the_log(server: Any, caplog: pytest.LogCaptureFixture) -> None:
    call(server, "GET", "/open", Authorization="Bearer wrong")
    call(server, "GET", "/open", Host="evil.example")
    call(server, "GET", "/open", Origin="http://evil.example")
    call(server, "DELETE", "/doc/1")
    call(server, "GET", "/nope")
    said = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    codes = ["wrong_token", "foreign_host", "foreign_origin", "token_needed"]
    assert len(said) == len(codes)
    for line, code in zip(said, codes, strict=True):
        assert "127.0.0.1" in line
        assert code in line


def test_f54_refusals_do_not_fill_the_log(caplog: pytest.LogCaptureFixture) -> None:
    now = 5.0
    log = RefusalLog(lambda: now)
    for _ in range(1000):
        log.note("peer", HttpError(401, "wrong_token", "the token is wrong"))
    assert len(caplog.records) == 1
    now += REFUSAL_INTERVAL_S
    log.note("peer", HttpError(401, "wrong_token", "the token is wrong"))
    assert "999 more" in caplog.records[1].getMessage()


def test_f50_garbage_is_answered_and_closed(server: Any) -> None:
    assert b" 400 " in raw(server, b"\x16\x03\x01garbage\r\n\r\n")
    assert call(server, "GET", "/open")[0] == 200


def test_f50_silent_connections_are_closed_and_do_not_stop_others() -> None:
    server: Any = make_server(idle_timeout_s=0.1)
    try:
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as silent:
            silent.sendall(b"GET /open HT")
            assert call(server, "GET", "/open")[0] == 200
            assert silent.recv(1) == b""
    finally:
        server.stop()


def test_f50_too_many_connections_are_turned_away() -> None:
    server: Any = make_server(connections_max=2)
    slow = Slow()
    server.router.add("GET", "/slow", slow, summary="slow")
    try:
        with ThreadPoolExecutor(2) as threads:
            answers = []
            for _ in range(2):
                answers.append(threads.submit(call, server, "GET", "/slow"))
                assert slow.begun.acquire(timeout=10)
            assert call(server, "GET", "/open")[0] == 503
            slow.may_end.set()
            assert [answer.result()[0] for answer in answers] == [200, 200]
        assert call(server, "GET", "/open")[0] == 200
    finally:
        server.stop()


def test_f50_a_connection_waits_from_its_first_moment_on() -> None:
    slots = ConnectionSlots(1)
    with ExitStack() as stack:
        (first, peer), (second, other) = socket.socketpair(), socket.socketpair()
        for sock in (first, peer, second, other):
            stack.enter_context(sock)
        assert slots.enter(first) and slots.enter(second)  # no thread came to serve the first yet
        assert peer.recv(1) == b"", "it gave way"
        slots.serve(second)
        assert not slots.enter(first)


def test_f50_connections_that_only_wait_keep_nobody_out() -> None:
    server: Any = make_server(connections_max=3)
    head = b"POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nhalf"
    try:
        with ExitStack() as stack:
            for begun in (b"", b"G", head) * 3:
                sock = socket.create_connection(("127.0.0.1", server.port), timeout=10)
                stack.enter_context(sock)
                sock.sendall(begun)
                assert call(server, "GET", "/open")[0] == 200
    finally:
        server.stop()


def test_f50_without_descriptors_it_rests_and_says_so_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(http_server, "ACCEPT_PAUSE_S", 0.2)
    listening = Failing(errno.EMFILE, errno.ECONNABORTED, errno.ENFILE)
    server: Any = make_server(listening)
    begun = time.monotonic()
    try:
        with caplog.at_level(logging.WARNING):
            assert call(server, "GET", "/open")[0] == 200
    finally:
        server.stop()
    assert time.monotonic() - begun >= 0.4
    assert listening.tries == 4
    assert len(said_of_ports(caplog)) == 1


def test_stop_closes_connections_that_are_open(server: Any) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as sock:
        sock.sendall(b"GET /open HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert b"200 OK" in sock.recv(65536)
        server.stop()
        assert sock.recv(1) == b""
