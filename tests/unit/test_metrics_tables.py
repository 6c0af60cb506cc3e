"""The tables of `metrics` fit on a terminal of 100 columns, and name workers."""

from __future__ import annotations

from typing import Any

from minispark.cli.metrics_tables import figures_text, jobs_text, stages_text

COLUMNS = 100
JOB_ID = "01554014-4362-4a3a-a999-3293d525dde8"
IDS = [f"2a34733c-2c87-4848-b292-{number:012}" for number in range(12)]
WORKERS = {worker_id: f"worker-{number}" for number, worker_id in enumerate(IDS)}
LONG = "n" * 60


def assert_fits(text: str) -> None:
    assert max(map(len, text.splitlines())) <= COLUMNS, text


def words(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines()]


def test_loads_stand_beside_the_names_of_workers() -> None:
    document = {"workers_up": 12, "worker_loads": dict.fromkeys(IDS, 3)}
    text = figures_text(document, WORKERS, {})
    assert ["workers_up", "12"] in words(text) and ["worker-11", "3"] in words(text)
    assert IDS[0] not in text
    assert_fits(text)


def test_failures_stand_beside_the_names_of_jobs_and_states_beside_those_of_workers() -> None:
    document = {
        "job_failures": {JOB_ID: 5},
        "worker_status": dict.fromkeys(IDS, "Down"),
        "retries_total": 4,
    }
    text = figures_text(document, WORKERS, {JOB_ID: LONG})
    assert [JOB_ID[:8], f"{LONG[:19]}…", "5"] in words(text)
    assert ["worker-2", "Down"] in words(text) and ["retries_total", "4"] in words(text)
    assert_fits(text)


def test_who_left_meanwhile_is_shown_by_its_id() -> None:
    assert [IDS[0], "0"] in words(figures_text({"worker_loads": {IDS[0]: 0}}, {}, {}))


def test_many_and_long_figures_of_jobs_and_stages_fit() -> None:
    job: dict[str, Any] = {
        "job_id": JOB_ID,
        "name": LONG,
        "status": "Completed",
        "duration_ms": 1_234_567,
        "total_tasks": 10_000,
        "completed_tasks": 9_999,
        "failed_tasks": 1_000,
        "total_records": 123_456_789,
        "stages_completed": 10,
        "total_stages": 12,
        "throughput_records_per_sec": 1_234_567.8,
    }
    stage: dict[str, Any] = {
        "node_id": LONG,
        "start_time": 100,
        "end_time": 1_334,
        "tasks_total": 10_000,
        "tasks_completed": 9_999,
        "tasks_running": 1,
        "failed_attempts": 1_000,
        "tasks_skipped": 0,
        "records_processed": 123_456_789,
    }
    text = jobs_text([job], {JOB_ID: "CANCELLED"})
    assert_fits(text)
    assert {"1234.57", "9999/10000", "CANCELLED"} <= set(words(text)[-1])
    assert "Completed" in words(jobs_text([job], {}))[-1]
    assert_fits(stages_text([stage]))
    assert "1234 s" in stages_text([stage])
    begun = {**stage, "end_time": None}
    assert " - " in stages_text([begun])
