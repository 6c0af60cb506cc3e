"""Which files go when jobs are forgotten, and which stay."""

from __future__ import annotations

import logging
import uuid
from pathlib import Path

import pytest

from minispark.master.retention import ResultsDeleter, clear_results
from minispark.model.file_names import job_of, log_file, partition_file, shuffle_file

KNOWN, OTHER, FORGOTTEN = (str(uuid.UUID(int=number)) for number in range(3))


def make(folder: Path, *names: str) -> None:
    (folder / "state").mkdir(exist_ok=True)
    for name in names:
        (folder / name).write_text("{}")


def names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if path.is_file()}


def results(job_id: str) -> set[str]:
    return {partition_file(job_id, "n", 0), shuffle_file(job_id, "w", 0, 11), log_file(job_id)}


def test_a_jobs_file_names_its_job() -> None:
    assert {job_of(name) for name in results(KNOWN)} == {KNOWN}
    strangers = ("cluster.json", f"{KNOWN}.json", f"{KNOWN}_n_p0.json.tmp", "x" * 36 + "_n_p0.json")
    letters = str(uuid.UUID(int=2**128 - 1))
    assert job_of(f"{letters}_n_p0.json") == letters
    assert {job_of(name) for name in (*strangers, f"{letters.upper()}_n_p0.json")} == {None}


def test_files_of_jobs_that_nobody_knows_are_deleted_at_the_start(tmp_path: Path) -> None:
    stay = results(KNOWN) | {"token", "cluster.json", f"{FORGOTTEN}.txt"}
    make(tmp_path, *stay, *results(FORGOTTEN))
    clear_results(tmp_path, {KNOWN, OTHER})
    assert names_in(tmp_path) == stay


def test_f31_files_of_lost_jobs_stay_while_the_damaged_database_does(tmp_path: Path) -> None:
    make(tmp_path, *results(KNOWN), *results(FORGOTTEN), "state/minispark.db.corrupt-1")
    clear_results(tmp_path, {KNOWN})
    assert names_in(tmp_path) == results(KNOWN) | results(FORGOTTEN)
    (tmp_path / "state" / "minispark.db.corrupt-1").unlink()
    clear_results(tmp_path, set())  # another database that began anew
    assert names_in(tmp_path) == results(KNOWN) | results(FORGOTTEN)


def test_what_cannot_be_deleted_is_named_and_the_rest_goes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    make(tmp_path, *results(FORGOTTEN))
    stuck = tmp_path / partition_file(FORGOTTEN, "n", 7)
    stuck.mkdir()  # not even root can unlink that
    deleter = ResultsDeleter(tmp_path)
    deleter.start()
    with caplog.at_level(logging.WARNING, "minispark.master"):
        deleter.delete(FORGOTTEN)
        deleter.stop(10.0)
    assert names_in(tmp_path) == set()
    assert stuck.name in caplog.text
