"""Opens input files: regular files only, never through a link; and decompresses what they hold.

Must not know lines, records or who may read what (`inputs.py` decides that).
"""

from __future__ import annotations

import bz2
import errno
import gzip
import io
import lzma
import os
import stat
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Protocol, cast

from minispark.errors import InputRefused

PIECE_BYTES = 64 * 1024
"""Read at once: larger pieces leave the L2 cache, smaller ones cost more calls."""

_FILE_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_FOLDER_FLAGS = os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC | getattr(os, "O_PATH", os.O_RDONLY)
"""O_PATH: a folder that one may pass, but not list, can be passed."""

_COMPRESSIONS = {".gz": "gz", ".bz2": "bz2", ".xz": "xz"}

OURS = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})
"""Errors of opening that say nothing of the file: later it could be read."""
DECOMPRESSION_ERRORS = (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile)
"""What Python raises for a broken compressed file; bz2 raises a plain OSError or ValueError."""


def compression_of(path: str) -> str | None:
    """`gz`, `bz2`, `xz` or None, by the file's name."""
    return _COMPRESSIONS.get(os.path.splitext(path)[1].lower())


def kind_of(mode: int) -> str:
    """What a file that is not regular is, for people."""
    kinds = (
        (stat.S_ISDIR, "a directory"),
        (stat.S_ISFIFO, "a FIFO"),
        (stat.S_ISSOCK, "a socket"),
        (stat.S_ISCHR, "a device"),
        (stat.S_ISBLK, "a device"),
        (stat.S_ISLNK, "a symbolic link"),
    )
    return next((name for is_kind, name in kinds if is_kind(mode)), "no regular file")


def open_input(path: str) -> int:
    """A descriptor of the regular file at `path`, whose links the master has already resolved.

    A link that appeared in the path since then is not followed: InputRefused. Nothing that could
    block (a FIFO) or act (a device) is opened for longer than it takes to see what it is.
    Raises OSError where the file cannot be opened.
    """
    try:
        fd = _open_without_links(path)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENOTDIR) and os.path.realpath(path) != path:
            raise InputRefused(
                f"{path}: a symbolic link stands in this path since the job was planned"
            ) from error
        raise
    mode = os.fstat(fd).st_mode
    if not stat.S_ISREG(mode):
        os.close(fd)
        raise InputRefused(f"{path} is {kind_of(mode)}; only regular files can be read")
    return fd


def _open_without_links(path: str) -> int:
    # One component after the other: O_NOFOLLOW looks at the last one only, and whatever is checked
    # by name may be another file by the time it is opened by name.
    folder = os.open(os.sep, _FOLDER_FLAGS)
    try:
        *folders, name = path.strip(os.sep).split(os.sep)
        for component in folders:
            below = os.open(component, _FOLDER_FLAGS, dir_fd=folder)
            os.close(folder)
            folder = below
        return os.open(name, _FILE_FLAGS, dir_fd=folder)
    finally:
        os.close(folder)


class ByteStream(Protocol):
    """Bytes that come one after the other."""

    def read(self, size: int, /) -> bytes:
        """At most so many bytes; none only at the end."""


@contextmanager
def unpacked(raw: io.RawIOBase, path: str, compression: str | None) -> Iterator[ByteStream]:
    """The content of `raw`, decompressed. `path` is for messages."""
    match compression:
        case None:
            yield raw
        case "gz":
            with gzip.GzipFile(fileobj=raw, mode="rb") as stream:
                yield io.BufferedReader(stream, PIECE_BYTES)
        case "bz2":
            with bz2.BZ2File(raw, "rb") as stream:
                yield stream
        case "xz":
            # its type says that it wants more than `read`, which is all that it calls
            with lzma.LZMAFile(cast(IO[bytes], raw), "rb") as stream:
                yield stream
        case _:
            raise InputRefused(f"{path}: unknown compression {compression!r}")


def stream_pieces(stream: ByteStream) -> Iterator[bytes]:
    """The stream's bytes, a piece at a time."""
    while piece := stream.read(PIECE_BYTES):
        yield piece
