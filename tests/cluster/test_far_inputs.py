"""Inputs that lie on the master's host alone, read by a worker of another host."""

from __future__ import annotations

import gzip
import json
import os
import signal
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests import jobs, oracle
from tests.cluster.harness import Cluster, wait_until
from tests.cluster.other_host import VIEWS, far_worker

LINES = [f"línea {i % 700} the “quick” fox {i % 97} jumps" for i in range(20_000)]
KILLS = 2


def results(cluster: Cluster, request: dict[str, Any]) -> oracle.Records:
    with cluster.client() as client:
        job = client.wait(client.submit(request)["id"], timeout_s=60)
        assert job["state"] == "SUCCEEDED", (job, cluster.logs())
        return sorted(client.results(job["id"]))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The inputs, on the master's host only."""
    made = tmp_path_factory.mktemp("inputs").resolve()
    text = "".join(f"{line}\n" for line in LINES)
    (made / "text.txt").write_text(text)
    (made / "packed.gz").write_bytes(gzip.compress(text.encode()))
    (made / "wide.txt").write_bytes(text.encode("utf-16"))
    rows = [[str(i), f'said "{line}", twice', "two\nlines"] for i, line in enumerate(LINES)]
    oracle.write_csv(made / "quoted.csv", [["n", "what", "more"], *rows])
    with (made / "rows.jsonl").open("w") as file:
        file.writelines(json.dumps({"word": line}) + "\n" for line in LINES)
    sales = [["product", "amount"], *([f"p{i % 50}", str(i)] for i in range(3000))]
    oracle.write_csv(made / "sales.csv", sales)
    oracle.write_csv(made / "products.csv", [["id", "name"], *([f"p{i}", "x"] for i in range(40))])
    return made


@pytest.fixture(scope="module", params=VIEWS)
def cluster(
    request: pytest.FixtureRequest, folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Cluster]:
    """All its workers are the one of another host, at whose paths other files stand, or none."""
    shown = tmp_path_factory.mktemp("shown").resolve()
    for name in ("text.txt", "packed.gz", "sales.csv"):
        size = (folder / name).stat().st_size
        (shown / name).write_bytes(b"wrong words " * (size // 12) + b"w" * (size % 12))
    made = Cluster(workers=0)
    done = made.up()
    assert done.returncode == 0, done.stderr + made.logs()
    try:
        with far_worker(made, request.param, folder, shown):
            yield made
    finally:
        print(made.logs())
        assert made.close() == []


@pytest.mark.parametrize("plan", ["fused", "naive"])
@pytest.mark.parametrize(
    ("name", "op", "options"),
    [
        ("text.txt", "read_text", {}),
        ("packed.gz", "read_text", {}),
        ("wide.txt", "read_text", {"encoding": "utf-16"}),
        ("quoted.csv", "read_csv", {"multiline": True}),
        ("rows.jsonl", "read_jsonl", {}),
    ],
)
def test_words_are_counted_as_where_the_files_are(
    cluster: Cluster, folder: Path, name: str, op: str, options: dict[str, Any], plan: str
) -> None:
    request = jobs.word_count(str(folder / name), 3, plan, op)
    request["dag"]["nodes"][0] |= options
    if name in ("packed.gz", "wide.txt"):
        expected = oracle.word_count(LINES)
    else:
        expected = oracle.word_count(oracle.lines_of([folder / name], is_csv=op == "read_csv"))
    assert results(cluster, request) == expected


@pytest.mark.parametrize("plan", ["fused", "naive"])
def test_a_join_is_as_where_the_files_are(cluster: Cluster, folder: Path, plan: str) -> None:
    sales, products = folder / "sales.csv", folder / "products.csv"
    request = jobs.join(str(sales), str(products), 3, plan)
    assert results(cluster, request) == oracle.join(sales, products)


def test_a_line_that_is_wrong_is_named_by_its_number_there(cluster: Cluster, folder: Path) -> None:
    request = jobs.word_count(str(folder / "quoted.csv"), 1, None, "read_csv")
    with cluster.client() as client:
        job = client.wait(client.submit(request)["id"], timeout_s=60)
    assert job["state"] == "FAILED"
    assert "line 2 has a newline inside quotes" in job["status"]["Failed"]


# --- one cluster for each ------------------------------------------------------------------------


@pytest.fixture
def empty(tmp_path: Path) -> Path:
    (tmp_path / "empty").mkdir()
    return (tmp_path / "empty").resolve()


def readers_of(cluster: Cluster, worker: int) -> list[psutil.Process]:
    """Executors of the worker process that have a connection to the master's HTTP port."""
    port = cluster.process("master")["ports"]["http"]
    found = []
    for process in psutil.Process(worker).children(recursive=True):
        try:
            connections = process.net_connections("tcp4")
        except psutil.NoSuchProcess:
            continue  # it retired
        if any(one.raddr and one.raddr.port == port for one in connections):
            found.append(process)
    return found


def another_master(cluster: Cluster, killed: list[int | None]) -> int | None:
    pid: int | None = cluster.process("master")["pid"]
    return None if pid in killed else pid


def test_a_master_that_is_killed_while_inputs_are_read_costs_no_attempt(
    make_cluster: Callable[..., Cluster], tmp_path: Path, empty: Path
) -> None:
    folder = (tmp_path / "in").resolve()
    folder.mkdir()
    text = folder / "text.txt"
    with text.open("w") as file:
        for i in range(500_000):
            file.write(f"line {i % 7000} the quick brown fox number {i % 977} jumps over\n")
    cluster = make_cluster("scheduler.task_retries_max=0", workers=0)
    with far_worker(cluster, VIEWS[-1], folder, empty), cluster.client() as client:
        (worker,) = (w for w in client.workers() if w["name"] == "far")
        job_id = client.submit(jobs.word_count(str(text), 2))["id"]
        killed: list[int | None] = [None]  # it has no process for a moment
        for _ in range(KILLS):
            pid = wait_until(lambda: another_master(cluster, killed), "a master runs")
            wait_until(lambda: readers_of(cluster, worker["pid"]), "an executor reads")
            cluster.note_processes()
            os.kill(pid, signal.SIGKILL)
            killed.append(pid)
        job = client.wait(job_id, timeout_s=60)
        assert job["state"] == "SUCCEEDED", job
        expected = oracle.word_count(oracle.lines_of([text]))
        assert sorted(client.results(job_id)) == expected
    with closing(sqlite3.connect(cluster.state_dir / "state" / "minispark.db")) as journal:
        assert journal.execute("SELECT DISTINCT state FROM attempts").fetchall() == [("SUCCEEDED",)]


def test_an_input_that_changed_since_it_was_planned_fails_the_job_which_says_so(
    make_cluster: Callable[..., Cluster], tmp_path: Path, empty: Path
) -> None:
    folder = (tmp_path / "in").resolve()
    folder.mkdir()
    text = folder / "text.txt"
    text.write_text("a b a\n")
    cluster = make_cluster("scheduler.task_retries_max=0", workers=0)
    with cluster.client() as client:
        job_id = client.submit(jobs.word_count(str(text), 2))["id"]
        text.write_text("a b a c\n")
        with far_worker(cluster, VIEWS[-1], folder, empty):
            job = client.wait(job_id, timeout_s=60)
    assert job["state"] == "FAILED"
    assert f"{text} changed since the job was planned" in job["status"]["Failed"]
