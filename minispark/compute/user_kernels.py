"""Batch kernels of the user's own functions: called record by record, checked a batch at a time.

What a function returned is looked at by the set of its types, at C speed; only a batch that holds
something unusual is looked at value by value. Must not know pipelines. Source: API.md, "The user's
own functions".
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterable
from itertools import chain, repeat
from operator import length_hint
from typing import Any

from minispark.compute.batch import (
    Batch,
    Constant,
    Keyed,
    TextChunk,
    Values,
    json_text,
    value_list,
)
from minispark.compute.kernels import Kernel, keep
from minispark.compute.spill import held_bytes
from minispark.compute.user_functions import UserFunction, shown, user_errors
from minispark.errors import TaskError

PARTS_FACTOR = 4
"""A value of parts takes so many times the characters of its text in memory."""


def user_kernel(op: str, function: UserFunction) -> Kernel:
    """The kernel of a map, filter or flat_map by that function."""
    match op:
        case "map":
            return lambda batch: _columns(function, *_called(function, batch))
        case "flat_map":
            return lambda batch: _columns(function, *_flattened(function, batch))
        case "filter":
            return lambda batch: _filtered(function, batch)
        case _:
            raise AssertionError(op)


# --- calling ------------------------------------------------------------------------------


def _called(function: UserFunction, batch: Batch) -> tuple[list[Any], Iterable[str | None]]:
    """What the function made of each record, and the keys that the records had."""
    values = value_list(batch)
    results: list[Any] = []
    todo = iter(values)
    with user_errors(function.name, lambda: _shown(batch, len(values) - length_hint(todo) - 1)):
        if function.arity == 2:
            results.extend(map(function.call, _keys(batch), todo))
        else:
            results.extend(map(function.call, todo))
    return results, _keys(batch)


def _flattened(function: UserFunction, batch: Batch) -> tuple[list[Any], Iterable[str | None]]:
    parts, keys = _called(function, batch)
    for kind in set(map(type, parts)):
        if not issubclass(kind, Iterable):
            index = next(i for i, part in enumerate(parts) if type(part) is kind)
            raise TaskError(
                f"{function.name} returned a {kind.__name__}, not something to iterate over, "
                f"for the record {_shown(batch, index)}"
            )
    results: list[Any] = []
    todo = iter(parts)
    # a generator of the user's runs here, while it is read
    with user_errors(function.name, lambda: _shown(batch, len(parts) - length_hint(todo) - 1)):
        if not isinstance(batch, Keyed):
            results.extend(chain.from_iterable(todo))
            return results, repeat(None, len(results))
        lists = list(map(list, todo))
    results.extend(chain.from_iterable(lists))
    return results, list(chain.from_iterable(map(repeat, keys, map(len, lists))))


def _filtered(function: UserFunction, batch: Batch) -> Batch:
    if isinstance(batch, TextChunk):
        batch = Values(batch.lines())  # once, not here and where they are kept
    flags, _ = _called(function, batch)
    if not set(map(type, flags)) <= {bool}:
        for key, value, flag in zip(_keys(batch), value_list(batch), flags, strict=True):
            check_flag(function.name, flag, key, value)
    return keep(batch, flags)


def check_flag(name: str, flag: Any, key: str | None, value: Any) -> None:
    """Raises TaskError for an answer of a filter that is neither True nor False."""
    if type(flag) is not bool:
        record = shown(value) if key is None else f"({shown(key)}, {shown(value)})"
        raise TaskError(
            f"{name} returned a {type(flag).__name__}, not True or False, "
            f"for the record {record}: wrap it in bool()"
        )


def _keys(batch: Batch) -> Iterable[str | None]:
    return batch.keys if isinstance(batch, Keyed) else repeat(None, len(value_list(batch)))


def _shown(batch: Batch, index: int) -> str:
    """A record for people."""
    value = value_list(batch)[index]
    text = shown(value)
    if isinstance(batch, Keyed):
        return f"({batch.keys[index]!r}, {text})"
    return text


# --- what came back ------------------------------------------------------------------------------


def _columns(function: UserFunction, results: list[Any], keys: Iterable[str | None]) -> Batch:
    """The results as columns: a 2-tuple is (key, value), anything else a value with the old key."""
    types = set(map(type, results))
    if types == {str}:
        return _with_keys(keys, results, is_json=False)
    if types == {tuple} and set(map(len, results)) == {2}:
        pairs = zip(*results, strict=True)
        made = _made_keys(function, list(next(pairs)))
        column, is_json = checked_values(function.name, list(next(pairs)))
        return Keyed(made, column, is_complete=True, is_json=is_json)
    if any(issubclass(kind, tuple) for kind in types):
        return _mixed(function, results, keys)
    values, is_json = checked_values(function.name, results)
    return _with_keys(keys, values, is_json)


def _with_keys(keys: Iterable[str | None], values: list[Any], is_json: bool) -> Batch:
    if isinstance(keys, list):
        return Keyed(keys, values, is_json=is_json)
    return Values(values, is_json)


def _mixed(function: UserFunction, results: list[Any], keys: Iterable[str | None]) -> Batch:
    made: list[str | None] = []
    values: list[Any] = []
    for key, result in zip(keys, results, strict=True):
        if isinstance(result, tuple) and len(result) == 2:
            made += _made_keys(function, [result[0]])
            values.append(result[1])
        else:
            made.append(key)
            values.append(result)
    values, is_json = checked_values(function.name, values)
    return Keyed(made, values, is_json=is_json)


def _made_keys(function: UserFunction, keys: list[Any]) -> list[str]:
    """Keys as text. Raises TaskError for one that is no string, whole number or boolean."""
    types = set(map(type, keys))
    if types <= {str}:
        return keys
    return [key_text(function.name, key) for key in keys]


def key_text(name: str, key: Any) -> str:
    """A key as text. Raises TaskError for one that is no string, whole number or boolean."""
    if not isinstance(key, (str, int)):
        raise TaskError(
            f"{name} returned the key {shown(key)}, a {type(key).__name__}; "
            "a key is a string, a whole number or a boolean"
        )
    return str(key) if isinstance(key, str) else json_text(key)


def checked_values(name: str, values: list[Any]) -> tuple[list[Any], bool]:
    """The values as JSON values, and whether some may be no text.

    Tuples become lists, as they do everywhere in JSON. Raises TaskError that names the function.
    """
    types = set(map(type, values))
    if types <= {str}:
        return values, False
    if types == {int} and _are_short(values):
        return values, True
    if types <= {str, bool, type(None)}:
        return values, True
    return [checked_value(name, value) for value in values], True


def _are_short(numbers: list[int]) -> bool:
    """Whether all of them fit into 64 bits, so that they certainly have a JSON text."""
    try:
        array("q", numbers)
    except OverflowError:
        return False
    return True


def checked_value(name: str, value: Any) -> Any:
    """The value as a JSON value: itself, or a copy that nobody else changes. Raises TaskError."""
    if type(value) in (str, bool, type(None)):
        return value
    try:
        text = json_text(value)
        return value if type(value) in (int, float) else json.loads(text)
    except (TypeError, ValueError, RecursionError) as error:
        raise TaskError(
            f"{name} returned {shown(value)}, a {type(value).__name__}, "
            f"which is no JSON value: {error}"
        ) from error


class Fold:
    """A reducer of the user's: `function(a, b)` over a key's values, in order."""

    def __init__(self, function: UserFunction) -> None:
        self.function = function
        self.values: dict[str, Any] = {}
        """By key, in the order of their first occurrence."""

    def add(self, keys: list[str], values: list[Any] | Constant) -> None:
        """Take in records."""
        column = [values.value] * len(keys) if isinstance(values, Constant) else values
        self._fold(keys, column)

    def merge(self, keys: list[str], partials: list[Any]) -> None:
        """Take in partial results, in which no key stands twice: new keys at C speed."""
        block = dict(zip(keys, partials, strict=True))
        common = list(filter(self.values.__contains__, keys)) if self.values else []
        olds = [self.values[key] for key in common]
        self.values.update(block)
        self.values.update(zip(common, olds, strict=True))
        self._fold(common, [block[key] for key in common])

    def _fold(self, keys: list[str], values: list[Any]) -> None:
        results, call = self.values, self.function.call
        key: str = ""
        value: Any = None
        with user_errors(
            self.function.name,
            lambda: f"key {shown(key)}, {shown(results.get(key))} and {shown(value)}",
        ):
            for key, value in zip(keys, values, strict=True):
                if key in results:
                    results[key] = call(results[key], value)
                else:
                    results[key] = value

    def partials(self) -> tuple[list[str], list[Any]]:
        """Keys in the order of their first occurrence, and their values so far."""
        values, _ = checked_values(self.function.name, list(self.values.values()))
        return list(self.values), values

    def finish(self) -> Keyed:
        """One record a key: its result."""
        keys, values = self.partials()
        return Keyed(keys, values, is_complete=True, is_json=True)

    def bytes_held(self) -> int:
        """About how much memory it takes."""
        return held_bytes(self.values, _size_of)

    def clear(self) -> None:
        """Forget everything."""
        self.values.clear()


def _size_of(value: Any) -> int:
    """Of a value beyond a number's: several times its JSON text where it is made of others."""
    if isinstance(value, (list, dict, tuple)):
        return PARTS_FACTOR * len(repr(value))
    return len(value) if isinstance(value, str) else 0
