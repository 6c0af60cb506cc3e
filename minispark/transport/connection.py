"""A blocking, authenticated connection that carries messages, and raw bytes that a message
announces.

Must not know what the messages are for.
"""

from __future__ import annotations

import os
import socket
import ssl
import time
from typing import Self

from minispark.errors import ProtocolError
from minispark.transport.codec import decode, encode
from minispark.transport.framing import (
    FRAME_BYTES_MAX,
    STRANGER_FRAME_BYTES_MAX,
    FrameDecoder,
    encode_frame,
)
from minispark.transport.handshake import ClientHandshake, ServerHandshake, refusal
from minispark.transport.messages import Message
from minispark.transport.silence import end_when_silent
from minispark.transport.tls import TLS_NEEDED, TlsSocket, connect_tls

RECEIVE_BYTES = 256 * 1024
SILENCE_S = 10.0
"""A peer that acknowledges nothing for so long is gone, however long its answer may take."""


class Connection:
    """One socket, used by one thread."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._decoder = FrameDecoder()

    @classmethod
    def connect(
        cls,
        host: str,
        port: int,
        token: str,
        timeout_s: float,
        tls: ssl.SSLContext | None = None,
    ) -> Self:
        """Connect and authenticate. Raises OSError, ProtocolError, EOFError."""
        sock = socket.create_connection((host, port), timeout=timeout_s)
        if tls is not None:
            sock = connect_tls(sock, tls, host)
        return cls._authenticate(sock, ClientHandshake(token), timeout_s, f"{host}:{port}")

    @classmethod
    def accept(cls, sock: socket.socket, token: str, timeout_s: float) -> Self:
        """Authenticate the peer of an accepted socket. Raises as `connect` does."""
        return cls._authenticate(sock, ServerHandshake(token), timeout_s)

    @classmethod
    def _authenticate(
        cls,
        sock: socket.socket,
        handshake: ClientHandshake | ServerHandshake,
        timeout_s: float,
        peer: str = "a stranger",
    ) -> Self:
        """`peer`: who it is, for people."""
        connection = cls(sock)
        connection._decoder.frame_bytes_max = STRANGER_FRAME_BYTES_MAX
        deadline = time.monotonic() + timeout_s
        if isinstance(sock, TlsSocket):
            connection._begin_tls(sock, timeout_s, peer)
        try:
            if sock.family in (socket.AF_INET, socket.AF_INET6):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                end_when_silent(sock, SILENCE_S)
            for message in handshake.begin():
                connection.send(message)
            while not handshake.is_done:
                left_s = deadline - time.monotonic()
                if left_s <= 0:
                    raise TimeoutError(f"no handshake within {timeout_s:g} s")
                for answer in handshake.receive(connection.receive(left_s)):
                    connection.send(answer)
            connection._decoder.frame_bytes_max = FRAME_BYTES_MAX
        except BaseException as error:
            if isinstance(error, ProtocolError):
                connection.refuse(error)
            connection.close()
            raise
        return connection

    def _begin_tls(self, sock: TlsSocket, timeout_s: float, peer: str) -> None:
        try:
            sock.shake_hands(peer, timeout_s)
        except BaseException as error:
            if isinstance(error, ProtocolError) and error.code == TLS_NEEDED:
                sock.settimeout(1.0)
                sock.send_plain(encode_frame(encode(refusal(error))))
            self.close()
            raise

    def send(self, message: Message) -> None:
        self.sock.sendall(encode_frame(encode(message)))

    def receive(self, timeout_s: float | None = None) -> Message:
        """The next message; waits `timeout_s`, or for ever.

        Raises EOFError at the end of the stream, TimeoutError, OSError, ProtocolError.
        """
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while (payload := self._decoder.next_frame()) is None:
            self._decoder.feed(self._read(RECEIVE_BYTES, deadline))
        return decode(payload)

    def receive_bulk(self, size: int, timeout_s: float | None = None) -> bytes:
        """Exactly `size` raw bytes, as the last message announced. Raises as `receive` does."""
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        first = self._decoder.take_raw(size)
        if len(first) == size:
            return first
        data = bytearray(size)
        data[: len(first)] = first
        view, at = memoryview(data), len(first)
        while at < size:
            self._set_timeout(deadline)
            count = self.sock.recv_into(view[at:])
            if not count:
                raise EOFError("the connection closed within announced data")
            at += count
        return bytes(data)

    def send_file(self, fd: int, offset: int, count: int, stall_s: float) -> None:
        """Send `count` bytes of a file from `offset`, by sendfile where the system has it and
        nothing enciphers them.

        Raises TimeoutError when the peer reads nothing for `stall_s`, EOFError, OSError.
        """
        self.sock.settimeout(stall_s)
        if isinstance(self.sock, TlsSocket):
            sent = self._send_pieces(fd, offset, count)
        else:
            with os.fdopen(os.dup(fd), "rb", buffering=0) as file:
                sent = self.sock.sendfile(file, offset, count) if count else 0
        if sent != count:
            raise EOFError(f"the file ended {count - sent} bytes early")

    def _send_pieces(self, fd: int, offset: int, count: int) -> int:
        """How many bytes there were."""
        sent = 0
        while piece := os.pread(fd, min(RECEIVE_BYTES, count - sent), offset + sent):
            self.sock.sendall(piece)
            sent += len(piece)
        return sent

    def refuse(self, error: ProtocolError) -> None:
        """Tell the peer why the session ends, as far as it still listens."""
        try:
            self.sock.settimeout(1.0)
            self.send(refusal(error))
        except (OSError, ProtocolError):
            pass  # it is going to be closed anyway

    def close(self) -> None:
        self.sock.close()

    def _read(self, size: int, deadline: float | None) -> bytes:
        self._set_timeout(deadline)
        data = self.sock.recv(size)
        if not data:
            if self._decoder.is_empty:
                raise EOFError("the connection closed")
            raise EOFError("the connection closed within a message")
        return data

    def _set_timeout(self, deadline: float | None) -> None:
        if deadline is None:
            self.sock.settimeout(None)
            return
        left_s = deadline - time.monotonic()
        if left_s <= 0:
            raise TimeoutError("the peer did not answer in time")
        self.sock.settimeout(left_s)
