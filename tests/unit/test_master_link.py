"""A worker's way to its master, over real sockets: it never waits for anybody."""

from __future__ import annotations

import select
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from minispark.errors import AuthenticationFailed, ProtocolError
from minispark.transport.connection import Connection
from minispark.transport.messages import Message, Register, Registered, Started
from minispark.worker.master_link import RETRY_MAX_S, RETRY_MIN_S, WELCOME_TIMEOUT_S, MasterLink

REGISTER = Register("w", "worker-1", "127.0.0.1", 1, 1, 1, "h", "/s")
AT_ONCE_S = 0.5
TIMEOUT_S = 10.0


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        yield sock


def link_to(sock: socket.socket, token: str = "secret") -> MasterLink:
    return MasterLink("127.0.0.1", sock.getsockname()[1], token, lambda: REGISTER)


def hear(link: MasterLink, is_done: Callable[[list[Message]], bool]) -> list[Message]:
    """What its owner's loop does, until it is done."""
    heard: list[Message] = []
    deadline = time.monotonic() + TIMEOUT_S
    while not is_done(heard):
        assert time.monotonic() < deadline
        assert link.channel is not None
        writers = [link.channel] if link.wants_write else []
        readable, writable, _ = select.select([link.channel], writers, [], 0.1)
        if readable or writable:
            heard += link.receive(bool(writable))
    return heard


def test_f32_a_master_that_does_not_answer_is_not_waited_for(listening: socket.socket) -> None:
    link = link_to(listening)
    begun = time.monotonic()
    link.follow_clock(0.0)
    hear(link, lambda _: not link.wants_write)  # the kernel took the connection for its owner
    link.follow_clock(0.9 * WELCOME_TIMEOUT_S)
    assert time.monotonic() - begun < AT_ONCE_S
    assert link.due == WELCOME_TIMEOUT_S
    with pytest.raises(TimeoutError):
        link.follow_clock(WELCOME_TIMEOUT_S)
    link.lose(TimeoutError(), WELCOME_TIMEOUT_S)
    assert link.channel is None


def test_where_nobody_listens_it_tries_ever_more_slowly(listening: socket.socket) -> None:
    link = link_to(listening)
    listening.close()
    now, waits = 0.0, []
    for _ in range(8):
        link.follow_clock(now)
        if link.channel is not None:
            with pytest.raises(OSError, match="refused"):
                hear(link, lambda _: False)
            link.lose(ConnectionError(), now)
        assert link.due is not None
        waits.append(link.due - now)
        now = link.due
    assert waits == sorted(waits)
    assert (round(waits[0], 6), round(waits[-1], 6)) == (RETRY_MIN_S, RETRY_MAX_S)


def test_it_registers_and_repeats_to_the_next_master_what_was_not_confirmed(
    listening: socket.socket,
) -> None:
    link = link_to(listening)
    link.report(Started("a"))
    seen: list[Message] = []

    def serve() -> None:
        for _ in range(2):
            peer = Connection.accept(listening.accept()[0], "secret", TIMEOUT_S)
            seen.append(peer.receive(TIMEOUT_S))
            peer.send(Registered("w", 1.0, 1.0))
            seen.append(peer.receive(TIMEOUT_S))
            peer.close()

    thread = threading.Thread(target=serve)
    thread.start()
    for _ in range(2):
        now = link.due
        assert now is not None
        link.follow_clock(now)
        assert hear(link, bool) == [Registered("w", 1.0, 1.0)]
        assert link.due is None
        link.is_registered = True
        link.send_reports()
        with pytest.raises((EOFError, OSError)):
            hear(link, lambda _: False)
        link.lose(EOFError(), now)
    thread.join()
    assert seen[0] == seen[2] == REGISTER
    assert seen[1] == seen[3]


def test_f54_a_master_that_does_not_know_the_token_is_no_master(listening: socket.socket) -> None:
    link = link_to(listening, token="another")

    def serve() -> None:
        with pytest.raises(ProtocolError):
            Connection.accept(listening.accept()[0], "secret", TIMEOUT_S)

    thread = threading.Thread(target=serve)
    thread.start()
    link.follow_clock(0.0)
    with pytest.raises(AuthenticationFailed):
        hear(link, lambda _: False)
    thread.join()
    link.lose(EOFError(), 0.0)
