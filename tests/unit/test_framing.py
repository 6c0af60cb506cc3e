"""Framing, byte by byte."""

from __future__ import annotations

import pytest

from minispark.errors import ProtocolError
from minispark.transport.framing import (
    FRAME_BYTES_MAX,
    STRANGER_FRAME_BYTES_MAX,
    FrameDecoder,
    encode_frame,
)

PAYLOADS = [b"", b"a", b'{"type":"welcome"}', bytes(range(256)) * 3]
STREAM = b"".join(map(encode_frame, PAYLOADS))


def drain(decoder: FrameDecoder) -> list[bytes]:
    frames = []
    while (frame := decoder.next_frame()) is not None:
        frames.append(frame)
    return frames


def test_a_frame_is_four_bytes_of_length_and_the_payload() -> None:
    assert encode_frame(b"abc") == b"\x00\x00\x00\x03abc"


def test_frames_come_out_wherever_the_stream_is_cut() -> None:
    for cut in range(len(STREAM) + 1):
        decoder = FrameDecoder()
        decoder.feed(STREAM[:cut])
        frames = drain(decoder)
        decoder.feed(STREAM[cut:])
        assert frames + drain(decoder) == PAYLOADS
        assert decoder.is_empty


def test_frames_come_out_byte_by_byte() -> None:
    decoder = FrameDecoder()
    frames: list[bytes] = []
    for i in range(len(STREAM)):
        decoder.feed(STREAM[i : i + 1])
        frames += drain(decoder)
    assert frames == PAYLOADS


def test_raw_bytes_follow_an_announcing_frame() -> None:
    decoder = FrameDecoder()
    decoder.feed(encode_frame(b"head") + b"raw bytes" + encode_frame(b"next"))
    assert decoder.next_frame() == b"head"
    assert decoder.take_raw(9) == b"raw bytes"
    assert decoder.next_frame() == b"next"


def test_f50_an_oversized_frame_is_refused_as_soon_as_its_length_is_seen() -> None:
    decoder = FrameDecoder()
    decoder.feed((FRAME_BYTES_MAX + 1).to_bytes(4, "big"))
    with pytest.raises(ProtocolError, match="limit") as caught:
        decoder.next_frame()
    assert caught.value.code == "frame_too_large"


def test_a_frame_of_the_limit_is_not_refused() -> None:
    decoder = FrameDecoder(frame_bytes_max=4)
    decoder.feed(encode_frame(b"1234"))
    assert decoder.next_frame() == b"1234"


def test_too_large_a_payload_is_not_sent() -> None:
    with pytest.raises(ProtocolError):
        encode_frame(bytes(FRAME_BYTES_MAX + 1))


def test_f50_the_limit_of_a_stranger_is_lifted_once_it_is_known() -> None:
    decoder = FrameDecoder(STRANGER_FRAME_BYTES_MAX)
    decoder.feed(FRAME_BYTES_MAX.to_bytes(4, "big"))
    with pytest.raises(ProtocolError, match="limit is 4096"):
        decoder.next_frame()
    decoder.frame_bytes_max = FRAME_BYTES_MAX
    assert decoder.next_frame() is None
