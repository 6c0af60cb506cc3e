"""This cluster beside the pure-Python bound: interleaved rounds in one run, the median of their
ratios.

usage: scripts/bench [A] [B] [C] [A-own] [B-own] [--rounds N] [--plan fused|naive]
`ready`, `small` and `tasks` measure start-up, a job of 100 lines, and no-op tasks per second.
The first round is discarded.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench import bound
from minispark.client import Client
from minispark.cluster import private_cluster
from minispark.config import load

ROOT = Path(__file__).parents[1]
TARGETS = {"A": 1.2, "B": 1.2, "C": 1.2, "A-own": 1.2, "B-own": 1.2}
"""`-own`: by functions of the user's own, beside the bound that calls functions."""
OWN_CODE = """
def split(line):
    return line.split()

def pair(word):
    return word, 1

def add(a, b):
    return a + b
"""


def data(which: str, folder: Path) -> list[str]:
    """The data set's files, made once."""
    names = {"A": ["a.csv"], "B": ["b.txt"], "C": ["sales.csv", "products.csv"]}[which[0]]
    paths = [folder / name for name in names]
    if not all(path.exists() for path in paths):
        script = str(ROOT / "scripts" / "make_data")
        subprocess.run([sys.executable, script, which[0], "--out", str(folder)], check=True)
    return [str(path) for path in paths]


def job(which: str, paths: list[str], plan: str, parallelism: int) -> dict[str, Any]:
    from minispark.cli.job_files import join, word_count

    if which == "C":
        return join("C", parallelism, paths[0], paths[1], plan)
    request = word_count(which, parallelism, paths[0], plan)
    if which.endswith("-own"):
        request["modules"] = {"own": OWN_CODE}
        for node, name in zip(request["dag"]["nodes"][1:], ("split", "pair", "add"), strict=True):
            node["fn_name"] = f"own:{name}"
    return request


def timed_job(client: Client, request: dict[str, Any]) -> float:
    begun = time.perf_counter()
    info = client.wait(client.submit(request)["id"])
    if info["state"] != "SUCCEEDED":
        raise SystemExit(f"the job failed: {info['status']}")
    return time.perf_counter() - begun


def compare(which: str, rounds: int, plan: str, folder: Path) -> None:
    """Warm jobs against the bound, round by round."""
    paths = data(which, folder)
    config = load(None, {}, ["workers.count=2", "workers.threads=1"]).config
    ours, bounds, ratios = [], [], []
    with (
        private_cluster(config, os.getcwd()) as cluster,
        Client(cluster.master_url, cluster.token) as client,
    ):
        for number in range(rounds + 1):
            limit, _ = bound.run(which, paths)
            mine = timed_job(client, job(which, paths, plan, 2))
            if number:
                ours.append(mine)
                bounds.append(limit)
                ratios.append(mine / limit)
    print(
        f"{which} {plan}: {statistics.median(ours):.2f} s, "
        f"bound {statistics.median(bounds):.2f} s, "
        f"ratio {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}, "
        f"{rounds} rounds); target {TARGETS[which]:.1f}",
        flush=True,
    )


def ready(rounds: int) -> None:
    """`up -d` of three workers, as a whole command, beside an interpreter that only imports
    json.
    """
    times, bases = [], []
    for number in range(rounds + 1):
        begun = time.perf_counter()
        subprocess.run([sys.executable, "-c", "import json"], check=True)
        base = time.perf_counter() - begun
        with tempfile.TemporaryDirectory() as folder:
            words = [sys.executable, str(ROOT / "minispark.py"), "--state-dir", f"{folder}/s"]
            ports = ["master.http_port", "master.socket_port", "workers.base_port"]
            settings = [f"--set={name}=0" for name in ports]
            begun = time.perf_counter()
            subprocess.run([*words, "up", "-d", "-q", *settings], check=True)
            took = time.perf_counter() - begun
            subprocess.run([*words, "down", "-q"], check=True)
        if number:
            times.append(took)
            bases.append(base)
    median, base = statistics.median(times), statistics.median(bases)
    print(
        f"ready: 3 workers Up after {median:.2f} s, {median / base:.0f} x `python -c 'import json'`"
    )


def small(rounds: int) -> None:
    """A word count of 100 lines on a warm cluster, submit to result, at the API."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "small.txt"
        path.write_text("".join(f"line {i} with a few words\n" for i in range(100)))
        config = load(None, {}, ["workers.count=3"]).config
        times = []
        with (
            private_cluster(config, folder) as cluster,
            Client(cluster.master_url, cluster.token) as client,
        ):
            for _ in range(20 * rounds):
                begun = time.perf_counter()
                info = client.wait(client.submit(job("A", [str(path)], "fused", 2))["id"])
                rows = list(client.results(info["id"]))
                times.append(time.perf_counter() - begun)
                assert len(rows) == 105, rows
    print(f"small: 100 lines, submit to result, p50 {1000 * statistics.median(times[5:]):.1f} ms")


def tasks(rounds: int) -> None:
    """No-op tasks: a filter over an empty file, a task for each of many partitions, journal on."""
    count = 5000
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "empty.txt"
        path.write_text("")
        config = load(None, {}, ["workers.count=2", "workers.threads=1"]).config
        request = {
            "name": "no-ops",
            "parallelism": count,
            "plan": "fused",
            "dag": {"nodes": [{"id": "read", "op": "read_text", "path": str(path)}], "edges": []},
        }
        rates = []
        with (
            private_cluster(config, folder) as cluster,
            Client(cluster.master_url, cluster.token) as client,
        ):
            for _ in range(rounds + 1):
                rates.append(count / timed_job(client, request))
    print(f"tasks: {statistics.median(rates[1:]):.0f} a second, 2 workers, journal on")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", nargs="*", default=["A"])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--plan", choices=("fused", "naive"), default="fused")
    parser.add_argument("--data", type=Path, default=ROOT / "data" / "large")
    args = parser.parse_args()
    for what in args.what:
        match what:
            case "ready":
                ready(args.rounds)
            case "small":
                small(args.rounds)
            case "tasks":
                tasks(args.rounds)
            case _:
                compare(what, args.rounds, args.plan, args.data)


if __name__ == "__main__":
    main()
