"""TLS: contexts, streams without sockets, channels and connections over real sockets."""

from __future__ import annotations

import os
import random
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from minispark.errors import ConfigError, ProtocolError
from minispark.model.settings import TlsSection
from minispark.transport import tls as tls_module
from minispark.transport.channel import Channel
from minispark.transport.connection import Connection
from minispark.transport.framing import encode_frame
from minispark.transport.messages import Bulk, Heartbeat, Message, Refused
from minispark.transport.secure_stream import SecureStream
from minispark.transport.tls import Tls, TlsSocket, connect_tls, serve_tls, tls_of
from minispark.transport.tls_channel import channel_of
from tests.certificates import section, tls
from tests.unit.sockets import TIMEOUT_S, answer_to, until

HOST = "127.0.0.1"
TOKEN = "secret"


# --- contexts ------------------------------------------------------------------------------------


def test_without_files_there_is_no_tls() -> None:
    assert tls_of(TlsSection()) == Tls(None, None)


def test_contexts_take_no_old_versions_and_believe_one_ca() -> None:
    server, client = tls().server, tls().client
    assert server is not None and client is not None
    for context in (server, client):
        assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    assert client.check_hostname and client.verify_mode is ssl.CERT_REQUIRED
    assert not client.hostname_checks_common_name
    assert len(client.get_ca_certs()) == 1


@pytest.mark.parametrize("name", ["cert", "key", "ca"])
def test_a_file_that_cannot_be_read_or_used_is_named(tmp_path: Path, name: str) -> None:
    good = section()
    files = {"cert": good.cert, "key": good.key, "ca": good.ca}
    with pytest.raises(ConfigError, match=rf"security\.tls\.{name} /no/where .*No such file"):
        tls_of(TlsSection(**{**files, name: "/no/where"}))
    junk = tmp_path / "junk.pem"
    junk.write_text("no certificate\n")
    with pytest.raises(ConfigError, match=rf"security\.tls\.{name} {junk}.* in PEM"):
        tls_of(TlsSection(**{**files, name: str(junk)}))


def test_a_key_of_another_certificate_is_named() -> None:
    ours, others = section(), section("others")
    with pytest.raises(ConfigError, match=r"is not the key of security\.tls\.cert"):
        tls_of(TlsSection(ours.cert, others.key, ours.ca))


def test_an_encrypted_key_is_refused_and_nobody_is_asked(tmp_path: Path) -> None:
    key = tmp_path / "key.pem"
    words = ["openssl", "ec", "-aes256", "-passout", "pass:word", "-in", section().key]
    subprocess.run([*words, "-out", str(key)], check=True, capture_output=True)
    with pytest.raises(ConfigError, match="is encrypted"):
        tls_of(TlsSection(section().cert, str(key), section().ca))


# --- streams: bytes in, bytes out ----------------------------------------------------------------


@pytest.fixture(params=[ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])
def version(request: pytest.FixtureRequest) -> Iterator[ssl.TLSVersion]:
    """Both versions are spoken, whichever the peers would choose."""
    client = tls().client
    assert client is not None
    before, client.maximum_version = client.maximum_version, request.param
    yield request.param
    client.maximum_version = before


def streams(name: str = HOST, client: str = "ours") -> tuple[SecureStream, SecureStream]:
    """A client that wants to reach `name`, and its server."""
    context, serving = tls(client).client, tls().server
    assert context is not None and serving is not None
    return SecureStream(context, "the server", name), SecureStream(serving, "the client", None)


def talk(client: SecureStream, server: SecureStream, first: bytes, step: int = 1 << 20) -> bytes:
    """What the server hears of what the client says, carried `step` bytes at a time."""
    heard = b""
    waiting = {server: client.send(first), client: b""}
    while waiting[server] or waiting[client]:
        for to, other in ((server, client), (client, server)):
            data, waiting[to] = waiting[to], b""
            for at in range(0, len(data), step):
                plain = to.receive(data[at : at + step])
                heard += plain if to is server else b""
                waiting[other] += to.outgoing()
    return heard


@pytest.mark.parametrize("step", [1, 7, 1 << 20])
def test_what_is_said_before_the_handshake_arrives_after_it(
    version: ssl.TLSVersion, step: int
) -> None:
    client, server = streams()
    assert talk(client, server, b"hello" * 10, step) == b"hello" * 10
    assert client.receive(server.send(b"and back")) == b"and back"


def test_all_that_came_is_deciphered_at_once(version: ssl.TLSVersion) -> None:
    """Or it would wait where no selector sees it."""
    client, server = streams()
    talk(client, server, b"hello")
    data = random.Random(3).randbytes(1_000_000)
    assert server.receive(client.send(data)) == data


def test_the_end_is_told_after_all_that_was_said(version: ssl.TLSVersion) -> None:
    client, server = streams()
    talk(client, server, b"hello")
    last = client.send(b"last words") + client.close()
    assert server.receive(last) == b"last words"
    with pytest.raises(EOFError):
        server.receive(b"")
    client, server = streams()
    talk(client, server, b"hello")
    with pytest.raises(EOFError):
        server.receive(client.close())


def test_a_server_of_another_ca_is_refused_and_told(version: ssl.TLSVersion) -> None:
    client, server = streams(client="others")
    with pytest.raises(ProtocolError, match="certificate of the server is not valid") as caught:
        talk(client, server, b"hello")
    assert caught.value.code == tls_module.BAD_CERTIFICATE
    with pytest.raises(ProtocolError, match=r"no TLS with the client: .*unknown ca"):
        server.receive(client.outgoing())
    for side in (client, server):
        with pytest.raises(ConnectionError):
            side.send(b"why not")


@pytest.mark.parametrize("name", ["127.0.0.2", "example.org"])
def test_a_server_by_another_name_is_refused(name: str) -> None:
    client, server = streams(name)
    with pytest.raises(ProtocolError, match=r"certificate .* mismatch.*" + name):
        talk(client, server, b"hello")


def test_f50_who_begins_with_something_else_is_told_what_is_spoken_here() -> None:
    _, server = streams()
    with pytest.raises(ProtocolError, match="speaks TLS only") as caught:
        server.receive(b"GET / HTTP/1.1\r\n")
    assert caught.value.code == tls_module.TLS_NEEDED
    _, server = streams()
    with pytest.raises(ProtocolError, match="no TLS with the client"):
        server.receive(b"\x16\x03\x01\x00\x05hello")


def test_an_answer_that_is_no_tls_is_named() -> None:
    client, _ = streams()
    client.send(b"hello")
    with pytest.raises(ProtocolError, match="the server does not speak TLS"):
        client.receive(encode_frame(b'{"type":"refused","code":"frame_too_large"}'))


def test_f50_what_somebody_changed_on_the_way_ends_the_connection(
    version: ssl.TLSVersion,
) -> None:
    client, server = streams()
    talk(client, server, b"hello")
    data = bytearray(client.send(b"a message that matters"))
    data[-3] ^= 1
    with pytest.raises(ConnectionError):
        server.receive(bytes(data))


# --- channels: sockets that do not block ---------------------------------------------------------


class Ends:
    """Two channels over TLS on a pair of sockets, driven by this thread."""

    def __init__(self, name: str = HOST, client: str = "ours") -> None:
        left, right = socket.socketpair()
        for sock in (left, right):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)
        self.client = channel_of(left, lambda: None, tls(client).client, "the server", name)
        self.server = channel_of(right, lambda: None, tls().server, "the client")
        self.heard: dict[Channel, list[Message]] = {self.client: [], self.server: []}

    def turn(self) -> None:
        for channel, heard in self.heard.items():
            if channel.wants_write:
                channel.flush()
            heard += channel.receive()

    def until(self, count: int) -> list[Message]:
        """Turn until the server heard so many messages."""

        def heard() -> bool:
            self.turn()
            return len(self.heard[self.server]) >= count

        until(heard, f"{count} messages")
        return self.heard[self.server]

    def close(self) -> None:
        self.client.close()
        self.server.close()


@pytest.fixture
def make_ends() -> Iterator[Callable[..., Ends]]:
    made: list[Ends] = []

    def make(*words: str, **options: str) -> Ends:
        made.append(Ends(*words, **options))
        return made[-1]

    yield make
    for ends in made:
        ends.close()


def test_long_messages_pass_a_channel_both_ways_however_little_room_there_is(
    version: ssl.TLSVersion, make_ends: Callable[..., Ends]
) -> None:
    ends = make_ends()
    long = Refused("x", "y" * 3_000_000)
    ends.client.send(Heartbeat("w", 1), long)
    ends.until(2)
    ends.server.send(long)
    ends.client.send(long)
    assert ends.server.wants_write and ends.client.wants_write  # both have to wait for room
    assert ends.until(3) == [Heartbeat("w", 1), long, long]
    until(lambda: ends.turn() or ends.heard[ends.client], "the answer")
    assert ends.heard[ends.client] == [long]
    assert not ends.server.wants_write and not ends.client.wants_write


def test_a_channel_that_is_closed_ends_in_order(
    version: ssl.TLSVersion, make_ends: Callable[..., Ends]
) -> None:
    ends = make_ends()
    ends.client.send(Heartbeat("w", 1))
    ends.until(1)
    ends.client.send(Heartbeat("w", 2))
    ends.client.close()
    assert ends.server.receive() == [Heartbeat("w", 2)]
    with pytest.raises(EOFError):
        ends.server.receive()


def test_any_thread_may_send_while_one_reads(make_ends: Callable[..., Ends]) -> None:
    ends = make_ends()
    ends.client.send(Heartbeat("w", 0))
    ends.until(1)

    def send() -> None:
        for i in range(200):
            ends.client.send(Refused("x", "y" * i * 10))

    threads = [threading.Thread(target=send) for _ in range(4)]
    for thread in threads:
        thread.start()
    ends.server.send(*[Heartbeat("m", i) for i in range(200)])
    heard = ends.until(801)
    for thread in threads:
        thread.join()
    assert sum(len(m.message) for m in heard[1:] if isinstance(m, Refused)) == 4 * 199_000


def test_a_channel_to_a_server_that_is_not_believed_says_so_to_both(
    make_ends: Callable[..., Ends],
) -> None:
    ends = make_ends(client="others")
    ends.client.send(Heartbeat("w", 1))
    with pytest.raises(ProtocolError, match="the certificate of the server"):
        until(lambda: ends.turn(), "nothing")
    with pytest.raises(ProtocolError, match="unknown ca"):
        ends.server.receive()
    assert ends.heard[ends.server] == []


def test_f50_a_plain_peer_of_a_channel_is_refused_in_plain_text(
    make_ends: Callable[..., Ends],
) -> None:
    left, right = socket.socketpair()
    with left, right:
        channel = channel_of(right, lambda: None, tls().server, "a stranger")
        plain = Connection(left)
        plain.send(Heartbeat("w", 1))
        with pytest.raises(ProtocolError, match="TLS only"):
            channel.receive()
        refused = plain.receive(TIMEOUT_S)
        assert isinstance(refused, Refused) and refused.code == tls_module.TLS_NEEDED


# --- connections: sockets that block -------------------------------------------------------------


class Served:
    """Accepts one connection over TLS, or a plain one, and keeps what became of it."""

    def __init__(self, is_tls: bool = True, timeout_s: float = TIMEOUT_S) -> None:
        self._listening = socket.create_server(("", 0))
        self.port: int = self._listening.getsockname()[1]
        self.result: Any = None
        self._is_tls = is_tls
        self._timeout_s = timeout_s
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        sock = self._listening.accept()[0]
        serving = tls().server
        assert serving is not None
        try:
            if self._is_tls:
                sock = serve_tls(sock, serving)
            self.result = Connection.accept(sock, TOKEN, self._timeout_s)
        except Exception as error:  # handed to the test
            self.result = error

    def wait(self) -> Any:
        self._thread.join()
        return self.result

    def close(self) -> None:
        self._listening.close()
        self._thread.join()
        if isinstance(self.result, Connection):
            self.result.close()


@pytest.fixture
def make_served() -> Iterator[Callable[..., Served]]:
    made: list[Served] = []

    def make(**options: Any) -> Served:
        made.append(Served(**options))
        return made[-1]

    yield make
    for served in made:
        served.close()


def test_messages_and_files_pass_a_connection(
    version: ssl.TLSVersion, make_served: Callable[..., Served], tmp_path: Path
) -> None:
    path = tmp_path / "data"
    path.write_bytes(os.urandom(3_000_000))
    served = make_served()
    client = Connection.connect(HOST, served.port, TOKEN, TIMEOUT_S, tls().client)
    server = served.wait()
    assert isinstance(client.sock, TlsSocket) and client.sock.version() is not None

    def send() -> None:
        with path.open("rb") as file:
            for offset in (1_000_000, 0, 0):
                server.send(Bulk(2_000_000))
                server.send_file(file.fileno(), offset, 2_000_000, TIMEOUT_S)
        server.send(Heartbeat("w", 1))
        server.close()

    thread = threading.Thread(target=send)
    thread.start()
    with client.sock:
        for offset in (1_000_000, 0, 0):
            assert client.receive(TIMEOUT_S) == Bulk(2_000_000)
            data = client.receive_bulk(2_000_000, TIMEOUT_S)
            assert data == path.read_bytes()[offset : offset + 2_000_000]
        assert client.receive(TIMEOUT_S) == Heartbeat("w", 1)
        with pytest.raises(EOFError):
            client.receive(TIMEOUT_S)
    thread.join()


@pytest.mark.parametrize(
    ("host", "ca", "words"),
    [
        (HOST, "others", r"certificate of 127\.0\.0\.1:\d+ is not valid here"),
        ("127.0.0.2", "ours", r"certificate of 127\.0\.0\.2:\d+ .* mismatch"),
    ],
)
def test_a_connection_to_whom_it_does_not_believe_is_refused_by_name(
    make_served: Callable[..., Served], host: str, ca: str, words: str
) -> None:
    served = make_served()
    with pytest.raises(ProtocolError, match=words) as caught:
        Connection.connect(host, served.port, TOKEN, TIMEOUT_S, tls(ca).client)
    assert caught.value.code == tls_module.BAD_CERTIFICATE
    assert isinstance(served.wait(), (ProtocolError, EOFError, OSError))


def test_a_plain_client_of_a_tls_port_is_told_so(make_served: Callable[..., Served]) -> None:
    served = make_served()
    with pytest.raises(ProtocolError, match="this port speaks TLS only"):
        Connection.connect(HOST, served.port, TOKEN, TIMEOUT_S)
    assert isinstance(served.wait(), ProtocolError)


def test_a_tls_client_of_a_plain_port_is_told_so(make_served: Callable[..., Served]) -> None:
    served = make_served(is_tls=False)
    with pytest.raises(ProtocolError, match=r"127\.0\.0\.1:\d+ does not speak TLS"):
        Connection.connect(HOST, served.port, TOKEN, TIMEOUT_S, tls().client)
    assert isinstance(served.wait(), ProtocolError)


@pytest.mark.parametrize("said", [b"", b"\x16", b"\x16\x03\x01\x02\x00"])
def test_f50_a_handshake_that_does_not_go_on_is_given_up(
    make_served: Callable[..., Served], said: bytes
) -> None:
    served = make_served(timeout_s=0.2)
    with socket.create_connection((HOST, served.port), timeout=TIMEOUT_S) as sock:
        sock.sendall(said)
        assert isinstance(served.wait(), TimeoutError)
        assert answer_to(sock) == b""


def test_f50_a_handshake_byte_by_byte_has_no_more_time(
    make_served: Callable[..., Served],
) -> None:
    served = make_served(timeout_s=0.3)
    is_over = threading.Event()
    with socket.create_connection((HOST, served.port), timeout=TIMEOUT_S) as sock:
        sock.sendall(b"\x16\x03\x01\x02\x00")

        def trickle() -> None:
            while not is_over.wait(0.02):
                try:
                    sock.sendall(b"\x01")
                except OSError:
                    return

        thread = threading.Thread(target=trickle)
        thread.start()
        assert isinstance(served.wait(), (TimeoutError, ProtocolError))
        is_over.set()
        thread.join()


def test_a_server_that_goes_away_within_the_handshake_may_be_tried_again() -> None:
    with socket.create_server((HOST, 0)) as listening:

        def hang_up() -> None:
            listening.accept()[0].close()

        thread = threading.Thread(target=hang_up)
        thread.start()
        with pytest.raises((EOFError, ConnectionError)):
            Connection.connect(*listening.getsockname(), TOKEN, TIMEOUT_S, tls().client)
        thread.join()


def shaken() -> tuple[TlsSocket, TlsSocket]:
    """A client and a server that have shaken hands."""
    left, right = socket.socketpair()
    serving, context = tls().server, tls().client
    assert serving is not None and context is not None
    server = serve_tls(right, serving)
    thread = threading.Thread(target=lambda: server.shake_hands("it", TIMEOUT_S))
    thread.start()
    client = connect_tls(left, context, HOST)
    client.shake_hands("it", TIMEOUT_S)
    thread.join()
    return client, server


def test_what_a_server_sends_after_the_handshake_is_an_answer(version: ssl.TLSVersion) -> None:
    """Or who waits for one, and looks on the wire, would take a ticket for it."""
    client, server = shaken()
    with client, server:
        client.settimeout(0.0)
        with pytest.raises(BlockingIOError):
            tls_module.peek(client)
        server.sendall(b"x")
        assert tls_module.peek(client)


def test_f50_who_reads_slowly_is_not_given_up_for_the_length_of_what_it_is_sent() -> None:
    """A timeout is for one send, which therefore is one record."""
    client, server = shaken()
    with client, server:
        assert server.send(bytes(1_000_000)) == tls_module.RECORD_BYTES
        server.settimeout(0.05)
        with pytest.raises(TimeoutError):
            server.sendall(bytes(10_000_000))


def test_a_file_that_ended_early_is_no_whole_one(tmp_path: Path) -> None:
    path = tmp_path / "data"
    path.write_bytes(bytes(100))
    client, server = shaken()
    with client, server, path.open("rb") as file:
        with pytest.raises(EOFError, match="50 bytes early"):
            Connection(server).send_file(file.fileno(), 50, 100, TIMEOUT_S)


def test_a_socket_that_somebody_shut_never_goes_on_in_plain_text() -> None:
    client, server = shaken()
    with client, server:
        client.shutdown(socket.SHUT_RDWR)
        assert client._sslobj is not None  # type: ignore[attr-defined]
        with pytest.raises(ConnectionError):
            client.sendall(b"secret")
        assert server.recv(100) == b""
