"""What a reader does before records are made: the same records as without, on random input."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minispark.compute.batch import Batch, Record, TextChunk, Values, records
from minispark.compute.columns import select_columns
from minispark.compute.functions import extract_key
from minispark.compute.kernels import KERNELS
from minispark.errors import TaskError
from minispark.model.job import ReaderOptions
from minispark.model.plan import ReadSplits, Split
from minispark.model.steps import SelectColumns
from minispark.storage.readers import Reader

PLAIN = st.sampled_from(["a", "b", "", " ", "\u00e9", "7", "a\x0b"])
CELL = PLAIN | st.text("ab \r\u00e9", max_size=2) | st.sampled_from(['"q"', '"x,y"', 'n"'])
EVEN = st.integers(1, 9).flatmap(
    lambda width: st.lists(st.lists(PLAIN, min_size=width, max_size=width), max_size=6)
)
RAGGED = st.lists(st.lists(PLAIN, min_size=1, max_size=4), max_size=6)
TABLES = EVEN | RAGGED | st.lists(st.lists(CELL, max_size=5), max_size=6)


@st.composite
def csv_chunks(draw: st.DrawFn) -> TextChunk:
    ending = draw(st.sampled_from(["\n", "\r\n"]))
    rows = [",".join(cells) for cells in draw(TABLES)]
    return TextChunk("".join(row + ending for row in rows) or "\n", skip_blank=True)


def selection(key: int, value: int | None, default: str) -> SelectColumns:
    return SelectColumns("r", "csv", "k", key, None if value is None else "v", value, default)


def cells_of(row: str) -> list[str]:
    return next(csv.reader([row]), []) if '"' in row else row.split(",")


def outcome(step: SelectColumns, batch: Batch) -> list[Record] | str:
    try:
        return list(records(select_columns(step, batch)))
    except TaskError as error:
        return str(error)


@settings(max_examples=600, deadline=None)
@given(
    csv_chunks(), st.integers(0, 4), st.none() | st.integers(0, 4), st.sampled_from(["one", "row"])
)
def test_columns_cut_from_a_chunk_are_those_of_its_rows(
    chunk: TextChunk, key: int, value: int | None, default: str
) -> None:
    step = selection(key, value, default)
    expected: list[Record] = []
    try:
        for row in chunk.lines():
            cells = cells_of(row)
            other = "1" if default == "one" else row
            expected.append((cells[key], other if value is None else cells[value]))
    except (IndexError, csv.Error) as error:
        message = outcome(step, chunk)
        is_ragged = isinstance(error, IndexError)
        assert (f"has {len(cells)} columns, too few" if is_ragged else "is no CSV") in message
        assert message == outcome(step, Values(chunk.lines()))
        return
    assert outcome(step, chunk) == outcome(step, Values(chunk.lines())) == expected


@settings(max_examples=300, deadline=None)
@given(csv_chunks())
def test_keys_cut_from_a_chunk_are_those_of_its_rows(chunk: TextChunk) -> None:
    cut = KERNELS["map"]["extract_key"](chunk)
    assert list(records(cut)) == [extract_key(None, row)[0] for row in chunk.lines()]


LINE = st.builds(
    json.dumps, st.dictionaries(st.sampled_from(["k", "v", "key"]), st.integers() | CELL)
)
ODD = st.sampled_from(["", " ", "{", "[1]", "7", ' {"k": 1, "v": 2} ', '{"k": 1} 2', "\ufeff{}"])
FIELDS = SelectColumns("r", "jsonl", "k", None, "v", None, "one")


def read(path: Path, source: ReadSplits) -> tuple[list[Batch], int]:
    reader = Reader()
    split = Split(str(path), 0, path.stat().st_size)
    return list(reader.read(source, (split,), 0)), reader.records_skipped


@settings(max_examples=300, deadline=None)
@given(st.lists(LINE | ODD, max_size=6), st.sampled_from(["fail", "skip"]))
def test_fields_taken_where_lines_are_parsed_are_those_of_the_rows(
    tmp_path_factory: pytest.TempPathFactory, lines: list[str], on_error: str
) -> None:
    path = tmp_path_factory.getbasetemp() / "rows.jsonl"
    path.write_text("".join(f"{line}\n" for line in lines))
    options = ReaderOptions(on_error=on_error)

    def attempt(select: SelectColumns | None) -> Any:
        try:
            batches, skipped = read(path, ReadSplits("read", "jsonl", options, select=select))
            if select is None:
                batches = [select_columns(FIELDS, batch) for batch in batches]
            return [list(records(batch)) for batch in batches], skipped
        except TaskError as error:
            return str(error)

    assert attempt(FIELDS) == attempt(None)
