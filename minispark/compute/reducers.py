"""The reducers of reduce_by_key: what they keep for each key, and how that merges and ends.

Keys come out in the order of their first occurrence. A partial aggregate is text (or a whole
number),
so that it can travel in a block; merging partials gives what one pass over all records would give.
Must not know blocks or files.
"""

from __future__ import annotations

from collections import _count_elements  # type: ignore[attr-defined]
from typing import Any, Protocol

from minispark.compute import numbers
from minispark.compute.batch import Constant, Integers, Keyed
from minispark.compute.numbers import Number
from minispark.compute.spill import held_bytes
from minispark.errors import TaskError

TEXT_BYTES = 60
"""Of a text in a list, its characters aside."""
PAIR_BYTES = 100
"""Of a pair with a number in it."""

Column = list[Any]
"""Of partial aggregates: text and whole numbers, or what a function of the user's returned."""


class Reducer(Protocol):
    """One aggregation in progress. `Column`s align with lists of keys."""

    def add(self, keys: list[str], values: list[Any] | Constant) -> None:
        """Take in records; named functions take text."""

    def merge(self, keys: list[str], partials: Column) -> None:
        """Take in partial aggregates, as `partials` made them."""

    def partials(self) -> tuple[list[str], Column]:
        """Keys, and for each what `merge` takes."""

    def finish(self) -> Keyed:
        """One record a key: its result."""

    def bytes_held(self) -> int:
        """About how much memory it takes."""

    def clear(self) -> None:
        """Forget everything."""


def _number(name: str, key: str, text: str) -> Number:
    number = numbers.parse(text)
    if number is None:
        raise TaskError(
            f"reduce_by_key {name}: the value {text[:100]!r} of key {key[:100]!r} is no number; "
            "filter such records out, or use count or concat"
        )
    return number


def _keyed(found: dict[str, Any], values: list[str] | Integers) -> Keyed:
    return Keyed(list(found), values, is_complete=True)


def merge_sums(sums: dict[str, Any], keys: list[str], partials: Column) -> None:
    """Add one block's sums, in which no key stands twice, to `sums`.

    Most keys of a block are new, or most are known: dictionaries are merged at C speed, and only
    what is common is added up.
    """
    block = dict(zip(keys, partials, strict=True))
    common = {key: sums[key] for key in sums.keys() & block.keys()} if sums else {}
    sums.update(block)
    for key, old in common.items():
        sums[key] += old


class Count:
    """How many records a key has."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}

    def add(self, keys: list[str], values: list[str] | Constant) -> None:
        _count_elements(self._counts, keys)

    def merge(self, keys: list[str], partials: Column) -> None:
        merge_sums(self._counts, keys, partials)

    def partials(self) -> tuple[list[str], Column]:
        return list(self._counts), list(self._counts.values())

    def finish(self) -> Keyed:
        return _keyed(self._counts, Integers(list(self._counts.values())))

    def bytes_held(self) -> int:
        return held_bytes(self._counts)

    def clear(self) -> None:
        self._counts.clear()


class Sum:
    """The exact sum of a key's numbers."""

    def __init__(self) -> None:
        self._sums: dict[str, Number] = {}
        self._is_integer = True

    def add(self, keys: list[str], values: list[str] | Constant) -> None:
        if isinstance(values, Constant):
            self._add_constant(keys, values.value)
            return
        integers = numbers.parse_integers(values) if self._is_integer else None
        if integers is not None:
            self._add_integers(keys, integers)
        else:
            for key, text in zip(keys, values, strict=True):
                self._add_number(key, _number("sum", key, text))

    def _add_constant(self, keys: list[str], text: str) -> None:
        if not keys:
            return
        if text == "1" and self._is_integer:
            _count_elements(self._sums, keys)
            return
        number = _number("sum", keys[0], text)
        counts: dict[str, int] = {}
        _count_elements(counts, keys)
        for key, count in counts.items():
            self._add_number(key, numbers.multiply(number, count))

    def _add_integers(self, keys: list[str], integers: list[int]) -> None:
        sums = self._sums
        get = sums.get
        for key, value in zip(keys, integers, strict=True):
            sums[key] = get(key, 0) + value

    def _add_number(self, key: str, number: Number) -> None:
        if not isinstance(number, int):
            self._is_integer = False
        old = self._sums.get(key)
        self._sums[key] = number if old is None else numbers.add(old, number)

    def merge(self, keys: list[str], partials: Column) -> None:
        if self._is_integer and partials and isinstance(partials[0], int):
            merge_sums(self._sums, keys, partials)
        else:
            self.add(keys, list(map(str, partials)))

    def partials(self) -> tuple[list[str], Column]:
        if self._is_integer:
            return list(self._sums), list(self._sums.values())
        return list(self._sums), list(map(numbers.render, self._sums.values()))

    def finish(self) -> Keyed:
        if self._is_integer:
            return _keyed(self._sums, Integers(list(self._sums.values())))  # type: ignore[arg-type]
        return _keyed(self._sums, self.partials()[1])

    def bytes_held(self) -> int:
        return held_bytes(self._sums)

    def clear(self) -> None:
        self._sums.clear()
        self._is_integer = True


class Concat:
    """A key's values joined by commas, in order."""

    def __init__(self) -> None:
        self._parts: dict[str, list[str]] = {}
        self._value_bytes = 0

    def add(self, keys: list[str], values: list[str] | Constant) -> None:
        texts = [values.value] * len(keys) if isinstance(values, Constant) else values
        self._value_bytes += sum(map(len, texts)) + len(texts) * TEXT_BYTES
        get = self._parts.get
        for key, text in zip(keys, texts, strict=True):
            parts = get(key)
            if parts is None:
                self._parts[key] = [text]
            else:
                parts.append(text)

    def merge(self, keys: list[str], partials: Column) -> None:
        self.add(keys, [str(partial) for partial in partials])

    def partials(self) -> tuple[list[str], Column]:
        return list(self._parts), list(map(",".join, self._parts.values()))

    def finish(self) -> Keyed:
        return _keyed(self._parts, self.partials()[1])

    def bytes_held(self) -> int:
        return held_bytes(self._parts) + self._value_bytes

    def clear(self) -> None:
        self._parts.clear()
        self._value_bytes = 0


class Extreme:
    """The least or greatest of a key's numbers, as it was written; of equal ones the least text."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._best: dict[str, tuple[Number, str]] = {}

    def add(self, keys: list[str], values: list[str] | Constant) -> None:
        texts = [values.value] * len(keys) if isinstance(values, Constant) else values
        for key, text in zip(keys, texts, strict=True):
            number = _number(self._name, key, text)
            best = self._best.get(key)
            if best is None or self._is_better(number, text, best):
                self._best[key] = (number, text)

    def _is_better(self, number: Number, text: str, best: tuple[Number, str]) -> bool:
        if number == best[0]:
            return text < best[1]
        return (number < best[0]) is (self._name == "min")

    def merge(self, keys: list[str], partials: Column) -> None:
        self.add(keys, [str(partial) for partial in partials])

    def partials(self) -> tuple[list[str], Column]:
        return list(self._best), [text for _, text in self._best.values()]

    def finish(self) -> Keyed:
        return _keyed(self._best, self.partials()[1])

    def bytes_held(self) -> int:
        return held_bytes(self._best, lambda best: PAIR_BYTES + len(best[1]))

    def clear(self) -> None:
        self._best.clear()


class Average:
    """The exact mean of a key's numbers. A partial is `sum count`."""

    def __init__(self) -> None:
        self._sums: dict[str, tuple[Number, int]] = {}

    def add(self, keys: list[str], values: list[str] | Constant) -> None:
        texts = [values.value] * len(keys) if isinstance(values, Constant) else values
        for key, text in zip(keys, texts, strict=True):
            self._add(key, _number("avg", key, text), 1)

    def _add(self, key: str, number: Number, count: int) -> None:
        old = self._sums.get(key)
        if old is None:
            self._sums[key] = (number, count)
        else:
            self._sums[key] = (numbers.add(old[0], number), old[1] + count)

    def merge(self, keys: list[str], partials: Column) -> None:
        for key, partial in zip(keys, partials, strict=True):
            total, _, count = str(partial).partition(" ")
            self._add(key, _number("avg", key, total), int(count))

    def partials(self) -> tuple[list[str], Column]:
        sums = self._sums.values()
        return list(self._sums), [f"{numbers.render(total)} {count}" for total, count in sums]

    def finish(self) -> Keyed:
        sums = self._sums.values()
        return _keyed(self._sums, [numbers.quotient(total, count) for total, count in sums])

    def bytes_held(self) -> int:
        return held_bytes(self._sums, lambda _: PAIR_BYTES)

    def clear(self) -> None:
        self._sums.clear()


class Collect:
    """A key's values as a list, in order; each keeps its type."""

    def __init__(self) -> None:
        self._lists: dict[str, list[Any]] = {}
        self._value_bytes = 0

    def add(self, keys: list[str], values: list[Any] | Constant) -> None:
        column = [values.value] * len(keys) if isinstance(values, Constant) else values
        self._value_bytes += len(column) * TEXT_BYTES
        self._value_bytes += sum(len(v) if type(v) is str else len(repr(v)) for v in column)
        get = self._lists.get
        for key, value in zip(keys, column, strict=True):
            held = get(key)
            if held is None:
                self._lists[key] = [value]
            else:
                held.append(value)

    def merge(self, keys: list[str], partials: Column) -> None:
        for key, values in zip(keys, partials, strict=True):
            self.add([key] * len(values), values)

    def partials(self) -> tuple[list[str], Column]:
        return list(self._lists), list(self._lists.values())

    def finish(self) -> Keyed:
        keys, lists = self.partials()
        return Keyed(keys, lists, is_complete=True, is_json=True)

    def bytes_held(self) -> int:
        return held_bytes(self._lists) + self._value_bytes

    def clear(self) -> None:
        self._lists = {}
        self._value_bytes = 0


def new_reducer(name: str) -> Reducer:
    """A fresh aggregation by a function of FUNCTION_NAMES["reduce_by_key"], or `collect`."""
    match name:
        case "sum":
            return Sum()
        case "count":
            return Count()
        case "concat":
            return Concat()
        case "min" | "max":
            return Extreme(name)
        case "avg":
            return Average()
        case "collect":
            return Collect()
        case _:
            raise TaskError(f"unknown reducer {name!r}")
