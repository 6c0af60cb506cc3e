"""Exact numbers: `[+-]?[0-9]+(\\.[0-9]+)?` in ASCII. Source: API.md, "Named functions".

Integers stay integers; decimals are added without rounding and keep the longest scale, so that no
result depends on the order of its terms. Must not know records.
"""

from __future__ import annotations

import re
from decimal import MAX_EMAX, MAX_PREC, MIN_EMIN, Context, Decimal
from fractions import Fraction
from typing import TypeAlias

Number: TypeAlias = int | Decimal

_NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?", re.ASCII)
_INTEGERS = re.compile(r"(?:[+-]?[0-9]{1,18}\n)*", re.ASCII)
_EXACT = Context(prec=MAX_PREC, Emax=MAX_EMAX, Emin=MIN_EMIN)
DIGITS_MAX = 4000
"""A longer number is refused: Python itself refuses to render integers above 4300 digits."""


def parse(text: str) -> Number | None:
    """The number, or None when the text is none."""
    match = _NUMBER.fullmatch(text)
    if match is None or len(text) > DIGITS_MAX:
        return None
    return int(text) if match[1] is None else Decimal(text)


def parse_integers(texts: list[str]) -> list[int] | None:
    """All of them as integers when all are (short) integers, at C speed; otherwise None."""
    if _INTEGERS.fullmatch("\n".join(texts) + "\n") is None:
        return None
    return list(map(int, texts))


def add(left: Number, right: Number) -> Number:
    """The exact sum."""
    if isinstance(left, int) and isinstance(right, int):
        return left + right
    return _EXACT.add(Decimal(left), Decimal(right))


def multiply(number: Number, times: int) -> Number:
    """`number` added to itself `times` times."""
    if isinstance(number, int):
        return number * times
    return _EXACT.multiply(number, Decimal(times))


def render(number: Number) -> str:
    """The number as text: no exponent, no sign on zero."""
    if isinstance(number, int):
        return str(number)
    text = format(number, "f")
    return text.removeprefix("-") if not number else text


def quotient(total: Number, count: int) -> str:
    """The exact quotient as the shortest float that reads back."""
    try:
        return repr(float(Fraction(total) / count))
    except OverflowError:
        return render(total if isinstance(total, int) else int(total) // count)
