"""F51: every endpoint as its OpenAPI description has it, called with right and wrong data."""

from __future__ import annotations

import itertools
import os
import random
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, Verbosity, given, seed, settings
from hypothesis import strategies as st

from minispark.model.ids import NIL_ID
from tests.cluster.api_fuzzing import Api, Call, document_of
from tests.cluster.foreign_worker import call as foreign_call
from tests.cluster.harness import Cluster, wait_until
from tests.jobs import job, join, word_count

FUZZ_S = float(os.environ.get("SOAK_FUZZ_S", "5"))
"""No round begins after that; there is always one. `scripts/soak fuzz` takes longer."""
CALLS = 10
"""Of each operation in a round, and BODY_CALLS of those that take a body."""
BODY_CALLS = 40
TARGET = "worker-3"
"""The one that actions are drawn for: it may be away while other calls are made."""
TEXT = "a b a\nc a\n"
WORDS = {"a": "3", "b": "1", "c": "1"}
MODULES = {
    "m": "def f(value):\n    return value\n",
    "loop": "def f(value):\n    return [value]\n",
    "bad": "def f(:\n",
}
READ = {"id": "r", "op": "read_text", "path": "in.txt"}
JOBS = [
    word_count("in.txt", 2),
    word_count("in.txt", 3, "naive"),
    join("data/input.csv", "data/input.csv", 2),
    job([READ, {"id": "m", "op": "map", "fn": "m:f"}], 1, modules=MODULES),
    job([READ, {"id": "m", "op": "map", "expr": "value + 1"}], 1),
    job([READ, {"id": "m", "op": "write_csv", "path": "out"}], 2),
    job([READ, {"id": "m", "op": "sample", "fraction": 0.5, "seed": 7}], 2),
    job([READ, {"id": "m", "op": "take", "n": 1}], 2),
]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """In a directory of its own: jobs write where they are told to."""
    made = Cluster(
        "retention.jobs_max=30",
        "restart.attempts_max=1000",
        "restart.backoff_max_s=1",
        "scheduler.heartbeat_timeout_s=3",
    )
    made.cwd = made.folder / "work"
    (made.cwd / "data").mkdir(parents=True)
    for name in ("in.txt", "data/input.csv"):
        (made.cwd / name).write_text(TEXT)
    done = made.up()
    assert done.returncode == 0, done.stderr + made.logs()
    yield made
    logs = made.logs()
    print(logs)
    assert made.close() == [], logs


def master_api(cluster: Cluster) -> Api:
    with cluster.client() as client:
        job = client.submit(word_count("in.txt", 2))
        job_id = client.wait(job["id"], timeout_s=30)["id"]
        workers = [worker["id"] for worker in client.workers()[:3]]
    port = cluster.process("master")["ports"]["http"]
    stranger = {"id": NIL_ID, "host": "h", "port": 1}
    url = f"http://127.0.0.1:{port}"
    workers += [foreign_call(url, "POST", "/api/v1/workers/register", stranger)[1]["id"]] * 3
    few = st.integers(1, 7)
    whole = str((cluster.cwd / "in.txt").resolve())
    paths = st.sampled_from(
        [whole, "in.txt", "data/input.csv", "*.txt", "out", "none", "", ".", "\0"]
    )
    ops = ["read_text", "map", "flat_map", "reduce_by_key", "join", "sort_by_key", "write_csv"]
    hints: dict[str, st.SearchStrategy[Any]] = {
        "uuid": st.sampled_from([job_id, job_id.upper(), *workers]),
        "id": st.sampled_from([job_id, "r", "m"]),
        "JobRequest": st.sampled_from(JOBS),
        "name": st.just(TARGET),
        "wait_s": st.sampled_from([0, 1]),
        "parallelism": few,
        "partitions": few,
        "path": paths,
        "Range": st.sampled_from(["bytes=0-3", "bytes=2-", "bytes=-2", "bytes=9999-"]),
        "op": st.sampled_from(ops),
        "fn": st.sampled_from(["split_words", "sum", "m:f", "loop:f", "bad:f", "m:", ":"]),
        "expr": st.sampled_from(["value", "value + 1", "1 / 0", "(" * 200, "key", ""]),
        "modules": st.just(MODULES),
        "edges": st.just([["r", "m"]]),
    }
    token = (cluster.state_dir / "token").read_text().strip()
    return Api(port, document_of(port), token, hints, expected_503=("not_ready",))


def worker_api(cluster: Cluster) -> Api:
    port = cluster.process("worker-1")["ports"]["metrics"]
    return Api(port, document_of(port), None, {})


def fuzz(api: Api, number: int) -> None:
    """Every operation, a round of calls of it."""
    for index, operation in enumerate(api.operations):

        @seed(number + 1000 * index)
        @settings(
            max_examples=BODY_CALLS if "requestBody" in operation.what else CALLS,
            phases=[Phase.generate],  # what a call finds depends on the ones before it
            verbosity=Verbosity.quiet,  # what is asserted says enough
            suppress_health_check=list(HealthCheck),
        )
        @given(call=api.calls_of(operation))
        def calls(call: Call) -> None:
            api.check(call)

        calls()


def test_f51_no_call_is_answered_otherwise_than_documented(cluster: Cluster) -> None:
    number = int(os.environ.get("SOAK_FUZZ_SEED", random.randrange(2**32)))
    print(f"SOAK_FUZZ_SEED={number}")
    pid = cluster.process("master")["pid"]
    seen: Counter[tuple[str, int]] = Counter()
    deadline = time.monotonic() + FUZZ_S
    for further in itertools.count():
        if further and time.monotonic() > deadline:
            break
        api = master_api(cluster)
        fuzz(api, number + further)
        resume(api)
        seen += api.seen
        print(f"round {further}: {sum(seen.values())} calls", flush=True)
    fuzz(worker_api(cluster), number)
    for (name, status), count in sorted(seen.items()):
        print(f"{name:<45} {status} {count:>6}")
    print(f"{sum(seen.values())} calls, the slowest took {api.slowest_s:.2f} s")
    assert {name for name, _ in seen} == {operation.name for operation in api.operations}
    assert {401, 400, 404, 200} <= {status for _, status in seen}
    assert cluster.process("master")["pid"] == pid, "the master was started anew"
    assert " ERROR " not in cluster.logs()
    with cluster.client() as client:
        for job in client.jobs():
            client.cancel(job["id"])
        wait_until(lambda: sum(w["status"] == "Up" for w in ours(client.workers())) == 3, "Up")
        job = client.wait(client.submit(word_count("in.txt", 3))["id"], timeout_s=30)
        assert job["state"] == "SUCCEEDED", job
        assert dict(client.results(job["id"])) == WORDS


def resume(api: Api) -> None:
    """Whatever was done to TARGET last: it goes on, or is started again by itself."""
    path = "/api/v1/workers/{name}/resume"
    (operation,) = (one for one in api.operations if one.name == f"POST {path}")
    headers = {"Authorization": f"Bearer {api.token}"}
    status, _ = api.check(Call(operation, path.replace("{name}", TARGET), headers, None, None))
    assert status in (200, 409)


def ours(workers: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [worker for worker in workers if worker["kind"] == "socket"]
