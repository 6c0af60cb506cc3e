"""Spans of time as people write them on the command line. Must not know what they are for."""

from __future__ import annotations

import argparse
import math


def seconds(text: str) -> float:
    """`60s`, `2m`, `500ms` or `60`, in seconds: finite and above 0.

    For `type=` of an option: raises ArgumentTypeError.
    """
    number, factor = text, 1.0
    for unit, unit_s in (("ms", 0.001), ("s", 1.0), ("m", 60.0)):
        if text.endswith(unit):
            number, factor = text.removesuffix(unit), unit_s
            break
    try:
        value_s = float(number) * factor
    except ValueError:
        value_s = math.nan
    if not (math.isfinite(value_s) and value_s > 0):
        raise argparse.ArgumentTypeError(f"{text!r} is no time above 0, such as 60s, 2m or 500ms")
    return value_s


def exactly(value_s: float) -> str:
    """What `seconds` reads back as the same number."""
    return f"{repr(value_s).removesuffix('.0')}s"
