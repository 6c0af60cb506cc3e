"""Columnar batches: how records travel inside a pipeline.

A record is (key or None, value), both text. Must not know files or functions.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import repeat
from typing import TypeAlias

Record: TypeAlias = tuple[str | None, str]


@dataclass(frozen=True, slots=True)
class Constant:
    """A column in which every value is the same."""

    value: str


@dataclass(frozen=True, slots=True)
class TextChunk:
    """Whole lines of input, each ended by a newline; unkeyed records.

    A record is a line without its newline and without one carriage return before it.
    `skip_blank`: lines that are empty then are no records (read_csv).
    """

    text: str
    skip_blank: bool = False

    def lines(self) -> list[str]:
        """The records' values."""
        text = self.text
        if "\r" in text:
            text = text.replace("\r\n", "\n")
        lines = text.split("\n")
        lines.pop()  # a chunk ends with a newline
        if self.skip_blank and ("\n\n" in text or text.startswith("\n")):
            lines = [line for line in lines if line]
        return lines


@dataclass(frozen=True, slots=True)
class Values:
    """Unkeyed records."""

    values: list[str]


@dataclass(frozen=True, slots=True)
class Keyed:
    """`keys[i]` belongs to `values[i]`; a key of None says that this one record has none."""

    keys: list[str | None] | list[str]
    values: list[str] | Constant
    is_complete: bool = False
    """It is known that no key is None; otherwise nobody looked."""

    @property
    def has_all_keys(self) -> bool:
        return self.is_complete or None not in self.keys


Batch: TypeAlias = TextChunk | Values | Keyed


def value_list(batch: Batch) -> list[str]:
    """The values as a list; of a constant column a list of that length."""
    match batch:
        case TextChunk():
            return batch.lines()
        case Values(values):
            return values
        case Keyed(keys=keys, values=Constant(value)):
            return [value] * len(keys)
        case Keyed(values=values):
            assert isinstance(values, list)
            return values


def records(batch: Batch) -> Iterator[Record]:
    """The batch record by record: its meaning."""
    if isinstance(batch, Keyed):
        return zip(batch.keys, value_list(batch), strict=True)
    return zip(repeat(None), value_list(batch))


def record_count(batch: Batch) -> int:
    match batch:
        case Keyed(keys=keys):
            return len(keys)
        case _:
            return len(value_list(batch))


def batch_of(rows: list[Record]) -> Batch:
    """The records as columns."""
    if all(key is None for key, _ in rows):
        return Values([value for _, value in rows])
    return Keyed([key for key, _ in rows], [value for _, value in rows])
