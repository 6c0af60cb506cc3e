"""Jobs on a warm cluster of two workers with one slot each, beside two processes without one."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

from bench import bound
from bench.measure import Lane, Lanes, Measure, Target, WrongResult, at_most
from bench.peer import peer_lanes
from bench.profile import split
from bench.site import Site, peak_pss_bytes
from minispark.cli.job_files import join, word_count
from minispark.client import Client

Found = tuple[int, int]
"""Of a word count: distinct words, and words. Of a join: rows, and something else."""
JOBS = ("A", "B", "C", "A-own", "B-own")
WORKERS, THREADS = 2, 1
PARALLELISM = WORKERS * THREADS
OWN_CODE = """
def split(line):
    return line.split()

def pair(word):
    return word, 1

def add(a, b):
    return a + b
"""


def request_of(which: str, paths: list[str], plan: str) -> dict[str, Any]:
    """One of JOBS."""
    if which == "C":
        return join("C", PARALLELISM, paths[0], paths[1], plan)
    request = word_count(which, PARALLELISM, paths[0], plan)
    if which.endswith("-own"):
        request["modules"] = {"own": OWN_CODE}
        for node, name in zip(request["dag"]["nodes"][1:], ("split", "pair", "add"), strict=True):
            node["fn_name"] = f"own:{name}"
    return request


def run_job(client: Client, request: dict[str, Any]) -> tuple[float, dict[str, Any]]:
    """Seconds from the submission to the end, and the JobInfo. Raises WrongResult."""
    begun = time.perf_counter()
    info = client.wait(client.submit(request)["id"])
    took = time.perf_counter() - begun
    if info["state"] != "SUCCEEDED":
        raise WrongResult(f"the job {info['state']}: {info['status']}")
    return took, info


def found_of(client: Client, info: dict[str, Any]) -> Found:
    """What the documented files of the job's last node say."""
    last = info["request"]["dag"]["nodes"][-1]
    rows = total = 0
    for task in client.result_files(info["id"]):
        path = task["output_path"]
        if path is not None and f"_{last['id']}_p" in path:
            with open(path, encoding="utf-8") as file:
                records = json.load(file)["records"]
            rows += len(records)
            total += 0 if last["op"] == "join" else sum(int(record["value"]) for record in records)
    return rows, total


def check_same(what: str, found: Found, expected: Found) -> None:
    """Raises WrongResult."""
    if found != expected:
        raise WrongResult(f"{what}: found {found}, expected {expected}")


def expected_of(which: str, paths: list[str]) -> Found:
    """What the bound finds, as `found_of` has it of the same job."""
    found = bound.run(which, paths)[1]
    return (found[0], 0) if which == "C" else found


def job_lane(client: Client, request: dict[str, Any], expected: Found) -> Lane:
    """Runs the job, and checks what it found."""

    def run() -> float:
        took, info = run_job(client, request)
        check_same(request["name"], found_of(client, info), expected)
        return took

    return run


@contextmanager
def open_warm(which: str, plan: str, site: Site) -> Iterator[Lanes]:
    paths = site.paths(which[0])
    expected = expected_of(which, paths)
    request = request_of(which, paths, plan)
    if plan != "fused":
        site = replace(site, peers=())  # they have but one plan
    with (
        site.cluster(WORKERS, THREADS) as (cluster, client),
        peer_lanes(site, which, paths, expected) as peers,
    ):

        def peak_bytes() -> int:
            return peak_pss_bytes(cluster.supervisor_pid, partial(run_job, client, request))

        yield Lanes(
            job_lane(client, request, expected),
            bound_lane(which, paths),
            peers,
            peak_bytes,
            partial(profile_of, client, request),
        )


def profile_of(client: Client, request: dict[str, Any]) -> dict[str, Any]:
    """Of one more run of the job: its seconds, and the slots' seconds by phase."""
    submitted_at = time.time()
    took_s, info = run_job(client, request)
    job = client.profile(info["id"])
    return split(request["name"], job, submitted_at, took_s, WORKERS * THREADS)


def profile(site: Site, which: str) -> dict[str, Any]:
    """Of one warm job, on a cluster of its own. Raises ValueError for one that there is not."""
    if which not in JOBS:
        raise ValueError(f"--profile: no warm job is called {which}; there are {', '.join(JOBS)}")
    request = request_of(which, site.paths(which[0]), "fused")
    with site.cluster(WORKERS, THREADS) as (_, client):
        run_job(client, request)
        return profile_of(client, request)


def bound_lane(which: str, paths: list[str]) -> Lane:
    return lambda: bound.run(which, paths)[0]


def _warm(
    which: str,
    what: str,
    limit: float | None,
    peer_limits: Mapping[str, float] | None = None,
    plan: str = "fused",
) -> Measure:
    baseline = "two processes, arbitrary functions" if which.endswith("-own") else "two processes"
    name = which if plan == "fused" else f"{which}-{plan}"
    target = Target(limit, is_ratio=True) if limit is not None else None
    opened = partial(open_warm, which, plan)
    return Measure(name, what, "s", baseline, target, opened, at_most(peer_limits or {}))


LEVEL = 1.1
MEASURES = (
    _warm("A", "word count of lines, 1 M distinct words", 1.2, {"pyspark": 1.0}),
    _warm("B", "word count of Zipf text, 100 k distinct words", 1.2, {"pyspark": LEVEL}),
    _warm("C", "join of sales with products", None, {"pyspark": LEVEL, "pyspark-rdd": 1 / 3}),
    _warm("A-own", "A by the user's own functions", 1.2, {"pyspark-rdd": 1 / 2}),
    _warm("B-own", "B by the user's own functions", 1.2, {"pyspark-rdd": 1 / 2}),
    # the reference system, which is to be equalled, takes 14 times the bound
    _warm("A", "A, one task an operator, documented files between", 14.0, None, "naive"),
)
