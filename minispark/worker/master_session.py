"""A master's link in a selector loop: comes into the loop when it connects, leaves it when it is
lost.

Must not know what the messages are for.
"""

from __future__ import annotations

import selectors

from minispark.errors import ProtocolError
from minispark.transport import messages as msg
from minispark.transport.channel import Channel
from minispark.transport.messages import Message
from minispark.worker.attempt_files import AttemptFiles
from minispark.worker.master_link import MasterLink

KEY = "master"
"""What the loop finds as the data of the link's channel."""


class MasterSession:
    """Of one process, for the thread of its loop."""

    def __init__(self, link: MasterLink, selector: selectors.BaseSelector) -> None:
        self._link = link
        self._selector = selector

    def seek(self, now: float) -> None:
        """Where there is no session, begin one when it is time."""
        had_channel = self._link.channel is not None
        try:
            self._link.follow_clock(now)
        except OSError as error:
            self._lose(error, now)
        if self._link.channel is not None and not had_channel:
            self._selector.register(self._link.channel, selectors.EVENT_READ, KEY)

    def watch_writes(self) -> None:
        """Wait for room where something is still to be sent."""
        if self._link.channel is not None:
            watch(self._selector, self._link.channel, self._link.wants_write)

    def hear(self, mask: int, now: float) -> list[Message]:
        """What the master said; nothing where the session ended. Raises ProtocolError: trying again
        would not help.
        """
        try:
            return self._link.receive(bool(mask & selectors.EVENT_WRITE))
        except (EOFError, OSError) as error:
            self._lose(error, now)
            return []

    def answer(self, message: Message, files: AttemptFiles) -> bool:
        """What whoever has attempts does alike when the master says so; whether it was that. Raises
        ProtocolError: this process is refused.
        """
        match message:
            case msg.Confirmed(number):
                self._link.confirmed(number)
            case msg.Commit():
                self._link.report(files.commit(message))
            case msg.FindAttempts():
                for page in files.find():
                    self._link.send(page)
            case msg.Refused():
                raise ProtocolError(f"the master refused it: {message.message}")
            case _:
                return False
        return True

    def _lose(self, error: Exception, now: float) -> None:
        assert self._link.channel is not None
        self._selector.unregister(self._link.channel)
        self._link.lose(error, now)


def watch(selector: selectors.BaseSelector, channel: Channel, wants_write: bool) -> None:
    """Have the loop wait for what the channel waits for."""
    wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if wants_write else 0)
    key = selector.get_key(channel)
    if key.events != wanted:
        selector.modify(channel, wanted, key.data)
