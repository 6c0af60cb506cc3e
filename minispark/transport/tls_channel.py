"""A channel whose bytes go through TLS. Must not know what the messages are for."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable

from minispark.errors import ProtocolError
from minispark.transport.channel import RECEIVE_BYTES, Channel
from minispark.transport.codec import encode
from minispark.transport.framing import FRAME_BYTES_MAX, encode_frame
from minispark.transport.handshake import refusal
from minispark.transport.secure_stream import SecureStream
from minispark.transport.tls import TLS_NEEDED


class TlsChannel(Channel):
    """What is sent before the handshake of TLS is done waits for it."""

    def __init__(
        self,
        sock: socket.socket,
        on_want_write: Callable[[], None],
        stream: SecureStream,
        frame_bytes_max: int = FRAME_BYTES_MAX,
    ) -> None:
        super().__init__(sock, on_want_write, frame_bytes_max)
        # Protected by self._lock, as threads that send and the one that reads share it:
        self._stream = stream

    def _take(self) -> bytes:
        """May be nothing, of bytes that only TLS itself needed."""
        data = self.sock.recv(RECEIVE_BYTES)
        with self._lock:
            try:
                plain = self._stream.receive(data)
            except ProtocolError as error:
                if error.code == TLS_NEEDED:
                    self._write_soon(encode_frame(encode(refusal(error))))
                self._answer()  # an alert says why
                raise
            self._answer()
        return plain

    def _answer(self) -> None:
        if data := self._stream.outgoing():
            self._write_soon(data)

    def _write_soon(self, data: bytes) -> None:
        """Of `wants_write` the reader, who is the caller, takes note by itself."""
        if not self._unsent:
            data = data[self._write(data) :]
        self._unsent += data

    def _sealed(self, data: bytes) -> bytes:
        return self._stream.send(data)

    def _say_end(self) -> None:
        try:
            if not self._unsent:
                self._write(self._stream.close())
        except OSError:
            pass  # nobody hears it


def channel_of(
    sock: socket.socket,
    on_want_write: Callable[[], None],
    tls: ssl.SSLContext | None,
    peer: str,
    server_hostname: str | None = None,
    frame_bytes_max: int = FRAME_BYTES_MAX,
) -> Channel:
    """A channel over TLS, or where there is no context for it a plain one.

    `server_hostname`: whom a client wants to reach; None on a server's side.
    """
    if tls is None:
        return Channel(sock, on_want_write, frame_bytes_max)
    stream = SecureStream(tls, peer, server_hostname)
    return TlsChannel(sock, on_want_write, stream, frame_bytes_max)
