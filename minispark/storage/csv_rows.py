"""Where a CSV row ends when newlines may stand in quotes, and what a header line says.

Must not know files. Quotes mean what Python's `csv` module says: they count only where a field
begins with one, so that `5" nail,3` is one ordinary row.
"""

from __future__ import annotations

import csv

from minispark.errors import TaskError


def is_quote_open_after(line: str, is_open: bool = False) -> bool:
    """Whether the row goes on after `line` because a quoted field is still open.

    `is_open`: whether the line begins inside such a field.
    """
    position = 0
    while True:
        if not is_open and line.startswith('"', position):
            is_open = True
            position += 1
        if is_open:
            position = _after_closing_quote(line, position)
            if position < 0:
                return True
            is_open = False
        comma = line.find(",", position)
        if comma < 0:
            return False
        position = comma + 1


def _after_closing_quote(line: str, position: int) -> int:
    """The position after the quote that closes the field open at `position`; -1 if none does."""
    while True:
        quote = line.find('"', position)
        if quote < 0:
            return -1
        if not line.startswith('"', quote + 1):
            return quote + 1
        position = quote + 2


def column_names(header: str) -> tuple[str, ...]:
    """The names in a header row. Raises TaskError where the csv module cannot read it."""
    try:
        row = next(csv.reader([header.rstrip("\r\n")]), [])
    except csv.Error as error:
        raise TaskError(f"the header line is no CSV: {error}") from error
    return tuple(row)
