"""Handshake and connections over real socket pairs."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from minispark.errors import AuthenticationFailed, ProtocolError
from minispark.transport.channel import Channel
from minispark.transport.codec import encode
from minispark.transport.connection import Connection
from minispark.transport.framing import STRANGER_FRAME_BYTES_MAX, encode_frame
from minispark.transport.handshake import ClientHandshake, ServerHandshake, refusal
from minispark.transport.messages import Bulk, Challenge, Heartbeat, Hello, Proof, Refused

TIMEOUT_S = 10.0


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    left, right = socket.socketpair()
    with left, right:
        yield left, right


def in_thread(work: Callable[[], object]) -> tuple[threading.Thread, list[object]]:
    results: list[object] = []

    def run() -> None:
        try:
            results.append(work())
        except Exception as error:  # handed to the test
            results.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    return thread, results


def accept(sock: socket.socket, token: str) -> tuple[threading.Thread, list[object]]:
    return in_thread(lambda: Connection.accept(sock, token, TIMEOUT_S))


def handshake(client: ClientHandshake, server: ServerHandshake) -> None:
    waiting = list(client.begin())
    while waiting and not (client.is_done and server.is_done):
        answers = [a for message in waiting for a in server.receive(message)]
        waiting = [a for message in answers for a in client.receive(message)]


def test_both_sides_are_done_when_the_token_is_the_same() -> None:
    client, server = ClientHandshake("secret"), ServerHandshake("secret")
    handshake(client, server)
    assert client.is_done and server.is_done


def test_f54_a_wrong_token_is_refused_by_both_sides() -> None:
    with pytest.raises(AuthenticationFailed, match="server"):
        handshake(ClientHandshake("wrong"), ServerHandshake("secret"))
    server = ServerHandshake("secret")
    (hello,) = ClientHandshake("wrong").begin()
    server.receive(hello)
    with pytest.raises(AuthenticationFailed, match="peer"):
        server.receive(Proof("0" * 64))


def test_f54_a_replayed_proof_is_refused() -> None:
    client, server = ClientHandshake("secret"), ServerHandshake("secret")
    (hello,) = client.begin()
    (challenge,) = server.receive(hello)
    (proof,) = client.receive(challenge)
    again = ServerHandshake("secret")
    again.receive(hello)
    with pytest.raises(AuthenticationFailed):
        again.receive(proof)


def test_f54_nobody_is_heard_before_the_handshake() -> None:
    with pytest.raises(ProtocolError, match="before the handshake") as caught:
        ServerHandshake("secret").receive(Heartbeat("w", 0))
    assert caught.value.code == "not_authenticated"


@pytest.mark.parametrize("nonce", ["\ud800", "", "n/../n", "f" * 1000])
def test_f50_a_nonce_that_is_none_is_refused(nonce: str) -> None:
    with pytest.raises(ProtocolError, match="nonce"):
        ServerHandshake("secret").receive(Hello(1, "0.1.0", "3.11", nonce))


@pytest.mark.parametrize("proof", ["é", "\ud800", ""])
def test_f50_a_proof_of_strange_letters_is_wrong(proof: str) -> None:
    server = ServerHandshake("secret")
    (hello,) = ClientHandshake("x").begin()
    server.receive(hello)
    with pytest.raises(AuthenticationFailed):
        server.receive(Proof(proof))


def test_another_version_is_refused_by_name() -> None:
    with pytest.raises(ProtocolError, match=r"9\.9\.9"):
        ServerHandshake("secret").receive(Hello(1, "9.9.9", "3.11", "n"))
    with pytest.raises(ProtocolError, match="protocol version 7"):
        ClientHandshake("secret").receive(Challenge(7, "0.1.0", "3.11", "n", "p"))


def test_messages_and_raw_bytes_arrive_in_order(
    pair: tuple[socket.socket, socket.socket], tmp_path: Path
) -> None:
    path = tmp_path / "data"
    path.write_bytes(os.urandom(300_000))
    left, right = Connection(pair[0]), Connection(pair[1])

    def send() -> None:
        left.send(Bulk(200_000))
        with path.open("rb") as file:
            left.send_file(file.fileno(), 100_000, 200_000, TIMEOUT_S)
        left.send(Heartbeat("w", 1))

    thread, errors = in_thread(send)
    assert right.receive(TIMEOUT_S) == Bulk(200_000)
    assert right.receive_bulk(200_000, TIMEOUT_S) == path.read_bytes()[100_000:]
    assert right.receive(TIMEOUT_S) == Heartbeat("w", 1)
    thread.join()
    assert errors == [None]


def test_f50_a_peer_with_the_wrong_token_is_told_so(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    thread, results = accept(pair[1], "secret")
    client = Connection(pair[0])
    (hello,) = ClientHandshake("x").begin()
    client.send(hello)
    assert isinstance(client.receive(TIMEOUT_S), Challenge)
    client.send(Proof("nonsense"))
    refused = client.receive(TIMEOUT_S)
    assert isinstance(refused, Refused) and refused.code == "authentication_failed"
    thread.join()
    assert isinstance(results[0], AuthenticationFailed)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"\xff\xff\xff\xffGET / HTTP/1.1", "frame_too_large"),
        ((STRANGER_FRAME_BYTES_MAX + 1).to_bytes(4, "big"), "frame_too_large"),
        (encode_frame(b"garbage"), "bad_json"),
        (encode_frame(b'{"type": "surprise"}'), "unknown_type"),
    ],
)
def test_f50_garbage_ends_the_session_with_its_reason(
    pair: tuple[socket.socket, socket.socket], data: bytes, code: str
) -> None:
    thread, results = accept(pair[1], "secret")
    pair[0].sendall(data)
    refused = Connection(pair[0]).receive(TIMEOUT_S)
    assert isinstance(refused, Refused) and refused.code == code
    thread.join()
    assert isinstance(results[0], ProtocolError)


def test_f50_a_server_that_proved_nothing_sends_little_either(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    pair[0].sendall((STRANGER_FRAME_BYTES_MAX + 1).to_bytes(4, "big"))
    with pytest.raises(ProtocolError) as caught:
        Connection._authenticate(pair[1], ClientHandshake("secret"), TIMEOUT_S)
    assert caught.value.code == "frame_too_large"


def test_who_is_known_may_send_more(pair: tuple[socket.socket, socket.socket]) -> None:
    thread, results = accept(pair[1], "secret")
    client = Connection._authenticate(pair[0], ClientHandshake("secret"), TIMEOUT_S)
    thread.join()
    (server,) = results
    assert isinstance(server, Connection)
    long = Refused("x", "y" * 2 * STRANGER_FRAME_BYTES_MAX)
    server.send(long)
    client.send(long)
    assert server.receive(TIMEOUT_S) == client.receive(TIMEOUT_S) == long


@pytest.mark.parametrize("letter", ["x", "\x01", "\U0001f600", '"'])
def test_f50_a_refusal_fits_into_a_strangers_frame(letter: str) -> None:
    error = ProtocolError(letter * 100_000, "bad_message")
    assert len(encode(refusal(error))) <= STRANGER_FRAME_BYTES_MAX


def test_f50_a_peer_that_never_reads_a_file_is_given_up(
    pair: tuple[socket.socket, socket.socket], tmp_path: Path
) -> None:
    path = tmp_path / "data"
    with path.open("wb") as file:
        file.truncate(2**24)
    connection = Connection(pair[0])
    pair[0].settimeout(TIMEOUT_S)  # what an earlier wait left
    with path.open("rb") as file, pytest.raises(TimeoutError):
        connection.send_file(file.fileno(), 0, 2**24, 0.05)


def test_f50_a_truncated_message_is_an_end_of_stream(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    pair[0].sendall(encode_frame(b"abcdef")[:-2])
    pair[0].close()
    with pytest.raises(EOFError, match="within a message"):
        Connection(pair[1]).receive(TIMEOUT_S)


def test_f50_a_silent_peer_times_out(pair: tuple[socket.socket, socket.socket]) -> None:
    with pytest.raises(TimeoutError):
        Connection.accept(pair[1], "secret", 0.05)


def test_f50_a_peer_that_never_reads_is_given_up(
    pair: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("minispark.transport.channel.BUFFER_BYTES_MAX", 1_000_000)
    wanted: list[bool] = []
    channel = Channel(pair[0], on_want_write=lambda: wanted.append(True))
    big = Refused("x", "y" * 100_000)
    with pytest.raises(ProtocolError, match="does not read"):
        for _ in range(100):
            channel.send(big)
    assert wanted and channel.wants_write


def test_a_channel_hands_out_what_is_there(pair: tuple[socket.socket, socket.socket]) -> None:
    left = Channel(pair[0], on_want_write=lambda: None)
    right = Channel(pair[1], on_want_write=lambda: None)
    assert right.receive() == []
    left.send(Heartbeat("w", 1))
    left.send(Heartbeat("w", 2))
    assert right.receive() == [Heartbeat("w", 1), Heartbeat("w", 2)]
    left.close()
    with pytest.raises(EOFError):
        right.receive()


def test_what_a_dead_peer_said_is_heard_though_somebody_holds_its_end_open(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    left = Channel(pair[0], on_want_write=lambda: None)
    right = Channel(pair[1], on_want_write=lambda: None)
    with left.sock.dup():
        left.send(Heartbeat("w", 1))
        left.close()
        assert right.drain() == [Heartbeat("w", 1)]
        assert right.drain() == []
    assert right.drain() == []
