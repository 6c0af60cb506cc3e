"""Which of several content types a request prefers. Must not know what they are for.

Source: RFC 9110, section 12.5.1.
"""

from __future__ import annotations

from collections.abc import Sequence

RANGES_MAX = 64
"""Of one header; what follows is passed over."""


def preferred(accept: str, offered: Sequence[str]) -> str:
    """The content type that the header ranks highest; the first of equals, and of none."""
    weights = dict(_range(part) for part in accept.split(",")[:RANGES_MAX] if part.strip())
    if not weights:
        return offered[0]
    ranked = [_weight(weights, one) for one in offered]
    return offered[ranked.index(max(ranked))]


def _range(part: str) -> tuple[str, float]:
    """A media range and its weight. Other parameters than `q` choose a version: we have one."""
    name, *parameters = (word.strip().lower() for word in part.split(";"))
    weight = 1.0
    for parameter in parameters:
        key, _, value = parameter.partition("=")
        if key.strip() == "q":
            try:
                weight = float(value)
            except ValueError:
                weight = 0.0
    return name, weight


def _weight(weights: dict[str, float], content_type: str) -> float:
    """By the most specific range that the type falls under."""
    kind = content_type.partition("/")[0]
    for name in (content_type, f"{kind}/*", "*/*"):
        if name in weights:
            return weights[name]
    return 0.0
