"""The partition cache on real processes: hits within a job and across jobs, a changed input, a
spill, a dead worker; and always the same records as without it.
"""

from __future__ import annotations

import json
import os
import signal
import urllib.request
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests import jobs
from tests.cluster.harness import Cluster, wait_until, workers_up

CODE = """
def terms(line):
    with open({calls!r}, "a") as file:
        file.write("x")
    return line.lower().split()
"""
"""Every call leaves a byte: a line that was not parsed again leaves none."""


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "text.txt"
    path.write_text("".join(f"w{i % 97} W{i * 7 % 61} ñ\n" for i in range(600)))
    return path


@pytest.fixture
def calls(tmp_path: Path) -> Path:
    path = tmp_path / "calls"
    path.touch()
    return path


def cached(text: Path, calls: Path, least: int, **more: Any) -> dict[str, Any]:
    """Counts the terms of at least that length; what the user's function makes is cached."""
    source = CODE.format(calls=str(calls)) + more.pop("source", "")
    nodes = [
        {"id": "read", "op": "read_text", "path": str(text)},
        {"id": "terms", "op": "flat_map", "fn": "own:terms", "cache": True},
        {"id": "long", "op": "filter", "expr": f"len(value) >= {least}"},
        {"id": "count", "op": "reduce_by_key", "fn": "count"},
    ]
    return jobs.job(nodes, more.pop("parallelism", 4), "fused", modules={"own": source}, **more)


def expected(text: Path, least: int) -> Counter[str]:
    return Counter(w for w in text.read_text().lower().split() if len(w) >= least)


def run(cluster: Cluster, request: dict[str, Any]) -> list[tuple[str | None, str]]:
    with cluster.client() as client:
        info = client.wait(client.submit(request)["id"], timeout_s=60)
        assert info["state"] == "SUCCEEDED", info["status"]
        return list(client.results(info["id"]))


def counts(cluster: Cluster, request: dict[str, Any]) -> Counter[str]:
    return Counter({str(key): int(value) for key, value in run(cluster, request)})


def figures(cluster: Cluster) -> dict[str, float]:
    """The cache's of all workers together."""
    total: Counter[str] = Counter()
    with cluster.client() as client:
        urls = [worker["metrics_url"] for worker in client.workers()]
    for url in urls:
        with urllib.request.urlopen(url, timeout=10) as answer:
            document = json.load(answer)
        total.update({k: v for k, v in document.items() if k.startswith("cache_")})
    return dict(total)


def test_ten_jobs_parse_one_input_once(
    make_cluster: Callable[..., Cluster], text: Path, calls: Path
) -> None:
    cluster = make_cluster(workers=2, threads=1)
    for least in range(1, 11):
        assert counts(cluster, cached(text, calls, least)) == expected(text, least)
    assert calls.stat().st_size == 600
    found = figures(cluster)
    assert (found["cache_hits"], found["cache_misses"]) == (36, 4)
    assert found["cache_memory_mb"] > 0
    assert list((cluster.state_dir / "spill").rglob("*.blocks")) == []


def test_an_input_that_changed_is_parsed_again(
    make_cluster: Callable[..., Cluster], text: Path, calls: Path
) -> None:
    cluster = make_cluster(workers=2, threads=1)
    for parsed in (600, 600, 1201):
        assert counts(cluster, cached(text, calls, 1)) == expected(text, 1)
        assert calls.stat().st_size == parsed
        if parsed == 600 and figures(cluster)["cache_hits"]:
            with text.open("a") as file:
                file.write("one more\n")
    before = text.stat()
    text.write_text(text.read_text().replace("w1 ", "v1 "))  # of the same size
    os.utime(text, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    assert text.stat().st_size == before.st_size
    assert counts(cluster, cached(text, calls, 1)) == expected(text, 1)


def test_another_parse_of_the_same_input_is_another_entry(
    make_cluster: Callable[..., Cluster], text: Path, calls: Path
) -> None:
    cluster = make_cluster(workers=1, threads=1)
    assert counts(cluster, cached(text, calls, 1)) == expected(text, 1)
    other = cached(text, calls, 1, source="\nold = terms\ndef terms(line): return old(line)[:1]\n")
    first = Counter(line.lower().split()[0] for line in text.read_text().splitlines())
    assert counts(cluster, other) == first
    assert counts(cluster, cached(text, calls, 1, parallelism=2)) == expected(text, 1)


def test_what_does_not_fit_is_spilled_and_still_found(
    make_cluster: Callable[..., Cluster], tmp_path: Path, calls: Path
) -> None:
    text = tmp_path / "large.txt"
    words = " ".join(f"a-rather-long-word-{i}" for i in range(200))
    text.write_text("".join(f"{i} {words}\n" for i in range(600)))
    cluster = make_cluster("workers.cache_max_mb=1", workers=1, threads=1)
    for least in (1, 5):
        assert counts(cluster, cached(text, calls, least)) == expected(text, least)
    assert calls.stat().st_size == 600
    found = figures(cluster)
    assert found["cache_memory_mb"] <= 1 < found["cache_spilled_mb"]
    spilled = list((cluster.state_dir / "spill" / "worker-1").glob("*.blocks"))
    assert sum(path.stat().st_size for path in spilled) == found["cache_spilled_mb"] * 2**20
    for path in spilled:
        path.write_bytes(b"not a block")
    assert counts(cluster, cached(text, calls, 2)) == expected(text, 2)
    assert "cannot be read" in (cluster.state_dir / "logs" / "worker-1.log").read_text()
    assert cluster.cli("down").returncode == 0
    assert list((cluster.state_dir / "spill").rglob("*.blocks")) == []


def test_without_memory_for_a_cache_everything_is_made_again(
    make_cluster: Callable[..., Cluster], text: Path, calls: Path
) -> None:
    cluster = make_cluster("workers.cache_max_mb=0", workers=1, threads=1)
    for parsed in (600, 1200):
        assert counts(cluster, cached(text, calls, 1)) == expected(text, 1)
        assert calls.stat().st_size == parsed


def test_what_a_dead_worker_had_is_made_again(
    make_cluster: Callable[..., Cluster], text: Path, calls: Path
) -> None:
    cluster = make_cluster(workers=2, threads=1)
    assert counts(cluster, cached(text, calls, 1)) == expected(text, 1)
    cluster.note_processes()
    old = cluster.process("worker-1")["pid"]
    os.kill(old, signal.SIGKILL)
    wait_until(lambda: cluster.process("worker-1")["pid"] != old, "another worker-1 is started")
    wait_until(lambda: workers_up(cluster), "it is Up")
    assert counts(cluster, cached(text, calls, 1)) == expected(text, 1)
    assert 600 < calls.stat().st_size < 1200  # half of it was on the other worker


def consumers(text: Path, plan: str) -> dict[str, Any]:
    """A union of parts of one node, which a union reads again: numbers of partitions differ."""
    nodes = [
        {"id": "read", "op": "read_text", "path": str(text)},
        {"id": "words", "op": "flat_map", "fn": "split_words"},
        {"id": "own", "op": "map", "expr": "(value, 1)"},
        {"id": "some", "op": "sample", "fraction": 0.5, "seed": 7},
        {"id": "both", "op": "union"},
        {"id": "more", "op": "map", "expr": "(key + '!', value)", "cache": True},
        {"id": "all", "op": "union"},
        {"id": "order", "op": "sort_by_key"},
        {"id": "count", "op": "reduce_by_key", "fn": "count"},
    ]
    edges = [
        ["read", "words"], ["words", "own"], ["own", "some"], ["own", "both"],
        ["some", "both"], ["both", "more"],
        ["own", "all"], ["more", "all"], ["all", "order"], ["more", "count"],
    ]  # fmt: skip
    return jobs.job(nodes, 3, plan, edges=edges)


def test_records_are_the_same_from_the_cache_and_in_both_plans(
    make_cluster: Callable[..., Cluster], text: Path
) -> None:
    cluster = make_cluster(workers=2, threads=1)
    naive = run(cluster, consumers(text, "naive"))
    assert len(naive) > 1000
    for _ in range(3):
        assert sorted(run(cluster, consumers(text, "fused"))) == sorted(naive)
    assert figures(cluster)["cache_hits"] > 0


def test_a_naive_job_reads_its_own_workers_outputs_from_the_cache(
    make_cluster: Callable[..., Cluster], text: Path
) -> None:
    cluster = make_cluster(workers=1, threads=2)
    rows = run(cluster, jobs.word_count(str(text), 2, "naive"))
    assert {key: int(value) for key, value in rows} == Counter(text.read_text().split())
    found = figures(cluster)
    assert found["cache_hits"] == 2 + 2 + 2 + 4  # three chains, and a shuffle of 2 by 2
    assert found["cache_misses"] == 0

    def is_empty() -> bool:
        return figures(cluster)["cache_memory_mb"] == 0

    wait_until(is_empty, "what was kept for the job went with it")


def test_a_naive_job_spills_by_naming_what_lies_on_disk(
    make_cluster: Callable[..., Cluster], tmp_path: Path
) -> None:
    text = tmp_path / "large.txt"
    text.write_text("".join(f"{i} line of many words {i * 7}\n" for i in range(60_000)))
    cluster = make_cluster("workers.cache_max_mb=1", workers=1, threads=1)
    rows = run(cluster, jobs.word_count(str(text), 2, "naive"))
    assert {key: int(value) for key, value in rows} == Counter(text.read_text().split())
    found = figures(cluster)
    assert found["cache_hits"] == 10 and found["cache_misses"] == 0
    wait_until(
        lambda: not list((cluster.state_dir / "spill").rglob("*.blocks")), "its spills are deleted"
    )
