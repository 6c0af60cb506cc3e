"""The sessions of our own workers: one thread reads them all; any thread may send.

Each connection authenticates, registers, and from then on turns messages into events. A peer that
breaks the protocol is told why and disconnected. Must not know what the events lead to.
"""

from __future__ import annotations

import logging
import os
import selectors
import socket
import threading
import time
import uuid
from collections.abc import Callable
from functools import partial

from minispark.errors import ProtocolError
from minispark.model import events as ev
from minispark.model.ids import NIL_ID, is_uuid
from minispark.model.states import WorkerKind
from minispark.transport import messages as msg
from minispark.transport.channel import Channel
from minispark.transport.handshake import ServerHandshake

HANDSHAKE_TIMEOUT_S = 5.0
"""A peer that has not authenticated and registered by then is disconnected."""
CONNECTIONS_MAX = 4096
ACCEPTS_PER_TURN = 64

logger = logging.getLogger("minispark.master")


class Session:
    """One connection. Its fields belong to the sessions thread; `channel.send` to any."""

    def __init__(
        self, number: int, channel: Channel, peer: str, token: str, deadline: float
    ) -> None:
        self.number = number
        self.channel = channel
        self.peer = peer
        self.handshake = ServerHandshake(token)
        self.deadline: float | None = deadline
        self.worker_id: str | None = None
        self.name = peer


class Sessions:
    """Accepts on `listening_sock` and serves every session until `stop`."""

    def __init__(
        self,
        listening_sock: socket.socket,
        token: str,
        post: Callable[[ev.Event], None],
        when_durable: Callable[[str, Callable[[], None]], None],
    ) -> None:
        """`post` takes an event in; `when_durable` calls back once what was posted is durable."""
        self._listening = listening_sock
        self._token = token
        self._post = post
        self._when_durable = when_durable
        self._selector = selectors.DefaultSelector()
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_read, False)
        os.set_blocking(self._wake_write, False)
        self._thread = threading.Thread(target=self._run, name="sessions", daemon=True)
        self._is_stopping = False
        self._next_number = 1
        self._connections: dict[int, Session] = {}
        self._lock = threading.Lock()
        # Protected by self._lock:
        self._by_worker: dict[str, Session] = {}

    def start(self) -> None:
        self._listening.setblocking(False)
        self._selector.register(self._listening, selectors.EVENT_READ, None)
        self._selector.register(self._wake_read, selectors.EVENT_READ, None)
        self._thread.start()

    def stop(self, timeout_s: float) -> None:
        self._is_stopping = True
        self._wake()
        self._thread.join(timeout_s)

    # --- any thread ------------------------------------------------------------------------

    def send(self, worker_id: str, message: msg.Message) -> None:
        """Send to a worker's current session; without one the message is dropped, as it is lost
        with it.
        """
        with self._lock:
            session = self._by_worker.get(worker_id)
        if session is None:
            return
        try:
            session.channel.send(message)
        except (OSError, ProtocolError) as error:
            # the sessions thread sees the closed socket and reports the worker lost
            logger.warning("sending to %s failed: %s", session.name, error)
            session.channel.shut()
            self._wake()

    def disconnect(self, worker_id: str, number: int) -> None:
        """End that session of the worker, unless a later one has taken its place."""
        with self._lock:
            session = self._by_worker.get(worker_id)
        if session is not None and session.number == number:
            session.channel.shut()
            self._wake()

    def _wake(self) -> None:
        try:
            os.write(self._wake_write, b"w")
        except BlockingIOError:
            pass  # it is awake already

    # --- the sessions thread ---------------------------------------------------------------------

    def _run(self) -> None:
        while not self._is_stopping:
            self._watch_writers()
            for key, mask in self._selector.select(timeout=1.0):
                if key.fileobj is self._listening:
                    self._accept()
                elif key.fd == self._wake_read:
                    self._drain_wakes()
                else:
                    session: Session = key.data
                    if mask & selectors.EVENT_WRITE:
                        self._flush(session)
                    if mask & selectors.EVENT_READ and session.number in self._connections:
                        self._read(session)
            self._close_late_handshakes()
        for session in list(self._connections.values()):
            self._forget(session)
        self._selector.close()
        os.close(self._wake_read)
        os.close(self._wake_write)

    def _drain_wakes(self) -> None:
        try:
            while os.read(self._wake_read, 4096):
                pass
        except BlockingIOError:
            pass

    def _watch_writers(self) -> None:
        for session in self._connections.values():
            wanted = selectors.EVENT_READ
            if session.channel.wants_write:
                wanted |= selectors.EVENT_WRITE
            if self._selector.get_key(session.channel).events != wanted:
                self._selector.modify(session.channel, wanted, session)

    def _accept(self) -> None:
        for _ in range(ACCEPTS_PER_TURN):
            try:
                sock, address = self._listening.accept()
            except BlockingIOError:
                return
            except OSError as error:
                logger.warning("accepting a worker failed: %s", error)
                return
            if len(self._connections) >= CONNECTIONS_MAX:
                sock.close()
                continue
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            peer = f"{address[0]}:{address[1]}"
            channel = Channel(sock, on_want_write=self._wake)
            deadline = time.monotonic() + HANDSHAKE_TIMEOUT_S
            session = Session(self._next_number, channel, peer, self._token, deadline)
            self._next_number += 1
            self._connections[session.number] = session
            self._selector.register(channel, selectors.EVENT_READ, session)

    def _read(self, session: Session) -> None:
        try:
            for message in session.channel.receive():
                self._take(session, message)
        except EOFError:
            self._close(session, "its connection closed")
        except ProtocolError as error:
            self._refuse(session, error)
        except OSError as error:
            self._close(session, str(error))

    def _flush(self, session: Session) -> None:
        try:
            session.channel.flush()
        except OSError as error:
            self._close(session, str(error))

    def _take(self, session: Session, message: msg.Message) -> None:
        if not session.handshake.is_done:
            for answer in session.handshake.receive(message):
                session.channel.send(answer)
            return
        now_unix_s = time.time()
        if session.worker_id is None:
            if not isinstance(message, msg.Register):
                raise ProtocolError(f"register first; {type(message).__name__} came instead")
            self._register(session, message, now_unix_s)
            return
        match message:
            case msg.Heartbeat():
                self._post(
                    ev.HeartbeatReceived(session.worker_id, message.active_tasks, now_unix_s)
                )
            case msg.Reports():
                for report in message.reports:
                    self._post(event_of(session.worker_id, report, now_unix_s))
                worker_id, number = session.worker_id, message.number
                confirmed = msg.Confirmed(number)
                self._when_durable(worker_id, partial(self._confirm, worker_id, session, confirmed))
            case msg.Draining():
                self._post(ev.WorkerDraining(session.worker_id, now_unix_s))
            case _:
                raise ProtocolError(f"a worker does not send {type(message).__name__}")

    def _confirm(self, worker_id: str, session: Session, confirmed: msg.Confirmed) -> None:
        with self._lock:
            is_current = self._by_worker.get(worker_id) is session
        if is_current:
            self.send(worker_id, confirmed)

    def _register(self, session: Session, message: msg.Register, now_unix_s: float) -> None:
        if message.worker_id != NIL_ID and not is_uuid(message.worker_id):
            raise ProtocolError("worker_id is no UUID")
        is_new = message.worker_id == NIL_ID
        session.worker_id = str(uuid.uuid4()) if is_new else message.worker_id
        session.name = message.name
        session.deadline = None
        with self._lock:
            older = self._by_worker.get(session.worker_id)
            self._by_worker[session.worker_id] = session
        if older is not None:
            older.worker_id = None
            self._forget(older)
        identity = ev.WorkerIdentity(
            worker_id=session.worker_id,
            kind=WorkerKind.SOCKET,
            name=message.name,
            host=message.host,
            port=message.port,
            slots=message.slots,
            pid=message.pid,
            host_id=message.host_id,
            state_dir=message.state_dir,
            metrics_url=message.metrics_url,
        )
        self._post(ev.WorkerRegistered(identity, session.number, message.running, now_unix_s))

    def _close_late_handshakes(self) -> None:
        now = time.monotonic()
        for session in list(self._connections.values()):
            if session.deadline is not None and now > session.deadline:
                error = ProtocolError("it did not authenticate and register in time", "too_slow")
                self._refuse(session, error)

    def _refuse(self, session: Session, error: ProtocolError) -> None:
        logger.warning("refused %s: %s", session.name, error)
        try:
            session.channel.send(msg.Refused(error.code, str(error)))
        except (OSError, ProtocolError):
            pass  # the peer is gone already, or reads nothing; it is disconnected either way
        self._close(session, f"it broke the protocol: {error}")

    def _close(self, session: Session, reason: str) -> None:
        self._forget(session)
        if session.worker_id is None:
            return
        logger.info("%s disconnected: %s", session.name, reason)
        with self._lock:
            if self._by_worker.get(session.worker_id) is session:
                del self._by_worker[session.worker_id]
        self._post(ev.WorkerDisconnected(session.worker_id, session.number, time.time()))

    def _forget(self, session: Session) -> None:
        if self._connections.pop(session.number, None) is not None:
            self._selector.unregister(session.channel)
            session.channel.close()


def event_of(worker_id: str, report: msg.Report, at_unix_s: float) -> ev.Event:
    """The event that a worker's report is."""
    match report:
        case msg.Started(attempt_id):
            return ev.AttemptStarted(worker_id, attempt_id, at_unix_s)
        case msg.Succeeded(attempt_id, outcome):
            return ev.AttemptSucceeded(worker_id, attempt_id, outcome, at_unix_s)
        case msg.Failed(attempt_id, kind, error):
            return ev.AttemptFailed(worker_id, attempt_id, kind, error, at_unix_s)
        case msg.FetchFailed(attempt_id, lost, error):
            return ev.OutputsUnreadable(worker_id, attempt_id, lost, error, at_unix_s)
        case msg.Committed(attempt_id):
            return ev.OutputCommitted(worker_id, attempt_id, at_unix_s)
        case msg.CommitFailed(attempt_id, error):
            return ev.CommitRefused(worker_id, attempt_id, error, at_unix_s)
