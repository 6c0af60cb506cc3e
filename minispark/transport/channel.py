"""A non-blocking connection for selector loops: one thread reads, any thread may send.

Must not know handshakes (its owner drives one over it), nor what the messages are for.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable

from minispark.errors import ProtocolError
from minispark.transport.codec import decode, encode
from minispark.transport.framing import FRAME_BYTES_MAX, FrameDecoder, encode_frame
from minispark.transport.messages import Message

RECEIVE_BYTES = 64 * 1024
"""Read at once: what one peer sends keeps the reader from the others no longer than the decoding of
so much, and of the one message that it completes.
"""
BUFFER_BYTES_MAX = 64 * 2**20
"""What may wait for a peer that reads slowly; above this its session ends."""


class Channel:
    """Messages over a non-blocking socket."""

    def __init__(
        self,
        sock: socket.socket,
        on_want_write: Callable[[], None],
        frame_bytes_max: int = FRAME_BYTES_MAX,
    ) -> None:
        """`on_want_write` is called, from the sender's thread, when a send had to be buffered."""
        sock.setblocking(False)
        self.sock = sock
        self._decoder = FrameDecoder(frame_bytes_max)
        self._on_want_write = on_want_write
        self._lock = threading.Lock()
        # Protected by self._lock:
        self._unsent = bytearray()
        self._is_closed = False

    def fileno(self) -> int:
        return self.sock.fileno()

    def trust(self) -> None:
        """The peer is known: its messages may be as long as FRAME_BYTES_MAX."""
        self._decoder.frame_bytes_max = FRAME_BYTES_MAX

    def receive(self) -> list[Message]:
        """The messages that are here. Raises EOFError at the end, ProtocolError, OSError."""
        try:
            self._decoder.feed(self._take())
        except BlockingIOError:
            return []
        return self._decoded()

    def _decoded(self) -> list[Message]:
        messages: list[Message] = []
        while (payload := self._decoder.next_frame()) is not None:
            messages.append(decode(payload))
        return messages

    def drain(self) -> list[Message]:
        """All messages that a peer sent before it died. Somebody else may hold its end open: what
        is not here now never comes. Raises ProtocolError.
        """
        messages: list[Message] = []
        try:
            while True:
                self._decoder.feed(self._take())
                messages += self._decoded()
        except (BlockingIOError, EOFError, OSError):
            return messages

    def _take(self) -> bytes:
        data = self.sock.recv(RECEIVE_BYTES)
        if not data:
            raise EOFError("the connection closed")
        return data

    def _sealed(self, data: bytes) -> bytes:
        """What goes over the wire for those bytes. Called under the lock."""
        return data

    def _say_end(self) -> None:
        """Tell the peer that nothing follows, if it is not told by the socket."""

    def send(self, *messages: Message) -> None:
        """Send, or buffer what the socket does not take now.

        Raises OSError when the peer is gone, ProtocolError above BUFFER_BYTES_MAX.
        """
        data = b"".join([encode_frame(encode(message)) for message in messages])
        with self._lock:
            if self._is_closed:
                raise ConnectionError("the channel is closed")
            data = self._sealed(data)
            if not self._unsent:
                data = data[self._write(data) :]
            if not data:
                return
            if len(self._unsent) + len(data) > BUFFER_BYTES_MAX:
                raise ProtocolError("the peer does not read what it is sent", "slow_reader")
            self._unsent += data
        self._on_want_write()

    @property
    def wants_write(self) -> bool:
        with self._lock:
            return bool(self._unsent)

    def flush(self) -> None:
        """Send of the buffer what the socket takes now. Raises OSError."""
        with self._lock:
            if self._unsent:
                del self._unsent[: self._write(self._unsent)]

    def shut(self) -> None:
        """End the connection from any thread; its reader then sees the end of the stream."""
        try:
            self.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # it has ended already

    def close(self) -> None:
        with self._lock:
            self._say_end()
            self._is_closed = True
            self.sock.close()

    def _write(self, data: bytes | bytearray) -> int:
        try:
            return self.sock.send(data)
        except BlockingIOError:
            return 0
