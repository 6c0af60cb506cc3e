"""A worker's way to its master, over real sockets: it never waits for anybody."""

from __future__ import annotations

import select
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from minispark.errors import AuthenticationFailed, ProtocolError
from minispark.model.plan import TaskOutcome
from minispark.transport.connection import Connection
from minispark.transport.messages import (
    Message,
    Register,
    Registered,
    Report,
    Reports,
    Started,
    Succeeded,
)
from minispark.worker.master_link import (
    BRIEF_S_MAX,
    REPORTS_PAUSE_S,
    RETRY_MAX_S,
    RETRY_MIN_S,
    WELCOME_TIMEOUT_S,
    MasterLink,
)

REGISTER = Register("w", "worker-1", "127.0.0.1", 1, 1, 1, "h", "/s")
AT_ONCE_S = 0.5 * WELCOME_TIMEOUT_S
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
            peer.send(Registered("w", 1.0, 1.0, "h", 8080))
            seen.append(peer.receive(TIMEOUT_S))
            peer.close()

    thread = threading.Thread(target=serve)
    thread.start()
    for _ in range(2):
        now = link.due
        assert now is not None
        link.follow_clock(now)
        assert hear(link, bool) == [Registered("w", 1.0, 1.0, "h", 8080)]
        assert link.due is None
        link.is_registered = True
        link.send_reports(0.0, is_full=False)
        link.send_reports(REPORTS_PAUSE_S, is_full=False)
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


class Recorded(MasterLink):
    """A link within a session whose pages are kept instead of sent."""

    def __init__(self) -> None:
        super().__init__("h", 1, "t", lambda: REGISTER)
        self.channel = object()  # type: ignore[assignment]
        self.is_registered = True
        self.pages: list[tuple[Report, ...]] = []

    def send(self, message: Message) -> None:
        assert isinstance(message, Reports)
        self.pages.append(message.reports)


def test_reports_go_together_while_orders_wait() -> None:
    link = Recorded()
    ends = [Succeeded(name, TaskOutcome(1, 1)) for name in "abc"]
    link.report(ends[0])
    link.send_reports(1.0, is_full=True)
    link.report(ends[1])
    link.send_reports(1.0 + REPORTS_PAUSE_S / 2, is_full=True)
    assert link.pages == []
    assert link.reports_due == 1.0 + REPORTS_PAUSE_S
    link.send_reports(1.0 + REPORTS_PAUSE_S, is_full=True)
    assert link.pages == [(ends[0], ends[1])]
    link.report(ends[2])
    link.send_reports(1.0 + REPORTS_PAUSE_S, is_full=False)  # somebody is idle
    assert link.pages[1:] == [(ends[2],)]
    assert link.reports_due is None


def test_a_start_waits_a_moment_for_its_end() -> None:
    link, done = Recorded(), Succeeded("a", TaskOutcome(1, 1))
    link.report(Started("a"))
    link.send_reports(1.0, is_full=False)
    assert link.pages == [] and link.reports_due == 1.0 + REPORTS_PAUSE_S
    link.report(done)
    link.send_reports(1.0 + REPORTS_PAUSE_S / 2, is_full=False)
    assert link.pages == [(done,)]
    link.report(Started("b"))
    link.send_reports(2.0, is_full=False)
    link.send_reports(2.0 + REPORTS_PAUSE_S, is_full=False)
    assert link.pages[1:] == [(Started("b"),)]


def test_what_began_and_ended_at_once_is_told_as_an_end() -> None:
    link, done = Recorded(), Succeeded("a", TaskOutcome(1, 1))
    for report in (Started("a"), done, Started("b")):
        link.report(report)
    link.send_reports(1.0, is_full=False)
    assert link.pages == [(done, Started("b"))]


def test_what_took_some_time_is_told_with_its_start() -> None:
    link, done = Recorded(), Succeeded("a", TaskOutcome(1, 1))
    link.is_registered = False  # there is no master
    link.report(Started("a"))
    link.send_reports(1.0, is_full=False)
    link.report(done)
    link.is_registered = True
    link.send_reports(1.1 + BRIEF_S_MAX, is_full=False)
    assert link.pages == [(Started("a"), done)]
