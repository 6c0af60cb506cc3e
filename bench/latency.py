"""Small jobs, and tasks that do nothing, on a warm cluster."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.measure import Lanes, Measure, Target, WrongResult
from bench.site import Site
from bench.warm import run_job
from minispark.cli.job_files import word_count

LINES = 100
DISTINCT = LINES + 5
JOBS = 20
NO_OPS = 5000


@contextmanager
def small_job() -> Iterator[dict[str, Any]]:
    """The word count of a hundred lines."""
    with tempfile.TemporaryDirectory(prefix="minispark-bench-") as folder:
        path = Path(folder) / "small.txt"
        path.write_text("".join(f"line {i} with a few words\n" for i in range(LINES)))
        yield word_count("small", 2, str(path), "fused")


@contextmanager
def open_job(site: Site) -> Iterator[Lanes]:
    with small_job() as request, site.cluster(3, 2) as (_, client):

        def ours() -> float:
            times = []
            for _ in range(JOBS):
                begun = time.perf_counter()
                _, info = run_job(client, request)
                rows = list(client.results(info["id"]))
                times.append(time.perf_counter() - begun)
                if len(rows) != DISTINCT:
                    raise WrongResult(f"{len(rows)} words, expected {DISTINCT}")
            return 1000 * statistics.median(times)

        yield Lanes(ours)


def no_ops(site: Site) -> int:
    """Tasks of one run."""
    return max(1, int(NO_OPS * site.scale))


@contextmanager
def open_tasks(site: Site) -> Iterator[Lanes]:
    count = no_ops(site)
    with (
        tempfile.TemporaryDirectory(prefix="minispark-bench-") as folder,
        site.cluster(2, 1) as (_, client),
    ):
        path = Path(folder) / "empty.txt"
        path.write_text("")
        nodes = [
            {"id": "read", "op": "read_text", "path": str(path)},
            {"id": "pair", "op": "map", "fn": "pair_with_one"},
            {"id": "sum", "op": "reduce_by_key", "fn": "sum", "partitions": 1},
        ]
        dag = {"nodes": nodes, "edges": [["read", "pair"], ["pair", "sum"]]}
        request = {"name": "no-ops", "parallelism": count, "plan": "fused", "dag": dag}

        def ours() -> float:
            took, info = run_job(client, request)
            if info["tasks"]["completed"] != count + 1:
                raise WrongResult(f"{info['tasks']} of {count} tasks")
            return count / took

        yield Lanes(ours)


MEASURES = (
    Measure(
        "job", "100 lines, from the submission to the records, at the API", "ms", "",
        Target(10.0, is_time=True), open_job,
    ),
)  # fmt: skip
