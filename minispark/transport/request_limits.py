"""What requests may cost: how long one may take to arrive, and the memory of all of them together.

Must not know HTTP beyond that a request is a head and a body.
"""

from __future__ import annotations

import io
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from minispark.transport.router import HttpError

REQUEST_S_MAX = 10.0
"""From a request's first byte to its last one, its body apart."""
BODY_BYTES_PER_S_MIN = 256 * 1024
"""Whoever sends a body slower than that is cut off: a thread and a connection wait for it."""
HEAD_BYTES_MAX = 256 * 1024
BODY_BYTES_SMALL = 64 * 1024
"""Bodies up to this size need no room: with CONNECTIONS_MAX of them they fit always, so that large
ones cannot keep out ordinary requests."""
LINGER_S_MAX = 1.0
BODIES_BYTES_MAX = 64 * 2**20
"""All larger bodies that are read or handled at one time."""


class RequestReader(io.RawIOBase):
    """A connection's bytes, read with a deadline for each request and a limit on its head."""

    def __init__(self, sock: socket.socket, idle_timeout_s: float) -> None:
        self._sock = sock
        self._idle_timeout_s = idle_timeout_s
        self._deadline: float | None = None
        self._head_bytes_left = 0
        self._ahead = b""
        """Read by `has_ended`, and not handed out yet."""

    def readable(self) -> bool:
        return True

    def await_request(self) -> None:
        """The next byte begins a request; until then the connection may idle."""
        self._deadline = None
        self._head_bytes_left = HEAD_BYTES_MAX

    def await_body(self, size: int) -> None:
        """The head is there, and so many bytes follow."""
        begun = time.monotonic() + REQUEST_S_MAX if self._deadline is None else self._deadline
        self._deadline = begun + size / BODY_BYTES_PER_S_MIN
        self._head_bytes_left += size

    def readinto(self, buffer: Any) -> int:
        """Raises TimeoutError, and HttpError 431 for a head without end."""
        if self._ahead:
            buffer[0], self._ahead = self._ahead[0], b""
            return 1
        timeout_s = self._idle_timeout_s
        if self._deadline is not None:
            timeout_s = min(timeout_s, self._deadline - time.monotonic())
        if timeout_s <= 0:
            raise TimeoutError("the request did not arrive in time")
        if self._head_bytes_left <= 0:
            raise HttpError(431, "headers_too_large", f"a head has at most {HEAD_BYTES_MAX} bytes")
        self._sock.settimeout(timeout_s)
        try:
            count = self._sock.recv_into(buffer)
        finally:
            self._sock.settimeout(self._idle_timeout_s)  # what answers may take
        self._head_bytes_left -= count
        if self._deadline is None:
            self._deadline = time.monotonic() + REQUEST_S_MAX
        return count

    def has_ended(self) -> bool:
        """Whether the peer has closed the connection; does not wait."""
        if self._ahead:
            return False
        self._sock.settimeout(0.0)
        try:
            self._ahead = self._sock.recv(1)
        except BlockingIOError:
            return False
        finally:
            self._sock.settimeout(self._idle_timeout_s)
        return not self._ahead

    def linger(self) -> None:
        """Before it is closed: whoever still sends would lose the last answer to a reset.

        Raises OSError when there is nobody, or for too long.
        """
        self._deadline = time.monotonic() + LINGER_S_MAX
        unread = bytearray(65536)
        self._sock.shutdown(socket.SHUT_WR)
        self._head_bytes_left = HEAD_BYTES_MAX
        while self.readinto(unread):
            self._head_bytes_left = HEAD_BYTES_MAX


class BodyRoom:
    """The memory that large bodies share."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # Protected by self._lock:
        self._left = BODIES_BYTES_MAX

    @contextmanager
    def take(self, size: int) -> Iterator[None]:
        """Room for one body, for the block. Raises HttpError 503 when there is none."""
        size = 0 if size <= BODY_BYTES_SMALL else size
        with self._lock:
            if size > self._left:
                raise HttpError(
                    503,
                    "too_many_bodies",
                    "too many large requests at one time; try again in a second",
                    headers={"Retry-After": "1"},
                )
            self._left -= size
        try:
            yield
        finally:
            with self._lock:
                self._left += size
