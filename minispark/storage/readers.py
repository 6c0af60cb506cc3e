"""What a reader stage's task reads: its splits, or its rows, as batches of records.

Must not know what happens to the records.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import chain
from typing import Any

from minispark.compute.batch import Batch, Keyed, TextChunk, Values
from minispark.compute.columns import select_columns, select_fields
from minispark.errors import TaskError
from minispark.model.plan import ReadRows, ReadSplits, Split
from minispark.model.safe_text import is_text
from minispark.storage.csv_rows import is_quote_open_after
from minispark.storage.input_source import Opener, open_here
from minispark.storage.text_chunks import line_number, read_chunks

ROWS_PER_BATCH = 8192


class Reader:
    """Reads for one task. `records_skipped` counts malformed lines under `on_error: skip`."""

    def __init__(self, open_source: Opener = open_here) -> None:
        self._open = open_source
        self.records_skipped = 0

    def read(
        self, source: ReadSplits | ReadRows, splits: tuple[Split, ...], partition: int
    ) -> Iterator[Batch]:
        """The task's records, in file order. Raises TaskError."""
        if isinstance(source, ReadRows):
            return self._every_nth_row(source, splits, partition)
        return chain.from_iterable(self._read_split(source, split) for split in splits)

    def _read_split(self, source: ReadSplits, split: Split) -> Iterator[Batch]:
        match source.format:
            case "text":
                for _, text in read_chunks(split, source.options, self._open):
                    yield TextChunk(text)
            case "csv":
                yield from self._rows(source, split)
            case "jsonl":
                for offset, text in read_chunks(split, source.options, self._open):
                    yield self._json_lines(source, split, offset, text)
            case other:
                raise TaskError(f"unknown input format {other!r}")

    # --- csv -------------------------------------------------------------------------------

    def _rows(self, source: ReadSplits | ReadRows, split: Split) -> Iterator[Batch]:
        if source.options.multiline:
            yield from self._multiline_rows(source, split)
            return
        for offset, text in read_chunks(split, source.options, self._open):
            if '"' in text:
                self._refuse_open_quotes(split, offset, text)
            yield _selected(source, TextChunk(text, skip_blank=True))

    def _refuse_open_quotes(self, split: Split, offset: int, text: str) -> None:
        """Raise TaskError where a quoted field holds a newline: byte ranges cannot cut such a
        file.
        """
        at = offset
        for line in text.split("\n")[:-1]:
            if '"' in line and is_quote_open_after(line + "\n"):
                number = line_number(split, at, self._open)
                raise TaskError(
                    f"{split.path}: line {number} has a newline inside quotes; "
                    'say "multiline": true on the reader node'
                )
            at += len(line.encode()) + 1

    def _multiline_rows(self, source: ReadSplits | ReadRows, split: Split) -> Iterator[Batch]:
        row = ""
        is_open = False
        rows: list[str] = []
        for _, text in read_chunks(split, source.options, self._open):
            for line in _lines(text):
                row += line
                is_open = is_quote_open_after(line, is_open)
                if not is_open:
                    rows.append(row.removesuffix("\n").removesuffix("\r"))
                    row = ""
            yield _selected(source, Values([row for row in rows if row]))
            rows = []
        if is_open:
            raise TaskError(f"{split.path}: a quote is never closed")

    def _every_nth_row(
        self, source: ReadRows, splits: tuple[Split, ...], partition: int
    ) -> Iterator[Batch]:
        # rows are numbered through all files, as if they were one
        skip = partition
        for split in splits:
            for batch in self._rows(source, split):
                rows = batch.lines() if isinstance(batch, TextChunk) else batch.values
                assert isinstance(rows, list)
                yield Values(rows[skip :: source.total_partitions])
                skip = (skip - len(rows)) % source.total_partitions

    # --- jsonl -----------------------------------------------------------------------------

    def _json_lines(self, source: ReadSplits, split: Split, offset: int, text: str) -> Batch:
        keys: list[str | None] = []
        values: list[str] = []
        parsed: list[Any] = []
        for index, line in enumerate(text.split("\n")[:-1]):
            row = line.removesuffix("\r")
            if not row or row.isspace():
                continue
            try:
                fields = _parsed(row)
                key = fields.get("key") if isinstance(fields, dict) else None
                if isinstance(key, str) and not is_text(key):
                    raise ValueError("its key holds half of a surrogate pair")
            except (ValueError, RecursionError) as error:
                if source.options.on_error != "skip":
                    lines = text.split("\n")[:index]
                    encoding = source.options.encoding
                    before = sum(len(one.encode(encoding, "replace")) + 1 for one in lines)
                    number = line_number(split, offset + before, self._open)
                    raise TaskError(
                        f"{split.path}: line {number} is no JSON "
                        f'({error}); correct it, or say "on_error": "skip" on the reader node'
                    ) from error
                self.records_skipped += 1
            else:
                values.append(row)
                if source.select is not None:
                    parsed.append(fields)
                else:
                    keys.append(key if isinstance(key, str) else None)
        if source.select is not None:
            return select_fields(source.select, values, parsed)
        if all(key is None for key in keys):
            return Values(values)
        return Keyed(keys, values)


_decoder = json.JSONDecoder()


def _parsed(row: str) -> Any:
    """As `json.loads` has it, which spends as much time on what may stand around the value."""
    try:
        fields, end = _decoder.raw_decode(row)
    except ValueError:
        end = -1
    return fields if end == len(row) else json.loads(row)


def _selected(source: ReadSplits | ReadRows, batch: Batch) -> Batch:
    if isinstance(source, ReadRows) or source.select is None:
        return batch
    return select_columns(source.select, batch)


def _lines(text: str) -> list[str]:
    return [line + "\n" for line in text.split("\n")[:-1]]
