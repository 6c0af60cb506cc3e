"""Serves one peer: a job a line on stdin, an answer a line on stdout.

usage: python -m bench.peers.serve NAME FOLDER
A peer's module has `start(folder)`, which gives a session, and of that `word_count(path,
has_header, out)` and `join(sales, products, out)`: they write lines `key<TAB>value` to files in
`out`. What is found there is counted when the clock has stopped. One that runs single tasks has
`no_ops(count)` as well: how many tasks of `by_hand.nothing` gave their answer.
"""

from __future__ import annotations

import importlib
import json
import shutil
import sys
import time
from pathlib import Path
from typing import Any

MODULES = {
    "duckdb": "duckdb_peer",
    "polars": "polars_peer",
    "pyspark": "pyspark_peer",
    "pyspark-rdd": "pyspark_rdd_peer",
    "ray": "ray_peer",
    "dask": "dask_peer",
}

NO_OPS = "no-ops"


def main() -> None:
    name, folder = sys.argv[1], Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    begun = time.perf_counter()
    try:
        module = importlib.import_module(f"bench.peers.{MODULES[name]}")
    except ImportError as error:
        say({"error": f"it cannot be imported ({error})"})
        return
    session = module.start(folder)
    say({"ready_s": time.perf_counter() - begun})
    for line in sys.stdin:
        job = json.loads(line)
        out = folder / "out"
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir()
        try:
            say(run(session, job, out))
        except Exception as error:
            said = str(error).strip().splitlines() or [""]
            say({"error": f"{type(error).__name__}: {said[0][:300]}"})
    session.close()


def run(session: Any, job: dict[str, Any], out: Path) -> dict[str, Any]:
    which, paths = job["which"], job["paths"]
    if which == NO_OPS:
        return no_ops(session, job["count"])
    begun = time.perf_counter()
    if which == "C":
        session.join(*paths, out)
    else:
        session.word_count(paths[0], which.startswith("A"), out)
    took = time.perf_counter() - begun
    found = count(out, which == "C")
    return {"seconds": took, "found": found, "checked_s": time.perf_counter() - begun - took}


def no_ops(session: Any, tasks: int) -> dict[str, Any]:
    begun = time.perf_counter()
    done = session.no_ops(tasks)
    return {"seconds": time.perf_counter() - begun, "found": (tasks, done), "checked_s": 0.0}


def count(out: Path, is_join: bool) -> tuple[int, int]:
    """Rows, and the sum of their values where these are counts."""
    rows = total = 0
    for path in out.rglob("*"):
        if path.is_file() and not path.name.startswith((".", "_")):
            with path.open(encoding="utf-8") as file:
                for line in file:
                    rows += 1
                    total += 0 if is_join else int(line.rpartition("\t")[2])
    return rows, total


def say(answer: dict[str, Any]) -> None:
    print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
