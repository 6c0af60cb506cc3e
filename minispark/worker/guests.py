"""Who is served at the data port when more come than there is room for.

Strangers (who have not proved that they know the token) and fetchers have room of their own; in
each the one that waits longest gives way to the next. Must not know what is fetched.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

STRANGERS_MAX = 64
FETCHERS_MAX = 256
ROOM_TIMEOUT_S = 60.0
"""How long a fetcher waits while all others are being sent something."""


class Guests:
    """The connections of one port. Each is driven by a thread of its own."""

    def __init__(
        self, strangers_max: int = STRANGERS_MAX, fetchers_max: int = FETCHERS_MAX
    ) -> None:
        self._strangers_max = strangers_max
        self._fetchers_max = fetchers_max
        self._changed = threading.Condition()
        # Protected by self._changed; who waits longest comes first:
        self._strangers: dict[socket.socket, None] = {}
        self._idle: dict[socket.socket, None] = {}
        self._busy: dict[socket.socket, None] = {}

    def arrive(self, sock: socket.socket) -> None:
        """A stranger came. When there are too many, the oldest one's connection ends."""
        with self._changed:
            if len(self._strangers) >= self._strangers_max:
                _end_first(self._strangers)
            self._strangers[sock] = None

    def admit(self, sock: socket.socket) -> None:
        """The stranger is a fetcher. When there are too many, the connection that has been idle
        for longest ends: its fetcher opens another one when it needs it. Raises TimeoutError.
        """
        with self._changed:
            self._strangers.pop(sock, None)
            while len(self._idle) + len(self._busy) >= self._fetchers_max:
                if self._idle:
                    _end_first(self._idle)
                else:
                    self._strangers[sock] = None
                    has_changed = self._changed.wait(ROOM_TIMEOUT_S)
                    self._strangers.pop(sock, None)
                    if not has_changed:
                        raise TimeoutError("every connection of the data port is busy")
            self._idle[sock] = None

    @contextmanager
    def serving(self, sock: socket.socket) -> Iterator[None]:
        """Around each answer: a fetcher that is sent something stays. Raises EOFError when it had
        to go just now.
        """
        with self._changed:
            if sock not in self._idle:
                raise EOFError("the connection made room for another one")
            del self._idle[sock]
            self._busy[sock] = None
        yield
        with self._changed:
            del self._busy[sock]
            self._idle[sock] = None
            self._changed.notify()

    def leave(self, sock: socket.socket) -> None:
        """The connection ended."""
        with self._changed:
            for group in (self._strangers, self._idle, self._busy):
                group.pop(sock, None)
            self._changed.notify()


def _end_first(group: dict[socket.socket, None]) -> None:
    """End the connection that comes first; its thread sees the end of the stream."""
    sock = next(iter(group))
    del group[sock]
    try:
        sock.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass  # it has ended already
