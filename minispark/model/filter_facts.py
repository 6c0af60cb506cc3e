"""What is known of a filter without running it: what it reads, whether it may fail, what text a
record must hold to pass.

Of a function of the user's own nothing is known; of an expression what its syntax tree says. Must
not know plans or batches.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from minispark.model.expressions import parse_expression
from minispark.model.function_names import EXPRESSION, is_user_function

_TEXT, _NUMBER, _TRUTH, _ANY = "text", "number", "true or false", "any JSON value"

_NAMED_READS = {"not_empty": "value", "is_long": "value", "has_key": "key"}
_FUNCTIONS: dict[str, tuple[tuple[str, ...], str]] = {
    "contains": ((_TEXT, _TEXT), _TRUTH),
    "starts_with": ((_TEXT, _TEXT), _TRUTH),
    "ends_with": ((_TEXT, _TEXT), _TRUTH),
    "lower": ((_TEXT,), _TEXT),
    "upper": ((_TEXT,), _TEXT),
    "strip": ((_TEXT,), _TEXT),
    "len": ((_TEXT,), _NUMBER),
}
"""Functions of expressions that never fail on such arguments, and what they give."""
_HOLDING = ("contains", "starts_with", "ends_with")


@lru_cache(maxsize=1024)
def reads(fn: str) -> tuple[str, ...]:
    """Which of `key` and `value` the filter may look at."""
    if fn in _NAMED_READS:
        return (_NAMED_READS[fn],)
    if not fn.startswith(EXPRESSION):
        return ("key", "value")
    names = {node.id for node in ast.walk(_tree(fn)) if isinstance(node, ast.Name)}
    return tuple(name for name in ("key", "value") if name in names)


@lru_cache(maxsize=1024)
def never_fails(fn: str, key_is_text: bool, value_is_text: bool) -> bool:
    """Whether the filter says true or false of every record with such a key and value.

    A key that is not known to be text may be missing; a value may be any JSON value.
    """
    if not is_user_function(fn):
        return True
    if not fn.startswith(EXPRESSION):
        return False
    names = {"key": _TEXT if key_is_text else _ANY, "value": _TEXT if value_is_text else _ANY}
    return _kind(_tree(fn), names) == _TRUTH


@dataclass(frozen=True, slots=True)
class NeededText:
    """Values without that text do not pass. `is_all`: all others do."""

    text: str
    is_all: bool


def needed_text(fn: str) -> NeededText | None:
    """The text that a text value needs to pass, where it is the first thing that the filter asks:
    what it asks after that is not asked of the others, whether it would fail there or not.
    """
    if not fn.startswith(EXPRESSION):
        return None
    match _tree(fn):
        case ast.BoolOp(op=ast.And(), values=[first, *_]):
            text, is_all = _held(first), False
        case only:
            text, is_all = _held(only), _is_containment(only)
    return NeededText(text, is_all) if text else None


def _held(node: ast.expr) -> str | None:
    match node:
        case ast.Call(
            func=ast.Name(id=name),
            args=[ast.Name(id="value"), ast.Constant(value=str(text))],
        ) if name in _HOLDING:
            return text
        case ast.Compare(
            left=ast.Constant(value=str(text)),
            ops=[ast.In()],
            comparators=[ast.Name(id="value")],
        ):
            return text
        case ast.Compare(
            left=ast.Name(id="value"),
            ops=[ast.Eq()],
            comparators=[ast.Constant(value=str(text))],
        ):
            return text
        case _:
            return None


def _is_containment(node: ast.expr) -> bool:
    match node:
        case ast.Call(func=ast.Name(id="contains")):
            return True
        case ast.Compare(ops=[ast.In()]):
            return True
        case _:
            return False


@lru_cache(maxsize=256)
def _tree(fn: str) -> ast.expr:
    return parse_expression(fn.removeprefix(EXPRESSION), ("key", "value")).body


def _kind(node: ast.expr, names: Mapping[str, str]) -> str | None:
    """What the expression gives, where it certainly gives something; else None."""
    match node:
        case ast.Constant(value=bool()):
            return _TRUTH
        case ast.Constant(value=str()):
            return _TEXT
        case ast.Constant(value=int()) | ast.Constant(value=float()):
            return _NUMBER
        case ast.Name(id=name):
            return names[name]
        case ast.Call(func=ast.Name(id=name), args=args) if name in _FUNCTIONS:
            wanted, given = _FUNCTIONS[name]
            return given if tuple(_kind(arg, names) for arg in args) == wanted else None
        case ast.Compare(left=left, ops=ops, comparators=others):
            sides = [left, *others]
            pairs = zip(sides, ops, sides[1:], strict=False)
            return _TRUTH if all(_compares(a, op, b, names) for a, op, b in pairs) else None
        case ast.BoolOp(values=values):
            return _TRUTH if all(_kind(value, names) == _TRUTH for value in values) else None
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return _TRUTH if _kind(operand, names) is not None else None
        case _:
            return None


def _compares(left: ast.expr, op: ast.cmpop, right: ast.expr, names: Mapping[str, str]) -> bool:
    """Whether the comparison never fails."""
    one, other = _kind(left, names), _kind(right, names)
    match op:
        case ast.Eq() | ast.NotEq():
            return one is not None and other is not None
        case ast.Lt() | ast.LtE() | ast.Gt() | ast.GtE():
            return one == other and one in (_TEXT, _NUMBER)
        case ast.In() | ast.NotIn():
            return one == other == _TEXT
        case _:
            return False
