"""Batch kernels of the named functions: what `functions.py` says, a batch at a time.

Each is built on C-speed builtins and keeps a batch as lazy as it can. Must not know pipelines.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import chain, compress, repeat

from minispark.compute.batch import (
    Batch,
    Constant,
    Keyed,
    TextChunk,
    Values,
    batch_of,
    has_json,
    records,
    text_list,
    text_of,
    value_list,
)
from minispark.compute.columns import aligned_cells
from minispark.compute.functions import LONG_CHARS_MIN, NARROW_FUNCTIONS, NarrowFunction

Kernel = Callable[[Batch], Batch]


def _each_value(change: Callable[[str], str]) -> Kernel:
    """A kernel that changes every value, and nothing else."""

    def kernel(batch: Batch) -> Batch:
        match batch:
            case TextChunk(text, skip_blank):
                # what a letter becomes depends on its neighbours, but never across a newline
                return TextChunk(change(text), skip_blank, batch.count())
            case Values():
                return Values(list(map(change, text_list(batch))))
            case Keyed(keys, Constant(value)):
                return Keyed(keys, Constant(change(value)))
            case Keyed(keys, _):
                return Keyed(keys, list(map(change, text_list(batch))))

    return kernel


def _pair_with_one(batch: Batch) -> Batch:
    return Keyed(text_list(batch), Constant("1"), is_complete=True)


def _extract_key(batch: Batch) -> Batch:
    pairs = aligned_cells(batch, 2, 2) if isinstance(batch, TextChunk) else None
    if pairs is not None:
        cells, stride = pairs
        return Keyed(cells[::stride], cells[1::stride], is_complete=True)
    parts = [value.partition(",") for value in text_list(batch)]
    return Keyed([part[0] for part in parts], [part[2] for part in parts], is_complete=True)


def _identity(batch: Batch) -> Batch:
    return batch


def keep(batch: Batch, flags: list[bool]) -> Batch:
    """The records whose flag is set."""
    if all(flags):
        return batch
    match batch:
        case Keyed(keys, Constant() as values):
            return Keyed(list(compress(keys, flags)), values)
        case Keyed(keys, _):
            kept = list(compress(value_list(batch), flags))
            return Keyed(list(compress(keys, flags)), kept, is_json=batch.is_json)
        case _:
            return Values(list(compress(value_list(batch), flags)), has_json(batch))


def _not_empty(batch: Batch) -> Batch:
    if isinstance(batch, TextChunk):
        filled = TextChunk(batch.text, skip_blank=True)
        return replace(filled, known_count=filled.count())
    return keep(batch, list(map(bool, text_list(batch))))


def _is_long(batch: Batch) -> Batch:
    if isinstance(batch, TextChunk):
        lines = batch.lines()
        long = [line for line in lines if len(line) >= LONG_CHARS_MIN]
        all_are = len(long) == len(lines)
        return replace(batch, known_count=len(lines)) if all_are else Values(long)
    return keep(batch, [len(value) >= LONG_CHARS_MIN for value in text_list(batch)])


def _has_key(batch: Batch) -> Batch:
    if isinstance(batch, Keyed):
        return keep(batch, [key is not None for key in batch.keys])
    return Keyed([], [], is_complete=True)  # what follows may count on keys


def _split_words(batch: Batch) -> Batch:
    if isinstance(batch, TextChunk):
        return Values(batch.text.split())  # a newline is white space too
    if isinstance(batch, Values):
        return Values(" ".join(text_list(batch)).split())
    return _flatten(batch, list(map(str.split, text_list(batch))))


def _split_chars(batch: Batch) -> Batch:
    if isinstance(batch, Keyed):
        return _flatten(batch, list(map(list, text_list(batch))))
    return Values(list("".join(text_list(batch))))


def _flatten(batch: Batch, parts: list[list[str]]) -> Batch:
    values = list(chain.from_iterable(parts))
    if not isinstance(batch, Keyed):
        return Values(values)
    keys = chain.from_iterable(map(repeat, batch.keys, map(len, parts)))
    return Keyed(list(keys), values)


def _each_record(function: NarrowFunction) -> Kernel:
    """The kernel of a function that has none of its own."""
    return lambda batch: batch_of(
        [row for key, value in records(batch) for row in function(key, text_of(value))]
    )


KERNELS: dict[str, dict[str, Kernel]] = {
    "map": {
        "to_lower": _each_value(str.lower),
        "to_upper": _each_value(str.upper),
        "pair_with_one": _pair_with_one,
        "extract_key": _extract_key,
        "identity": _identity,
    },
    "filter": {"not_empty": _not_empty, "is_long": _is_long, "has_key": _has_key},
    "flat_map": {
        "split_words": _split_words,
        "split_chars": _split_chars,
        "split_lines": _each_record(NARROW_FUNCTIONS["flat_map"]["split_lines"]),
    },
}
