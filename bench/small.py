"""Small things: tasks that do nothing, the way of a small job, answers, and how all that grows.

`python -m bench.small` shows them, with the cost of a task by number of tasks and of workers, and
the master's memory for each.
"""

from __future__ import annotations

import argparse
import http.client
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
from tabulate import tabulate

from bench import cold, latency, report
from bench.cold import MINISPARK
from bench.measure import Lanes, Measure, Target, WrongResult
from bench.ping_pong import messages_per_s, round_trip_s
from bench.rounds import run_rounds
from bench.simulated_workers import simulated_workers
from bench.site import ROOT, Site
from bench.warm import run_job
from minispark.client import Client

PING_PONG_S = 1.0
REQUESTS = 500
JOBS = 20
CLI_JOBS = 5
TASKS = (100, 1_000, 10_000, 100_000)
WORKERS = (1, 4, 16, 64)
TASKS_BY_WORKERS = 10_000
CHAIN_TASKS_MAX = 10_000
"""Partitions of one node, at most; more tasks are several chains of one job."""
MEMORY_JOBS = 5


# --- measures ------------------------------------------------------------------------------


@contextmanager
def open_no_ops(site: Site) -> Iterator[Lanes]:
    with latency.open_tasks(site) as lanes:
        yield Lanes(lanes.ours, lambda: messages_per_s(1, 1, PING_PONG_S))


@contextmanager
def open_health(site: Site) -> Iterator[Lanes]:
    with site.cluster(1, 1) as (cluster, _):
        parts = urlsplit(cluster.master_url)
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port)

        def ours() -> float:
            return _p50_ms([_timed(lambda: _get_health(connection)) for _ in range(REQUESTS)])

        yield Lanes(ours, lambda: _p50_ms(round_trip_s(REQUESTS)))
        connection.close()


@contextmanager
def open_first_task(site: Site) -> Iterator[Lanes]:
    with latency.small_job() as request, site.cluster(3, 2) as (_, client):

        def ours() -> float:
            waits = []
            for _ in range(JOBS):
                asked_at = time.time()
                _, info = run_job(client, request)
                stages = client.profile(info["id"])["stages"]
                waits.append(stages[0]["figures"]["first_started_at"] - asked_at)
            return _p50_ms(waits)

        yield Lanes(ours, lambda: _p50_ms(round_trip_s(REQUESTS)))


@contextmanager
def open_cli_job(site: Site) -> Iterator[Lanes]:
    with latency.small_job() as request, site.cluster(3, 2) as (cluster, _):
        job = Path(request["dag"]["nodes"][0]["path"]).with_name("job.json")
        job.write_text(json.dumps(request))
        words = [*MINISPARK, "--state-dir", str(cluster.state_dir), "submit", str(job), "--wait"]

        def submit() -> None:
            done = subprocess.run(words, check=False, capture_output=True, text=True)
            if done.returncode or "words" not in done.stdout:
                raise WrongResult(f"submit --wait shows {done.stdout!r} {done.stderr!r}")

        def interpreter() -> None:
            subprocess.run([sys.executable, "-c", "import json"], check=True)

        yield Lanes(
            lambda: _p50_ms([_timed(submit) for _ in range(CLI_JOBS)]),
            lambda: _p50_ms([_timed(interpreter) for _ in range(CLI_JOBS)]),
        )


def _get_health(connection: http.client.HTTPConnection) -> None:
    connection.request("GET", "/health")
    answer = connection.getresponse()
    if (answer.status, answer.read()) != (200, b"OK"):
        raise WrongResult(f"GET /health answers {answer.status}")


def _timed(act: Callable[[], object]) -> float:
    begun = time.perf_counter()
    act()
    return time.perf_counter() - begun


def _p50_ms(seconds: list[float]) -> float:
    return 1000 * statistics.median(seconds)


MEASURES = (
    Measure(
        "no-ops", "tasks that map an empty file, journal on, beside bare messages", "1/s",
        "messages there and back, one at a time",
        Target(10_000 / 34_300, is_ratio=True, is_floor=True), open_no_ops,
    ),
    Measure(
        "job-cli", "100 lines, warm, by `submit --wait`", "ms", "`python -c 'import json'`",
        Target(100.0), open_cli_job,
    ),
    Measure(
        "health", "GET /health over one connection, p50", "ms", "a message there and back",
        Target(0.2), open_health,
    ),
    Measure(
        "first-task", "from the submission to the first task's start, p50", "ms",
        "a message there and back", Target(5.0), open_first_task,
    ),
)  # fmt: skip


# --- how it grows ----------------------------------------------------------------------------


class MasterAlone:
    """A cluster without workers of its own, for simulated ones."""

    def __init__(self, site: Site, folder: Path) -> None:
        self._site = site
        self._input = folder / "empty.txt"
        self._input.write_text("")

    @contextmanager
    def serving(self, workers: int, slots: int) -> Iterator[tuple[Client, psutil.Process]]:
        """A client of it, and the master's process, once so many workers are Up."""
        with self._site.cluster(0, 1) as (cluster, client):
            (master,) = psutil.Process(cluster.supervisor_pid).children()
            port = client.cluster()["socket_port"]
            with simulated_workers(port, cluster.token, workers, slots):
                while sum(w["status"] == "Up" for w in client.workers()) < workers:
                    time.sleep(0.01)
                yield client, master

    def request(self, tasks: int) -> dict[str, Any]:
        """A job of so many tasks that do nothing, and one more for each chain."""
        nodes: list[dict[str, Any]] = []
        edges: list[list[str]] = []
        chains = -(-tasks // CHAIN_TASKS_MAX)
        for c in range(chains):
            nodes += [
                {"id": f"read{c}", "op": "read_text", "path": str(self._input)},
                {"id": f"pair{c}", "op": "map", "fn": "pair_with_one"},
                {"id": f"sum{c}", "op": "reduce_by_key", "fn": "sum", "partitions": 1},
            ]
            edges += [[f"read{c}", f"pair{c}"], [f"pair{c}", f"sum{c}"]]
        dag = {"nodes": nodes, "edges": edges}
        return {"name": "no-ops", "parallelism": tasks // chains, "plan": "fused", "dag": dag}


def cost_us(client: Client, master: psutil.Process, request: Mapping[str, Any], tasks: int) -> Cost:
    """Of one task: wall-clock, and the master's processor time."""
    before = sum(master.cpu_times()[:2])
    took, info = run_job(client, dict(request))
    used = sum(master.cpu_times()[:2]) - before
    if info["tasks"]["completed"] < tasks:
        raise WrongResult(f"{info['tasks']} of {tasks} tasks")
    return 1e6 * took / tasks, 1e6 * used / tasks


Cost = tuple[float, float]


def show_growth(master: MasterAlone, tasks_max: int) -> None:
    rows: list[tuple[object, ...]] = []
    with master.serving(workers=2, slots=1) as (client, process):
        run_job(client, master.request(1000))
        for tasks in [n for n in TASKS if n <= tasks_max]:
            rows.append((2, tasks, *cost_us(client, process, master.request(tasks), tasks)))
    for workers in WORKERS:
        tasks = min(tasks_max, TASKS_BY_WORKERS)
        with master.serving(workers, slots=1) as (client, process):
            run_job(client, master.request(1000))
            rows.append((workers, tasks, *cost_us(client, process, master.request(tasks), tasks)))
    heads = ("simulated workers", "tasks", "us a task", "of these the master's CPU")
    print(tabulate(rows, headers=heads, floatfmt=".1f"))


def show_memory(master: MasterAlone, tasks: int) -> None:
    """What the master keeps of finished tasks, job after job."""
    rows: list[tuple[object, ...]] = []
    with master.serving(workers=2, slots=1) as (client, process):
        run_job(client, master.request(1000))
        first = last = process.memory_full_info().uss
        for number in range(1, MEMORY_JOBS + 1):
            run_job(client, master.request(tasks))
            now = process.memory_full_info().uss
            rows.append(
                (number * tasks, now / 2**20, (now - last) / tasks, (now - first) / number / tasks)
            )
            last = now
    heads = ("tasks so far", "master's MB", "bytes a task of the last job", "of all jobs")
    print(tabulate(rows, headers=heads, floatfmt=".1f"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tasks-max", type=int, default=TASKS[-1])
    parser.add_argument("--scale", type=float, default=1.0, help="part of the no-op tasks")
    args = parser.parse_args()
    site = Site(ROOT / "data" / "large", args.scale)
    rates = ((1, 1), (16, 1), (16, 8))
    shown = ", ".join(f"{messages_per_s(*which, PING_PONG_S):.0f}" for which in rates)
    print(f"bare messages a second, 1 in flight / 16 / 16 of 8: {shown}")
    others = [m for m in (*latency.MEASURES, *cold.MEASURES) if m.name in ("job", "ready")]
    results = []
    for measure in (*MEASURES, *others):
        with measure.open(site) as lanes:
            results.append(report.result_document(measure, run_rounds(lanes, args.rounds)))
    print(report.table(results))
    with tempfile.TemporaryDirectory(prefix="minispark-bench-") as folder:
        master = MasterAlone(site, Path(folder))
        show_growth(master, args.tasks_max)
        show_memory(master, min(args.tasks_max, CHAIN_TASKS_MAX))


if __name__ == "__main__":
    main()
