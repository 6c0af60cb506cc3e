"""What the command line says of a job that runs on Spark, and where all of a result is."""

from __future__ import annotations

import time
from typing import Any, cast

import pytest

from minispark.cli.job_output import show_end
from minispark.cli.jobs import jobs_table
from minispark.cli.logs import _line
from minispark.cli.status import _job_text
from minispark.client import Client


def job(engine: str | None) -> dict[str, Any]:
    return {
        "id": "5d0c2f9e-0000-0000-0000-000000000000", "state": "SUCCEEDED", "status": "Succeeded",
        "request": {"name": "count"} | ({} if engine is None else {"engine": engine}),
        "progress": 100.0, "tasks": {"completed": 8}, "plan": "fused", "retries": 0,
        "created_at": time.time(), "duration_ms": 1500, "note": None, "stages": [], "attempts": [],
        "retried": {"tasks": {}, "more": 0}, "waits": [],
    }  # fmt: skip


@pytest.mark.parametrize(("engine", "is_told"), [("spark", True), ("local", False), (None, False)])
def test_a_job_on_spark_says_so(engine: str | None, is_told: bool) -> None:
    row = jobs_table([job(engine)]).splitlines()[-1]
    head = _job_text(job(engine)).splitlines()[0]
    assert ("on Spark" in row, "on Apache Spark" in head) == (is_told, is_told)


def test_lines_of_processes_with_long_names_stand_below_one_another() -> None:
    lines = [_line(name, "text", ["master", "spark-driver"]) for name in ("master", "spark-driver")]
    assert len({line.index("text") for line in lines}) == 1
    assert _line("master", "text", ["master"]) == "master     text"


class Counted:
    def results(self, job_id: str) -> list[tuple[str, str]]:
        return [(str(number), job_id) for number in range(21)]


def test_where_all_records_are_is_what_the_command_says(capsys: pytest.CaptureFixture[str]) -> None:
    client = cast(Client, Counted())
    show_end(client, job(None), None, None, None, False)
    assert "the first 20 records; `results` shows all" in capsys.readouterr().err
    show_end(client, job(None), None, None, None, False, "a file has all")
    assert "the first 20 records; a file has all" in capsys.readouterr().err
