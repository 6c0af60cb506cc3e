"""The two functions that take a dataclass apart and put it together, written and compiled once.

As source, like `dataclasses` does it: what is sent for every task is converted field by field
without a loop and a call for each. Must not know what the fields' own types are converted by.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, fields
from typing import Any, get_args, get_origin

Convert = Callable[[Any], Any]

PLAIN: dict[Any, tuple[type, ...]] = {
    str: (str,),
    int: (int,),
    float: (int, float),
    bool: (bool,),
}
"""Types that JSON has itself, and what may stand for them."""
INT_BOUND = 2**63
"""Whole numbers on the wire fit into 64 bits, as they do in the database."""


class Mismatch(Exception):
    """A value that is not what its type says."""


def type_name(cls: type) -> str:
    """`FetchFailed` -> `fetch_failed`: the `type` of its messages."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", cls.__name__).lower()


def object_encoder(
    cls: type, hints: Mapping[str, Any], converter: Callable[[Any], Convert], tag: str | None
) -> Convert:
    """From a `cls` to a dictionary, whose `type` is `tag` if there is one."""
    names: dict[str, Any] = {}
    parts = [] if tag is None else [f"'type': {tag!r}"]
    for name in (f.name for f in fields(cls)):
        text = f"value.{name}"
        if _plain_of(hints[name]) is None:
            names[f"convert_{name}"] = converter(hints[name])
            convert = f"convert_{name}({text})"
            text = f"{convert} if {text} else []" if _is_tuple(hints[name]) else convert
        parts.append(f"{name!r}: {text}")
    return _compiled("value", ["return {" + ", ".join(parts) + "}"], names)


def object_decoder(
    cls: type, hints: Mapping[str, Any], converter: Callable[[Any], Convert]
) -> Convert:
    """From a dictionary to a `cls`. What is wrong raises Mismatch that names the field."""
    names: dict[str, Any] = {"cls": cls, "MISSING": MISSING, "refuse": _refusing(cls)}
    lines = ["if data.__class__ is not dict: refuse(data)", "get = data.get"]
    for f in fields(cls):
        names[f"convert_{f.name}"] = _field_decoder(cls, f, converter(hints[f.name]))
        lines.append(f"{f.name}_ = get({f.name!r}, MISSING)")
        if _is_tuple(hints[f.name]):  # most are empty
            lines.append(f"if {f.name}_.__class__ is list and not {f.name}_: {f.name}_ = ()")
            lines.append(f"else: {f.name}_ = convert_{f.name}({f.name}_)")
            continue
        unless = _unless_right(f"{f.name}_", hints[f.name])
        lines.append(f"{unless}{f.name}_ = convert_{f.name}({f.name}_)")
    lines.append("return cls(" + ", ".join(f"{f.name}_" for f in fields(cls)) + ")")
    return _compiled("data", lines, names)


def _compiled(argument: str, lines: list[str], names: dict[str, Any]) -> Convert:
    source = f"def convert({argument}):\n" + "".join(f"    {line}\n" for line in lines)
    exec(source, names)
    made: Convert = names["convert"]
    return made


def _plain_of(hint: Any) -> type | None:
    """The plain type that is written as it is, or that or None."""
    plain: list[type] = [kind for kind in (get_args(hint) or (hint,)) if kind in PLAIN]
    others = [kind for kind in get_args(hint) if kind not in PLAIN and kind is not type(None)]
    is_one = len(plain) == 1 and not others and getattr(hint, "__origin__", None) is None
    return plain[0] if is_one else None


def _is_tuple(hint: Any) -> bool:
    """Whether it is a tuple of any length."""
    return get_origin(hint) is tuple and Ellipsis in get_args(hint)


def _unless_right(name: str, hint: Any) -> str:
    """A condition in source: the usual value of a plain type needs no converter."""
    plain = _plain_of(hint)
    if plain is None:
        return ""
    condition = f"{name}.__class__ is not {plain.__name__}"
    if plain is int:
        condition += f" or not {-INT_BOUND} <= {name} < {INT_BOUND}"
    if hint is not plain:
        condition = f"{name} is not None and ({condition})"
    return f"if {condition}: "


def _refusing(cls: type) -> Convert:
    def refuse(data: Any) -> Any:
        raise Mismatch(f"{type(data).__name__} stands where a {type_name(cls)} belongs")

    return refuse


def _field_decoder(cls: type, field: Field[Any], convert: Convert) -> Convert:
    """The field's value, its default where it is MISSING."""

    def decode_field(data: Any) -> Any:
        if data is MISSING:
            if field.default is not MISSING:
                return field.default
            if callable(field.default_factory):
                return field.default_factory()
            raise Mismatch(f"{type_name(cls)} lacks {field.name}")
        try:
            return convert(data)
        except Mismatch as error:
            raise Mismatch(f"{type_name(cls)}.{field.name}: {error}") from None

    return decode_field
