"""TLS over bytes that somebody else carries: for connections that do not block. Sans-IO.

Every byte that came is deciphered at once, so that nothing waits here that a selector does not
show; and what is to be sent is only ever a matter of room, also where TLS answers something while
it reads. Must not know sockets.
"""

from __future__ import annotations

import ssl

from minispark.transport.tls import HANDSHAKE_RECORD, explained, tls_needed

READ_BYTES = 64 * 1024


class SecureStream:
    """One side of a connection. Not for several threads at one time."""

    def __init__(self, context: ssl.SSLContext, peer: str, server_hostname: str | None) -> None:
        """`server_hostname`: whom a client wants to reach; None on a server's side."""
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._is_server = server_hostname is None
        self._tls = context.wrap_bio(
            self._incoming, self._outgoing, self._is_server, server_hostname
        )
        self._peer = peer
        self._waiting = bytearray()
        """Plain text that is sent once the handshake is done."""
        self._is_first = True
        self._is_done = False
        self._has_failed = False

    def send(self, data: bytes) -> bytes:
        """Take plain text in; returns what is to be carried to the peer now. Raises
        ConnectionError: there is no session any more.
        """
        if self._has_failed:
            raise ConnectionAbortedError("the TLS handshake failed")
        self._waiting += data
        self._advance()
        return self._outgoing.read()

    def receive(self, data: bytes) -> bytes:
        """Plain text out of what the peer sent (b"" at its end); `outgoing` may have an answer.

        Raises EOFError at the end of the stream, ProtocolError, ConnectionError.
        """
        if not data:
            raise EOFError("the connection closed")
        if self._is_first and self._is_server and data[0] != HANDSHAKE_RECORD:
            raise tls_needed()
        self._is_first = False
        self._incoming.write(data)
        self._advance()
        return self._decipher() if self._is_done else b""

    def outgoing(self) -> bytes:
        """What TLS itself has to say to the peer now: of a handshake, an alert, new keys."""
        return self._outgoing.read()

    def close(self) -> bytes:
        """What tells the peer that nothing follows."""
        try:
            self._tls.unwrap()
        except (ssl.SSLError, ValueError):
            pass  # the peer has not said so yet; or there was no session
        return self._outgoing.read()

    def _advance(self) -> None:
        if not self._is_done:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                return
            except ssl.SSLError as error:
                self._has_failed = True
                raise explained(error, self._peer) from error
            self._is_done = True
        with memoryview(self._waiting) as view:
            at = 0
            while at < len(view):
                at += self._write(view[at:])
        self._waiting.clear()

    def _write(self, data: memoryview) -> int:
        try:
            return self._tls.write(data)
        except ssl.SSLError as error:
            raise ConnectionAbortedError(f"TLS: {error.reason}") from error

    def _decipher(self) -> bytes:
        pieces: list[bytes] = []
        try:
            while piece := self._tls.read(READ_BYTES):
                pieces.append(piece)
        except ssl.SSLWantReadError:
            return b"".join(pieces)
        except ssl.SSLError as error:
            if not isinstance(error, ssl.SSLZeroReturnError):
                raise ConnectionAbortedError(f"TLS: {error.reason}") from error
        if not pieces:
            raise EOFError("the connection closed")
        return b"".join(pieces)  # the end shows when the socket is read again
