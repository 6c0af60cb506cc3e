"""How long faults take to be noticed and mended, and what they cost a job: medians of ROUNDS.

usage: python -m bench.faults. A disturbed job is compared with an undisturbed one of its round.
"""

from __future__ import annotations

import os
import signal
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from minispark.client import Client
from minispark.cluster import private_cluster
from minispark.config import load
from minispark.errors import MiniSparkError
from minispark.supervisor.state_dir import read_cluster_file

ROUNDS = 7
LINES = 600_000
PARALLELISM = 24
POLL_S = 0.001


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="minispark-bench-") as folder:
        text = Path(folder) / "text.txt"
        with text.open("w") as file:
            for i in range(LINES):
                file.write(f"line {i % 70_000} the quick brown fox number {i % 977} jumps over\n")
        settings = ["restart.attempts_max=1000", "restart.window_s=1"]
        config = load(None, {}, settings).config
        with private_cluster(config, folder) as cluster:
            client = Client(cluster.master_url, cluster.token)
            with client:
                run(client, text)  # warm
                figures = [one_round(client, cluster.state_dir, text) for _ in range(ROUNDS)]
    for name in figures[0]:
        values = [figure[name] for figure in figures]
        low, middle, high = min(values), statistics.median(values), max(values)
        print(f"{name:45} median {middle:7.3f}   min {low:7.3f}   max {high:7.3f}")


def one_round(client: Client, folder: Path, text: Path) -> dict[str, float]:
    """Seconds, and ratios."""
    calm_s = run(client, text)
    kill: dict[str, float] = {}
    worker_s = run(client, text, lambda: kill.update(kill_worker(client, folder)))
    master: dict[str, float] = {}
    master_s = run(client, text, lambda: master.update(kill_master(client, folder)))
    return {
        **kill,
        "job with a killed worker / undisturbed": worker_s / calm_s,
        **master,
        "job with a killed master / undisturbed": master_s / calm_s,
    }


def run(client: Client, text: Path, disturb: Callable[[], None] | None = None) -> float:
    """Seconds of one word count; `disturb` is called once a third of it is complete."""
    begun = time.perf_counter()
    info = client.submit(word_count(text))
    if disturb is not None:
        while client.job(info["id"])["tasks"]["completed"] < PARALLELISM // 3:
            time.sleep(POLL_S)
        disturb()
    info = client.wait(info["id"])
    assert info["state"] == "SUCCEEDED", info["status"]
    return time.perf_counter() - begun


def kill_worker(client: Client, folder: Path) -> dict[str, float]:
    name = "worker-2"
    pid = entry(folder, name)["pid"]
    begun = time.perf_counter()
    os.kill(pid, signal.SIGKILL)
    noticed = until(begun, lambda: status_of(client, name) == "Down")
    back = until(begun, lambda: status_of(client, name) == "Up")
    return {"worker killed: noticed by the master, s": noticed, "worker killed: Up again, s": back}


def kill_master(client: Client, folder: Path) -> dict[str, float]:
    begun = time.perf_counter()
    os.kill(entry(folder, "master")["pid"], signal.SIGKILL)
    client.close()
    return {"master killed: accepting again, s": until(begun, lambda: answers(client))}


def until(begun: float, condition: Callable[[], bool]) -> float:
    while not condition():
        time.sleep(POLL_S)
    return time.perf_counter() - begun


def answers(client: Client) -> bool:
    try:
        return bool(client.cluster())
    except MiniSparkError:
        return False


def status_of(client: Client, name: str) -> str:
    return str(next(w["status"] for w in client.workers() if w["name"] == name))


def entry(folder: Path, name: str) -> dict[str, Any]:
    document = read_cluster_file(folder)
    assert document is not None
    return next(p for p in document["processes"] if p["name"] == name)


def word_count(text: Path) -> dict[str, Any]:
    nodes = [
        {"id": "read", "op": "read_text", "path": str(text)},
        {"id": "flatmap", "op": "flat_map", "fn_name": "split_words"},
        {"id": "map", "op": "map", "fn_name": "pair_with_one"},
        {"id": "reduce", "op": "reduce_by_key", "fn_name": "sum", "key": "word"},
    ]
    edges = [["read", "flatmap"], ["flatmap", "map"], ["map", "reduce"]]
    dag = {"nodes": nodes, "edges": edges}
    return {"name": "bench", "dag": dag, "parallelism": PARALLELISM}


if __name__ == "__main__":
    main()
