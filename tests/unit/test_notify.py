"""What a child tells its supervisor: long texts, odd texts, and lines that are none."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from minispark.supervisor.notify import LINE_BYTES_MAX, NotificationReader, Notifier


@pytest.fixture
def pipe() -> Iterator[tuple[NotificationReader, int]]:
    read_fd, write_fd = os.pipe()
    reader = NotificationReader(read_fd)
    yield reader, write_fd
    reader.close()
    os.close(write_fd)


@pytest.mark.parametrize("text", ["x" * 10_000, "🎉" * 10_000, "\x01" * 10_000, "\udcff" * 10_000])
def test_a_long_text_is_cut_and_its_line_stays_whole(
    pipe: tuple[NotificationReader, int], text: str
) -> None:
    reader, write_fd = pipe
    Notifier(write_fd).send({"error": text, "code": 1})
    Notifier(write_fd).send({"ready": True})
    told, ready = reader.read()
    assert told["code"] == 1
    assert told["error"].startswith(text[:100]) and told["error"].endswith("…")
    assert ready == {"ready": True}


def test_a_line_that_is_no_message_is_skipped(pipe: tuple[NotificationReader, int]) -> None:
    reader, write_fd = pipe
    os.write(write_fd, b'{"error": "cut off\n[1]\n\xff\n{"ready": true}\n')
    assert reader.read() == [{"ready": True}]


def test_what_never_ends_is_not_kept(pipe: tuple[NotificationReader, int]) -> None:
    reader, write_fd = pipe
    for _ in range(20):
        os.write(write_fd, b"x" * LINE_BYTES_MAX)
        assert reader.read() == []
    os.write(write_fd, b'\n{"ready": true}\n')
    assert reader.read() == [{"ready": True}]
