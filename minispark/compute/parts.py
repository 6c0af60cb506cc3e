"""Part files of the user's: records as lines of csv, JSON or text. Must not know files.

A value that is no text stands in csv and text as its JSON text.
"""

from __future__ import annotations

import csv
import json

from minispark.compute.batch import Batch, Keyed, records, text_list
from minispark.model.plan import SavedParts

_json_row = json.JSONEncoder(ensure_ascii=False, allow_nan=False).encode


def head(saved: SavedParts) -> str:
    """What stands before the first record, and alone where there is none."""
    if saved.format != "csv":
        return ""
    return "key,value\n" if saved.has_keys else "value\n"


def lines(saved: SavedParts, batch: Batch) -> str:
    """The batch's records, each a line (in csv and text more, where a value holds newlines)."""
    match saved.format:
        case "csv":
            return _csv_lines(saved, batch)
        case "jsonl":
            rows = (_json_row({"key": key, "value": value}) for key, value in records(batch))
            return "".join(f"{row}\n" for row in rows)
        case _:
            keys, values = _keys(batch), text_list(batch)
            rows = (v if k is None else f"{k}\t{v}" for k, v in zip(keys, values, strict=True))
            return "".join(f"{row}\n" for row in rows)


def _keys(batch: Batch) -> list[str | None]:
    return list(batch.keys) if isinstance(batch, Keyed) else [None] * len(text_list(batch))


class _Rows:
    """Takes each row from the csv writer, which quotes a lone carriage return only where rows end
    in one; they end in a newline here.
    """

    def __init__(self) -> None:
        self.rows: list[str] = []

    def write(self, row: str) -> None:
        self.rows.append(f"{row[:-2]}\n")


def _csv_lines(saved: SavedParts, batch: Batch) -> str:
    """Quoted as RFC 4180 says. A record without a key has an empty one."""
    made = _Rows()
    writer = csv.writer(made, lineterminator="\r\n")
    values = text_list(batch)
    writer.writerows(
        zip(_keys(batch), values, strict=True) if saved.has_keys else ([v] for v in values)
    )
    return "".join(made.rows)
