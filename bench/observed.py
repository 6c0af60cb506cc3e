"""What it costs to be watched: A with the page open, metrics scraped every second and JSON logs,
beside the same job on a cluster that nobody looks at.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from bench import bound
from bench.measure import Lane, Lanes, Measure, Target, WrongResult
from bench.site import ROOT, Site
from bench.warm import THREADS, WORKERS, check_same, found_of, request_of, run_job
from minispark.client import Client
from minispark.cluster import RunningCluster

COST_MAX = 1.03
SEEN = ("overview", "metrics", "event", "tasks")
"""What must have been looked at while the job ran."""


@contextmanager
def watching(cluster: RunningCluster, client: Client) -> Iterator[None]:
    """Somebody looks at the cluster. Raises WrongResult when they saw nothing."""
    urls = [worker["metrics_url"] for worker in client.workers()]
    words = [sys.executable, "-m", "bench.observers", cluster.master_url, cluster.token, *urls]
    process = subprocess.Popen(
        words, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin is not None and process.stdout is not None
    try:
        if process.stdout.readline() != "looking\n":
            raise WrongResult("nobody could look at the cluster")
        yield
    finally:
        process.stdin.close()
        said = process.stdout.read()
        process.stdout.close()
        process.wait()
    looks = json.loads(said)
    unseen = [name for name in SEEN if not looks.get(name)]
    if unseen:
        raise WrongResult(f"nobody looked at {', '.join(unseen)}: {looks}")


@contextmanager
def open_observed(site: Site) -> Iterator[Lanes]:
    paths = site.paths("A")
    expected = bound.run("A", paths)[1]
    request = request_of("A", paths, "fused")

    def lane(client: Client) -> Lane:
        def run() -> float:
            took, info = run_job(client, request)
            check_same("A", found_of(client, info), expected)
            return took

        return run

    with (
        site.cluster(WORKERS, THREADS) as (_, alone),
        site.cluster(WORKERS, THREADS, "logging.format=json") as (cluster, watched),
        watching(cluster, watched),
    ):
        yield Lanes(lane(watched), lane(alone))


MEASURES = (
    Measure(
        "A-observed",
        "A with the page open, metrics scraped every second, JSON logs",
        "s",
        "nobody looks",
        Target(COST_MAX, is_ratio=True),
        open_observed,
    ),
)
