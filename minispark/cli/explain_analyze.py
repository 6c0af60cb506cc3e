"""What each operator of a job took, as tables: for `explain --analyze`. Must not know HTTP."""

from __future__ import annotations

from typing import Any

from minispark.cli.render import table

HEADERS = ("operator", "rows", "bytes", "time", "spill")
_UNITS = ("B", "kB", "MB", "GB", "TB")


def analyzed(profile: dict[str, Any]) -> str:
    """One table a stage, of a job's profile. Times are added up over the stage's tasks."""
    return "\n\n".join(_stage(stage) for stage in profile["stages"])


def _stage(stage: dict[str, Any]) -> str:
    head = f"stage {stage['index']}: {stage['id']} ({_took(stage)})"
    rows = [
        (
            line["what"],
            "" if line["records"] is None else line["records"],
            size(line["bytes"]),
            duration(line["us"]),
            size(line["bytes_spilled"]),
        )
        for line in stage["operators"]
    ]
    return f"{head}\n{table(rows, HEADERS)}"


def _took(stage: dict[str, Any]) -> str:
    figures = stage["figures"]
    if figures is None:
        return "skipped" if stage["tasks_skipped"] == stage["partitions"] else "not complete"
    seconds = figures["completed_at"] - (figures["first_started_at"] or figures["completed_at"])
    measured, total = figures["tasks"], stage["partitions"]
    tasks = f"{total} task{'s' if total != 1 else ''}"
    of = tasks if measured >= total else f"{measured} of {tasks} measured"
    return f"{of}, {max(0.0, seconds):.3f} s from its first to its last"


def size(count: int | None) -> str:
    """`12.3 MB`; nothing for None."""
    if count is None:
        return ""
    value, unit = float(count), 0
    while value >= 1000 and unit < len(_UNITS) - 1:
        value, unit = value / 1000, unit + 1
    return f"{value:.0f} B" if unit == 0 else f"{value:.1f} {_UNITS[unit]}"


def duration(us: int | None) -> str:
    """`1.234 s` or `0.5 ms`; nothing for None."""
    if us is None:
        return ""
    return f"{us / 1e6:.3f} s" if us >= 1_000_000 else f"{us / 1000:.1f} ms"
