"""The same jobs over three hosts: good links, poor links, and links that are cut for a while."""

from __future__ import annotations

import itertools
import json
import random
from functools import partial
from pathlib import Path
from typing import Any

from minispark.cli.job_files import read_job
from tests import jobs, oracle
from tests.cluster.harness import ROOT, run_cli, wait_until
from tests.hosts.conftest import ThreeHosts

SLOW = """
import time
def slow(value):
    time.sleep(0.02)
    return value
"""
"""A function of the user's: a task of some lines takes long enough to be disturbed."""


def words_file(folder: Path, lines: int) -> Path:
    rng = random.Random(lines)
    path = folder / f"words-{lines}.txt"
    names = [f"word{rng.randrange(200)} ñandú" for _ in range(lines)]
    path.write_text("".join(f"{name} {i}\n" for i, name in enumerate(names)), encoding="utf-8")
    return path


def join_files(folder: Path) -> tuple[Path, Path]:
    rng = random.Random(1)
    sales = [["product_id", "amount"], *([f"p{rng.randrange(90)}", str(i)] for i in range(3000))]
    products = [["product_id", "name"], *([f"p{i}", f"the {i}. thing"] for i in range(100))]
    return (
        oracle.write_csv(folder / "sales.csv", sales),
        oracle.write_csv(folder / "products.csv", products),
    )


def expected_of(path: Path) -> list[tuple[str, str]]:
    return [(str(key), value) for key, value in oracle.word_count(oracle.lines_of([path]))]


def slow_word_count(path: Path, parallelism: int) -> dict[str, Any]:
    request = jobs.word_count(str(path), parallelism, "fused")
    nodes = request["dag"]["nodes"]
    nodes.insert(1, {"id": "slow", "op": "map", "fn": "slowly:slow"})
    request["dag"]["edges"] = [[a["id"], b["id"]] for a, b in itertools.pairwise(nodes)]
    return {**request, "modules": {"slowly": SLOW}}


def wait_for_outputs_of(hosts: ThreeHosts, job_id: str, name: str) -> None:
    def has_made_some() -> bool:
        attempts = hosts.json("status", job_id)["attempts"]
        return any(a["worker"] == name and a["state"] == "SUCCEEDED" for a in attempts)

    wait_until(has_made_some, f"{name} has made something that the others read")


def check_both_jobs(hosts: ThreeHosts) -> None:
    path = words_file(hosts.inputs, 4000)
    sales, products = join_files(hosts.inputs)
    for plan in ("fused", "naive"):
        counted = hosts.submit(jobs.word_count(str(path), 6, plan))
        joined = hosts.submit(jobs.join(str(sales), str(products), 6, plan))
        assert hosts.results(counted) == expected_of(path)
        assert hosts.results(joined) == oracle.join(sales, products)
        ran_on = {a["worker"] for a in hosts.json("status", counted)["attempts"]}
        assert ran_on == {"near", "far-2", "far-3"}


def test_word_count_and_join(three_hosts: ThreeHosts) -> None:
    three_hosts.up()
    check_both_jobs(three_hosts)


def test_the_job_file_of_the_readme_gives_what_run_gives(three_hosts: ThreeHosts) -> None:
    """As it does with `--engine spark` (spark/test_life_cycle.py)."""
    done = run_cli("run", "data/jobs/wordcount.json", "--engine", "local", "--format", "json")
    assert done.returncode == 0, done.stderr
    three_hosts.up()
    job_id = three_hosts.submit(read_job(str(ROOT / "data" / "jobs" / "wordcount.json")))
    rows = [(row["key"], row["value"]) for row in json.loads(done.stdout)]
    assert three_hosts.results(job_id) == sorted(rows)
    assert len(rows) > 50


def test_word_count_and_join_over_tls(three_hosts: ThreeHosts) -> None:
    three_hosts.up(is_secure=True)
    check_both_jobs(three_hosts)


def test_word_count_and_join_on_three_addresses(three_addresses: ThreeHosts) -> None:
    three_addresses.up()
    check_both_jobs(three_addresses)


def test_latency_and_loss(three_hosts: ThreeHosts) -> None:
    three_hosts.network.every_link(delay_s=0.02, loss=0.02)
    three_hosts.up()
    check_both_jobs(three_hosts)


def test_a_slow_link(three_hosts: ThreeHosts) -> None:
    three_hosts.up()
    three_hosts.network.link(three_hosts.second, three_hosts.third, bytes_per_s=200_000)
    three_hosts.network.link(three_hosts.master, three_hosts.third, bytes_per_s=200_000)
    path = words_file(three_hosts.inputs, 40_000)
    assert three_hosts.results(
        three_hosts.submit(jobs.word_count(str(path), 6, "fused"))
    ) == expected_of(path)


def test_clocks_that_differ_by_hours(three_hosts: ThreeHosts) -> None:
    three_hosts.second.skew_s, three_hosts.third.skew_s = -3600.0, 7200.0
    three_hosts.up()
    check_both_jobs(three_hosts)
    for job in three_hosts.json("jobs"):
        for attempt in three_hosts.json("status", job["id"])["attempts"]:
            if attempt["state"] != "SUCCEEDED":
                continue  # it gave way to another one before it ran
            times = [attempt[name] for name in ("assigned_at", "started_at", "finished_at")]
            assert times[1] >= times[0] - 1.0 and times[2] >= times[1], attempt
            assert job["created_at"] - 1.0 <= times[0] <= times[2] <= job["updated_at"] + 2.0


def has_grown(path: Path, size: int) -> bool:
    return path.exists() and path.stat().st_size > size


def test_results_of_a_worker_that_starts_again_meanwhile(three_hosts: ThreeHosts) -> None:
    three_hosts.up()
    three_hosts.cli("scale", "0")  # the master's host has no worker: all results are elsewhere
    path = three_hosts.inputs / "many.txt"
    path.write_text("".join(f"a-rather-long-word-{i} and more\n" for i in range(60_000)))
    job_id = three_hosts.submit(jobs.word_count(str(path), 12, "fused"))
    expected = expected_of(path)
    assert three_hosts.results(job_id) == expected
    for far in (three_hosts.second, three_hosts.third):
        three_hosts.network.link(three_hosts.master, far, bytes_per_s=400_000)
    out = three_hosts.master.folder / "out.jsonl"
    words = ("results", job_id, "--format", "jsonl")
    with (
        out.open("wb") as file,
        three_hosts.master.minispark(*words, stdout=file) as process,
    ):
        for size in (100_000, 600_000, 1_100_000):
            wait_until(partial(has_grown, out, size), f"{size} bytes of results")
            assert process.poll() is None
            for far in (three_hosts.second, three_hosts.third):
                three_hosts.restart_worker(far)
        three_hosts.network.every_link()
        assert process.wait(60) == 0
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert sorted((row["key"], row["value"]) for row in rows) == expected


def test_a_worker_that_the_master_cannot_reach_for_a_while(three_hosts: ThreeHosts) -> None:
    three_hosts.up()
    path = words_file(three_hosts.inputs, 1200)
    job_id = three_hosts.submit(slow_word_count(path, 12))

    def running_on(name: str) -> list[str]:
        attempts = three_hosts.json("status", job_id)["attempts"]
        return [a["id"] for a in attempts if a["worker"] == name and a["state"] == "RUNNING"]

    wait_until(lambda: running_on("far-2"), "far-2 runs a task")
    three_hosts.network.link(three_hosts.master, three_hosts.second, is_cut=True)
    wait_until(lambda: three_hosts.states()["far-2"] == "Down", "the master gives far-2 up")
    said = three_hosts.second.folder / "log"
    wait_until(lambda: "no session with the master" in said.read_text(), "far-2 sees it as well")
    three_hosts.network.link(three_hosts.master, three_hosts.second)
    wait_until(lambda: three_hosts.states()["far-2"] == "Up", "far-2 is back")
    assert three_hosts.results(job_id) == expected_of(path)
    job = three_hosts.json("status", job_id)
    lost = [a for a in job["attempts"] if a["state"] == "LOST"]
    assert lost and all(a["worker"] == "far-2" for a in lost)
    done = [(a["stage"], a["partition_id"]) for a in job["attempts"] if a["state"] == "SUCCEEDED"]
    assert len(done) == len(set(done)), "a late result was accepted beside another one"


def test_two_workers_that_do_not_reach_each_other(three_hosts: ThreeHosts) -> None:
    three_hosts.up()
    path = words_file(three_hosts.inputs, 1200)
    job_id = three_hosts.submit(slow_word_count(path, 12))
    wait_for_outputs_of(three_hosts, job_id, "far-3")
    three_hosts.network.link(three_hosts.second, three_hosts.third, is_cut=True)
    assert three_hosts.results(job_id) == expected_of(path)
    assert set(three_hosts.states().values()) == {"Up"}


def test_a_link_that_is_cut_while_blocks_cross_it(three_hosts: ThreeHosts) -> None:
    three_hosts.up()
    path = words_file(three_hosts.inputs, 100_000)
    three_hosts.network.link(three_hosts.second, three_hosts.third, bytes_per_s=10_000)
    job_id = three_hosts.submit(jobs.word_count(str(path), 6, "fused"))

    def is_reading() -> bool:
        attempts = three_hosts.json("status", job_id)["attempts"]
        return any(
            a["stage"] == 1 and a["state"] == "RUNNING" and a["worker"] != "near" for a in attempts
        )

    wait_until(is_reading, "far-2 or far-3 fetches")
    three_hosts.network.link(three_hosts.second, three_hosts.third, is_cut=True)
    assert three_hosts.results(job_id) == expected_of(path)


def test_a_host_that_is_gone(three_hosts: ThreeHosts) -> None:
    three_hosts.up()
    path = words_file(three_hosts.inputs, 1200)
    job_id = three_hosts.submit(slow_word_count(path, 12))
    wait_for_outputs_of(three_hosts, job_id, "far-3")
    three_hosts.network.link(three_hosts.master, three_hosts.third, is_cut=True)
    three_hosts.network.link(three_hosts.second, three_hosts.third, is_cut=True)
    assert three_hosts.results(job_id) == expected_of(path)
    assert three_hosts.states()["far-3"] == "Down"
