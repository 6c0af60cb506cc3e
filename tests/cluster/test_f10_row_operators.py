"""F10, F30: jobs of the newer operators, during which a worker and the master are killed."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.harness import Cluster, attempts_left, wait_until
from tests.jobs import job

LINES = 60_000


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("rows") / "text.txt"
    path.write_text("".join(f"w{i % 30_000:05} w{i * 7 % 20_000:05} x\n" for i in range(LINES)))
    return path


def request(text: Path, plan: str) -> dict[str, Any]:
    """The words in order, each with how often it stands, beside the first ones of them."""
    nodes = [
        {"id": "read", "op": "read_text", "path": str(text)},
        {"id": "words", "op": "flat_map", "fn": "split_words"},
        {"id": "pairs", "op": "map", "fn": "pair_with_one"},
        {"id": "counts", "op": "reduce_by_key", "fn": "count"},
        {"id": "once", "op": "distinct"},
        {"id": "both", "op": "left_outer_join", "join_with": "once"},
        {"id": "order", "op": "sort_by_key"},
    ]
    edges = [["read", "words"], ["words", "pairs"], ["pairs", "counts"], ["pairs", "once"]]
    edges += [["counts", "both"], ["both", "order"]]
    return job(nodes, 6, plan, edges=edges)


@pytest.mark.parametrize("plan", ["fused", "naive"])
@pytest.mark.parametrize("victim", ["worker-1", "master"])
def test_f10_f30_a_total_order_survives_the_death_of(
    make_cluster: Callable[..., Cluster], text: Path, plan: str, victim: str
) -> None:
    counts = Counter(text.read_text().split())
    cluster = make_cluster("restart.attempts_max=100")
    with cluster.client() as client:
        info = client.submit(request(text, plan))

        def done() -> list[Any]:
            found: list[Any] = client.tasks(info["id"], limit=1000, state="SUCCEEDED")["tasks"]
            return [task for task in found if task["node_id"].startswith(("once", "both"))]

        wait_until(done, "a task behind a shuffle is done")
        cluster.note_processes()
        os.kill(cluster.process(victim)["pid"], signal.SIGKILL)
        info = client.wait(info["id"], timeout_s=60)
        assert info["state"] == "SUCCEEDED", info["status"]
        found = list(client.results(info["id"]))
    assert found == [(word, f"({counts[word]},1)") for word in sorted(counts)]
    wait_until(lambda: attempts_left(cluster) == [], "attempt directories are deleted")
