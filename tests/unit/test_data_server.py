"""The data port: fetchers get in whatever strangers do, and what goes wrong ends nothing else."""

from __future__ import annotations

import errno
import logging
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from minispark.compute.batch import records
from minispark.model.plan import OutputLocation
from minispark.transport.codec import encode
from minispark.transport.connection import Connection
from minispark.transport.framing import STRANGER_FRAME_BYTES_MAX, encode_frame
from minispark.transport.messages import Bulk, FetchFile, Message
from minispark.worker.data_server import HANDSHAKE_TIMEOUT_S, DataServer
from minispark.worker.fetch import Fetcher
from minispark.worker.guests import Guests
from tests.unit.sockets import TIMEOUT_S, Failing, answer_to, said_of_ports, until

TOKEN = "secret"
SOON_S = HANDSHAKE_TIMEOUT_S
NAME = "part.json"
CONTENT = b'{"records":[{"key":"what","value":"is asked for"}]}'


class Port:
    """A data server on a port of its own, with one file to fetch."""

    def __init__(self, folder: Path, listening: socket.socket, guests: Guests) -> None:
        (folder / NAME).write_bytes(CONTENT)
        self.folder = folder
        self.address: tuple[str, int] = listening.getsockname()
        self.clients: list[Any] = []
        self.listening = listening
        self.guests = guests
        self.server = DataServer(listening, str(folder), TOKEN, guests)
        self.server.start()

    def stranger(self, data: bytes = b"") -> socket.socket:
        sock = socket.create_connection(self.address, timeout=TIMEOUT_S)
        self.clients.append(sock)
        sock.sendall(data)
        return sock

    def fetcher(self) -> Connection:
        connection = Connection.connect(*self.address, TOKEN, TIMEOUT_S)
        self.clients.append(connection)
        return connection

    def location(self) -> OutputLocation:
        host, port = self.address
        return OutputLocation(
            0, 0, str(uuid.uuid4()), "w", host, port, "elsewhere", "/nowhere", is_foreign=True
        )

    def close(self) -> None:
        for client in self.clients:
            client.close()
        self.listening.shutdown(socket.SHUT_RDWR)
        self.listening.close()


def fetch(connection: Connection, name: str = NAME) -> bytes:
    connection.send(FetchFile(name))
    answer = connection.receive(TIMEOUT_S)
    assert isinstance(answer, Bulk)
    return connection.receive_bulk(answer.bytes, TIMEOUT_S)


@pytest.fixture
def make_port(tmp_path: Path) -> Iterator[Callable[..., Port]]:
    made: list[Port] = []

    def make(listening: socket.socket | None = None, **limits: int) -> Port:
        sock = listening or socket.create_server(("127.0.0.1", 0))
        made.append(Port(tmp_path, sock, Guests(**limits)))
        return made[-1]

    yield make
    for port in made:
        port.close()


# --- strangers -----------------------------------------------------------------------------------


def test_f50_silent_and_half_open_strangers_keep_no_fetcher_waiting(
    make_port: Callable[..., Port],
) -> None:
    port = make_port()
    strangers = [port.stranger(b"\x00\x00\x00\x20{"[: i % 6]) for i in range(100)]
    begun = time.monotonic()
    assert fetch(port.fetcher()) == CONTENT
    assert time.monotonic() - begun < SOON_S
    assert [answer_to(sock) for sock in strangers] == [b""] * 100  # given up one after the other


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", b"frame_too_large"),
        ((STRANGER_FRAME_BYTES_MAX + 1).to_bytes(4, "big"), b"frame_too_large"),
        (encode_frame(b"\xff" * 100), b"bad_json"),
        (encode_frame(b'{"type":"dance"}'), b"unknown_type"),
        (encode_frame(b'{"type":"fetch_file","name":"part.json"}'), b"not_authenticated"),
    ],
)
def test_f50_a_stranger_that_breaks_the_protocol_is_told_why(
    make_port: Callable[..., Port], data: bytes, code: bytes
) -> None:
    port = make_port()
    assert code in answer_to(port.stranger(data))
    assert fetch(port.fetcher()) == CONTENT


def test_f54_a_replayed_handshake_fetches_nothing(make_port: Callable[..., Port]) -> None:
    port = make_port()
    sent: list[bytes] = []

    class Recorded(Connection):
        def send(self, message: Message) -> None:
            sent.append(encode_frame(encode(message)))
            super().send(message)

    true_one = Recorded.connect(*port.address, TOKEN, TIMEOUT_S)
    assert fetch(true_one) == CONTENT
    true_one.close()
    answer = answer_to(port.stranger(b"".join(sent)))
    assert b'"code":"authentication_failed"' in answer and CONTENT not in answer


# --- fetchers ------------------------------------------------------------------------------------


def test_f50_when_it_is_full_the_longest_idle_fetcher_makes_room(
    make_port: Callable[..., Port],
) -> None:
    port = make_port(fetchers_max=2)
    first, second = port.fetcher(), port.fetcher()
    for connection in (first, second, first):
        assert fetch(connection) == CONTENT
        until(lambda: not port.guests._busy, "all are idle again")
    assert fetch(port.fetcher()) == CONTENT
    with pytest.raises(EOFError):
        second.receive(TIMEOUT_S)
    assert fetch(first) == CONTENT


def test_a_fetcher_that_made_room_comes_back_by_itself(make_port: Callable[..., Port]) -> None:
    port = make_port(fetchers_max=1)
    with Fetcher("here", TOKEN, True) as one, Fetcher("here", TOKEN, True) as other:
        for _ in range(3):
            for fetcher in (one, other):
                (batch,) = fetcher.documented([(port.location(), NAME)], 0)
                assert list(records(batch)) == [("what", "is asked for")]


def test_f50_a_fetcher_that_never_reads_keeps_nobody_waiting(
    make_port: Callable[..., Port], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("minispark.worker.data_server.STALL_TIMEOUT_S", 0.5)
    port = make_port(fetchers_max=2)
    with (port.folder / "large").open("wb") as file:
        file.truncate(2**28)
    deaf = [port.fetcher() for _ in range(2)]
    for connection in deaf:
        connection.send(FetchFile("large"))
        assert connection.receive(TIMEOUT_S) == Bulk(2**28)
    assert fetch(port.fetcher()) == CONTENT  # it waits until one of them is given up
    with pytest.raises((EOFError, ConnectionError)):
        deaf[0].receive_bulk(2**28, TIMEOUT_S)


# --- the system has no more room -----------------------------------------------------------------


def test_f50_accepting_goes_on_after_descriptors_ran_out(
    make_port: Callable[..., Port],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr("minispark.worker.data_server.ACCEPT_PAUSE_S", 0.2)
    listening = Failing(errno.EMFILE, errno.ECONNABORTED, errno.ENFILE)
    begun = time.monotonic()
    with caplog.at_level(logging.WARNING):
        port = make_port(listening)
        assert fetch(port.fetcher()) == CONTENT
    assert time.monotonic() - begun >= 0.4
    assert listening.tries <= 5
    assert len(said_of_ports(caplog)) == 1


def test_f50_accepting_goes_on_after_threads_ran_out(
    make_port: Callable[..., Port],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr("minispark.worker.data_server.ACCEPT_PAUSE_S", 0.05)
    port = make_port()
    start, failures = threading.Thread.start, [0, 0]

    def fail(thread: threading.Thread) -> None:
        if failures:
            failures.pop()
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", fail)
    with caplog.at_level(logging.WARNING):
        assert [answer_to(port.stranger()) for _ in range(2)] == [b"", b""]
        assert fetch(port.fetcher()) == CONTENT
    assert len(said_of_ports(caplog)) == 1


def test_it_ends_when_its_socket_is_closed(tmp_path: Path) -> None:
    listening = socket.create_server(("127.0.0.1", 0))
    port = Port(tmp_path, listening, Guests())
    assert fetch(port.fetcher()) == CONTENT
    port.close()
    until(lambda: not port.server._thread.is_alive(), "its thread ended")
