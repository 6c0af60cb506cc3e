"""Selects the key and value columns of unkeyed CSV or JSONL rows.

Only where the planner asked for it (`SelectColumns`). Must not know files or reducers.
"""

from __future__ import annotations

import csv
import json
from typing import Any

from minispark.compute.batch import Batch, Constant, Keyed, TextChunk, value_list
from minispark.errors import TaskError
from minispark.model.safe_text import is_text
from minispark.model.steps import SelectColumns

SPARE_COLUMNS_MAX = 4
"""A chunk is cut whole unless so many more of its columns would be made for nothing."""


def select_columns(step: SelectColumns, batch: Batch) -> Keyed:
    """(key column, value column) of each row. Raises TaskError for a row that lacks one."""
    if step.format == "csv":
        columns = _aligned(step, batch) if isinstance(batch, TextChunk) else None
        return columns or _select_csv(step, value_list(batch))
    rows = value_list(batch)
    return select_fields(step, rows, [json.loads(row) for row in rows])


# --- csv ----------------------------------------------------------------------------------------


def _aligned(step: SelectColumns, chunk: TextChunk) -> Keyed | None:
    """The columns of a chunk, where they are cut whole; None where that is not worth while."""
    has_rows = step.value_index is None and step.default_value == "row"
    if has_rows or '"' in chunk.text:
        return None
    assert step.key_index is not None
    last = max(step.key_index, step.value_index or 0)
    found = aligned_cells(chunk, last + 1, last + 1 + SPARE_COLUMNS_MAX)
    if found is None:
        return None
    cells, stride = found
    keys = cells[step.key_index :: stride]
    if step.value_index is None:
        return Keyed(keys, Constant("1"), is_complete=True)
    return Keyed(keys, cells[step.value_index :: stride], is_complete=True)


def aligned_cells(chunk: TextChunk, width_min: int, width_max: int) -> tuple[list[str], int] | None:
    """What stands between the commas of a chunk, cut at C speed without a row between, and how far
    apart rows begin; None where rows have not all equally many cells, or so many.
    """
    text = chunk.text
    width = text.count(",", 0, text.find("\n")) + 1
    if not width_min <= width <= width_max:
        return None
    if "\r" in text:
        text = text.replace("\r\n", "\n")
    if text.startswith("\n") or "\n\n" in text:
        return None  # blank lines may be no rows
    spread = text.replace("\n", ",\n,")
    cells = spread.split(",")
    cells.pop()  # after the last newline
    # a newline is a cell of its own: where each stands after `width` others, no row is ragged
    stride, rows = width + 1, (len(spread) - len(text)) // 2
    if len(cells) != rows * stride or cells[width::stride].count("\n") != rows:
        return None
    return cells, stride


def _select_csv(step: SelectColumns, rows: list[str]) -> Keyed:
    assert step.key_index is not None
    keys: list[str] = []
    values: list[str] = []
    key_at, value_at = step.key_index, step.value_index
    cuts = max(key_at, value_at or 0) + 1
    """The cells after the last one that is wanted stay one text."""
    for row in rows:
        cells = row.split(",", cuts) if '"' not in row else _quoted_cells(step, row)
        try:
            keys.append(cells[key_at])
            values.append(cells[value_at] if value_at is not None else row)
        except IndexError:
            names = (
                step.key_name if step.value_name is None else f"{step.key_name}, {step.value_name}"
            )
            raise TaskError(
                f"{step.node_id}: the row {row[:100]!r} has {len(cells)} columns, "
                f"too few for {names}"
            ) from None
    return _keyed(step, keys, values)


def _quoted_cells(step: SelectColumns, row: str) -> list[str]:
    try:
        return next(csv.reader([row]), [])
    except csv.Error as error:
        raise TaskError(f"{step.node_id}: the row {row[:100]!r} is no CSV: {error}") from error


# --- jsonl --------------------------------------------------------------------------------------


def select_fields(step: SelectColumns, rows: list[str], parsed: list[Any]) -> Keyed:
    """(key column, value column) of JSONL rows that somebody parsed. Raises TaskError for one that
    is no object, or lacks a field.
    """
    if set(map(type, parsed)) - {dict}:
        row = next(
            row for row, fields in zip(rows, parsed, strict=True) if type(fields) is not dict
        )
        raise TaskError(f"{step.node_id}: the line {row[:100]!r} is no JSON object")
    keys = _field_column(step, step.key_name, rows, parsed)
    if step.value_name is None:
        return _keyed(step, keys, rows)
    return _keyed(step, keys, _field_column(step, step.value_name, rows, parsed))


def _field_column(
    step: SelectColumns, name: str, rows: list[str], parsed: list[dict[str, Any]]
) -> list[str]:
    try:
        column = [fields[name] for fields in parsed]
    except KeyError:
        row = next(row for row, fields in zip(rows, parsed, strict=True) if name not in fields)
        raise TaskError(f"{step.node_id}: the line {row[:100]!r} has no field {name!r}") from None
    if set(map(type, column)) - {str}:
        column = [value if type(value) is str else _json(value) for value in column]
    if not is_text("".join(column)):
        row = next(row for row, text in zip(rows, column, strict=True) if not is_text(text))
        raise TaskError(
            f"{step.node_id}: {name!r} of the line {row[:100]!r} holds half of a surrogate pair, "
            "which is no text"
        )
    return column


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _keyed(step: SelectColumns, keys: list[str], values: list[str]) -> Keyed:
    is_count = step.value_name is None and step.default_value == "one"
    return Keyed(keys, Constant("1") if is_count else values, is_complete=True)
