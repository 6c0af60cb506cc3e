"""F01, F02, F03, F05, F06: right answers with real processes and no faults."""

from __future__ import annotations

import json
import os
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests import jobs, oracle
from tests.cluster.harness import PLAIN_ENVIRONMENT, Cluster, attempts_left, wait_until

PLANS = ("fused", "naive")
PARALLELISM = (1, 2, 4, 13)
STDLIB = Path(os.__file__).parent


def run(cluster: Cluster, request: dict[str, Any]) -> oracle.Records:
    """Run the job to its end; its records, sorted."""
    with cluster.client() as client:
        info = client.wait(client.submit(request)["id"], timeout_s=120)
        assert info["state"] == "SUCCEEDED", info["status"]
        return sorted(client.results(info["id"]), key=lambda row: (row[0] or "", row[1]))


@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize("parallelism", PARALLELISM)
def test_f01_word_count_of_the_standard_library(
    shared_cluster: Cluster, plan: str, parallelism: int
) -> None:
    files = sorted(p for p in STDLIB.glob("[a-e]*.py"))
    expected = oracle.word_count(oracle.lines_of(files))
    request = jobs.word_count(f"{STDLIB}/[a-e]*.py", parallelism, plan)
    assert run(shared_cluster, request) == expected


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("tables")
    rng = random.Random(5)
    sales = [["product_id", "quantity"]]
    sales += [[f"p{rng.randint(1, 400)}", str(rng.randint(1, 99))] for _ in range(5000)]
    products = [["product_id", "name"]]
    products += [[f"p{i}", f"name of {i}"] for i in range(1, 301)] + [["p7", "twin"]]
    return (
        oracle.write_csv(folder / "sales.csv", sales),
        oracle.write_csv(folder / "products.csv", products),
    )


@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize("parallelism", PARALLELISM)
def test_f01_join(
    shared_cluster: Cluster, tables: tuple[Path, Path], plan: str, parallelism: int
) -> None:
    request = jobs.join(str(tables[0]), str(tables[1]), parallelism, plan)
    assert run(shared_cluster, request) == oracle.join(*tables)


def test_f01_join_by_shuffle_of_both_sides(
    shared_cluster: Cluster, tables: tuple[Path, Path]
) -> None:
    request = jobs.join(str(tables[0]), str(tables[1]), 3, "fused")
    request["dag"]["nodes"][4]["partitions"] = 5
    assert run(shared_cluster, request) == oracle.join(*tables)


@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize("parallelism", PARALLELISM)
def test_f01_inverted_index(
    shared_cluster: Cluster, tmp_path: Path, plan: str, parallelism: int
) -> None:
    """Rows `word,document`: for each word its documents, comma-joined in the order of the rows."""
    rng = random.Random(11)
    rows = [(f"w{rng.randint(1, 50)}", f"d{rng.randint(1, 9)}") for _ in range(2000)]
    path = tmp_path / "pairs.txt"
    path.write_text("".join(f"{word},{document}\n" for word, document in rows))
    documents: dict[str, list[str]] = {}
    for word, document in rows:
        documents.setdefault(word, []).append(document)
    request = jobs.job(
        [
            {"id": "read", "op": "read_text", "path": str(path)},
            {"id": "pair", "op": "map", "fn_name": "extract_key"},
            {"id": "index", "op": "reduce_by_key", "fn_name": "concat"},
        ],
        parallelism,
        plan,
    )
    expected = sorted((word, ",".join(found)) for word, found in documents.items())
    assert run(shared_cluster, request) == expected


@pytest.mark.parametrize("plan", PLANS)
def test_the_canonical_course_job_runs_unchanged(shared_cluster: Cluster, plan: str) -> None:
    request = json.loads(Path("data/jobs/wordcount.json").read_text())
    request["plan"] = plan
    lines = oracle.lines_of([Path("data/input.csv")], is_csv=True)
    assert run(shared_cluster, request) == oracle.word_count(line.lower() for line in lines)


TRICKY = {
    "empty": "",
    "one word": "word",
    "fewer lines than partitions": "a b\nb c\n",
    "blank lines": "\n\n a \n\n\nb a\n\n",
    "carriage returns": "a b\r\nb\rc\r\n\rd e\r",
    "unicode": "e\u0301 é שלום 𝕏𝕏 a\u2028b a\x1cb a\u00a0b x\x00y\n" * 3 + "ﬁ İ ΣΑΣ\n",
    "long line": "w " * 600_000 + "end\n" + "tail",
    "one hot key": "hot " * 9000 + "\n" + " ".join(f"k{i}" for i in range(1000)),
}


@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize("name", TRICKY)
def test_f02_tricky_text(shared_cluster: Cluster, tmp_path: Path, plan: str, name: str) -> None:
    path = tmp_path / "input.txt"
    path.write_text(TRICKY[name], encoding="utf-8", newline="")
    expected = oracle.word_count(oracle.lines_of([path]))
    assert run(shared_cluster, jobs.word_count(str(path), 5, plan)) == expected


@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize(
    "text", ["text\n", "text", "text\n\n\na b\n\n", 'text,more\n"a, b",c\n5" nail,3\n']
)
def test_f02_tricky_csv(shared_cluster: Cluster, tmp_path: Path, plan: str, text: str) -> None:
    path = tmp_path / "input.csv"
    path.write_text(text)
    expected = oracle.word_count(oracle.lines_of([path], is_csv=True))
    assert run(shared_cluster, jobs.word_count(str(path), 4, plan, "read_csv")) == expected


@pytest.mark.parametrize("plan", PLANS)
def test_f02_join_with_an_empty_side(shared_cluster: Cluster, tmp_path: Path, plan: str) -> None:
    left = oracle.write_csv(tmp_path / "l.csv", [["id", "v"], ["a", "1"], ["b", "2"]])
    right = oracle.write_csv(tmp_path / "r.csv", [["id", "v"]])
    assert run(shared_cluster, jobs.join(str(left), str(right), 2, plan)) == []
    assert run(shared_cluster, jobs.join(str(right), str(left), 2, plan)) == []


def test_f03_the_same_job_gives_the_same_files(
    make_cluster: Callable[..., Cluster], monkeypatch: pytest.MonkeyPatch
) -> None:
    contents: list[dict[str, bytes]] = []
    for seed in ("1", "4242"):
        monkeypatch.setitem(PLAIN_ENVIRONMENT, "PYTHONHASHSEED", seed)
        cluster = make_cluster(workers=2)
        for plan in PLANS:
            request = jobs.word_count(f"{STDLIB}/[a-c]*.py", 4, plan)
            with cluster.client() as client:
                info = client.wait(client.submit(request)["id"], timeout_s=60)
            assert info["state"] == "SUCCEEDED"
            files = sorted(cluster.state_dir.glob(f"{info['id']}_*.json"))
            contents.append(
                {path.name.removeprefix(info["id"]): path.read_bytes() for path in files}
            )
    assert contents[0] and contents[0] == contents[2]
    assert contents[1] and contents[1] == contents[3]


def test_f05_f06_every_task_runs_once_and_nothing_is_left(
    make_cluster: Callable[..., Cluster],
) -> None:
    cluster = make_cluster(workers=2)
    with cluster.client() as client:
        for plan in PLANS:
            info = client.submit(jobs.word_count(f"{STDLIB}/*.py", 8, plan))
            info = client.wait(info["id"], timeout_s=120)
            assert info["state"] == "SUCCEEDED"
            # F06: what is called complete can be read at once, whole
            for result in client.result_files(info["id"]):
                for path in (result["output_path"], *result["shuffle_outputs"]):
                    if path is not None:
                        assert isinstance(json.loads(Path(path).read_bytes())["records"], list)
            attempts = client.tasks(info["id"], limit=1000)["tasks"]
            tasks = Counter((a["node_id"], a["partition_id"]) for a in attempts)
            assert set(tasks.values()) == {1}
            assert len(tasks) == sum(info["tasks"].values())
            assert {a["state"] for a in attempts} == {"SUCCEEDED"}
    wait_until(lambda: attempts_left(cluster) == [], "attempt directories are deleted")
