"""Columnar batches: how records travel inside a pipeline.

A record is (key or None, value). A key is text; a value is text, or any other JSON value where a
function of the user's made it. Must not know files or functions.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import repeat
from typing import Any, TypeAlias

Record: TypeAlias = tuple[str | None, Any]


@dataclass(frozen=True, slots=True)
class Constant:
    """A column in which every value is the same."""

    value: str


@dataclass(frozen=True, slots=True)
class Integers:
    """A column of texts that are whole numbers, kept as numbers until somebody wants the texts."""

    values: list[int]


@dataclass(frozen=True, slots=True)
class TextChunk:
    """Whole lines of input, each ended by a newline; unkeyed records.

    A record is a line without its newline and without one carriage return before it.
    `skip_blank`: lines that are empty then are no records (read_csv).
    """

    text: str
    skip_blank: bool = False
    known_count: int | None = None
    """How many records it holds, where somebody counted."""

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

    def count(self) -> int:
        """How many records it holds."""
        if self.known_count is not None:
            return self.known_count
        text = self.text
        if self.skip_blank and ("\r" in text or "\n\n" in text or text.startswith("\n")):
            return len(self.lines())
        return text.count("\n")


@dataclass(frozen=True, slots=True)
class Values:
    """Unkeyed records."""

    values: list[Any]
    is_json: bool = False
    """Some value may be no text."""


@dataclass(frozen=True, slots=True)
class Keyed:
    """`keys[i]` belongs to `values[i]`; a key of None says that this one record has none."""

    keys: list[str | None] | list[str]
    values: list[Any] | Constant | Integers
    is_complete: bool = False
    """It is known that no key is None; otherwise nobody looked."""
    is_json: bool = False
    """Some value may be no text."""

    @property
    def has_all_keys(self) -> bool:
        return self.is_complete or None not in self.keys


Batch: TypeAlias = TextChunk | Values | Keyed


def value_list(batch: Batch) -> list[Any]:
    """The values as a list; of a constant column a list of that length."""
    match batch:
        case TextChunk():
            return batch.lines()
        case Values(values):
            return values
        case Keyed(keys=keys, values=Constant(value)):
            return [value] * len(keys)
        case Keyed(values=Integers(numbers)):
            return list(map(str, numbers))
        case Keyed(values=values):
            assert isinstance(values, list)
            return values


def text_list(batch: Batch) -> list[str]:
    """The values as named functions and documented files see them: as text."""
    values = value_list(batch)
    return list(map(text_of, values)) if has_json(batch) else values


def has_json(batch: Batch) -> bool:
    """Whether some value may be no text."""
    return not isinstance(batch, TextChunk) and batch.is_json


def text_of(value: Any) -> str:
    """Text as it is, any other value as its JSON text."""
    return value if type(value) is str else json_text(value)


json_text = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode


def records(batch: Batch) -> Iterator[Record]:
    """The batch record by record: its meaning."""
    if isinstance(batch, Keyed):
        return zip(batch.keys, value_list(batch), strict=True)
    return zip(repeat(None), value_list(batch))


def record_count(batch: Batch) -> int:
    match batch:
        case TextChunk():
            return batch.count()
        case Keyed(keys=keys):
            return len(keys)
        case Values(values):
            return len(values)


def slices(batch: Keyed, size: int) -> Iterator[Keyed]:
    """The batch in pieces of at most `size` records."""
    values = batch.values
    for start in range(0, len(batch.keys), size):
        end = start + size
        part: list[Any] | Constant | Integers
        match values:
            case Constant():
                part = values
            case Integers(numbers):
                part = Integers(numbers[start:end])
            case _:
                part = values[start:end]
        yield Keyed(batch.keys[start:end], part, batch.is_complete, batch.is_json)


def batch_of(rows: list[Record]) -> Batch:
    """The records as columns; of none it can be said that all have keys, and what follows may."""
    if not rows:
        return Keyed([], [], is_complete=True)
    values = [value for _, value in rows]
    is_json = any(type(value) is not str for value in values)
    if all(key is None for key, _ in rows):
        return Values(values, is_json)
    return Keyed([key for key, _ in rows], values, is_json=is_json)
