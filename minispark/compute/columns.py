"""Selects the key and value columns of unkeyed CSV or JSONL rows.

Only where the planner asked for it (`SelectColumns`). Must not know files or reducers.
"""

from __future__ import annotations

import csv
import json
from typing import Any

from minispark.compute.batch import Batch, Keyed, value_list
from minispark.errors import TaskError
from minispark.model.safe_text import is_text
from minispark.model.steps import SelectColumns


def select_columns(step: SelectColumns, batch: Batch) -> Keyed:
    """(key column, value column) of each row. Raises TaskError for a row that lacks one."""
    rows = value_list(batch)
    if step.format == "csv":
        return _select_csv(step, rows)
    return _select_jsonl(step, rows)


def _select_csv(step: SelectColumns, rows: list[str]) -> Keyed:
    assert step.key_index is not None
    keys: list[str] = []
    values: list[str] = []
    for row in rows:
        cells = row.split(",") if '"' not in row else next(csv.reader([row]), [])
        try:
            keys.append(cells[step.key_index])
            values.append(cells[step.value_index] if step.value_index is not None else row)
        except IndexError:
            names = (
                step.key_name if step.value_name is None else f"{step.key_name}, {step.value_name}"
            )
            raise TaskError(
                f"{step.node_id}: the row {row[:100]!r} has {len(cells)} columns, "
                f"too few for {names}"
            ) from None
    return Keyed(keys, _values(step, values), is_complete=True)


def _select_jsonl(step: SelectColumns, rows: list[str]) -> Keyed:
    keys: list[str] = []
    values: list[str] = []
    for row in rows:
        fields = json.loads(row)
        if not isinstance(fields, dict):
            raise TaskError(f"{step.node_id}: the line {row[:100]!r} is no JSON object")
        keys.append(_text(step, fields, step.key_name, row))
        is_row = step.value_name is None
        values.append(row if is_row else _text(step, fields, step.value_name or "", row))
    return Keyed(keys, _values(step, values), is_complete=True)


def _values(step: SelectColumns, values: list[str]) -> list[str]:
    is_count = step.value_name is None and step.default_value == "one"
    return ["1"] * len(values) if is_count else values


def _text(step: SelectColumns, fields: dict[str, Any], name: str, row: str) -> str:
    if name not in fields:
        raise TaskError(f"{step.node_id}: the line {row[:100]!r} has no field {name!r}")
    value = fields[name]
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    if not is_text(text):
        raise TaskError(
            f"{step.node_id}: {name!r} of the line {row[:100]!r} holds half of a surrogate pair, "
            "which is no text"
        )
    return text
