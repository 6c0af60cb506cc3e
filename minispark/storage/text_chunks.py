"""Reads the lines that a split owns, as chunks of text that each end with a newline.

Bytes become text here, so this is where invalid bytes are found. Must not know what a record is.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import TypeAlias

from minispark.errors import InputRefused, TaskError
from minispark.model.job import ReaderOptions
from minispark.model.plan import Split
from minispark.storage.encodings import is_line_searchable
from minispark.storage.input_files import (
    DECOMPRESSION_ERRORS,
    PIECE_BYTES,
    ByteStream,
    stream_pieces,
    unpacked,
)
from minispark.storage.input_source import InputSource, Opener, SourceStream

LINE_BYTES_MAX = 64 * 1024 * 1024
"""A longer line (or multiline row) is an error: it must be held in memory several times over."""

Chunk: TypeAlias = tuple[int, str]
"""Byte offset of its first line in the (decompressed) file, and whole lines, each ended by \\n."""


def read_chunks(split: Split, options: ReaderOptions, open_source: Opener) -> Iterator[Chunk]:
    """The lines that begin in [start, end) and not before `data_start`, in order.

    A file that cannot be cut at newline bytes (compressed, or in an encoding such as UTF-16) is
    read whole by its split that begins at 0; its other splits, if it has any, are empty.
    Raises TaskError naming the file, and the byte offset where bytes are invalid.
    """
    try:
        if split.compression is None and is_line_searchable(options.encoding):
            with closing(open_source(split)) as source:
                yield from _decoded(_ByteRange(source, split).chunks(), split.path, options)
        elif split.start == 0:
            with _stream(split, open_source) as stream:
                yield from _stream_chunks(stream, split, options)
    except InputRefused as error:
        raise TaskError(str(error)) from error
    except DECOMPRESSION_ERRORS as error:
        raise TaskError(f"{split.path} is no valid .{split.compression}: {error}") from error
    except OSError as error:
        reason = error.strerror or f"no valid .{split.compression}: {error}"
        raise TaskError(f"{split.path}: {reason}") from error


@contextmanager
def _stream(split: Split, open_source: Opener) -> Iterator[ByteStream]:
    with closing(open_source(split)) as source:
        with unpacked(SourceStream(source), split.path, split.compression) as stream:
            yield stream


def line_number(split: Split, offset: int, open_source: Opener) -> int:
    """The number (from 1) of the line that begins at byte `offset` of a split's file.

    Reads the file from its beginning: for error messages only. Of a decompressed file the offset
    counts decompressed bytes. Right where newlines can be searched for as bytes.
    """
    lines = 1
    with _stream(split, open_source) as stream:
        for piece in stream_pieces(stream):
            lines += piece.count(b"\n", 0, max(0, offset))
            offset -= len(piece)
            if offset <= 0:
                break
    return lines


class _ByteRange:
    """Cuts a byte range of an input into pieces of whole lines."""

    def __init__(self, source: InputSource, split: Split) -> None:
        self._pread = source.pread
        self._path = split.path
        self._end = split.end
        self._position = max(split.start, split.data_start)
        self._is_aligned = self._position == split.data_start

    def chunks(self) -> Iterator[tuple[int, memoryview]]:
        """(offset, whole lines); only the last line of the file may lack its newline."""
        if not self._is_aligned:
            self._skip_line_begun_before()
        # Re-reading the cut-off line with the next piece is cheaper than joining its two halves:
        # nothing is copied but what the decoder copies anyway.
        while self._position < self._end:
            piece = self._pread(PIECE_BYTES, self._position)
            cut = self._cut(piece)
            if cut == 0:
                piece = self._long_line(piece)
                cut = len(piece)
            if cut == 0:
                return
            yield self._position, memoryview(piece)[:cut]
            self._position += cut

    def _cut(self, piece: bytes) -> int:
        """How many bytes of `piece` are whole lines that begin before the end; 0: not even one."""
        last_owned = self._end - 1 - self._position
        if last_owned < len(piece):
            # The line that holds the split's last byte is the last one that it owns.
            cut = piece.find(b"\n", last_owned) + 1
            if cut > 0:
                return cut
        return piece.rfind(b"\n") + 1

    def _long_line(self, piece: bytes) -> bytes:
        """The line that begins with `piece`, which holds no newline, up to its end."""
        parts = [piece]
        size = len(piece)
        while piece:
            piece = self._pread(PIECE_BYTES, self._position + size)
            newline = piece.find(b"\n")
            if newline >= 0:
                parts.append(piece[: newline + 1])
                break
            parts.append(piece)
            size += len(piece)
            if size > LINE_BYTES_MAX:
                raise _line_too_long(self._path, self._position)
        return b"".join(parts)

    def _skip_line_begun_before(self) -> None:
        # A line begins at the split's first byte only if the byte before is a newline.
        position = self._position - 1
        while piece := self._pread(PIECE_BYTES, position):
            newline = piece.find(b"\n")
            if newline >= 0:
                self._position = position + newline + 1
                return
            position += len(piece)
            if position >= self._end:
                break
        self._position = self._end


def _decoded(
    chunks: Iterator[tuple[int, memoryview]], path: str, options: ReaderOptions
) -> Iterator[Chunk]:
    encoding, errors = options.encoding, options.errors
    for offset, data in chunks:
        try:
            text = str(data, encoding, errors)
        except UnicodeDecodeError as error:
            raise _invalid_bytes(path, offset + error.start, encoding, error) from error
        yield offset, text if text.endswith("\n") else text + "\n"


def _stream_chunks(stream: ByteStream, split: Split, options: ReaderOptions) -> Iterator[Chunk]:
    if is_line_searchable(options.encoding):
        yield from _decoded(_byte_lines(stream, split), split.path, options)
    else:
        yield from _text_lines(stream, split, options)


def _byte_lines(stream: ByteStream, split: Split) -> Iterator[tuple[int, memoryview]]:
    """The stream after `data_start`, cut at its newlines before it is decoded."""
    to_skip = offset = split.data_start
    begun: list[bytes] = []
    begun_bytes = 0
    for piece in stream_pieces(stream):
        if to_skip:
            skipped = min(to_skip, len(piece))
            to_skip -= skipped
            piece = piece[skipped:]
        cut = piece.rfind(b"\n") + 1
        if cut:
            data = b"".join((*begun, piece[:cut]))
            yield offset, memoryview(data)
            offset += len(data)
            begun = []
            begun_bytes = 0
        if cut < len(piece):
            begun.append(piece[cut:])
            begun_bytes += len(piece) - cut
            if begun_bytes > LINE_BYTES_MAX:
                raise _line_too_long(split.path, offset)
    if begun:
        yield offset, memoryview(b"".join(begun))


def _text_lines(stream: ByteStream, split: Split, options: ReaderOptions) -> Iterator[Chunk]:
    """The stream, decoded as it comes, for encodings in which bytes cannot be searched.

    Offsets are those of the piece in which a line begins, no finer.
    """
    decoder = codecs.getincrementaldecoder(options.encoding)(options.errors)
    begun: list[str] = []
    begun_chars = 0
    offset = 0
    for piece in _header_apart(stream_pieces(stream), split.data_start):
        try:
            text = decoder.decode(piece, final=not piece)
        except UnicodeDecodeError as error:
            raise _invalid_bytes(split.path, offset + error.start, options.encoding, error) from (
                error
            )
        if offset == 0:
            text = text.removeprefix("\ufeff")
        offset += len(piece)
        if piece and offset <= split.data_start:
            continue  # The decoder had to see the header: a byte order mark may begin it.
        cut = text.rfind("\n") + 1
        if cut:
            yield offset - len(piece), "".join((*begun, text[:cut]))
            begun = []
            begun_chars = 0
        begun.append(text[cut:])
        begun_chars += len(text) - cut
        if begun_chars > LINE_BYTES_MAX:
            raise _line_too_long(split.path, offset - len(piece))
    if rest := "".join(begun):
        yield offset, rest + "\n"


def _header_apart(pieces: Iterator[bytes], data_start: int) -> Iterator[bytes]:
    """The pieces, cut at `data_start`, and an empty one that says that no more will come."""
    position = 0
    for piece in pieces:
        cut = min(max(data_start - position, 0), len(piece))
        yield from (part for part in (piece[:cut], piece[cut:]) if part)
        position += len(piece)
    yield b""


def _invalid_bytes(path: str, offset: int, encoding: str, error: UnicodeDecodeError) -> TaskError:
    return TaskError(
        f"{path}: byte {offset} is no valid {encoding} ({error.reason}); "
        'say "encoding" or "errors": "replace" on the reader node'
    )


def _line_too_long(path: str, offset: int) -> TaskError:
    return TaskError(f"{path}: the line at byte {offset} is longer than {LINE_BYTES_MAX} bytes")
