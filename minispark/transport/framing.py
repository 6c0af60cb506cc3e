"""Frames: a 4-byte big-endian length, then that many bytes. Sans-IO: bytes in, frames out.

Must not know JSON, nor where bytes come from. Source: API.md, "Socket protocol".
"""

from __future__ import annotations

import struct

from minispark.errors import ProtocolError

FRAME_BYTES_MAX = 16 * 2**20
"""A peer may choose a frame's length; above this its session ends."""
STRANGER_FRAME_BYTES_MAX = 4096
"""As long as the peer has not proved that it knows the token. Messages of the handshake have some
hundred bytes.
"""
_HEAD = struct.Struct(">I")


def encode_frame(payload: bytes) -> bytes:
    """One frame. Raises ProtocolError when the payload is longer than FRAME_BYTES_MAX."""
    if len(payload) > FRAME_BYTES_MAX:
        raise ProtocolError(
            f"a message of {len(payload)} bytes; the limit is {FRAME_BYTES_MAX}", "frame_too_large"
        )
    return _HEAD.pack(len(payload)) + payload


class FrameDecoder:
    """Collects bytes as they come and hands out whole frames, and announced raw bytes, in order."""

    def __init__(self, frame_bytes_max: int = FRAME_BYTES_MAX) -> None:
        self.frame_bytes_max = frame_bytes_max
        """May be raised once the peer is known."""
        self._buffer = bytearray()
        self._start = 0

    def feed(self, data: bytes) -> None:
        if self._start:
            del self._buffer[: self._start]
            self._start = 0
        self._buffer += data

    def next_frame(self) -> bytes | None:
        """The next whole payload; None until it is all there.

        Raises ProtocolError (`frame_too_large`) as soon as a length above the limit is seen.
        """
        available = len(self._buffer) - self._start
        if available < _HEAD.size:
            return None
        (size,) = _HEAD.unpack_from(self._buffer, self._start)
        if size > self.frame_bytes_max:
            raise ProtocolError(
                f"a frame of {size} bytes was announced; the limit is {self.frame_bytes_max}",
                "frame_too_large",
            )
        if available < _HEAD.size + size:
            return None
        return self._take(_HEAD.size, size)

    def take_raw(self, size: int) -> bytes:
        """Up to `size` of the raw bytes that follow an announcing frame and are already here."""
        return self._take(0, min(size, len(self._buffer) - self._start))

    @property
    def is_empty(self) -> bool:
        """Whether every byte so far belonged to a whole frame: a clean place to end."""
        return self._start == len(self._buffer)

    def _take(self, skip: int, size: int) -> bytes:
        first = self._start + skip
        data = bytes(memoryview(self._buffer)[first : first + size])
        self._start = first + size
        return data
