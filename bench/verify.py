"""Large answers against a few lines of plain Python, both plans, parallelism 1, 2, 4 and 13.

usage: python -m bench.verify [--data DIR]     words of the standard library, join of data set C
"""

from __future__ import annotations

import argparse
import os
import time
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

from bench.site import ROOT, Site
from minispark.cli.job_files import join, word_count
from minispark.client import Client
from minispark.cluster import private_cluster
from minispark.config import load

Records = list[tuple[str | None, str]]


def count_oracle(folder: Path) -> Records:
    counts: Counter[str] = Counter()
    for path in folder.glob("[!_]*.py"):  # names that begin with _ are no input
        counts.update(path.read_text(encoding="utf-8").split())
    return sorted((word, str(count)) for word, count in counts.items())


def join_oracle(sales: str, products: str) -> Records:
    names = defaultdict(list)
    with open(products, encoding="utf-8") as file:
        next(file)
        for line in file:
            key, _, rest = line.rstrip("\n").partition(",")
            names[key].append(rest)
    rows: Records = []
    with open(sales, encoding="utf-8") as file:
        next(file)
        for line in file:
            key, _, rest = line.rstrip("\n").partition(",")
            rows += [(key, f"({rest},{name})") for name in names[key]]
    return sorted(rows)


def check(client: Client, what: str, request: dict[str, Any], expected: Records) -> None:
    begun = time.perf_counter()
    info = client.wait(client.submit(request)["id"])
    took = time.perf_counter() - begun
    same = info["state"] == "SUCCEEDED" and sorted(client.results(info["id"])) == expected
    print(f"{what}: {'equal' if same else 'DIFFERENT'}, {len(expected)} records, {took:.1f} s")
    if not same:
        raise SystemExit(f"{what}: {info['status']}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=ROOT / "data" / "large")
    args = parser.parse_args()
    library = Path(os.__file__).parent
    sales, products = Site(args.data).paths("C")
    counted, joined = count_oracle(library), join_oracle(sales, products)
    config = load(None, {}, ["workers.count=3", "workers.threads=1"]).config
    with (
        private_cluster(config, os.getcwd()) as cluster,
        Client(cluster.master_url, cluster.token) as client,
    ):
        for plan in ("fused", "naive"):
            for p in (1, 2, 4, 13):
                request = word_count("words", p, f"{library}/*.py", plan)
                check(client, f"standard library, {plan}, {p}", request, counted)
                check(client, f"C, {plan}, {p}", join("C", p, sales, products, plan), joined)


if __name__ == "__main__":
    main()
