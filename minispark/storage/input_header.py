"""Looks at the first bytes of an input: where its data starts, and a CSV's column names.

Must not know who may read the file, nor how it is split.
"""

from __future__ import annotations

import codecs
import os
from contextlib import closing
from dataclasses import dataclass

from minispark.errors import TaskError
from minispark.model.job import ReaderOptions
from minispark.storage.csv_rows import column_names, is_quote_open_after
from minispark.storage.encodings import is_line_searchable, is_utf8
from minispark.storage.input_files import ByteStream, unpacked
from minispark.storage.input_source import LocalInput, SourceStream

HEADER_BYTES_MAX = 1024 * 1024
"""A CSV's header ends within its first MiB, or the file is no CSV."""

_UTF8_BOM = codecs.BOM_UTF8


@dataclass(frozen=True, slots=True)
class Head:
    """What an input's beginning says."""

    data_start: int
    """Bytes of the (decompressed) content that belong to no record."""
    header: tuple[str, ...] | None
    """None unless it is a CSV with a header; an empty file has none."""


def read_head(path: str, compression: str | None, *, is_csv: bool, options: ReaderOptions) -> Head:
    """Opens `path` and reads no more than its header.

    Raises OSError (not readable), InputRefused (no regular file), TaskError (no CSV header, or not
    in this encoding), or one of `DECOMPRESSION_ERRORS`.
    """
    with closing(LocalInput(path)) as source:
        with unpacked(SourceStream(source), path, compression) as stream:
            if is_csv:
                return _csv_head(stream, options)
            has_bom = is_utf8(options.encoding) and _read_up_to(stream, 3) == _UTF8_BOM
            return Head(len(_UTF8_BOM) if has_bom else 0, None)


def _csv_head(stream: ByteStream, options: ReaderOptions) -> Head:
    lines = _LineReader(stream, options)
    row = ""
    is_open = False
    while line := lines.next_line():
        row += line
        is_open = is_quote_open_after(line, is_open)
        if is_open:
            if not options.multiline:
                raise TaskError(
                    "the header line has a newline inside quotes; "
                    'say "multiline": true on the reader node'
                )
            continue
        if row.strip("\r\n"):
            return Head(lines.bytes_taken, column_names(row))
        row = ""  # blank rows before the header are skipped like any other
    if is_open:
        raise TaskError("a quote in the header line is never closed")
    return Head(lines.bytes_taken, None)


class _LineReader:
    """Lines of a stream's first HEADER_BYTES_MAX bytes, and how many bytes they took."""

    def __init__(self, stream: ByteStream, options: ReaderOptions) -> None:
        self._data = _read_up_to(stream, HEADER_BYTES_MAX)
        self._options = options
        self.bytes_taken = 0
        if is_utf8(options.encoding) and self._data.startswith(_UTF8_BOM):
            self.bytes_taken = len(_UTF8_BOM)
        self._is_searchable = is_line_searchable(options.encoding)
        self._decoder = codecs.getincrementaldecoder(options.encoding)(options.errors)

    def next_line(self) -> str:
        """The next line with its newline (the last one may have none); empty at the end."""
        try:
            line = self._searched_line() if self._is_searchable else self._decoded_line()
        except UnicodeDecodeError as error:
            raise TaskError(
                f"the header is no valid {self._options.encoding} ({error.reason})"
            ) from error
        if line and not line.endswith("\n") and len(self._data) == HEADER_BYTES_MAX:
            raise TaskError(f"no header line ends within the first {HEADER_BYTES_MAX} bytes")
        return line.removeprefix("\ufeff")

    def _searched_line(self) -> str:
        start = self.bytes_taken
        newline = self._data.find(b"\n", start)
        self.bytes_taken = len(self._data) if newline < 0 else newline + 1
        line = self._data[start : self.bytes_taken]
        return line.decode(self._options.encoding, self._options.errors)

    def _decoded_line(self) -> str:
        # Byte by byte: only so is it known how many bytes the line took.
        line = ""
        while self.bytes_taken < len(self._data):
            self.bytes_taken += 1
            line += self._decoder.decode(self._data[self.bytes_taken - 1 : self.bytes_taken])
            if line.endswith("\n"):
                return line
        return line + self._decoder.decode(b"", final=True)


def _read_up_to(stream: ByteStream, count: int) -> bytes:
    """`count` bytes, or all there are: a raw stream may give fewer at a time."""
    data = b""
    while len(data) < count and (piece := stream.read(count - len(data))):
        data += piece
    return data


def names_differ(path: str, first_path: str, names: tuple[str, ...], first: tuple[str, ...]) -> str:
    """The sentence for two files of one input with different headers."""
    return (
        f"{os.path.basename(path)} has the columns {', '.join(names)}, but "
        f"{os.path.basename(first_path)} has {', '.join(first)}: files of one input share a header "
        f"({path}, {first_path})"
    )
