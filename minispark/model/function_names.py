"""The names of operators and functions that a job may use. Source: API.md, "Named functions".

Must not know what they do (`compute/functions.py` does).
"""

from __future__ import annotations

READERS = ("read_csv", "read_jsonl", "read_text")
WRITERS = {"write_csv": "csv", "write_jsonl": "jsonl", "write_text": "txt"}
"""By operator: the format of its part files, which is also their extension."""
NARROW = ("map", "filter", "flat_map")
JOINS = {
    "join": "inner",
    "left_outer_join": "left",
    "right_outer_join": "right",
    "full_outer_join": "full",
}
"""By operator: which side's records stay although the other side has no such key."""
BY_KEY = ("reduce_by_key", "group_by_key")
"""One record a key comes out."""
OPERATORS = (
    *READERS,
    *NARROW,
    "sample",
    *BY_KEY,
    "sort_by_key",
    "distinct",
    "take",
    "union",
    *JOINS,
    "shuffle_write",
    "shuffle_read",
    *WRITERS,
)

FUNCTION_NAMES: dict[str, tuple[str, ...]] = {
    "map": ("to_lower", "to_upper", "pair_with_one", "extract_key", "identity"),
    "filter": ("not_empty", "is_long", "has_key"),
    "flat_map": ("split_words", "split_chars", "split_lines"),
    "reduce_by_key": ("sum", "count", "concat", "min", "max", "avg"),
}
ALIASES = {"tokenize": "split_words"}
DEFAULTS = {
    "map": "identity",
    "filter": "not_empty",
    "flat_map": "split_words",
    "reduce_by_key": "sum",
    "group_by_key": "collect",
}
KEYING = ("pair_with_one", "extract_key")
"""Functions of `map` whose records have a key whatever came in."""

EXPRESSION = "expr:"
"""Begins the name of a function that is an expression; what follows is its text."""


def is_user_function(name: str) -> bool:
    """Whether it is the user's own: `module:function`, or an expression."""
    return ":" in name
