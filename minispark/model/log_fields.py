"""What a log line is about, as fields of their own: for people who filter, and for machines.

Must not know how a line is written.
"""

from __future__ import annotations

from collections.abc import Mapping

FIELDS = "fields"
"""The attribute of a log record that carries them."""


def about(
    *,
    job: str | None = None,
    stage: str | None = None,
    task: int | None = None,
    attempt: int | None = None,
    worker: str | None = None,
) -> dict[str, Mapping[str, object]]:
    """For `extra` of a call to a logger. `task` is a partition of the stage; `worker` a name."""
    named = {"job": job, "stage": stage, "task": task, "attempt": attempt, "worker": worker}
    return {FIELDS: {name: value for name, value in named.items() if value is not None}}


def figures(values: Mapping[str, object]) -> dict[str, Mapping[str, object]]:
    """As `about`, of measured values under names of their own."""
    return {FIELDS: values}
