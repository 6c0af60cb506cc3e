"""The meaning of every named function of map, filter and flat_map: one record in, records out.

`kernels.py` does the same a batch at a time, and tests hold it against this page. All functions
act on the value; a record keeps its key unless the function says otherwise. Source: API.md.
"""

from __future__ import annotations

from collections.abc import Callable

from minispark.compute.batch import Record

LONG_CHARS_MIN = 6
"""`is_long`: more than 5 characters."""


def to_lower(key: str | None, value: str) -> list[Record]:
    return [(key, value.lower())]


def to_upper(key: str | None, value: str) -> list[Record]:
    return [(key, value.upper())]


def pair_with_one(key: str | None, value: str) -> list[Record]:
    """The value becomes the key, the value "1"."""
    return [(value, "1")]


def extract_key(key: str | None, value: str) -> list[Record]:
    """Split at the first comma: key, rest. Without a comma all is key, and the rest is empty."""
    head, _, rest = value.partition(",")
    return [(head, rest)]


def identity(key: str | None, value: str) -> list[Record]:
    return [(key, value)]


def not_empty(key: str | None, value: str) -> list[Record]:
    return [(key, value)] if value else []


def is_long(key: str | None, value: str) -> list[Record]:
    return [(key, value)] if len(value) >= LONG_CHARS_MIN else []


def has_key(key: str | None, value: str) -> list[Record]:
    return [(key, value)] if key is not None else []


def split_words(key: str | None, value: str) -> list[Record]:
    """The value's words: what `str.split()` says white space is."""
    return [(key, word) for word in value.split()]


def split_chars(key: str | None, value: str) -> list[Record]:
    return [(key, char) for char in value]


def split_lines(key: str | None, value: str) -> list[Record]:
    """The value's parts between newlines; a carriage return before one goes, a last empty part
    too.
    """
    parts = value.replace("\r\n", "\n").split("\n")
    if parts[-1] == "":
        parts.pop()
    return [(key, part) for part in parts]


NarrowFunction = Callable[[str | None, str], list[Record]]

NARROW_FUNCTIONS: dict[str, dict[str, NarrowFunction]] = {
    "map": {
        "to_lower": to_lower,
        "to_upper": to_upper,
        "pair_with_one": pair_with_one,
        "extract_key": extract_key,
        "identity": identity,
    },
    "filter": {"not_empty": not_empty, "is_long": is_long, "has_key": has_key},
    "flat_map": {
        "split_words": split_words,
        "split_chars": split_chars,
        "split_lines": split_lines,
    },
}
