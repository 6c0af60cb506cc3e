"""Every port over TLS: strangers that do not shake hands keep nobody waiting, and errors have
names.
"""

from __future__ import annotations

import http.client
import json
import logging
import os
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from minispark.client import Client
from minispark.errors import ConfigError, NoCluster, NotFound, ProtocolError
from minispark.master.results import Results
from minispark.master.sessions import Sessions
from minispark.model import events as ev
from minispark.model.ids import NIL_ID
from minispark.transport import messages as msg
from minispark.transport.connection import Connection
from minispark.transport.http_connection import http_connection
from minispark.transport.http_server import HttpServer
from minispark.transport.page_session import PageSessions, Proof
from minispark.transport.router import Access, Request, Response, Router, json_response
from minispark.transport.tls import TlsSocket
from minispark.worker.data_server import DataServer
from minispark.worker.fetch import Fetcher
from minispark.worker.guests import Guests
from minispark.worker.master_link import MasterLink
from tests.certificates import section, tls
from tests.cluster_files import write_cluster
from tests.unit.sockets import TIMEOUT_S, answer_to, until
from tests.unit.test_master_link import hear

HOST = "127.0.0.1"
TOKEN = "secret"
SILENCES = (b"", b"\x16", b"\x16\x03\x01\x02\x00\x01")
"""What strangers say before they say nothing more."""


class Live:
    """A stream without news that is followed until its peer goes."""

    def __init__(self) -> None:
        self.looks = 0
        self.has_ended = threading.Event()

    def __call__(self, _: Request) -> Response:
        return Response(200, stream=self._pieces(), is_live=True)

    def _pieces(self) -> Iterator[bytes]:
        try:
            yield b"begun"
            while not self.has_ended.wait(0.01):
                yield b""
                self.looks += 1
        finally:
            self.has_ended.set()


class Https:
    """A server, and a client's connections to it."""

    def __init__(self, **options: Any) -> None:
        sock = socket.create_server((HOST, 0))
        self.port: int = sock.getsockname()[1]
        self.url = f"https://{HOST}:{self.port}"
        self.live = Live()
        router = Router()
        router.add("GET", "/ok", lambda _: json_response("ok"), access=Access.OPEN, summary="ok")
        router.add("POST", "/echo", lambda r: json_response(r.json()), summary="echo")
        router.add("GET", "/live", self.live, summary="live")
        self._server = HttpServer(sock, router, token=TOKEN, **{"tls": tls().server, **options})
        self._server.start()

    def connection(self) -> http.client.HTTPConnection:
        return http_connection(self.url, tls().client, TIMEOUT_S)

    def get(self, path: str = "/ok", **headers: str) -> tuple[int, Any]:
        connection = self.connection()
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        data = json.loads(answer.read())
        connection.close()
        return answer.status, data

    def stranger(self, data: bytes = b"") -> socket.socket:
        sock = socket.create_connection((HOST, self.port), timeout=TIMEOUT_S)
        sock.sendall(data)
        return sock

    def close(self) -> None:
        self._server.stop()


@pytest.fixture
def make_https() -> Iterator[Callable[..., Https]]:
    made: list[Https] = []

    def make(**options: Any) -> Https:
        made.append(Https(**options))
        return made[-1]

    yield make
    for https in made:
        https.close()


# --- HTTP ----------------------------------------------------------------------------------------


def test_requests_and_large_bodies_share_a_connection(make_https: Callable[..., Https]) -> None:
    https = make_https()
    connection = https.connection()
    body = json.dumps("x" * 3_000_000).encode()
    socks = set()
    for _ in range(3):
        connection.request("POST", "/echo", body)
        assert connection.getresponse().read() == body
        socks.add(id(connection.sock))
    assert len(socks) == 1
    connection.close()


def test_the_end_of_an_answer_is_told_in_tls(make_https: Callable[..., Https]) -> None:
    """Or who reads to the end cannot tell it from an answer that somebody cut off."""
    https, context = make_https(), ssl.create_default_context(cafile=section().ca)
    raw = socket.create_connection((HOST, https.port), timeout=TIMEOUT_S)
    sock = context.wrap_socket(raw, server_hostname=HOST, suppress_ragged_eofs=False)
    with sock:
        sock.sendall(b"GET /ok HTTP/1.0\r\nHost: localhost\r\n\r\n")
        assert answer_to(sock).endswith(b'"ok"')


def test_f50_strangers_that_do_not_shake_hands_keep_nobody_waiting(
    make_https: Callable[..., Https],
) -> None:
    https = make_https(connections_max=4)
    with ExitStack() as stack:
        for said in SILENCES * 4:
            stack.enter_context(https.stranger(said))
            assert https.get() == (200, "ok")


def test_f50_a_handshake_that_does_not_go_on_is_given_up(
    make_https: Callable[..., Https],
) -> None:
    https = make_https(idle_timeout_s=0.2)
    for said in SILENCES:
        with https.stranger(said) as sock:
            assert answer_to(sock) == b""


def test_f50_garbage_is_closed_and_said_once(
    make_https: Callable[..., Https], caplog: pytest.LogCaptureFixture
) -> None:
    https = make_https()
    with caplog.at_level(logging.WARNING):
        for _ in range(50):
            with https.stranger(b"\x16\x03\x01\x00\x05hello" + bytes(1000)) as sock:
                answer_to(sock)
    assert https.get() == (200, "ok")
    assert 1 <= len(caplog.records) < 10
    assert "no TLS with the client" in caplog.records[0].getMessage()


@pytest.mark.parametrize("method", ["GET", "DELETE", "POST"])
def test_who_speaks_plain_http_is_told_so(
    make_https: Callable[..., Https], caplog: pytest.LogCaptureFixture, method: str
) -> None:
    https = make_https()
    connection = http.client.HTTPConnection(HOST, https.port, timeout=TIMEOUT_S)
    with caplog.at_level(logging.WARNING):
        connection.request(method, "/ok", b"x" * 1000)
        answer = connection.getresponse()
        error = json.loads(answer.read())["error"]
    connection.close()
    assert (answer.status, error["code"]) == (400, "tls_needed")
    assert "https://" in error["message"]
    assert len(caplog.records) == 1


def test_a_live_stream_ends_when_nobody_follows_it(make_https: Callable[..., Https]) -> None:
    https = make_https(http_auth="never")
    connection = https.connection()
    connection.request("GET", "/live")
    assert connection.getresponse().read1(100) == b"begun"
    until(lambda: https.live.looks, "it looked whether somebody follows")
    connection.close()
    assert https.live.has_ended.wait(TIMEOUT_S)


def test_a_live_stream_goes_on_while_the_next_request_waits(
    make_https: Callable[..., Https],
) -> None:
    https = make_https(http_auth="never")
    context = tls().client
    assert context is not None
    raw = socket.create_connection((HOST, https.port), timeout=TIMEOUT_S)
    with context.wrap_socket(raw, server_hostname=HOST) as sock:
        sock.sendall(b"GET /live HTTP/1.1\r\nHost: localhost\r\n\r\n")
        until(lambda: https.live.looks, "it looked whether somebody follows")
        sock.sendall(b"GET /ok HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        looks = https.live.looks
        until(lambda: https.live.looks > looks + 2, "it saw that")
        https.live.has_ended.set()
        answer = answer_to(sock)
    assert answer.count(b"HTTP/1.1 200 OK") == 2 and answer.endswith(b'"ok"')


def test_stop_closes_connections_that_are_open(make_https: Callable[..., Https]) -> None:
    https = make_https()
    connection, silent = https.connection(), https.stranger()
    connection.request("GET", "/ok")
    connection.getresponse().read()
    https.close()
    assert connection.sock.recv(1) == b""
    assert answer_to(silent) == b""
    connection.close()
    silent.close()


def test_f54_a_page_that_came_in_plain_text_may_not_call(make_https: Callable[..., Https]) -> None:
    https = make_https()
    host = f"{HOST}:{https.port}"
    assert https.get(Origin=f"https://{host}")[0] == 200
    for origin in (f"http://{host}", "https://evil.example", f"https://{HOST}:1"):
        status, answer = https.get(Origin=origin)
        assert (status, answer["error"]["code"]) == (403, "foreign_origin")


@pytest.mark.parametrize("is_secure", [True, False])
def test_f54_the_pages_cookie_is_sent_over_tls_only(is_secure: bool) -> None:
    made = PageSessions(TOKEN, 8080, owner_uid=None, is_secure=is_secure)
    header = made.header(made.give(Proof.TOKEN))
    assert ("Secure" in header.split("; ")) is is_secure


# --- clients -------------------------------------------------------------------------------------


def test_a_client_names_why_it_does_not_believe_a_master(
    make_https: Callable[..., Https], monkeypatch: pytest.MonkeyPatch
) -> None:
    https = make_https()
    with (
        Client(https.url, TOKEN, ca=section("others").ca) as client,
        pytest.raises(NoCluster, match=r"certificate of the master .* is not valid here"),
    ):
        client.jobs()
    monkeypatch.delenv("MINISPARK_TLS_CA", raising=False)
    with pytest.raises(ConfigError, match="MINISPARK_TLS_CA"):
        Client(https.url, TOKEN)
    monkeypatch.setenv("MINISPARK_TLS_CA", section().ca)
    with Client(https.url.replace(HOST, "localhost"), TOKEN) as client, pytest.raises(NotFound):
        client.jobs()  # it believes it, and there is no such route


def test_a_tls_client_of_a_plain_server_and_a_plain_one_of_a_tls_server(
    make_https: Callable[..., Https],
) -> None:
    plain, https = make_https(tls=None), make_https()
    with (
        Client(plain.url, TOKEN, ca=section().ca) as client,
        pytest.raises(NoCluster, match="does not speak TLS"),
    ):
        client.jobs()
    with (
        Client(https.url.replace("https", "http"), TOKEN) as client,
        pytest.raises(NoCluster, match="speaks TLS only"),
    ):
        client.jobs()


def test_f45_who_shakes_hands_with_nobody_is_told_when_nobody_will_come(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("t")
    files = {"cert": section().cert, "key": section().key, "ca": section().ca}
    entry = {"name": "master", "pid": os.getpid(), "state": "FATAL", "reason": "it broke"}
    with socket.create_server((HOST, 0)) as listener:  # the supervisor's: nobody accepts
        url = f"https://{HOST}:{listener.getsockname()[1]}"
        write_cluster(tmp_path, [entry], master_url=url, tls=files)
        with Client.of_state_dir(tmp_path) as client, pytest.raises(NoCluster, match="it broke"):
            client.jobs()


# --- sessions ------------------------------------------------------------------------------------

REGISTER = msg.Register(NIL_ID, "w", HOST, 9000, 2, 1, "host", "/state")


class Port:
    """The master's socket port, and what was posted."""

    def __init__(self) -> None:
        self._listening = socket.create_server((HOST, 0))
        self.address: tuple[str, int] = self._listening.getsockname()
        self.events: list[ev.Event] = []
        self.sessions = Sessions(
            self._listening, TOKEN, self.events.append, lambda _, call: call(), tls=tls().server
        )
        self.sessions.start()

    def link(self, ca: str | None = "ours") -> MasterLink:
        context = tls(ca).client if ca is not None else None
        return MasterLink(*self.address, TOKEN, lambda: REGISTER, tls=context)

    def of(self, kind: type[Any]) -> list[Any]:
        return [event for event in list(self.events) if isinstance(event, kind)]

    def close(self) -> None:
        self.sessions.stop(TIMEOUT_S)
        self._listening.close()


@pytest.fixture
def port() -> Iterator[Port]:
    made = Port()
    yield made
    made.close()


def test_a_worker_registers_and_both_sides_talk(port: Port) -> None:
    link = port.link()
    link.follow_clock(0.0)
    hear(link, lambda _: bool(port.of(ev.WorkerRegistered)))
    (event,) = port.of(ev.WorkerRegistered)
    long = msg.Cancel(("x" * 1_000_000,))
    port.sessions.send(event.worker.worker_id, long)
    assert hear(link, bool) == [long]
    link.send(msg.Heartbeat("w", 1))
    until(lambda: port.of(ev.HeartbeatReceived), "its heartbeat")
    link.lose(EOFError(), 0.0)
    until(lambda: port.of(ev.WorkerDisconnected), "its end")


def test_f50_slow_handshakes_keep_no_worker_waiting_and_are_given_up(
    port: Port, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("minispark.master.sessions.HANDSHAKE_TIMEOUT_S", 1.0)
    with ExitStack() as stack:
        strangers = [
            stack.enter_context(socket.create_connection(port.address, timeout=TIMEOUT_S))
            for _ in range(30)
        ]
        for i, sock in enumerate(strangers):
            sock.sendall(SILENCES[i % 3])
        link = port.link()
        link.follow_clock(0.0)
        hear(link, lambda _: bool(port.of(ev.WorkerRegistered)))
        assert [answer_to(sock) for sock in strangers] == [b""] * 30
        link.send(msg.Heartbeat("w", 1))
        until(lambda: port.of(ev.HeartbeatReceived), "the worker stays")
        link.lose(EOFError(), 0.0)


@pytest.mark.parametrize(
    ("ca", "words"),
    [("others", "certificate of the master at .* is not valid"), (None, "speaks TLS only")],
)
def test_a_worker_that_cannot_come_in_is_told_why(port: Port, ca: str | None, words: str) -> None:
    link = port.link(ca)
    link.follow_clock(0.0)
    with pytest.raises(ProtocolError, match=words):
        hear(link, lambda _: False)
    link.lose(EOFError(), 0.0)
    assert port.events == []


def test_a_worker_with_tls_at_a_plain_master_is_told_why() -> None:
    with socket.create_server((HOST, 0)) as listening:
        sessions = Sessions(listening, TOKEN, lambda _: None, lambda _, call: call())
        sessions.start()
        link = MasterLink(*listening.getsockname(), TOKEN, lambda: REGISTER, tls=tls().client)
        link.follow_clock(0.0)
        with pytest.raises(ProtocolError, match=r"the master at .* does not speak TLS"):
            hear(link, lambda _: False)
        link.lose(EOFError(), 0.0)
        sessions.stop(TIMEOUT_S)


# --- the data port -------------------------------------------------------------------------------


@pytest.fixture
def data(tmp_path: Path) -> Iterator[tuple[str, int]]:
    (tmp_path / "part.json").write_bytes(b'{"records":[]}')
    with socket.create_server((HOST, 0)) as sock:
        guests = Guests(strangers_max=8, fetchers_max=2)
        DataServer(sock, str(tmp_path), TOKEN, guests, tls().server).start()
        yield sock.getsockname()
        sock.shutdown(socket.SHUT_RDWR)


def fetch(connection: Connection) -> bytes:
    connection.send(msg.FetchFile("part.json"))
    answer = connection.receive(TIMEOUT_S)
    assert isinstance(answer, msg.Bulk)
    return connection.receive_bulk(answer.bytes, TIMEOUT_S)


def test_f50_strangers_at_the_data_port_give_way(
    data: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("minispark.worker.data_server.HANDSHAKE_TIMEOUT_S", 60.0)
    with ExitStack() as stack:
        strangers = [
            stack.enter_context(socket.create_connection(data, timeout=TIMEOUT_S))
            for _ in range(20)
        ]
        for i, sock in enumerate(strangers):
            sock.sendall(SILENCES[i % 3])
        connection = Connection.connect(*data, TOKEN, TIMEOUT_S, tls().client)
        assert fetch(connection) == b'{"records":[]}'
        assert [answer_to(sock) for sock in strangers[:12]] == [b""] * 12  # the oldest first
        connection.close()


def test_a_fetcher_that_had_to_make_room_sees_an_end(data: tuple[str, int]) -> None:
    with ExitStack() as stack:
        connections = []
        for _ in range(4):
            connections.append(Connection.connect(*data, TOKEN, TIMEOUT_S, tls().client))
            stack.callback(connections[-1].close)
            assert fetch(connections[-1])
        for gone in connections[:2]:
            with pytest.raises((EOFError, ConnectionError)):
                fetch(gone)
        for here in connections[2:]:
            assert fetch(here)


def test_the_master_fetches_results_over_tls(data: tuple[str, int]) -> None:
    row: Any = SimpleNamespace(worker_id="w", worker_name="w")
    history: Any = SimpleNamespace(address=lambda _: data)
    results = Results(history, "/nowhere", "elsewhere", TOKEN, tls().client)
    assert b"".join(results._fetch(row, "part.json")) == b'{"records":[]}'


def test_a_fetcher_reads_over_tls_and_names_whom_it_does_not_believe(
    data: tuple[str, int],
) -> None:
    with Fetcher("elsewhere", TOKEN, short_circuit=False, tls=tls().client) as fetcher:
        connection = fetcher._connect(data)
        assert isinstance(connection.sock, TlsSocket)
        assert fetch(connection) == b'{"records":[]}'
    with (
        Fetcher("elsewhere", TOKEN, short_circuit=False, tls=tls("others").client) as fetcher,
        pytest.raises(ProtocolError, match="is not valid here"),
    ):
        fetcher._connect(data)
