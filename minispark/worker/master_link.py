"""The agent's session with the master: connects, authenticates, registers, and comes back by
itself.

Non-blocking: its owner's loop calls it. Must not know what the messages are for.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable

from minispark.errors import AuthenticationFailed, ProtocolError
from minispark.transport.channel import Channel
from minispark.transport.connection import Connection
from minispark.transport.messages import (
    REPORTS_MAX,
    CommitFailed,
    Failed,
    FetchFailed,
    Message,
    Register,
    Report,
    Reports,
    Succeeded,
)

RETRY_MIN_S = 0.05
RETRY_MAX_S = 1.0
CONNECT_TIMEOUT_S = 2.0
PAGE_CHARS_MAX = 2**20
"""Of names and errors in a page of reports, if there is more than one report in it: a page must fit
into a frame, and be decoded quickly.
"""

logger = logging.getLogger("minispark.worker")


class MasterLink:
    """One master at a time. Reports wait here while there is no session."""

    def __init__(
        self, host: str, port: int, token: str, registration: Callable[[], Register]
    ) -> None:
        self._address = (host, port)
        self._token = token
        self._registration = registration
        self._retry_s = RETRY_MIN_S
        self._reports: list[Report] = []
        self._unconfirmed: deque[Reports] = deque()
        """Pages sent in this session that the master has not called durable yet."""
        self._pages = 0
        self.retry_at = 0.0
        self.channel: Channel | None = None
        self.is_registered = False

    def connect(self, now: float) -> bool:
        """Try once to open a session and register; sets `retry_at` when that fails.

        Raises AuthenticationFailed or ProtocolError: trying again would not help.
        """
        try:
            connection = Connection.connect(*self._address, self._token, CONNECT_TIMEOUT_S)
        except (AuthenticationFailed, ProtocolError):
            raise
        except (OSError, EOFError) as error:
            self.retry_at = now + self._retry_s
            self._retry_s = min(RETRY_MAX_S, 2 * self._retry_s)
            logger.debug("no master at %s:%d: %s", *self._address, error)
            return False
        self._retry_s = RETRY_MIN_S
        self.is_registered = False
        self.channel = Channel(connection.sock, on_want_write=lambda: None)
        self.send(self._registration())
        return True

    def receive(self) -> list[Message]:
        """What the master sent. Raises EOFError, OSError, ProtocolError: the session is over
        then.
        """
        return self.channel.receive() if self.channel is not None else []

    def lose(self, now: float) -> None:
        """The session ended; another one is tried at once, then ever more slowly."""
        if self.channel is not None:
            self.channel.close()
            self.channel = None
        sent = [report for page in self._unconfirmed for report in page.reports]
        self._reports = [*sent, *self._reports]
        self._unconfirmed.clear()
        self._pages = 0
        self.is_registered = False
        self.retry_at = now + self._retry_s

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
        ends = (Succeeded, Failed, FetchFailed)
        pages = [report for page in self._unconfirmed for report in page.reports]
        return tuple(r.attempt_id for r in (*pages, *self._reports) if isinstance(r, ends))

    def report(self, report: Report) -> None:
        """Queue a report for the next `send_reports`."""
        self._reports.append(report)

    def send_reports(self) -> None:
        """Send what is queued, once the master knows who speaks."""
        while self._reports and self.channel is not None and self.is_registered:
            count = page_length(self._reports)
            page, self._reports = tuple(self._reports[:count]), self._reports[count:]
            self._pages += 1
            self._unconfirmed.append(Reports(page, self._pages))
            self.send(self._unconfirmed[-1])

    def confirmed(self, number: int) -> None:
        """The master will not forget the pages up to that number."""
        while self._unconfirmed and self._unconfirmed[0].number <= number:
            self._unconfirmed.popleft()


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
