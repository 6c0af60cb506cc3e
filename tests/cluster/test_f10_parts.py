"""Jobs that write to directories of the user's, also F10 and F30 while they do."""

from __future__ import annotations

import csv
import json
import os
import signal
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from minispark.client import Client
from minispark.errors import MiniSparkError
from tests.cluster.harness import Cluster, attempts_left, wait_until
from tests.jobs import job

WIDTH = 4
PLANS = ["fused", "naive"]


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("parts") / "text.txt"
    path.write_text("".join(f'w{i % 30_000:05} "a,b" x\n' for i in range(150_000)))
    return path


def request(text: Path, out: Path, plan: str) -> dict[str, Any]:
    """The counts of words in three formats, and the lines as they are."""
    nodes = [
        {"id": "read", "op": "read_text", "path": str(text)},
        {"id": "words", "op": "flat_map", "fn": "split_words"},
        {"id": "pairs", "op": "map", "fn": "pair_with_one"},
        {"id": "counts", "op": "reduce_by_key", "fn": "count"},
        {"id": "csv", "op": "write_csv", "path": str(out / "csv")},
        {"id": "jsonl", "op": "write_jsonl", "path": str(out / "jsonl")},
        {"id": "txt", "op": "write_text", "path": str(out / "txt")},
        {"id": "lines", "op": "write_csv", "path": str(out / "lines")},
    ]
    edges = [["read", "words"], ["words", "pairs"], ["pairs", "counts"], ["counts", "csv"]]
    edges += [["counts", "jsonl"], ["counts", "txt"], ["read", "lines"]]
    return job(nodes, WIDTH, plan, edges=edges)


def read_csv(folder: Path, header: list[str]) -> list[list[str]]:
    found: list[list[str]] = []
    for path in sorted(folder.glob("part-*")):
        with path.open(newline="", encoding="utf-8") as file:
            head, *rows = csv.reader(file)
        assert head == header
        found += rows
    return found


def check_parts(text: Path, out: Path, info: dict[str, Any]) -> None:
    """Exactly one part a partition, and all records in them once."""
    for folder in out.iterdir():
        extension = {"lines": "csv"}.get(folder.name, folder.name)
        names = [f"part-{p:05}.{extension}" for p in range(WIDTH)]
        assert sorted(os.listdir(folder)) == ["_SUCCESS", *names]
        assert (folder / "_SUCCESS").read_text() == f"{info['id']}\n"
    lines = text.read_text().splitlines()
    counts = sorted(Counter(" ".join(lines).split()).items())
    rows = [[word, str(count)] for word, count in counts]
    assert sorted(read_csv(out / "csv", ["key", "value"])) == rows
    assert [value for (value,) in read_csv(out / "lines", ["value"])] == lines or info["request"][
        "plan"
    ] == "naive"
    assert sorted(v for (v,) in read_csv(out / "lines", ["value"])) == sorted(lines)
    whole = "".join(path.read_text() for path in (out / "jsonl").glob("part-*"))
    assert sorted(list(json.loads(x).values()) for x in whole.splitlines()) == rows
    whole = "".join(path.read_text() for path in (out / "txt").glob("part-*"))
    assert sorted(line.split("\t") for line in whole.splitlines()) == rows


def submit(client: Client, wanted: dict[str, Any]) -> dict[str, Any]:
    info = client.wait(client.submit(wanted)["id"], timeout_s=60)
    assert info["state"] == "SUCCEEDED", info["status"]
    return info


@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize("victim", [None, "worker-1", "master"])
def test_f10_f30_parts_are_whole_and_once_whoever_dies(
    make_cluster: Callable[..., Cluster], text: Path, tmp_path: Path, plan: str, victim: str | None
) -> None:
    cluster = make_cluster("restart.attempts_max=100")
    with cluster.client() as client:
        info = client.submit(request(text, tmp_path / "out", plan))
        if victim is not None:
            written = (tmp_path / "out").glob
            wait_until(lambda: any(written("*/_temporary/*/*/part-*")), "a part is being written")
            cluster.note_processes()
            os.kill(cluster.process(victim)["pid"], signal.SIGKILL)
        info = client.wait(info["id"], timeout_s=60)
        assert info["state"] == "SUCCEEDED", info["status"]
        check_parts(text, tmp_path / "out", info)
        records = Counter(key for key, _ in client.results(info["id"]))
    assert records["x"] == 3  # the results are what was written, of each of the writers
    wait_until(lambda: attempts_left(cluster) == [], "attempt directories are deleted")


@pytest.mark.parametrize("sign", ["part-00000.txt", "_SUCCESS"])
def test_f30_a_master_killed_while_it_publishes_finishes_that(
    make_cluster: Callable[..., Cluster], tmp_path: Path, sign: str
) -> None:
    out, width = tmp_path / "out", 200
    (tmp_path / "in.txt").write_text("".join(f"{i}\n" for i in range(2000)))
    cluster = make_cluster()
    pid = cluster.process("master")["pid"]
    cluster.note_processes()
    with cluster.client() as client:
        nodes = into(tmp_path / "in.txt", out)["nodes"]
        info = client.submit(job(nodes, width))
        deadline = time.monotonic() + 30
        while not (out / sign).exists():  # no pause: it is there for moments only
            assert time.monotonic() < deadline, "nothing was published"
        os.kill(pid, signal.SIGKILL)
        info = client.wait(info["id"], timeout_s=60)
        assert info["state"] == "SUCCEEDED", info["status"]
    assert sorted(os.listdir(out)) == ["_SUCCESS", *(f"part-{p:05}.txt" for p in range(width))]
    whole = "".join(path.read_text() for path in sorted(out.glob("part-*")))
    assert whole == (tmp_path / "in.txt").read_text()


@pytest.mark.parametrize("ending", ["cancelled", "failed"])
def test_a_job_that_does_not_succeed_leaves_nothing_in_its_directory(
    make_cluster: Callable[..., Cluster], text: Path, tmp_path: Path, ending: str
) -> None:
    out = tmp_path / "out"
    cluster = make_cluster("scheduler.task_retries_max=0")
    nodes = [
        {"id": "read", "op": "read_text", "path": str(text)},
        {"id": "bad", "op": "map", "fn": "m:bad"},
        {"id": "out", "op": "write_csv", "path": str(out)},
    ]
    code = "import time\n\n\ndef bad(row):\n    time.sleep(0.001)\n    return row\n"
    if ending == "failed":
        code = "def bad(row):\n    raise ValueError(row)\n"
    with cluster.client() as client:
        info = client.submit(job(nodes, WIDTH, modules={"m": code}))
        if ending == "cancelled":
            wait_until(lambda: any(out.glob("_temporary/*/*/part-*")), "a part is being written")
            client.cancel(info["id"])
        client.wait(info["id"], timeout_s=60)
        wait_until(lambda: os.listdir(out) == [], "the temporary directory goes")
        with pytest.raises(MiniSparkError, match="is not empty"):
            client.submit(request(text, tmp_path, "fused") | {"dag": into(text, tmp_path)})
        submit(client, job([nodes[0], nodes[2]], WIDTH))  # it can be used again
    assert "_SUCCESS" in os.listdir(out)


def into(text: Path, folder: Path) -> dict[str, Any]:
    nodes = [
        {"id": "read", "op": "read_text", "path": str(text)},
        {"id": "out", "op": "write_text", "path": str(folder)},
    ]
    return {"nodes": nodes, "edges": [["read", "out"]]}
