"""What a task costs the master as tasks and workers become more, and what it keeps of each.

`python -m bench.scaling` shows the costs at more sizes. The workers are simulated, over real
sockets: what is left is the master, its journal and its disk.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import Any

import psutil
from tabulate import tabulate

from bench.measure import Lanes, Measure, Target, WrongResult
from bench.simulated_workers import simulated_workers
from bench.site import ROOT, Site
from bench.warm import run_job
from minispark.client import Client

FEW_TASKS, MANY_TASKS = 1_000, 100_000
FEW_JOBS = 20
"""So many jobs of few tasks: what they take is far above a tick of the process's clock, 10 ms."""
ONE_WORKER, MANY_WORKERS = 1, 64
TASKS_BY_WORKERS = 20_000
WARM_TASKS = 1_000
FLAT_MAX = 1.25
"""As flat counts what is within the spread of the figures themselves on a shared machine."""
JOB_TASKS = 10_000
"""Partitions of one node, at most; more tasks are several chains of one job."""
KEPT_JOBS = 10
TASK_KEPT_BYTES_MAX = 100.0
"""A running task takes the master some 700 bytes. What stays below a seventh of it is no record
that is kept for each finished task, but what a job's picture and the database's cache take.
"""
SERIES_TASKS = (100, 1_000, 10_000, 100_000)
SERIES_WORKERS = (1, 4, 16, 64)


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one task: what it took by the wall clock, and of the master's processor."""

    wall_us: float
    cpu_us: float


class MasterAlone:
    """Clusters without workers of their own, for simulated ones."""

    def __init__(self, site: Site, folder: Path) -> None:
        self._site = site
        self._input = folder / "empty.txt"
        self._input.write_text("")

    @contextmanager
    def serving(self, workers: int) -> Iterator[tuple[Client, psutil.Process]]:
        """A client of one, and its master's process, once so many workers of one slot are Up and
        have done something.
        """
        with self._site.cluster(0, 1) as (cluster, client):
            (master,) = psutil.Process(cluster.supervisor_pid).children()
            port = client.cluster()["socket_port"]
            with simulated_workers(port, cluster.token, workers, slots=1):
                while sum(w["status"] == "Up" for w in client.workers()) < workers:
                    time.sleep(0.01)
                run_job(client, self.request(WARM_TASKS))
                yield client, master

    def request(self, tasks: int) -> dict[str, Any]:
        """A job of so many tasks that do nothing, and one more for each chain."""
        nodes: list[dict[str, Any]] = []
        edges: list[list[str]] = []
        chains = -(-tasks // JOB_TASKS)
        for c in range(chains):
            nodes += [
                {"id": f"read{c}", "op": "read_text", "path": str(self._input)},
                {"id": f"pair{c}", "op": "map", "fn": "pair_with_one"},
                {"id": f"sum{c}", "op": "reduce_by_key", "fn": "sum", "partitions": 1},
            ]
            edges += [[f"read{c}", f"pair{c}"], [f"pair{c}", f"sum{c}"]]
        dag = {"nodes": nodes, "edges": edges}
        return {"name": "no-ops", "parallelism": -(-tasks // chains), "plan": "fused", "dag": dag}

    def cost(self, client: Client, master: psutil.Process, tasks: int, jobs: int = 1) -> Cost:
        """Of each task of so many jobs, one after the other. Raises WrongResult."""
        request = self.request(tasks)
        wall_s, used_s = 0.0, sum(master.cpu_times()[:2])
        for _ in range(jobs):
            took_s, info = run_job(client, request)
            wall_s += took_s
            if info["tasks"]["completed"] < tasks:
                raise WrongResult(f"{info['tasks']} of {tasks} tasks")
        used_s = sum(master.cpu_times()[:2]) - used_s
        return Cost(1e6 * wall_s / tasks / jobs, 1e6 * used_s / tasks / jobs)


@contextmanager
def master_alone(site: Site) -> Iterator[MasterAlone]:
    with tempfile.TemporaryDirectory(prefix="minispark-bench-") as folder:
        yield MasterAlone(site, Path(folder))


def scaled(tasks: int, site: Site) -> int:
    return max(1, int(tasks * site.scale))


# --- measures ------------------------------------------------------------------------------


@contextmanager
def open_tasks(figure: Callable[[Cost], float], site: Site) -> Iterator[Lanes]:
    """A job of many tasks beside jobs of few, on one master."""
    many, few = scaled(MANY_TASKS, site), scaled(FEW_TASKS, site)
    with master_alone(site) as alone, alone.serving(workers=2) as (client, master):
        yield Lanes(
            lambda: figure(alone.cost(client, master, many)),
            lambda: figure(alone.cost(client, master, few, FEW_JOBS)),
        )


@contextmanager
def open_workers(figure: Callable[[Cost], float], site: Site) -> Iterator[Lanes]:
    """The same job on many workers beside one, each with a master of its own."""
    tasks = scaled(TASKS_BY_WORKERS, site)
    with (
        master_alone(site) as alone,
        alone.serving(MANY_WORKERS) as many,
        alone.serving(ONE_WORKER) as one,
    ):
        yield Lanes(
            lambda: figure(alone.cost(*many, tasks)), lambda: figure(alone.cost(*one, tasks))
        )


@contextmanager
def open_memory(site: Site) -> Iterator[Lanes]:
    """Each time of a master that is new: an old one has room from what it did before."""
    tasks = scaled(JOB_TASKS, site)
    with master_alone(site) as alone:

        def kept_bytes() -> float:
            with alone.serving(workers=2) as (client, master):
                alone.cost(client, master, tasks)
                # resident, not its own alone: a page that it shared until it wrote to it is not new
                first = master.memory_info().rss
                alone.cost(client, master, tasks, KEPT_JOBS - 1)
                return (master.memory_info().rss - first) / (KEPT_JOBS - 1) / tasks

        yield Lanes(kept_bytes)


def _flat(name: str, what: str, baseline: str, opened: Callable[..., Any], clock: str) -> Measure:
    target = Target(FLAT_MAX, is_ratio=True)
    return Measure(name, what, "us", baseline, target, partial(opened, attrgetter(clock)))


_OF_TASKS = f"a no-op task of {MANY_TASKS:,}, 2 simulated workers"
_OF_WORKERS = f"a no-op task, {MANY_WORKERS} simulated workers"
MEASURES = (
    _flat("tasks-flat", f"the master's CPU for {_OF_TASKS}", f"of {FEW_TASKS:,}", open_tasks,
          "cpu_us"),
    _flat("tasks-flat-wall", f"wall clock of {_OF_TASKS}", f"of {FEW_TASKS:,}", open_tasks,
          "wall_us"),
    _flat("workers-flat", f"the master's CPU for {_OF_WORKERS}", f"on {ONE_WORKER}", open_workers,
          "cpu_us"),
    _flat("workers-flat-wall", f"wall clock of {_OF_WORKERS}", f"on {ONE_WORKER}", open_workers,
          "wall_us"),
    Measure(
        "task-memory",
        f"what the master keeps of each task from {JOB_TASKS:,} to {KEPT_JOBS * JOB_TASKS:,} ended",
        "B", "", Target(TASK_KEPT_BYTES_MAX), open_memory,
    ),
)  # fmt: skip


# --- more sizes ----------------------------------------------------------------------------


def series(alone: MasterAlone) -> Iterator[tuple[int, int, float, float]]:
    """Workers, tasks, and what a task took in microseconds: by the wall clock, and CPU."""
    with alone.serving(workers=2) as serving:
        for tasks in SERIES_TASKS:
            cost = alone.cost(*serving, tasks)
            yield 2, tasks, cost.wall_us, cost.cpu_us
    for workers in SERIES_WORKERS:
        with alone.serving(workers) as serving:
            cost = alone.cost(*serving, TASKS_BY_WORKERS)
            yield workers, TASKS_BY_WORKERS, cost.wall_us, cost.cpu_us


def main() -> None:
    with master_alone(Site(ROOT / "data" / "large")) as alone:
        heads = ("simulated workers", "tasks", "us a task", "of these the master's CPU")
        print(tabulate(series(alone), headers=heads, floatfmt=".1f"))


if __name__ == "__main__":
    main()
