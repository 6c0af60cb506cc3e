"""Where the bytes of an input come from: a descriptor of this host's file, or what a worker puts in
its place.

Must not know lines or records, nor how bytes travel from another host.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from typing import Protocol

from minispark.errors import InputRefused
from minispark.model.plan import Split
from minispark.storage.input_files import open_input


class InputSource(Protocol):
    """One input, opened for reading."""

    def pread(self, count: int, offset: int) -> bytes:
        """At most `count` bytes from `offset` on; none only at the end. Raises OSError, or
        TaskError that names the file.
        """

    def close(self) -> None: ...


Opener = Callable[[Split], InputSource]
"""Opens the file of a split. Raises InputRefused, OSError, TaskError."""


class LocalInput:
    """A file of this host."""

    def __init__(self, path: str) -> None:
        """Raises as `open_input` does."""
        self._fd = open_input(path)

    def pread(self, count: int, offset: int) -> bytes:
        return os.pread(self._fd, count, offset)

    @property
    def size(self) -> int:
        return os.fstat(self._fd).st_size

    def is_as_planned(self, split: Split) -> bool:
        """Whether size and time of the last change are those of the file that was planned with."""
        status = os.fstat(self._fd)
        return (status.st_size, status.st_mtime_ns) == (split.size, split.mtime_ns)

    def close(self) -> None:
        os.close(self._fd)


def open_here(split: Split) -> LocalInput:
    """What stands at the split's path on this host."""
    return LocalInput(split.path)


def open_if_same(split: Split) -> LocalInput | None:
    """The file at the split's path on this host if it is the one that the master planned with, as
    on a shared file system, or a faithful copy; None if it is another one, or none.
    """
    try:
        source = LocalInput(split.path)
    except (InputRefused, OSError):
        return None
    if source.is_as_planned(split):
        return source
    source.close()
    return None


class SourceStream(io.RawIOBase):
    """A source as one forward stream. Closing it leaves the source open."""

    def __init__(self, source: InputSource) -> None:
        self._source = source
        self._position = 0

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1, /) -> bytes:
        """At most `size` bytes, of which there must be a number: nobody reads an input at once."""
        assert size >= 0
        piece = self._source.pread(size, self._position)
        self._position += len(piece)
        return piece
