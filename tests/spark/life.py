"""A real cluster whose jobs run on Spark, for tests of what becomes of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import psutil

from minispark.client import Client
from tests.cluster.harness import Cluster, wait_until
from tests.jobs import job
from tests.spark.standalone import QUICK_START

STARTED_S = 60.0
"""How long Spark may take to start on a loaded machine."""
QUICK = (
    "engine.master=local[2]",
    f"engine.conf.spark.driver.extraJavaOptions={QUICK_START}",
    "restart.backoff_min_s=0.05",
)


def on_spark(document: dict[str, Any]) -> dict[str, Any]:
    return {**document, "engine": "spark"}


def own_map(path: str, source: str, partitions: int = 2) -> dict[str, Any]:
    """Keys counted by a function of the user's, `own:f`, then added up."""
    nodes = [
        {"id": "read", "op": "read_text", "path": path, "partitions": partitions},
        {"id": "own", "op": "map", "fn": "own:f"},
        {"id": "add", "op": "reduce_by_key", "fn": "sum"},
    ]
    return on_spark(job(nodes, partitions, modules={"own": source}))


def gate(folder: Path) -> str:
    """A module whose `f` says in `folder` that it runs, and goes on once somebody opened it."""
    return f"""
import os, time, uuid
def f(line):
    open({str(folder)!r} + "/began-" + uuid.uuid4().hex, "w").close()
    while not os.path.exists({str(folder)!r} + "/open"):
        time.sleep(0.01)
    return line, 1
"""


def began(folder: Path) -> int:
    """How often the gate was reached."""
    return len(list(folder.glob("began-*")))


def begin(client: Client, path: str, folder: Path, partitions: int = 2) -> str:
    """The id of a job on Spark of which a task runs, and waits at the gate."""
    job_id = str(client.submit(own_map(path, gate(folder), partitions))["id"])
    wait_until(lambda: began(folder), "a task runs", STARTED_S)
    return job_id


def records(client: Client, job_id: str) -> list[Any]:
    return sorted(client.results(job_id), key=str)


def driver(cluster: Cluster) -> psutil.Process:
    """The driver's process, once the supervisor runs it."""

    def found() -> psutil.Process | None:
        cluster.note_processes()
        entries = [p for p in cluster.document()["processes"] if p["name"] == "spark-driver"]
        is_up = bool(entries) and entries[0]["state"] == "RUNNING"
        try:
            return psutil.Process(entries[0]["pid"]) if is_up else None
        except psutil.NoSuchProcess:
            return None  # it just ended, and the supervisor says so in a moment

    process = wait_until(found, "the driver runs", STARTED_S)
    assert isinstance(process, psutil.Process)
    return process


def java_of(process: psutil.Process) -> psutil.Process:
    """Spark's Java, once it is there."""

    def found() -> psutil.Process | None:
        return next((p for p in process.children() if "java" in p.name()), None)

    java = wait_until(found, "Java runs", STARTED_S)
    assert isinstance(java, psutil.Process)
    return java
