"""The sessions of our own workers: one thread reads them all; any thread may send.

Each connection authenticates, registers, and from then on turns messages into events. A peer that
breaks the protocol is told why and disconnected. Strangers (who have not proved that they know the
token) can neither wait long, nor be many, nor send much. Must not know what the events lead to.
"""

from __future__ import annotations

import logging
import os
import selectors
import socket
import ssl
import threading
import time
from collections.abc import Callable
from functools import partial
from itertools import islice

from minispark.errors import ProtocolError
from minispark.master.registration import identity_of
from minispark.master.reports import WorkerClock, check_count, check_load, events_of
from minispark.metrics.worker_load import WorkerLoad
from minispark.model import events as ev
from minispark.model.log_fields import about
from minispark.transport import messages as msg
from minispark.transport.accepting import ACCEPT_PAUSE_S, Acceptor
from minispark.transport.channel import Channel
from minispark.transport.framing import STRANGER_FRAME_BYTES_MAX
from minispark.transport.handshake import ServerHandshake, refusal
from minispark.transport.host import clock_offset_s, host_id
from minispark.transport.tls_channel import channel_of

HANDSHAKE_TIMEOUT_S = 2.0
"""A peer must authenticate within this time, and then register within it."""
CONNECTIONS_MAX = 4096
STRANGERS_MAX = 256
"""Peers that have not registered yet. The oldest one goes when another one comes."""
ACCEPTS_PER_TURN = 16
CONFIRM_S = 0.1
"""How late a worker may hear that its reports are durable, when nothing else is said to it: to be
told so alone wakes it for nothing.
"""

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
        self.deadline = deadline
        """Of a stranger's next step."""
        self.worker_id: str | None = None
        self.name = peer
        self.load: WorkerLoad | None = None
        """What it uses, as it said last. Written by the sessions thread, read by any."""
        self.clock = WorkerClock()


class Sessions:
    """Accepts on `listening_sock` and serves every session until `stop`."""

    def __init__(
        self,
        listening_sock: socket.socket,
        token: str,
        post: Callable[[ev.Event], None],
        when_durable: Callable[[str, Callable[[], None]], None],
        connections_max: int = CONNECTIONS_MAX,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """`post` takes an event in; `when_durable` calls back once what was posted is durable."""
        self._listening = listening_sock
        self._acceptor = Acceptor(listening_sock, "socket", logger)
        self._accept_due: float | None = None
        """When to accept again after there was no room."""
        self._connections_max = connections_max
        self._strangers_max = min(STRANGERS_MAX, max(1, connections_max // 2))
        self._token = token
        self._tls = tls
        self._host_id = host_id()
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
        self._strangers: dict[int, Session] = {}
        """Those that have not registered, by deadline: whoever authenticates moves to the end."""
        self._lock = threading.Lock()
        # Protected by self._lock:
        self._is_over = False
        """The thread ended: nobody is there to be woken."""
        self._by_worker: dict[str, Session] = {}
        self._confirmed: dict[str, tuple[Session, msg.Confirmed]] = {}
        """Of each worker what goes with the next message to it, or when it is time."""
        self._reported: dict[str, int] = {}
        """Which page came last of those that it was not told are durable."""
        # Of the sessions thread:
        self._confirm_due: float | None = None
        """When to say so to those to whom nothing else was said."""

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

    def send(self, worker_id: str, *messages: msg.Message) -> None:
        """Send to a worker's current session, in one piece; without one they are dropped, as they
        are lost with it.
        """
        with self._lock:
            session = self._by_worker.get(worker_id)
            of, confirmed = self._confirmed.pop(worker_id, (None, None))
            if confirmed is not None and self._reported.get(worker_id) == confirmed.number:
                del self._reported[worker_id]
        if session is None:
            return
        if confirmed is not None and of is session:
            messages = (confirmed, *messages)
        try:
            session.channel.send(*messages)
        except (OSError, ProtocolError) as error:
            # the sessions thread sees the closed socket and reports the worker lost
            logger.warning("sending failed: %s", error, extra=about(worker=session.name))
            session.channel.shut()
            self._wake()

    def disconnect(self, worker_id: str, number: int) -> None:
        """End that session of the worker, unless a later one has taken its place."""
        with self._lock:
            session = self._by_worker.get(worker_id)
        if session is not None and session.number == number:
            session.channel.shut()
            self._wake()

    def loads(self) -> dict[str, WorkerLoad]:
        """What the workers that have a session use, by their ids."""
        with self._lock:
            said = {worker_id: session.load for worker_id, session in self._by_worker.items()}
        return {worker_id: load for worker_id, load in said.items() if load is not None}

    def _wake(self) -> None:
        with self._lock:
            if self._is_over:
                return  # the descriptor may be another's by now
            try:
                os.write(self._wake_write, b"w")
            except BlockingIOError:
                pass  # it is awake already

    # --- the sessions thread ---------------------------------------------------------------------

    def _run(self) -> None:
        while not self._is_stopping:
            self._watch_writers()
            for key, mask in self._selector.select(self._timeout()):
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
            self._follow_clock(time.monotonic())
        for session in list(self._connections.values()):
            self._forget(session)
        self._selector.close()
        with self._lock:
            self._is_over = True
            os.close(self._wake_read)
            os.close(self._wake_write)

    def _timeout(self) -> float | None:
        due = [session.deadline for session in islice(self._strangers.values(), 1)]
        if self._accept_due is not None:
            due.append(self._accept_due)
        if self._confirm_due is not None:
            due.append(self._confirm_due)
        return max(0.0, min(due) - time.monotonic()) if due else None

    def _follow_clock(self, now: float) -> None:
        """Give up who is late; accept again after a rest."""
        while self._strangers:
            session = next(iter(self._strangers.values()))
            if now <= session.deadline:
                break
            # not refused: a worker that was only stopped for a while is to try again
            logger.warning("%s did not authenticate and register in time", session.name)
            self._forget(session)
        if self._accept_due is not None and now >= self._accept_due:
            self._accept_due = None
            self._selector.register(self._listening, selectors.EVENT_READ, None)

        if self._confirm_due is not None and now >= self._confirm_due:
            with self._lock:
                worker_ids = list(self._confirmed)
            for worker_id in worker_ids:
                self.send(worker_id)
            with self._lock:
                self._confirm_due = now + CONFIRM_S if self._reported else None

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
            taken = self._acceptor.accept()
            if taken is None:
                break
            sock, address = taken
            if not self._has_room():
                self._acceptor.complain(f"{len(self._connections)} connections are the limit")
                sock.close()
                continue
            peer = f"{address[0]}:{address[1]}"
            channel = channel_of(
                sock, self._wake, self._tls, peer, frame_bytes_max=STRANGER_FRAME_BYTES_MAX
            )
            deadline = time.monotonic() + HANDSHAKE_TIMEOUT_S
            session = Session(self._next_number, channel, peer, self._token, deadline)
            self._next_number += 1
            self._connections[session.number] = session
            self._strangers[session.number] = session
            self._selector.register(channel, selectors.EVENT_READ, session)
        if self._acceptor.is_exhausted:
            self._selector.unregister(self._listening)
            self._accept_due = time.monotonic() + ACCEPT_PAUSE_S

    def _has_room(self) -> bool:
        """Whether one more can come in. The stranger that has waited longest makes room."""
        is_full = len(self._connections) >= self._connections_max
        if len(self._strangers) >= self._strangers_max or (is_full and self._strangers):
            self._acceptor.complain(f"{len(self._strangers)} strangers wait; the oldest goes")
            self._forget(next(iter(self._strangers.values())))
            return True
        return not is_full

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
            if session.handshake.is_done:
                self._trust(session)
            return
        now_unix_s = time.time()
        if session.worker_id is None:
            if not isinstance(message, msg.Register):
                raise ProtocolError(f"register first; {type(message).__name__} came instead")
            self._register(session, message, now_unix_s)
            return
        match message:
            case msg.Heartbeat(_, active_tasks, load):
                check_count("active_tasks", active_tasks)
                if load is not None:
                    check_load(load)
                    session.load = load
                self._post(ev.HeartbeatReceived(session.worker_id, active_tasks, now_unix_s))
            case msg.Reports():
                for event in events_of(session.worker_id, message, now_unix_s, session.clock):
                    self._post(event)
                worker_id, confirmed = session.worker_id, msg.Confirmed(message.number)
                with self._lock:
                    self._reported[worker_id] = message.number
                if self._confirm_due is None:
                    self._confirm_due = time.monotonic() + CONFIRM_S
                self._when_durable(worker_id, partial(self._confirm, worker_id, session, confirmed))
            case msg.AttemptsFound(attempt_ids):
                self._post(ev.AttemptsFound(session.worker_id, attempt_ids, now_unix_s))
            case msg.Draining():
                self._post(ev.WorkerDraining(session.worker_id, now_unix_s))
            case _:
                raise ProtocolError(f"a worker does not send {type(message).__name__}")

    def _confirm(self, worker_id: str, session: Session, confirmed: msg.Confirmed) -> None:
        with self._lock:
            if self._by_worker.get(worker_id) is session:
                self._confirmed[worker_id] = (session, confirmed)

    def _trust(self, session: Session) -> None:
        session.channel.trust()
        session.deadline = time.monotonic() + HANDSHAKE_TIMEOUT_S
        self._strangers[session.number] = self._strangers.pop(session.number)

    def _register(self, session: Session, message: msg.Register, now_unix_s: float) -> None:
        identity = identity_of(message)
        session.worker_id = identity.worker_id
        session.name = identity.name
        if message.host_id == self._host_id:
            session.clock = WorkerClock(clock_offset_s())
        del self._strangers[session.number]
        with self._lock:
            older = self._by_worker.get(identity.worker_id)
            self._by_worker[identity.worker_id] = session
            self._reported.pop(identity.worker_id, None)
            self._confirmed.pop(identity.worker_id, None)
        if older is not None:
            older.worker_id = None
            self._forget(older)
        self._post(
            ev.WorkerRegistered(
                identity, session.number, message.running, now_unix_s, message.waiting
            )
        )

    def _refuse(self, session: Session, error: ProtocolError) -> None:
        logger.warning("refused %s: %s", session.name, error)
        try:
            session.channel.send(refusal(error))
        except (OSError, ProtocolError):
            pass  # the peer is gone already, or reads nothing; it is disconnected either way
        self._close(session, f"it broke the protocol: {error}")

    def _close(self, session: Session, reason: str) -> None:
        self._forget(session)
        if session.worker_id is None:
            return
        logger.info("disconnected: %s", reason, extra=about(worker=session.name))
        with self._lock:
            if self._by_worker.get(session.worker_id) is session:
                del self._by_worker[session.worker_id]
                self._reported.pop(session.worker_id, None)
                self._confirmed.pop(session.worker_id, None)
        self._post(ev.WorkerDisconnected(session.worker_id, session.number, time.time()))

    def _forget(self, session: Session) -> None:
        self._strangers.pop(session.number, None)
        if self._connections.pop(session.number, None) is not None:
            self._selector.unregister(session.channel)
            session.channel.close()
