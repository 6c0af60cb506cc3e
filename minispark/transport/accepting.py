"""Takes connections in from a listening socket, and rests when the system has no room for more.

Must not know protocols, nor who is to be turned away.
"""

from __future__ import annotations

import errno
import logging
import socket
import time
from typing import Any

ACCEPT_PAUSE_S = 0.5
"""What to wait once descriptors or threads ran out: trying at once again would only spin."""
COMPLAINT_INTERVAL_S = 60.0
"""A port that stays full says so this often."""


class Acceptor:
    """Accepts on one listening socket, for one thread."""

    def __init__(self, listening: socket.socket, name: str, logger: logging.Logger) -> None:
        """`name`: the port, for people."""
        self._listening = listening
        self._name = name
        self._logger = logger
        self._silent_until = 0.0
        self.is_exhausted = False
        """The last try failed for want of room: wait ACCEPT_PAUSE_S before the next one."""

    def accept(self) -> tuple[socket.socket, Any] | None:
        """The next connection and its address; None when there is none to be had now.

        Raises OSError once the listening socket is closed, or shut down to be closed.
        """
        self.is_exhausted = False
        try:
            sock, address = self._listening.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return None  # nobody is there, or not any more
        except OSError as error:
            if self._listening.fileno() < 0 or error.errno == errno.EINVAL:
                raise
            self.exhausted(error)
            return None
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError:
            sock.close()  # its peer has gone already
            return None
        return sock, address

    def exhausted(self, error: Exception) -> None:
        """A connection could not be taken in, or not be served."""
        self.is_exhausted = True
        self.complain(f"it cannot take connections in now: {error}")

    def complain(self, text: str) -> None:
        """Log it, unless something was said a short while ago: whoever fills a port would
        otherwise fill the log as well.
        """
        now = time.monotonic()
        if now >= self._silent_until:
            self._silent_until = now + COMPLAINT_INTERVAL_S
            self._logger.warning("the %s port: %s", self._name, text)
