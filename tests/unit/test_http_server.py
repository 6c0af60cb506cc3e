"""The HTTP server: keep-alive, limits, who may call, and errors in one shape."""

from __future__ import annotations

import errno
import http.client
import json
import logging
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest

from minispark.transport import http_server
from minispark.transport.http_server import HttpServer
from minispark.transport.router import (
    Access,
    Request,
    Response,
    Router,
    json_response,
    text_response,
)
from tests.unit.sockets import Failing

TOKEN = "secret"


def build_router() -> Router:
    router = Router()
    router.add("GET", "/open", lambda _: text_response("OK"), access=Access.OPEN, summary="open")
    router.add("GET", "/doc/{id}", lambda r: json_response(dict(r.params)), summary="documented")
    router.add("POST", "/echo", lambda r: json_response(r.json()), summary="echo")
    router.add("DELETE", "/doc/{id}", lambda _: Response(204), access=Access.TOKEN, summary="token")

    def stream(_: Request) -> Response:
        return Response(200, stream=iter([b"one", b"", b"two"]))

    def fail(_: Request) -> Response:
        raise KeyError("a bug")

    router.add("GET", "/stream", stream, summary="stream")
    router.add("GET", "/bug", fail, summary="bug")
    return router


def make_server(listening: socket.socket | None = None, **options: Any) -> HttpServer:
    sock = listening or socket.create_server(("127.0.0.1", 0))
    server = HttpServer(sock, build_router(), **{"token": TOKEN, **options})
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
    return response.status, json.loads(data) if is_json else data, response


def raw(server: Any, data: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as sock:
        sock.sendall(data)
        sock.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: sock.recv(65536), b""))


def test_many_requests_share_a_connection_without_a_stall(server: Any) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    sockets = set()
    begun = time.monotonic()
    for _ in range(200):
        connection.request("GET", "/open")
        assert connection.getresponse().read() == b"OK"
        sockets.add(id(connection.sock))
    connection.close()
    assert len(sockets) == 1
    # with Nagle's algorithm these would take 8.8 s; far below that on any machine otherwise
    assert time.monotonic() - begun < 4


def test_head_has_no_body(server: Any) -> None:
    status, body, response = call(server, "HEAD", "/open")
    assert (status, body, response.headers["Content-Length"]) == (200, b"", "2")


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
    server: Any = make_server(connections_max=1)
    try:
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as first:
            first.sendall(b"GET /open HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert b"200 OK" in first.recv(65536)
            assert call(server, "GET", "/open")[0] == 503
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
    assert len(caplog.records) == 1


def test_stop_closes_connections_that_are_open(server: Any) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as sock:
        sock.sendall(b"GET /open HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert b"200 OK" in sock.recv(65536)
        server.stop()
        assert sock.recv(1) == b""
