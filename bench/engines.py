"""The same jobs on both engines: this cluster's workers, and Apache Spark on the same cores.

usage: python -m bench.engines [--rounds N] [--peers pyspark,pyspark-rdd] [-o ENGINES.json]
Needs pyspark and Java (bench/requirements.txt). One warm cluster with two slots, whose driver has a
`local[2]`; the engines take turns, each result is checked. With `--peers` Spark's own programs run
beside them, which do the same without our tasks.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from tabulate import tabulate

from bench.measure import Lane, Lanes
from bench.peer import peer_lanes
from bench.rounds import Figures, run_rounds
from bench.site import ROOT, Site
from bench.warm import PARALLELISM, THREADS, WORKERS, expected_of, job_lane, request_of
from minispark.client import Client

SETS = (("A", "A", 1.0), ("B", "B", 1.0), ("C", "C", 1.0), ("10 x B", "B", 10.0))
"""What it is called, which data set, and how many times as large."""
SPARK_MEMORY = "2g"
"""Of the driver, which runs the tasks' Java side in `local[2]`."""


@dataclass(frozen=True, slots=True)
class Row:
    """One data set."""

    name: str
    input_mb: float
    figures: Figures


def rows(site: Site, rounds: int) -> Iterator[Row]:
    """Prints on stderr how far it is."""
    settings = (
        f"engine.master=local[{PARALLELISM}]",
        f"engine.conf.spark.driver.memory={SPARK_MEMORY}",
    )
    for name, which, times in SETS:
        here = replace(site, scale=site.scale * times)
        paths = here.paths(which)
        size = sum(os.path.getsize(path) for path in paths)
        with here.cluster(WORKERS, THREADS, *settings) as (_, client):
            with _lanes(here, which, paths, client) as lanes:

                def say(number: int, name: str = name) -> None:
                    print(f"{name}: round {number} of {rounds}", file=sys.stderr)

                yield Row(name, size / 1e6, run_rounds(lanes, rounds, say))


@contextmanager
def _lanes(site: Site, which: str, paths: list[str], client: Client) -> Iterator[Lanes]:
    expected = expected_of(which, paths)

    def lane(engine: str) -> Lane:
        request = {**request_of(which, paths, "fused"), "engine": engine}
        return job_lane(client, request, expected)

    with peer_lanes(site, which, paths, expected) as peers:
        yield Lanes(lane("local"), None, {"spark": lane("spark"), **peers})


def _shown(row: Row) -> dict[str, Any]:
    figures = row.figures
    shown = {"input": row.name, "MB": round(row.input_mb), "local s": figures.ours.median}
    for name, spread in figures.others.items():
        ratio = figures.others_ratio[name].median
        shown[f"{name} s"] = spread.median
        shown[f"local / {name}"] = ratio
    return shown


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--scale", type=float, default=1.0, help="part of the data; default: all")
    parser.add_argument("--peers", default="", help="pyspark, pyspark-rdd")
    parser.add_argument("-o", "--output", type=Path, help="the figures as JSON")
    args = parser.parse_args()
    peers = tuple(name for name in args.peers.split(",") if name)
    site = Site(ROOT / "data" / "large", args.scale, peers)
    found: list[Row] = []
    for row in rows(site, args.rounds):
        found.append(row)
        if args.output is not None:
            text = json.dumps([asdict(one) for one in found], indent=1)
            args.output.write_text(text, encoding="utf-8")
    print(tabulate([_shown(row) for row in found], headers="keys", floatfmt=".3g"))


if __name__ == "__main__":
    main()
