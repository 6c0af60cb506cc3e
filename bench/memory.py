"""The memory of a whole cluster, and jobs on more data than a task may hold.

usage: python -m bench.memory [-o RESULTS.json]
Prints for growing input what a megabyte of it takes. That a job spills
changes its figure once; from there on it must stay the same. Processor time is what counts: it does
not see what else the machine does.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import psutil
from tabulate import tabulate

from bench.measure import Lanes, Measure, Target, WrongResult
from bench.site import ROOT, Site, peak_pss_bytes
from bench.warm import PARALLELISM, request_of, run_job
from minispark.cli.job_files import join, word_count
from minispark.client import Client
from minispark.cluster import RunningCluster

MB = 1_000_000
TASK_MAX_MB = 16
"""Half of it is counted (ADR 10): the share of a task in BUDGET_MB of input."""
BUDGET_MB = TASK_MAX_MB * PARALLELISM // 2
TIMES = (1, 2, 4, 7, 10)
"""Sizes of the input, in budgets."""
SPILLED_TIMES = 2
"""From here on every job spills: what a larger one is compared with."""
LINEAR_MAX = 1.25
"""A megabyte of the largest input takes at most so many times what one of a small one does."""
PRODUCT = "a product of which there is one or that is hot"


@dataclass(frozen=True, slots=True)
class Job:
    """A job on input that is made for it."""

    request: dict[str, Any]
    records: int
    """What its last stage should give."""
    input_bytes: int


@dataclass(frozen=True, slots=True)
class Figure:
    took_s: float
    cpu_s: float
    peak_bytes: int
    spilled_bytes: int


# --- jobs ---------------------------------------------------------------------------------------


def reduce_job(folder: Path, size: int) -> Job:
    """Every word is another one: nothing that a combiner could make smaller."""
    path = folder / "words.txt"
    count = _write(path, size, lambda i: f"word-{i * 7919 % 100_000_007}\n")
    return Job(word_count("reduce", PARALLELISM, str(path), "fused"), count, size)


def join_job(folder: Path, size: int) -> Job:
    """Both sides are large; each record has one partner, far from its own place."""
    left, right = folder / "sales.csv", folder / "products.csv"
    half = size // 2
    count = _write(right, half, lambda i: f"{i:08},{PRODUCT}\n", "id,name\n")
    _write(left, half, lambda i: f"{i * 7919 % count:08},{PRODUCT}\n", "id,what\n")
    return Job(join("join", PARALLELISM, str(left), str(right), "fused"), count, size)


def hot_key_job(folder: Path, size: int) -> Job:
    """All of the right side has one key."""
    left, right = folder / "sales.csv", folder / "products.csv"
    left.write_text("id,what\nhot,1\nother,2\n")
    count = _write(right, size, lambda i: f"hot,{PRODUCT} {i}\n", "id,name\n")
    return Job(join("hot key", PARALLELISM, str(left), str(right), "fused"), count, size)


def _write(path: Path, size: int, line: Callable[[int], str], header: str = "") -> int:
    """How many lines were written after the header: about `size` bytes."""
    written = count = 0
    with path.open("w", encoding="utf-8") as file:
        file.write(header)
        while written < size:
            written += file.write(line(count))
            count += 1
    return count


JOBS = {"reduce": reduce_job, "join": join_job, "hot-key": hot_key_job}


# --- figures ------------------------------------------------------------------------------------


def run_spilling(cluster: RunningCluster, client: Client, job: Job) -> Figure:
    """Raises WrongResult, also when spilled data is left."""
    found: list[tuple[float, dict[str, Any]]] = []
    cpu_begun_s = cpu_s(cluster.supervisor_pid)
    peak = peak_pss_bytes(
        cluster.supervisor_pid, lambda: found.append(run_job(client, job.request))
    )
    took_cpu_s = cpu_s(cluster.supervisor_pid) - cpu_begun_s
    [(took_s, info)] = found
    stages = client.profile(info["id"])["stages"]
    records = stages[-1]["figures"]["records"]
    if records != job.records:
        raise WrongResult(f"{job.request['name']}: {records} records, expected {job.records}")
    left = list((cluster.state_dir / "spill").glob("*"))
    if left:
        raise WrongResult(f"{job.request['name']}: spilled data is left: {left}")
    spilled = sum(stage["figures"]["bytes_spilled"] for stage in stages)
    return Figure(took_s, took_cpu_s, peak, spilled)


def cpu_s(pid: int) -> float:
    """What the process, all below it, and those of them that ended have used of processors."""
    top = psutil.Process(pid)
    total = 0.0
    for process in (top, *top.children(recursive=True)):
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:
            continue  # what it used is its parent's `children` now
        total += times.user + times.system + times.children_user + times.children_system
    return total


@contextmanager
def open_peak(which: str, site: Site) -> Iterator[Lanes]:
    """Each time the most that a cluster takes which ran the job once before."""
    request = request_of(which, site.paths(which), "fused")

    def peak_mb() -> float:
        with site.cluster(2, 1) as (cluster, client):
            run_job(client, request)
            return peak_pss_bytes(cluster.supervisor_pid, partial(run_job, client, request)) / MB

    yield Lanes(peak_mb)


@contextmanager
def open_spilling(name: str, site: Site) -> Iterator[Lanes]:
    """A megabyte of the largest input beside one of a small input."""
    with spilling_cluster(site) as (cluster, client), tempfile.TemporaryDirectory() as folder:

        def lane(times: int) -> Callable[[], float]:
            place = Path(folder) / str(times)
            place.mkdir()
            job = JOBS[name](place, times * BUDGET_MB * MB)
            return lambda: per_mb_ms(run_spilling(cluster, client, job).cpu_s, job)

        yield Lanes(lane(TIMES[-1]), lane(SPILLED_TIMES))


def per_mb_ms(seconds: float, job: Job) -> float:
    return 1000 * seconds / (job.input_bytes / MB)


def spilling_cluster(site: Site) -> Any:
    return site.cluster(PARALLELISM, 1, f"memory.task_max_mb={TASK_MAX_MB}")


MEASURES = (
    Measure("A-memory", "peak of the cluster's memory (PSS) in A", "MB", "", Target(400),
            partial(open_peak, "A")),
    Measure("B-memory", "peak of the cluster's memory (PSS) in B", "MB", "", Target(150),
            partial(open_peak, "B")),
    *(
        Measure(f"{name}-spilling", f"{name} of {TIMES[-1]} times the budget, CPU a MB of input",
                "ms", f"of {SPILLED_TIMES} times", Target(LINEAR_MAX, is_ratio=True),
                partial(open_spilling, name))
        for name in JOBS
    ),
)  # fmt: skip


def series(site: Site) -> Iterator[dict[str, Any]]:
    """One row for each job and size."""
    for name, made in JOBS.items():
        with spilling_cluster(site) as (cluster, client):
            for times in TIMES:
                with tempfile.TemporaryDirectory() as folder:
                    job = made(Path(folder), times * BUDGET_MB * MB)
                    seen = run_spilling(cluster, client, job)
                yield {
                    "job": name,
                    "budgets": times,
                    "input MB": job.input_bytes / MB,
                    "s": seen.took_s,
                    "CPU s": seen.cpu_s,
                    "CPU ms a MB": per_mb_ms(seen.cpu_s, job),
                    "spilled MB": seen.spilled_bytes / MB,
                    "peak MB": seen.peak_bytes / MB,
                }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--output", type=Path, metavar="RESULTS.json")
    args = parser.parse_args()
    rows = []
    for row in series(Site(ROOT / "data" / "large")):
        rows.append(row)
        print(*(f"{name}={value}" for name, value in row.items()), file=sys.stderr, flush=True)
    print(tabulate(rows, headers="keys", floatfmt=".1f"))
    if args.output is not None:
        args.output.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
