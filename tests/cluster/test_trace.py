"""`trace` on real processes: valid whatever happened, and what happened is in it."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests import jobs
from tests.cluster.harness import Cluster, wait_until
from tests.trace_format import arrows, check_trace

CODE = """
import os, time
def slow(line):
    word, marker = line.strip().split("\\t")
    if word == "slow" and not os.path.exists(marker):
        open(marker, "x").close()
        time.sleep(30)
    if word == "fails" and not os.path.exists(marker):
        open(marker, "x").close()
        raise ValueError("the first time")
    return word, 1
def add(a, b):
    return a + b
"""


def request(folder: Path, tasks: int = 8) -> dict[str, Any]:
    """One of its tasks is slow at first, another one fails at first."""
    text = folder / "words.txt"
    words = ["slow", "fails"] + ["quick"] * (tasks - 2)
    lines = [f"{word}\t{folder / word}" for word in words]
    length = max(map(len, lines))
    text.write_text("".join(f"{line:<{length}}\n" for line in lines))  # a task each
    return jobs.job(
        [
            {"id": "read", "op": "read_text", "path": str(text)},
            {"id": "map", "op": "map", "fn": "mine:slow"},
            {"id": "sum", "op": "reduce_by_key", "fn": "mine:add"},
        ],
        tasks,
        modules={"mine": CODE},
    )


def test_copies_retries_and_kills_are_in_a_valid_trace(
    make_cluster: Callable[..., Cluster], tmp_path: Path
) -> None:
    cluster = make_cluster()
    with cluster.client() as client:
        job = client.submit(request(tmp_path))
        wait_until((tmp_path / "slow").exists, "the slow task runs")
        wait_until(lambda: list(client.attempts(job["id"], "FAILED")), "the other one failed")
        held = next(
            a["worker"]
            for a in client.attempts(job["id"], "RUNNING")
            if (a["node_id"], a["partition_id"]) == ("read+map", 0)
        )
        victim = next(w["name"] for w in client.workers() if w["name"] != held)
        cluster.note_processes()
        os.kill(cluster.process(victim)["pid"], signal.SIGKILL)
        assert client.wait(job["id"], 60)["state"] == "SUCCEEDED"
    file = tmp_path / "trace.json"
    done = cluster.cli("trace", "last", "-o", str(file))
    assert done.returncode == 0 and done.stdout == ""
    assert "https://ui.perfetto.dev" in done.stderr
    document = json.loads(file.read_bytes())
    assert cluster.cli("trace", job["id"], "-q").stdout == file.read_text()
    events = document["traceEvents"]
    check_trace(events)
    marks = {(e["name"], e["pid"]) for e in events if e["ph"] == "i"}
    names = {e["args"]["name"]: e["pid"] for e in events if e["name"] == "process_name"}
    assert ("worker DOWN", names[victim]) in marks
    assert {"failed: read+map p1", "retry 1: read+map p1"} <= {name for name, _ in marks}
    (copy,) = [e for e in events if e["name"] == "read+map p0 (speculative)"]
    assert copy["args"]["is_speculative"] and copy["args"]["state"] == "SUCCEEDED"
    (original,) = [e for e in events if e["name"] == "read+map p0 (cancelled)"]
    assert original["args"]["cause"] == "race" and original["pid"] == names[held]
    written = {name for name, read in arrows(events) if read.startswith("sum p")}
    assert "read+map p0 (speculative)" in written


def test_a_trace_of_no_job_is_refused(shared_cluster: Cluster, tmp_path: Path) -> None:
    file = tmp_path / "trace.json"
    done = shared_cluster.cli("trace", "nobody", "-o", str(file))
    assert done.returncode == 1 and "there is no job 'nobody'" in done.stderr
    assert not file.exists()


def test_a_long_job_of_many_small_tasks_has_a_valid_trace(
    shared_cluster: Cluster, tmp_path: Path
) -> None:
    text = tmp_path / "text.txt"
    text.write_text("a few words of text\n" * 20_000)
    with shared_cluster.client() as client:
        for plan in ("fused", "naive"):
            job = client.submit(jobs.word_count(str(text), 40, plan))
            running = json.loads(b"".join(client.timeline(job["id"])))
            check_trace(running["traceEvents"])
            assert client.wait(job["id"], 60)["state"] == "SUCCEEDED"
            events = json.loads(b"".join(client.timeline(job["id"])))["traceEvents"]
            check_trace(events)
            assert len([e for e in events if e["ph"] == "X"]) > 80
            rows = [e["args"]["name"] for e in events if e["name"] == "thread_name"]
            # no clock disagrees by so much that there are more
            assert set(rows) <= {"events", "slot 0", "slot 1"}, rows
            assert arrows(events)
