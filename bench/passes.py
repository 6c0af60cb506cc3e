"""Ten questions to one access log, whose lines the user's own function takes apart: with what it
makes kept in the partition cache, beside ten jobs that each take the lines apart themselves.
"""

from __future__ import annotations

import random
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count, pairwise
from pathlib import Path
from typing import Any

from bench.measure import Lanes, Measure, Target, WrongResult
from bench.site import Site
from bench.warm import PARALLELISM, run_job
from minispark.client import Client

PASSES = 10
LINES = 100_000
PATHS = 500
BYTES_MAX = 100_000
CODE = '''
import re
from datetime import datetime

LINE = re.compile(r"""(\\S+) \\S+ \\S+ \\[([^]]+)\\] "(\\S+) (\\S+) [^"]*" (\\d+) (\\d+)""")

def hit(line):
    """The path of a request, and how many bytes were sent for it at which hour."""
    host, when, method, path, status, size = LINE.match(line).groups()
    hour = datetime.strptime(when, "%d/%b/%Y:%H:%M:%S %z").hour
    return f"{hour:02} {path}", int(size)

def add(a, b):
    return a + b
'''


def write_log(path: Path, lines: int) -> list[tuple[str, int]]:
    """Lines in the combined log format; returns what `hit` should make of them."""
    rng, hits = random.Random(7), []
    with path.open("w", encoding="utf-8") as file:
        for _ in range(lines):
            hour, page, size = rng.randrange(24), rng.randrange(PATHS), rng.randrange(BYTES_MAX)
            when = f"12/Nov/2026:{hour:02}:{rng.randrange(60):02}:07 +0100"
            file.write(f'10.0.{page % 256}.7 - - [{when}] "GET /page/{page} HTTP/1.1" 200 {size}\n')
            hits.append((f"{hour:02} /page/{page}", size))
    return hits


def request(path: Path, least: int, is_cached: bool, run: int) -> dict[str, Any]:
    """The bytes sent for each path and hour, of answers of at least that size. Another `run` is
    another lineage, so that it finds nothing in the cache.
    """
    nodes: list[dict[str, Any]] = [
        {"id": "read", "op": "read_text", "path": str(path)},
        {"id": "hits", "op": "map", "fn": "own:hit", "cache": is_cached},
        {"id": "large", "op": "filter", "expr": f"value >= {least}"},
        {"id": "sum", "op": "reduce_by_key", "fn": "own:add"},
    ]
    ids = [str(node["id"]) for node in nodes]
    return {
        "name": "pass",
        "dag": {"nodes": nodes, "edges": [list(pair) for pair in pairwise(ids)]},
        "parallelism": PARALLELISM,
        "plan": "fused",
        "modules": {"own": f"{CODE}\n# run {run}\n"},
    }


@contextmanager
def open_passes(site: Site) -> Iterator[Lanes]:
    runs = count()
    with tempfile.TemporaryDirectory() as folder, site.cluster(2, 1) as (_, client):
        path = Path(folder) / "access.log"
        hits = write_log(path, max(1, int(LINES * site.scale)))
        limits = [i * BYTES_MAX // PASSES for i in range(PASSES)]
        sums = [_sums(hits, least) for least in limits]

        def passes(is_cached: bool) -> float:
            run, took = next(runs), 0.0
            for least, expected in zip(limits, sums, strict=True):
                asked = request(path, least, is_cached, run)
                seconds, info = run_job(client, asked)
                took += seconds
                _check(client, info, expected)
            return took

        yield Lanes(lambda: passes(True), lambda: passes(False))


def _sums(hits: list[tuple[str, int]], least: int) -> dict[str, str]:
    sums: Counter[str] = Counter()
    for key, size in hits:
        if size >= least:
            sums[key] += size
    return {key: str(size) for key, size in sums.items()}


def _check(client: Client, info: dict[str, Any], expected: dict[str, str]) -> None:
    if dict(client.results(info["id"])) != expected:
        raise WrongResult("a pass gave other sums than the log has")


MEASURES = (
    Measure("passes", f"{PASSES} jobs over one input that is parsed once, and cached", "s",
            "each parses it", Target(1 / 3, is_ratio=True), open_passes),
)  # fmt: skip
