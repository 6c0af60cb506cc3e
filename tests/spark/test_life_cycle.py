"""A job on Spark lives as any other: the same endpoints show it, it ends with the same files."""

from __future__ import annotations

import csv
import json
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from minispark.client import Client
from tests.cluster.harness import Cluster, all_gone, run_cli, wait_until
from tests.jobs import job, word_count
from tests.spark.life import (
    QUICK,
    STARTED_S,
    began,
    begin,
    driver,
    gate,
    java_of,
    on_spark,
    own_map,
    records,
)

MakeCluster = Callable[..., Cluster]
TEXT = "one two two\nthree three three\n" * 50


@pytest.fixture
def words(tmp_path: Path) -> str:
    path = tmp_path / "words.txt"
    path.write_text(TEXT)
    return str(path)


@pytest.fixture
def cluster(make_cluster: MakeCluster) -> Cluster:
    """Of one test, which may break it."""
    return make_cluster(*QUICK, workers=1)


@pytest.fixture(scope="module")
def whole() -> Iterator[Cluster]:
    """Of all tests that break nothing."""
    shared = Cluster(*QUICK, workers=1)
    done = shared.up()
    assert done.returncode == 0, done.stderr + shared.logs()
    yield shared
    driver(shared)  # its processes are noted: none may outlive the cluster
    logs = shared.logs()
    print(logs)
    assert shared.close() == [], logs


def ended(client: Client, request: dict[str, Any]) -> dict[str, Any]:
    return client.wait(client.submit(request)["id"])


def files_of(cluster: Cluster, job_id: str) -> dict[str, bytes]:
    """The documented files of a job, by their name without the job's id."""
    found = sorted(cluster.state_dir.glob(f"*{job_id}*"))
    return {path.name.replace(job_id, "JOB"): path.read_bytes() for path in found if path.is_file()}


def test_it_ends_in_the_same_files_and_shows_in_every_endpoint(whole: Cluster, words: str) -> None:
    request = word_count(words, 3)
    with whole.client() as client:
        here, there = ended(client, request), ended(client, on_spark(request))
        assert (here["state"], there["state"]) == ("SUCCEEDED", "SUCCEEDED"), there
        assert there["request"]["engine"] == "spark" and "engine" not in here["request"]
        assert files_of(whole, there["id"]) == files_of(whole, here["id"])
        assert records(client, there["id"]) == records(client, here["id"])
        for name in ("tasks", "plan", "progress", "records_processed"):
            assert there.get(name) == here.get(name), name
        ours, sparks = client.stages(here["id"]), client.stages(there["id"])
        for mine, his in zip(ours, sparks, strict=True):
            for name in ("node_id", "tasks_total", "tasks_completed", "records_processed"):
                assert mine[name] == his[name]
        attempts = client.tasks(there["id"])["tasks"]
        assert {a["state"] for a in attempts} == {"SUCCEEDED"} and len(attempts) == 6
        assert {a["worker"] for a in attempts} == {"spark-driver"}
        profiles = [client.profile(i)["stages"] for i in (here["id"], there["id"])]
        figures = [[stage["figures"]["records"] for stage in stages] for stages in profiles]
        assert figures[0] == figures[1]
        trace = json.loads(b"".join(client.timeline(there["id"])))
        spans = [e for e in trace["traceEvents"] if e.get("ph") == "X" and e.get("cat") == "task"]
        assert len(spans or trace["traceEvents"]) >= 6
        shown = client.cluster()["driver"]
        assert (shown["name"], shown["kind"], shown["status"]) == ("spark-driver", "spark", "Up")
        assert [w["name"] for w in client.workers()] == ["worker-1"]
    assert "spark-driver" in whole.cli("status").stdout
    assert "spark-driver" in whole.cli("ps").stdout


def test_results_by_partition_and_parts_of_the_users(
    whole: Cluster, words: str, tmp_path: Path
) -> None:
    nodes = [
        {"id": "read", "op": "read_text", "path": words},
        {"id": "split", "op": "flat_map", "fn_name": "split_words"},
        {"id": "pair", "op": "map", "fn_name": "pair_with_one"},
        {"id": "add", "op": "reduce_by_key", "fn_name": "sum"},
        {"id": "save", "op": "write_csv", "path": str(tmp_path / "out")},
    ]
    with whole.client() as client:
        info = ended(client, on_spark(job(nodes, 2)))
        assert info["state"] == "SUCCEEDED", info
    parts = sorted((tmp_path / "out").glob("part-*.csv"))
    assert len(parts) == 2
    assert (tmp_path / "out" / "_SUCCESS").read_text().strip() == info["id"]
    rows = [row for part in parts for row in csv.reader(part.read_text().splitlines())]
    assert ["three", "150"] in rows
    assert not (tmp_path / "out" / "_temporary").exists()


def test_a_killed_driver_is_started_again_and_the_job_ends_well(
    cluster: Cluster, words: str, tmp_path: Path
) -> None:
    with cluster.client() as client:
        job_id = client.submit(own_map(words, gate(tmp_path)))["id"]
        process = driver(cluster)
        java = java_of(process)
        wait_until(lambda: began(tmp_path), "a task runs", STARTED_S)
        process.kill()
        wait_until(lambda: not java.is_running(), "its Java ended too", STARTED_S)
        again = wait_until(
            lambda: driver(cluster).pid != process.pid and driver(cluster), "another one runs"
        )
        assert again.pid != process.pid
        (tmp_path / "open").touch()
        info = client.wait(job_id)
        assert info["state"] == "SUCCEEDED", info
        assert dict(records(client, job_id)) == {"one two two": "50", "three three three": "50"}
        lost = client.tasks(job_id, state="LOST")["tasks"]
        assert lost and all("spark-driver was lost" in a["error"] for a in lost)
        assert client.job(job_id)["retries"] == len(lost)


def test_a_driver_that_dies_again_and_again_fails_its_job(
    make_cluster: MakeCluster, words: str, tmp_path: Path
) -> None:
    cluster = make_cluster(*QUICK, "scheduler.task_retries_max=1", workers=1)
    with cluster.client() as client:
        job_id = client.submit(own_map(words, gate(tmp_path)))["id"]
        for kills in range(2):
            wait_until(
                lambda kills=kills: (
                    len(client.tasks(job_id, state="LOST")["tasks"]) >= kills and began(tmp_path)
                ),
                "a task runs",
                STARTED_S,
            )
            driver(cluster).kill()
            for mark in tmp_path.glob("began-*"):
                mark.unlink()
            wait_until(
                lambda kills=kills: client.tasks(job_id, state="LOST")["total"] > 4 * kills,
                "its attempts are lost",
            )
        info = client.wait(job_id)
        assert info["state"] == "FAILED"
        assert "lost its driver 2 times; scheduler.task_retries_max is 1" in str(info["status"])


def test_a_cancelled_job_stops_on_spark(whole: Cluster, words: str, tmp_path: Path) -> None:
    with whole.client() as client:
        job_id = begin(client, words, tmp_path)
        client.cancel(job_id)
        assert client.wait(job_id)["state"] == "CANCELLED"
        # what ran gives its place to the next job, and the gate stays shut
        info = ended(client, on_spark(word_count(words, 2)))
        assert info["state"] == "SUCCEEDED", info
    scratch = whole.state_dir / "spark"
    wait_until(lambda: not list(scratch.glob(f"*/{job_id}")), "its scratch is gone")


def test_an_error_of_the_users_says_the_same_on_both_engines(whole: Cluster, words: str) -> None:
    source = "def f(line):\n    print('about to', line)\n    return int(line), 1\n"
    with whole.client() as client:
        request = own_map(words, source)
        there = ended(client, request)
        here = ended(client, {**request, "engine": "local"})
        assert there["state"] == here["state"] == "FAILED"
        first = [str(info["status"]["Failed"]).partition("\n")[0] for info in (there, here)]
        assert "own.py, line 3" in first[0]
        assert first[0].partition("worker")[0] == first[1].partition("worker")[0]
        failed = client.tasks(there["id"], state="FAILED")["tasks"]
        assert max(a["attempt"] for a in failed) == 3  # as often as the local engine tries
        log = whole.cli("logs", "--job", there["id"]).stdout
        assert "about to one two two" in log and "ValueError" in log


def test_what_functions_print_is_in_the_jobs_log(whole: Cluster, words: str) -> None:
    source = "def f(line):\n    print('seen:', line)\n    return line, 1\n"
    with whole.client() as client:
        job_id = ended(client, own_map(words, source))["id"]
    log = whole.cli("logs", "--job", job_id).stdout
    assert log.count("seen: one two two") == 50
    assert "scheduler pool" not in log  # of which Spark warns at each job
    assert "read+own+add/0/0 seen: one two two" in log or "/0/0 seen:" in log


def test_a_task_that_takes_too_long_is_stopped(
    make_cluster: MakeCluster, words: str, tmp_path: Path
) -> None:
    cluster = make_cluster(
        *QUICK, "scheduler.task_timeout_s=1", "scheduler.task_retries_max=0", workers=1
    )
    with cluster.client() as client:
        info = ended(client, own_map(words, gate(tmp_path)))
    assert info["state"] == "FAILED"
    assert "stopped after 1 s (scheduler.task_timeout_s)" in str(info["status"])


def test_it_survives_its_master(cluster: Cluster, words: str, tmp_path: Path) -> None:
    with cluster.client() as client:
        job_id = begin(client, words, tmp_path)
        before = driver(cluster)
        psutil.Process(cluster.process("master")["pid"]).kill()
        wait_until(
            lambda: (
                cluster.process("master")["restarts"] == 1
                and cluster.process("master")["state"] == "RUNNING"
            ),
            "the master is back",
        )
    with cluster.client() as client:
        (tmp_path / "open").touch()
        info = client.wait(job_id)
        assert info["state"] == "SUCCEEDED", info
        assert info["retries"] == 0
        assert dict(records(client, job_id)) == {"one two two": "50", "three three three": "50"}
    assert driver(cluster).pid == before.pid


def test_when_java_is_killed_another_application_takes_over(
    cluster: Cluster, words: str, tmp_path: Path
) -> None:
    with cluster.client() as client:
        job_id = begin(client, words, tmp_path)
        process = driver(cluster)
        java_of(process).kill()
        (tmp_path / "open").touch()
        info = client.wait(job_id)
        assert info["state"] == "SUCCEEDED", info
        assert driver(cluster).pid == process.pid
        failed = client.tasks(job_id, state="FAILED")["tasks"]
        assert len(failed) == 1 and "Spark failed" in failed[0]["error"]


def test_two_jobs_run_beside_one_another(whole: Cluster, words: str, tmp_path: Path) -> None:
    with whole.client() as client:
        slow = begin(client, words, tmp_path, partitions=1)
        quick = ended(client, on_spark(word_count(words, 2)))
        assert quick["state"] == "SUCCEEDED"
        assert client.job(slow)["state"] == "RUNNING"
        (tmp_path / "open").touch()
        assert client.wait(slow)["state"] == "SUCCEEDED"


def test_down_and_up_go_on_with_a_job(cluster: Cluster, words: str, tmp_path: Path) -> None:
    with cluster.client() as client:
        job_id = begin(client, words, tmp_path)
        driver(cluster)
    assert cluster.cli("down").returncode == 0
    all_gone(cluster)
    assert cluster.up().returncode == 0
    (tmp_path / "open").touch()
    with cluster.client() as client:
        info = client.wait(job_id)
        assert info["state"] == "SUCCEEDED", info
    driver(cluster)


def test_a_stopped_driver_is_down_and_its_job_goes_on_later(
    make_cluster: MakeCluster, words: str, tmp_path: Path
) -> None:
    cluster = make_cluster(*QUICK, "scheduler.heartbeat_timeout_s=1", workers=1)
    with cluster.client() as client:
        job_id = begin(client, words, tmp_path)
        process = driver(cluster)
        process.send_signal(signal.SIGSTOP)
        wait_until(lambda: client.cluster()["driver"]["status"] == "Down", "it is Down")
        assert "waits: the Spark driver starts" in str(client.job(job_id)["note"])
        process.send_signal(signal.SIGCONT)
        (tmp_path / "open").touch()
        info = client.wait(job_id)
        assert info["state"] == "SUCCEEDED", info
        assert dict(records(client, job_id)) == {"one two two": "50", "three three three": "50"}


def test_the_clusters_own_engine_is_that_of_jobs_that_say_nothing(
    make_cluster: MakeCluster, words: str
) -> None:
    cluster = make_cluster(*QUICK, "engine.name=spark", workers=1)
    assert driver(cluster).is_running()
    with cluster.client() as client:
        info = ended(client, word_count(words, 2))
        assert (info["state"], info["request"]["engine"]) == ("SUCCEEDED", "spark"), info
        here = ended(client, {**word_count(words, 2), "engine": "local"})
        assert here["state"] == "SUCCEEDED"
        workers = {a["worker"] for a in client.tasks(here["id"])["tasks"]}
        assert workers == {"worker-1"}


def test_a_spark_that_does_not_start_fails_the_job_and_says_why(
    make_cluster: MakeCluster, words: str
) -> None:
    cluster = make_cluster(
        "engine.conf.spark.driver.memory=much", "scheduler.task_retries_max=0", workers=1
    )
    with cluster.client() as client:
        info = ended(client, on_spark(word_count(words, 2)))
    assert info["state"] == "FAILED"
    assert "Spark failed" in str(info["status"]) and "logs spark-driver" in str(info["status"])
    assert "Invalid maximum heap size" in cluster.cli("logs", "spark-driver").stdout
    driver(cluster)


def test_a_naive_plan_is_refused(whole: Cluster, words: str) -> None:
    done = whole.cli("submit", "-i", words, "--engine", "spark", "--plan", "naive")
    assert done.returncode == 2
    assert "the engine spark runs fused plans only" in done.stderr


def test_the_job_file_of_the_readme_gives_the_same_on_both_engines() -> None:
    """As it does over three hosts (hosts/test_three_hosts.py)."""
    done = [
        run_cli("run", "data/jobs/wordcount.json", "--engine", engine, "--format", "json")
        for engine in ("local", "spark")
    ]
    assert [one.returncode for one in done] == [0, 0], done[1].stderr
    rows = [json.loads(one.stdout) for one in done]
    assert rows[0] == rows[1] and len(rows[0]) > 50


def test_no_java_outlives_a_driver_that_ends_while_it_starts(
    make_cluster: MakeCluster, words: str
) -> None:
    cluster = make_cluster(*QUICK, "engine.name=spark", workers=1)
    for _ in range(2):
        process = driver(cluster)
        java = wait_until(lambda p=process: p.children(recursive=True), "Java starts")
        cluster.note_processes()
        process.kill()
        wait_until(lambda j=java: not any(p.is_running() for p in j), "nothing of it is left", 10)
        wait_until(lambda p=process: driver(cluster).pid != p.pid, "the next one runs")
    process = driver(cluster)
    java = wait_until(lambda: process.children(recursive=True), "Java starts")
    assert cluster.cli("down").returncode == 0
    wait_until(lambda: not any(p.is_running() for p in java), "nothing of it is left", 10)


def test_sparks_settings_are_on_no_command_line_and_are_not_shown(
    make_cluster: MakeCluster, words: str
) -> None:
    secret = "engine.conf.spark.ssl.keyPassword=hunter 2: #=!\\ñ"
    cluster = make_cluster(*QUICK, secret, workers=1)
    with cluster.client() as client:
        assert ended(client, on_spark(word_count(words, 2)))["state"] == "SUCCEEDED"
    java = java_of(driver(cluster))
    assert not any("hunter" in word for word in java.cmdline())
    scratch = str(cluster.state_dir / "spark")
    assert any(word.startswith(f"-Djava.io.tmpdir={scratch}/") for word in java.cmdline())
    assert list((cluster.state_dir / "spark").rglob("blockmgr-*"))  # what Spark keeps on disk
    files = list((cluster.state_dir / "spark").rglob("spark.properties"))
    assert [path.stat().st_mode & 0o777 for path in files] == [0o600]
    shown = run_cli("config", "--set", secret).stdout
    assert "spark.ssl.keyPassword: (set)" in shown and "hunter" not in shown


def test_a_cancelled_job_whose_java_hangs_holds_nobody(
    make_cluster: MakeCluster, words: str, tmp_path: Path
) -> None:
    cluster = make_cluster(*QUICK, "scheduler.heartbeat_timeout_s=2", workers=1)
    with cluster.client() as client:
        job_id = begin(client, words, tmp_path)
        java = java_of(driver(cluster))
        java.send_signal(signal.SIGSTOP)
        client.cancel(job_id)
        before = client.cluster()["driver"]["last_heartbeat"]
        wait_until(
            lambda: client.cluster()["driver"]["last_heartbeat"] >= before + 4, "it goes on", 20
        )
        assert client.cluster()["driver"]["status"] == "Up"
        java.send_signal(signal.SIGCONT)
        assert ended(client, on_spark(word_count(words, 2)))["state"] == "SUCCEEDED"
