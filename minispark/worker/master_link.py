"""The agent's session with the master: connects, authenticates, registers, and comes back by
itself.

Non-blocking: its owner's loop calls it. Must not know what the messages are for.
"""

from __future__ import annotations

import logging
import os
import socket
import ssl
from collections import deque
from collections.abc import Callable

from minispark.errors import ProtocolError
from minispark.transport.channel import Channel
from minispark.transport.handshake import ClientHandshake
from minispark.transport.host import addresses_of
from minispark.transport.messages import (
    REPORTS_MAX,
    CommitFailed,
    Ending,
    Failed,
    FetchFailed,
    Message,
    Refused,
    Register,
    Report,
    Reports,
    Started,
    Succeeded,
)
from minispark.transport.silence import end_when_silent
from minispark.transport.tls_channel import channel_of

RETRY_MIN_S = 0.05
RETRY_MAX_S = 1.0
PAGE_CHARS_MAX = 2**20
"""Of names and errors in a page of reports, if there is more than one report in it: a page must fit
into a frame, and be decoded quickly.
"""
REPORTS_PAUSE_S = 0.002
"""How long reports wait for others that nobody waits for: starts always, ends while enough orders
are here. What comes in so short a time is told at once, and costs both sides one message.
"""
BRIEF_S_MAX = 0.05
"""What began and ended within one page, which waited no longer, is told as an end only."""
WELCOME_TIMEOUT_S = 5.0
"""A master that has not let this worker in by then is tried anew. While no master runs, who holds
its listening socket lets connections queue up: the next master finds them there.
"""

logger = logging.getLogger("minispark.worker")


class MasterLink:
    """One master at a time. Reports wait here while there is no session."""

    def __init__(
        self,
        host: str,
        port: int,
        token: str,
        registration: Callable[[], Register],
        silence_s: float = 10.0,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """`silence_s`: a master that acknowledges nothing for so long is gone, or cut off."""
        self.host = host
        self._address = (host, port)
        self._silence_s = silence_s
        self._token = token
        self._tls = tls
        self._registration = registration
        self._retry_s = RETRY_MIN_S
        self._tries = 0
        self._handshake = ClientHandshake(token)
        self._is_connecting = False
        self._reports: list[Report] = []
        self._unconfirmed: deque[Reports] = deque()
        """Pages sent in this session that the master has not called durable yet."""
        self._pages = 0
        self._due: float | None = 0.0
        """When to connect, or to give up being let in; None within a session."""
        self._queued_at: float | None = None
        """Since when the first of the reports waits, as `send_reports` saw it."""
        self.channel: Channel | None = None
        self.is_registered = False

    # --- coming and going --------------------------------------------------------------------

    @property
    def due(self) -> float | None:
        """When `follow_clock` has something to do, if nothing is heard before."""
        return self._due

    @property
    def wants_write(self) -> bool:
        """Whether to wait for room to send; or for the connection, which shows like that."""
        return self._is_connecting or (self.channel is not None and self.channel.wants_write)

    def follow_clock(self, now: float) -> None:
        """Begin to connect when it is time. Raises OSError: the master did not answer in time."""
        if self._due is None or now < self._due:
            return
        if self.channel is not None:
            raise TimeoutError(f"it did not answer within {WELCOME_TIMEOUT_S:g} s")
        self._due = now + WELCOME_TIMEOUT_S
        self._handshake = ClientHandshake(self._token)
        try:
            host, port = self._address
            peer = f"the master at {host}:{port}"
            self.channel = channel_of(self._connect(), _ignore, self._tls, peer, host)
            self._is_connecting = True
        except OSError as error:
            self.lose(error, now)

    def _connect(self) -> socket.socket:
        """A socket that connects, to one of the host's addresses after the other.

        Only a name that must be looked up makes this wait.
        """
        found = addresses_of(*self._address)
        family, kind, protocol, _, address = found[self._tries % len(found)]
        self._tries += 1
        sock = socket.socket(family, kind, protocol)
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            end_when_silent(sock, self._silence_s)
            sock.connect(address)
        except BlockingIOError:
            pass  # under way
        except BaseException:
            sock.close()
            raise
        return sock

    def receive(self, is_writable: bool) -> list[Message]:
        """What the master sent since it let this worker in. Raises EOFError, OSError: the session
        is over then. Raises ProtocolError: trying again would not help.
        """
        channel = self.channel
        assert channel is not None
        if self._is_connecting:
            if not is_writable:
                return []
            self._end_connecting(channel)
        elif is_writable:
            channel.flush()
        messages = channel.receive()
        while messages and not self._handshake.is_done:
            self._shake_hands(channel, messages.pop(0))
        return messages

    def _end_connecting(self, channel: Channel) -> None:
        error = channel.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error:
            raise OSError(error, os.strerror(error))
        self._is_connecting = False
        for message in self._handshake.begin():
            channel.send(message)

    def _shake_hands(self, channel: Channel, message: Message) -> None:
        try:
            answers = self._handshake.receive(message)
        except ProtocolError as error:
            self.send(Refused(error.code, str(error)))
            raise
        for answer in answers:
            channel.send(answer)
        if self._handshake.is_done:
            self._retry_s, self._due = RETRY_MIN_S, None
            self.send(self._registration())

    def lose(self, error: Exception, now: float) -> None:
        """The session ended, or never began; another one is tried soon, then ever more slowly."""
        level = logging.WARNING if self._handshake.is_done else logging.DEBUG
        logger.log(level, "no session with the master at %s:%d: %s", *self._address, error)
        if self.channel is not None:
            self.channel.close()
            self.channel = None
        self._is_connecting = False
        sent = [report for page in self._unconfirmed for report in page.reports]
        self._reports = [*sent, *self._reports]
        self._unconfirmed.clear()
        self._pages = 0
        self.is_registered = False
        self._due = now + self._retry_s
        self._retry_s = min(RETRY_MAX_S, 2 * self._retry_s)

    # --- talking -----------------------------------------------------------------------------

    def send(self, message: Message) -> None:
        """Send within the session; a failure shows when it is read from."""
        if self.channel is None:
            return
        try:
            self.channel.send(message)
        except (OSError, ProtocolError) as error:
            logger.warning("sending to the master failed: %s", error)
            self.channel.shut()

    @property
    def unsent(self) -> tuple[str, ...]:
        """Attempts whose end the master has not confirmed yet: they are still this worker's."""
        pages = [report for page in self._unconfirmed for report in page.reports]
        return tuple(r.attempt_id for r in (*pages, *self._reports) if isinstance(r, Ending))

    def report(self, report: Report) -> None:
        """Queue a report for the next `send_reports`."""
        self._reports.append(report)

    def send_reports(self, now: float, is_full: bool) -> None:
        """Send what is queued, once the master knows who speaks. `is_full`: nobody here waits for
        what the master does next, so that reports may go together.
        """
        if not self._reports:
            return
        since = self._queued_at = now if self._queued_at is None else self._queued_at
        can_wait = is_full or all(isinstance(report, Started) for report in self._reports)
        if not can_wait or now >= since + REPORTS_PAUSE_S:
            self.flush_reports(now)

    def flush_reports(self, now: float) -> None:
        """Send what is queued: something is said next that must not overtake it."""
        since = now if self._queued_at is None else self._queued_at
        while self._reports and self.channel is not None and self.is_registered:
            self._queued_at = None
            count = page_length(self._reports)
            page, self._reports = tuple(self._reports[:count]), self._reports[count:]
            self._pages += 1
            if now - since <= BRIEF_S_MAX:
                page = without_starts_of_ended(page)
            self._unconfirmed.append(Reports(page, self._pages, now))
            self.send(self._unconfirmed[-1])

    @property
    def reports_due(self) -> float | None:
        """When `send_reports` wants to be called, if reports wait that can be sent."""
        can_send = self._reports and self.channel is not None and self.is_registered
        return (self._queued_at or 0.0) + REPORTS_PAUSE_S if can_send else None

    def confirmed(self, number: int) -> None:
        """The master will not forget the pages up to that number."""
        while self._unconfirmed and self._unconfirmed[0].number <= number:
            self._unconfirmed.popleft()


def _ignore() -> None:
    """The owner's loop looks at `wants_write` each time before it waits."""


def without_starts_of_ended(reports: tuple[Report, ...]) -> tuple[Report, ...]:
    """Without the starts of attempts whose end is told in the same breath."""
    ended = {r.attempt_id for r in reports if isinstance(r, Ending)}
    return tuple(r for r in reports if not isinstance(r, Started) or r.attempt_id not in ended)


def page_length(reports: list[Report]) -> int:
    """How many of the reports make the next page."""
    chars = 0
    for count, report in enumerate(reports[:REPORTS_MAX]):
        chars += _chars(report)
        if chars > PAGE_CHARS_MAX:
            return max(1, count)
    return min(len(reports), REPORTS_MAX)


def _chars(report: Report) -> int:
    match report:
        case Succeeded(_, outcome):
            return sum(len(name) + len(target) for name, target in outcome.files)
        case FetchFailed(_, lost, error):
            return sum(map(len, lost)) + len(error)
        case Failed(error=error) | CommitFailed(error=error):
            return len(error)
        case _:
            return 0
