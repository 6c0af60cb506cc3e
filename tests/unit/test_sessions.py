"""The master's socket port: strangers, workers, and more of both than there is room for."""

from __future__ import annotations

import errno
import json
import logging
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from minispark.errors import ProtocolError
from minispark.master.registration import identity_of
from minispark.master.reports import COUNT_MAX, WorkerClock, event_of, events_of
from minispark.master.sessions import CONNECTIONS_MAX, Sessions
from minispark.model import events as ev
from minispark.model.figures import Span
from minispark.model.ids import NIL_ID
from minispark.model.plan import OperatorCount, TaskOutcome
from minispark.transport import messages as msg
from minispark.transport.codec import encode
from minispark.transport.connection import Connection
from minispark.transport.framing import STRANGER_FRAME_BYTES_MAX, encode_frame
from minispark.transport.host import clock_offset_s
from tests.unit.sockets import TIMEOUT_S, Failing, answer_to, said_of_ports, until

TOKEN = "secret"
REGISTER = msg.Register(NIL_ID, "w", "127.0.0.1", 9000, 2, 1, "host", "/state")


class Port:
    """Sessions on a port of their own, and what they posted."""

    def __init__(self, listening: socket.socket, connections_max: int) -> None:
        self.address: tuple[str, int] = listening.getsockname()
        self.events: list[ev.Event] = []
        self.sessions = Sessions(
            listening, TOKEN, self.events.append, lambda _, call: call(), connections_max
        )
        self._listening = listening
        self._clients: list[Any] = []
        self.sessions.start()

    def stranger(self, data: bytes = b"") -> socket.socket:
        sock = socket.create_connection(self.address, timeout=TIMEOUT_S)
        self._clients.append(sock)
        sock.sendall(data)
        return sock

    def worker(self, message: msg.Message = REGISTER) -> Connection:
        """An authenticated peer that said `message`."""
        connection = Connection.connect(*self.address, TOKEN, TIMEOUT_S)
        self._clients.append(connection)
        connection.send(message)
        return connection

    def of(self, kind: type[Any]) -> list[Any]:
        return [event for event in list(self.events) if isinstance(event, kind)]

    def close(self) -> None:
        for client in self._clients:
            client.close()
        self.sessions.stop(TIMEOUT_S)
        self._listening.close()


@pytest.fixture
def make_port() -> Iterator[Callable[..., Port]]:
    made: list[Port] = []

    def make(listening: socket.socket | None = None, most: int = CONNECTIONS_MAX) -> Port:
        made.append(Port(listening or socket.create_server(("127.0.0.1", 0)), most))
        return made[-1]

    yield make
    for port in made:
        port.close()


def refusal_to(connection: Connection) -> msg.Refused:
    answer = connection.receive(TIMEOUT_S)
    assert isinstance(answer, msg.Refused)
    return answer


# --- strangers -----------------------------------------------------------------------------------


def test_f50_a_stranger_sends_little_and_a_worker_much(make_port: Callable[..., Port]) -> None:
    port = make_port()
    sock = port.stranger((STRANGER_FRAME_BYTES_MAX + 1).to_bytes(4, "big"))
    assert b"frame_too_large" in answer_to(sock)  # told before it could send the rest
    worker = port.worker()
    until(lambda: port.of(ev.WorkerRegistered), "it registered")
    worker.send(msg.Reports((msg.Failed("a", "error", "x" * 1_000_000),), 1))
    (failed,) = until(lambda: port.of(ev.AttemptFailed), "its report came")
    assert len(failed.error) == msg.ERROR_CHARS_MAX


def test_f50_silent_strangers_give_way_to_whoever_comes(
    make_port: Callable[..., Port], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("minispark.master.sessions.STRANGERS_MAX", 8)
    monkeypatch.setattr("minispark.master.sessions.HANDSHAKE_TIMEOUT_S", 60.0)
    port = make_port()
    strangers = [port.stranger() for _ in range(20)]
    port.worker()
    until(lambda: port.of(ev.WorkerRegistered), "a worker came in")
    assert [answer_to(sock) for sock in strangers[:12]] == [b""] * 12  # closed, the oldest first
    strangers[-1].settimeout(0.0)
    with pytest.raises(BlockingIOError):
        strangers[-1].recv(1)


def test_f50_who_does_not_authenticate_or_register_in_time_is_disconnected(
    make_port: Callable[..., Port], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("minispark.master.sessions.HANDSHAKE_TIMEOUT_S", 0.2)
    port = make_port()
    silent, half = port.stranger(), port.stranger(b"\x00\x00\x01\x00{")
    unregistered = Connection.connect(*port.address, TOKEN, TIMEOUT_S)
    worker = port.worker()
    assert [answer_to(silent), answer_to(half), answer_to(unregistered.sock)] == [b"", b"", b""]
    unregistered.close()
    worker.send(msg.Heartbeat("", 1))
    until(lambda: port.of(ev.HeartbeatReceived), "a worker stays")


def test_f54_a_replayed_handshake_is_refused_and_changes_nothing(
    make_port: Callable[..., Port],
) -> None:
    port = make_port()
    sent: list[bytes] = []

    class Recorded(Connection):
        def send(self, message: msg.Message) -> None:
            super().send(message)
            sent.append(encode_frame(encode(message)))

    first = Recorded.connect(*port.address, TOKEN, TIMEOUT_S)
    first.send(REGISTER)
    until(lambda: port.of(ev.WorkerRegistered), "the true one is in")
    first.close()
    assert len(sent) == 3  # hello, proof, register
    again = port.stranger(b"".join(sent))
    assert b'"code":"authentication_failed"' in answer_to(again)
    assert len(port.of(ev.WorkerRegistered)) == 1


# --- more than there is room for -----------------------------------------------------------------


def test_f50_a_port_full_of_workers_turns_others_away(
    make_port: Callable[..., Port], caplog: pytest.LogCaptureFixture
) -> None:
    port = make_port(most=2)
    first, _ = port.worker(), port.worker()
    until(lambda: len(port.of(ev.WorkerRegistered)) == 2, "both are in")
    with caplog.at_level(logging.WARNING):
        assert [answer_to(port.stranger()) for _ in range(30)] == [b""] * 30
    assert len(said_of_ports(caplog)) == 1
    first.close()
    until(lambda: port.of(ev.WorkerDisconnected), "one left")
    port.worker()
    until(lambda: len(port.of(ev.WorkerRegistered)) == 3, "there is room again")


def test_f50_without_descriptors_it_rests_and_says_so_once(
    make_port: Callable[..., Port],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr("minispark.master.sessions.ACCEPT_PAUSE_S", 0.2)
    listening = Failing(errno.EMFILE, errno.ENFILE, errno.ECONNABORTED, errno.EMFILE)
    port = make_port(listening)
    begun = time.monotonic()
    with caplog.at_level(logging.WARNING):
        port.worker()
        until(lambda: port.of(ev.WorkerRegistered), "it came in at last")
    assert time.monotonic() - begun >= 0.6
    assert listening.tries <= 8  # it does not spin
    assert len(said_of_ports(caplog)) == 1


def test_f50_connections_that_are_gone_already_hold_nobody_up(
    make_port: Callable[..., Port],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr("minispark.master.sessions.ACCEPT_PAUSE_S", 2 * TIMEOUT_S)
    port = make_port(Failing(*[errno.ECONNABORTED] * 50))
    with caplog.at_level(logging.WARNING):
        port.worker()
        until(lambda: port.of(ev.WorkerRegistered), "it came in")
    assert said_of_ports(caplog) == []


def test_f50_a_worker_that_never_reads_is_given_up(
    make_port: Callable[..., Port], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("minispark.transport.channel.BUFFER_BYTES_MAX", 2**20)
    port = make_port()
    deaf = port.worker()
    (registered,) = until(lambda: port.of(ev.WorkerRegistered), "it registered")
    order = msg.Cancel(("x" * 100_000,))
    for _ in range(1000):
        port.sessions.send(registered.worker.worker_id, order)
        if port.of(ev.WorkerDisconnected):
            break
    until(lambda: port.of(ev.WorkerDisconnected), "its session ended")
    port.worker()
    until(lambda: len(port.of(ev.WorkerRegistered)) == 2, "others are served")
    deaf.close()


# --- what workers say ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("slots", 0),
        ("slots", -5),
        ("slots", 10**18),
        ("port", 0),
        ("port", 65536),
        ("pid", -1),
        ("pid", 2**40),
        ("name", ""),
        ("name", "two\nlines"),
        ("name", "x" * 300),
        ("host", "x" * 300),
        ("host_id", ""),
        ("state_dir", "/a\0b"),
        ("metrics_url", "x" * 5000),
        ("running", ("x" * 100,)),
        ("waiting", ("x" * 100,)),
        ("worker_id", "x"),
    ],
)
def test_f50_a_registration_out_of_range_is_refused_by_name(
    field: str, value: Any, make_port: Callable[..., Port]
) -> None:
    fields = {name: getattr(REGISTER, name) for name in REGISTER.__slots__}
    message = msg.Register(**{**fields, field: value})
    with pytest.raises(ProtocolError, match=field):
        identity_of(message)


def test_f50_numbers_beyond_64_bits_are_refused_and_the_next_worker_is_not(
    make_port: Callable[..., Port],
) -> None:
    port = make_port()
    for field in ("port", "slots", "pid"):
        connection = Connection.connect(*port.address, TOKEN, TIMEOUT_S)
        payload = {"type": "register", "worker_id": NIL_ID, "name": "evil", "host": "h", "port": 1}
        payload |= {"slots": 1, "pid": 1, "host_id": "h", "state_dir": "/s", field: 10**30}
        connection.sock.sendall(encode_frame(json.dumps(payload).encode()))
        assert field in refusal_to(connection).message
        connection.close()
    bad = port.worker(msg.Register(NIL_ID, "w", "h", 1, 0, 1, "h", "/s"))
    assert "slots" in refusal_to(bad).message
    assert port.events == []
    port.worker()
    until(lambda: port.of(ev.WorkerRegistered), "a good one is taken")


def test_a_stop_that_the_thread_saw_before_it_was_woken_is_one_all_the_same(
    make_port: Callable[..., Port],
) -> None:
    port = make_port()
    port.sessions._is_stopping = True
    port.stranger()  # something else wakes it
    port.sessions._thread.join(TIMEOUT_S)
    port.sessions.stop(TIMEOUT_S)


def test_an_id_in_capitals_is_the_same_worker() -> None:
    worker_id = "ABCDEFAB-1111-2222-3333-444444444444"
    identity = identity_of(msg.Register(worker_id, "w", "h", 1, 1, 1, "h", "/s"))
    assert identity.worker_id == worker_id.lower()


@pytest.mark.parametrize(
    "outcome",
    [
        TaskOutcome(-1, 0),
        TaskOutcome(COUNT_MAX + 1, 0),
        TaskOutcome(0, 2**62),
        TaskOutcome(0, 0, records_skipped=-1),
        TaskOutcome(0, 0, operators=(OperatorCount("m", 2**62),)),
        TaskOutcome(0, 0, operators=(OperatorCount("m", 1, -1),)),
        TaskOutcome(0, 0, bytes_read=-1),
        TaskOutcome(0, 0, bytes_spilled=2**62),
        TaskOutcome(0, 0, phases_us={"read": -1}),
        TaskOutcome(0, 0, phases_us={str(i): 1 for i in range(100_000)}),
        TaskOutcome(0, 0, files=(("a", "b"),) * 100_000),
    ],
)
def test_f50_counts_that_cannot_be_are_refused(outcome: TaskOutcome) -> None:
    with pytest.raises(ProtocolError):
        event_of("w", msg.Succeeded("a", outcome), 0.0, 0.0)


def test_f50_reports_are_bounded() -> None:
    text = "x" * 1_000_000
    for report in (msg.Failed("a", text, text), msg.CommitFailed("a", text)):
        assert len(repr(event_of("w", report, 0.0, 0.0))) < msg.ERROR_CHARS_MAX + 500
    with pytest.raises(ProtocolError, match="1000 reports"):
        events_of("w", msg.Reports((msg.Started("a"),) * 1001, 1), 0.0, WorkerClock())
    with pytest.raises(ProtocolError, match="lost"):
        event_of("w", msg.FetchFailed("a", ("b",) * 100_000, "gone"), 0.0, 0.0)


def test_a_page_that_waited_on_its_way_moves_no_span() -> None:
    """Or attempts of one slot, told in two pages, would seem to overlap."""
    clock = WorkerClock()
    begun: list[float] = []
    for number, (begun_s, sent_s, at_unix_s) in enumerate(
        [(1.0, 2.0, 1002.001), (3.0, 4.0, 1004.5), (5.0, 6.0, 1006.002)], 1
    ):
        page = msg.Reports((msg.Started("a", Span(0, begun_s)),), number, sent_s)
        (event,) = events_of("w", page, at_unix_s, clock)
        assert isinstance(event, ev.AttemptStarted) and event.span is not None
        begun.append(event.span.begun_s)
    assert begun == pytest.approx([1001.001, 1003.001, 1005.001])


def test_a_worker_of_this_host_reads_our_clock_until_it_is_set() -> None:
    clock = WorkerClock(own_offset_s=1000.0)
    for sent_s, at_unix_s, offset_s in [
        (1.0, 1001.5, 1000.0),  # it waited on its way
        (2.0, 1001.999, 1000.0),
        (3.0, 503.2, 500.2),  # it cannot come before it was sent
        (4.0, 504.7, 500.2),
        (5.0, 9005.0, 500.2),
    ]:
        assert clock.offset_s(msg.Reports((), 1, sent_s), at_unix_s) == pytest.approx(offset_s)
    assert clock_offset_s() == pytest.approx(time.time() - time.monotonic(), abs=0.5)


def test_f50_a_heartbeat_of_a_worker_counts_what_it_can(make_port: Callable[..., Port]) -> None:
    port = make_port()
    worker = port.worker()
    worker.send(msg.Heartbeat("", -1))
    assert "active_tasks" in refusal_to(worker).message
    until(lambda: port.of(ev.WorkerDisconnected), "its session ended")
