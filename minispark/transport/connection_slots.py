"""How many connections a server serves at one time, and which one gives way to another.

Must not know what is said on them.
"""

from __future__ import annotations

import socket
import threading


class ConnectionSlots:
    """The open connections. Those whose next request is not there yet, be it that they idle or that
    it trickles in, give way when there are too many: whoever just opens connections keeps nobody
    out.
    """

    def __init__(self, connections_max: int) -> None:
        self._max = connections_max
        self._lock = threading.Lock()
        # Protected by self._lock:
        self._open: dict[socket.socket, None] = {}
        self._waiting: dict[socket.socket, None] = {}
        """Of the open ones those that wait for a request, the longest first."""

    def enter(self, connection: socket.socket) -> bool:
        """Whether there is a slot for a new connection, of which the first request is waited for;
        another one may be closed for it.
        """
        with self._lock:
            if len(self._open) >= self._max:
                if not self._waiting:
                    return False
                oldest = next(iter(self._waiting))
                self._forget(oldest)
                _shut(oldest)
            self._open[connection] = self._waiting[connection] = None
            return True

    def wait(self, connection: socket.socket) -> None:
        """The next request of the connection is waited for."""
        with self._lock:
            if connection in self._open:
                self._waiting.pop(connection, None)
                self._waiting[connection] = None

    def serve(self, connection: socket.socket) -> None:
        """The request is there: the connection does not give way until it is answered."""
        with self._lock:
            self._waiting.pop(connection, None)

    def leave(self, connection: socket.socket) -> None:
        with self._lock:
            self._forget(connection)

    def _forget(self, connection: socket.socket) -> None:
        self._open.pop(connection, None)
        self._waiting.pop(connection, None)

    def shut_all(self) -> None:
        """Wake every thread that waits on a connection: it ends."""
        with self._lock:
            connections = list(self._open)
        for connection in connections:
            _shut(connection)


def _shut(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass  # closed in the meantime
