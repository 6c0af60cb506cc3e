"""The documented metrics as tables that fit on a terminal, with names where the documents have ids.

Must not know where the documents come from.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from minispark.cli.render import table

NAME_CHARS_MAX = 20
STAGE_CHARS_MAX = 36
"""With these and counts of millions a table is at most 100 columns wide."""

Document = Mapping[str, Any]
Names = Mapping[str, str]


def figures_text(document: Document, workers: Names, jobs: Names) -> str:
    """Of a document of single figures; what it has by worker or job as tables of their own.
    `workers`, `jobs`: names by id.
    """
    single = [(k, _cell(v)) for k, v in document.items() if not isinstance(v, Mapping)]
    parts = [table(single, ("metric", "value"))]
    loads = document.get("worker_loads", {})
    status = document.get("worker_status", {})
    if loads:
        parts.append(table([(workers.get(i, i), n) for i, n in loads.items()], ("worker", "load")))
    if status:
        rows = [(workers.get(i, i), said) for i, said in status.items()]
        parts.append(table(rows, ("worker", "status")))
    if failures := document.get("job_failures", {}):
        named = [(i[:8], _short(jobs.get(i, "-")), n) for i, n in failures.items()]
        parts.append(table(named, ("job", "name", "failures")))
    return "\n\n".join(parts)


def jobs_text(jobs: Sequence[Document], states: Mapping[str, str]) -> str:
    """Of JobMetrics, a row a job; `metrics job` shows all figures of one. `states`: by id, as
    `jobs` names them; the documented status takes a cancelled job for a failed one.
    """
    headers = ("job", "name", "state", "time", "tasks", "failed", "records", "records/s")
    rows = [
        (
            job["job_id"][:8],
            _short(job["name"]),
            states.get(job["job_id"], job["status"]),
            "-" if job["duration_ms"] is None else f"{job['duration_ms'] / 1000:.2f} s",
            f"{job['completed_tasks']}/{job['total_tasks']}",
            job["failed_tasks"],
            job["total_records"],
            f"{job['throughput_records_per_sec']:.0f}",
        )
        for job in jobs
    ]
    return table(rows, headers) if rows else "No jobs yet."


def stages_text(stages: Sequence[Document]) -> str:
    """Of StageStats, a row a stage, in plan order."""
    rows = [
        (
            _short(stage["node_id"], STAGE_CHARS_MAX),
            _took(stage),
            f"{stage['tasks_completed']}/{stage['tasks_total']}",
            stage["tasks_running"],
            stage["failed_attempts"],
            stage["tasks_skipped"],
            stage["records_processed"],
        )
        for stage in stages
    ]
    headers = ("stage", "time", "tasks", "running", "failed", "skipped", "records")
    return table(rows, headers) if rows else "It has no plan yet."


def _took(stage: Document) -> str:
    if stage["start_time"] is None or stage["end_time"] is None:
        return "-"
    return f"{stage['end_time'] - stage['start_time']} s"


def _short(text: str, chars_max: int = NAME_CHARS_MAX) -> str:
    return text if len(text) <= chars_max else f"{text[: chars_max - 1]}…"


def _cell(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:.2f}" if isinstance(value, float) else str(value)
