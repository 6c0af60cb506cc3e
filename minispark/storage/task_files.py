"""The files that attempts write: where they lie, how they are committed, read and deleted.

Everything of an attempt lies in `attempts/<attempt id>/`. A shuffle file is its blocks back to
back, then a JSON index `[[offset, length], ...]`, its length, its crc32 and a magic number.
Must not know what is in a block. Attempt files are not synced: they die with their job, and a lost
one is made again.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import struct
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path

from minispark.errors import CorruptBlock, ProtocolError
from minispark.model.ids import is_uuid

SHUFFLE_FILE = "shuffle.blocks"
_TAIL = struct.Struct(">II8s")
_MAGIC = b"MSBLOCK1"
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,200}", re.ASCII)


def attempt_dir(state_dir: str, attempt_id: str) -> Path:
    """The attempt's own directory. Raises ProtocolError for an id that is none."""
    if not is_uuid(attempt_id):
        raise ProtocolError(f"{attempt_id[:100]!r} is no attempt id")
    return Path(state_dir) / "attempts" / attempt_id


def checked_name(name: str) -> str:
    """A file name from a peer: one plain component. Raises ProtocolError."""
    if _NAME.fullmatch(name) is None or name.startswith("."):
        raise ProtocolError(f"{name[:100]!r} is no file name of a task")
    return name


def open_below(folder: str | Path, name: str) -> int:
    """A descriptor of the file `name` in `folder`, never through a link. Raises OSError."""
    path = Path(folder) / checked_name(name)
    return os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)


# --- shuffle files ------------------------------------------------------------------------


def write_shuffle_file(path: Path, partitions: Iterable[Iterable[bytes]]) -> int:
    """Write the blocks of each partition, in order; returns the file's size in bytes."""
    index: list[tuple[int, int]] = []
    offset = 0
    with path.open("wb") as file:
        for blocks in partitions:
            size = 0
            for piece in blocks:
                file.write(piece)
                size += len(piece)
            index.append((offset, size))
            offset += size
        file.write(shuffle_tail(index))
        return file.tell()


def shuffle_tail(index: list[tuple[int, int]]) -> bytes:
    """What ends a shuffle file whose partitions lie at these (offset, length)."""
    tail = json.dumps(index, separators=(",", ":")).encode()
    return tail + _TAIL.pack(len(tail), zlib.crc32(tail), _MAGIC)


def is_whole(path: Path) -> bool:
    """Whether the shuffle file at `path` was written to its end."""
    try:
        with path.open("rb") as file:
            file.seek(-len(_MAGIC), os.SEEK_END)
            return file.read() == _MAGIC
    except OSError:
        return False


def locate_block(fd: int, partition: int) -> tuple[int, int]:
    """(offset, length) of a partition's block in an open shuffle file. Raises CorruptBlock."""
    size = os.fstat(fd).st_size
    tail = os.pread(fd, _TAIL.size, max(0, size - _TAIL.size))
    try:
        length, crc, magic = _TAIL.unpack(tail)
        start = size - _TAIL.size - length
        if magic != _MAGIC or start < 0:
            raise ValueError("its end is damaged")
        index = os.pread(fd, length, start)
        if zlib.crc32(index) != crc:
            raise ValueError("its index is damaged")
        offset, count = json.loads(index)[partition]
        if offset + count > start:
            raise ValueError("its index points outside")
    except (struct.error, ValueError, IndexError, TypeError) as error:
        raise CorruptBlock(f"a shuffle file cannot be read: {error}") from error
    return offset, count


def range_reader(fd: int, start: int, size: int) -> Callable[[int], bytes]:
    """Gives the bytes [start, start + size) of an open file in order, so many at a time as it is
    asked for, fewer only at the end. Several may take turns. Raises OSError when called.
    """
    at, end = start, start + size

    def read(count: int) -> bytes:
        nonlocal at
        data = b""
        while at < end and len(data) < count:
            more = os.pread(fd, min(count - len(data), end - at), at)
            if not more:
                break
            data, at = data + more if data else more, at + len(more)
        return data

    return read


# --- documented files -----------------------------------------------------------------------


def write_documented_file(path: Path, pieces: Iterable[str]) -> int:
    """Write the pieces of text, as UTF-8; returns how many bytes they are."""
    size = 0
    with path.open("wb", buffering=1 << 20) as file:  # few system calls, whatever the pieces
        for piece in pieces:
            data = piece.encode()
            file.write(data)
            size += len(data)
    return size


# --- commit, find and delete ----------------------------------------------------------------------


def commit_files(state_dir: str, attempt_id: str, files: Iterable[tuple[str, str]]) -> None:
    """Link (name in the attempt's directory, documented name below `state_dir`), each atomically.

    Idempotent: what is committed already is left. Raises OSError, ProtocolError.
    """
    folder = attempt_dir(state_dir, attempt_id)
    for name, documented in files:
        source = folder / checked_name(name)
        target = Path(state_dir) / checked_name(documented)
        try:
            os.link(source, target, follow_symlinks=False)
        except FileExistsError:
            if not target.samefile(source):  # another attempt's, whose output was lost
                temporary = folder / f"{name}.link"
                temporary.unlink(missing_ok=True)
                os.link(source, temporary, follow_symlinks=False)
                temporary.replace(target)


def attempts_on_disk(state_dir: str) -> list[str]:
    """The attempts that have a directory. Raises OSError."""
    return [name for name in os.listdir(Path(state_dir) / "attempts") if is_uuid(name)]


def drop_attempt(state_dir: str, attempt_id: str) -> None:
    """Delete the attempt's directory, if there is one."""
    shutil.rmtree(attempt_dir(state_dir, attempt_id), ignore_errors=True)
