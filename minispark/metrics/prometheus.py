"""Families of samples, and the two text formats in which Prometheus reads them.

Must not know what is measured, nor HTTP. Sources: the Prometheus text format 0.0.4, and OpenMetrics
1.0.0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Literal

TEXT_TYPE = "text/plain"
OPENMETRICS_TYPE = "application/openmetrics-text"
OFFERED = (TEXT_TYPE, OPENMETRICS_TYPE)
CONTENT_TYPES = {
    TEXT_TYPE: f"{TEXT_TYPE}; version=0.0.4; charset=utf-8",
    OPENMETRICS_TYPE: f"{OPENMETRICS_TYPE}; version=1.0.0; charset=utf-8",
}
UNITS = ("seconds", "bytes", "ratio")

Kind = Literal["counter", "gauge", "histogram", "summary", "info"]
Labels = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Sample:
    """One line. `suffix` follows the family's name: `_total`, `_bucket`, or nothing."""

    suffix: str
    labels: Labels
    value: float


@dataclass(frozen=True, slots=True)
class Family:
    """All samples of one name. The name has its unit, but not the suffix of its kind."""

    name: str
    kind: Kind
    text: str
    samples: Sequence[Sample]

    @property
    def sample_names(self) -> set[str]:
        """The names under which its samples are queried."""
        return {self.name + sample.suffix for sample in self.samples}


Values = float | Sequence[tuple[Labels, float]]
"""One value without labels, or one for each set of labels."""


def counter(name: str, text: str, values: Values, labels: Labels | None = None) -> Family:
    """What only grows; its samples end in `_total`."""
    return Family(name, "counter", text, _samples("_total", values, labels))


def gauge(name: str, text: str, values: Values, labels: Labels | None = None) -> Family:
    return Family(name, "gauge", text, _samples("", values, labels))


def info(name: str, text: str, labels: Labels) -> Family:
    """What does not change while the process lives; its one sample ends in `_info`."""
    return Family(name, "info", text, (Sample("_info", labels, 1),))


def histogram(
    name: str,
    text: str,
    labels: Labels,
    bounds: Sequence[float],
    counts: Sequence[int],
    total: float,
) -> Family:
    """`counts`: of each bucket alone; one more than `bounds`. `total`: the sum of what was seen."""
    limits = (*map(_number, bounds), "+Inf")
    sums = list(accumulate(counts))
    buckets = [
        Sample("_bucket", {**labels, "le": limit}, count)
        for limit, count in zip(limits, sums, strict=True)
    ]
    ends = [Sample("_sum", labels, total), Sample("_count", labels, sums[-1])]
    return Family(name, "histogram", text, (*buckets, *ends))


def summary(
    name: str,
    text: str,
    labels: Labels,
    quantiles: Mapping[float, float],
    total: float,
    count: int,
) -> Family:
    parts = [
        Sample("", {**labels, "quantile": _number(quantile)}, value)
        for quantile, value in quantiles.items()
    ]
    ends = [Sample("_sum", labels, total), Sample("_count", labels, count)]
    return Family(name, "summary", text, (*parts, *ends))


def _samples(suffix: str, values: Values, labels: Labels | None) -> tuple[Sample, ...]:
    if isinstance(values, (int, float)):
        return (Sample(suffix, labels or {}, values),)
    return tuple(Sample(suffix, {**(labels or {}), **own}, value) for own, value in values)


def render(families: Sequence[Family], content_type: str = TEXT_TYPE) -> str:
    """The exposition of all families, in one of OFFERED."""
    is_open = content_type == OPENMETRICS_TYPE
    lines: list[str] = []
    for family in families:
        lines += _head(family, is_open)
        lines += map(_line, [family.name] * len(family.samples), family.samples)
    if is_open:
        lines.append("# EOF")
    return "\n".join(lines) + "\n"


def _head(family: Family, is_open: bool) -> list[str]:
    """What stands above a family's samples. The older format knows no units, and calls a counter by
    the name of its samples.
    """
    name, kind = family.name, str(family.kind)
    if not is_open and family.kind in ("counter", "info"):
        name, kind = (f"{name}_total", kind) if kind == "counter" else (f"{name}_info", "gauge")
    text = family.text.replace("\\", "\\\\").replace("\n", "\\n")
    lines = [f"# HELP {name} {text}", f"# TYPE {name} {kind}"]
    unit = name.rpartition("_")[2]
    if is_open and unit in UNITS:
        lines.append(f"# UNIT {name} {unit}")
    return lines


def _line(name: str, sample: Sample) -> str:
    pairs = ",".join(f'{label}="{_escape(text)}"' for label, text in sample.labels.items())
    labels = f"{{{pairs}}}" if pairs else ""
    return f"{name}{sample.suffix}{labels} {sample.value}"


def _number(value: float) -> str:
    """A bound as both formats want it: a float's text."""
    return repr(float(value))


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
