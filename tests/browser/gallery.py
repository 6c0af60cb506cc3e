"""A cluster with jobs whose pages are worth a look: large, failed, hostile, branched, cancelled."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.cluster.harness import Cluster, wait_until

HOSTILE = '<img src=x onerror="window.pwned=1">"\'><script>window.pwned=2</script>'
LONG = "long-" + "x" * 190
TURNED = "\u202eturned\u202c \u0645\u0631\u062d\u0628\u0627 \u05e9\u05dc\u05d5\u05dd \U0001f525"
CRASH = f"""
def crash(value):
    total = 0
    for part in value.split():
        total += int(part)  # {HOSTILE}
    return total
"""
PAUSE = """
import time

def pause(value):
    time.sleep({pause_s})
    return value
"""
WORDS = ("spark", "shuffle", "stage", "task", "<b>bold</b>", "\u00e1rbol", "&amp;", "word")
LINES = 600


def write_lines(path: Path, lines: int = LINES) -> None:
    """Lines of ten words, the same at every run."""
    rng = random.Random(7)
    path.write_text(
        "".join(" ".join(rng.choices(WORDS, k=10)) + "\n" for _ in range(lines)), encoding="utf-8"
    )


def word_count(path: Path, name: str, parallelism: int, **changes: Any) -> dict[str, Any]:
    nodes = [
        {"id": "read", "op": "read_text", "path": str(path)},
        {"id": "words", "op": "flat_map", "fn": "split_words"},
        {"id": "pair", "op": "map", "fn": "pair_with_one"},
        {"id": "count", "op": "reduce_by_key", "fn": "sum", "key": "word"},
    ]
    edges = [["read", "words"], ["words", "pair"], ["pair", "count"]]
    job = {"name": name, "dag": {"nodes": nodes, "edges": edges}, "parallelism": parallelism}
    return {**job, **changes}


def with_step(job: dict[str, Any], function: str, source: str) -> dict[str, Any]:
    """The job with a function of the user's own behind its reader."""
    module = function.partition(":")[0]
    job["dag"]["nodes"].insert(1, {"id": "own", "op": "map", "fn": function})
    job["dag"]["edges"] = [["read", "own"], ["own", "words"], *job["dag"]["edges"][1:]]
    return {**job, "modules": {module: source}}


def slow_job(path: Path, name: str, parallelism: int, pause_s: float) -> dict[str, Any]:
    """A word count that takes so long for each line."""
    source = PAUSE.format(pause_s=pause_s)
    return with_step(word_count(path, name, parallelism), "slow:pause", source)


def branched(path: Path) -> dict[str, Any]:
    def node(name: str, op: str, **fields: str) -> dict[str, str]:
        return {"id": name, "op": op, **fields}

    return {
        "name": "branched",
        "parallelism": 2,
        "dag": {
            "nodes": [
                node("sales", "read_text", path=str(path)),
                node("products", "read_text", path=str(path)),
                node("sale_words", "flat_map", fn="split_words"),
                node("product_words", "flat_map", fn="split_words"),
                node("sale_keys", "map", fn="pair_with_one"),
                node("product_keys", "map", fn="pair_with_one"),
                node("sold", "reduce_by_key", fn="sum"),
                node("made", "reduce_by_key", fn="sum"),
                node("joined", "join", key="word", join_with="made"),
                node("kept", "filter", fn="has_key"),
                node("both", "union"),
                node("total", "reduce_by_key", fn="count"),
            ],
            "edges": [
                ["sales", "sale_words"],
                ["products", "product_words"],
                ["sale_words", "sale_keys"],
                ["product_words", "product_keys"],
                ["sale_keys", "sold"],
                ["product_keys", "made"],
                ["sold", "joined"],
                ["made", "joined"],
                ["joined", "kept"],
                ["kept", "both"],
                ["made", "both"],
                ["both", "total"],
            ],
        },
    }


@dataclass(frozen=True, slots=True)
class Gallery:
    """`jobs`: ids by what they are."""

    cluster: Cluster
    path: Path
    jobs: dict[str, str]

    @classmethod
    def fill(cls, cluster: Cluster) -> Gallery:
        path = cluster.folder / "lines.txt"
        write_lines(path)
        requests = {
            "large": word_count(path, "large", 100),
            "failed": with_step(word_count(path, HOSTILE, 2), "bad:crash", CRASH),
            "hostile": word_count(path, f"{HOSTILE} {TURNED}", 2),
            "long": word_count(path, LONG, 2, plan="naive"),
            "branched": branched(path),
            "cancelled": slow_job(path, "cancelled", 2, 1.0),
        }
        with cluster.client() as client:
            jobs = {kind: client.submit(job)["id"] for kind, job in requests.items()}
            client.cancel(jobs["cancelled"])
            for job_id in jobs.values():
                client.wait(job_id)
            wait_until(lambda: all_up(client), "every worker is Up")
        return cls(cluster, path, jobs)

    def views(self) -> list[str]:
        """What follows `#/` in the addresses of all views."""
        return ["", "jobs", "events", *(f"jobs/{job_id}" for job_id in self.jobs.values())]


def all_up(client: Any) -> bool:
    return all(worker["status"] == "Up" for worker in client.workers())
