"""Every operator, reader and reducer on real processes: both plans give the same, right answer."""

from __future__ import annotations

import gzip
import json
import random
from collections import Counter
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.harness import Cluster
from tests.jobs import job
from tests.oracle import Records

PLANS = ("fused", "naive")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("plans")
    rng = random.Random(3)
    rows = [(rng.choice("abcde"), rng.randint(-50, 50), rng.choice("xyz")) for _ in range(3000)]
    with (folder / "rows.csv").open("w") as file:
        file.write("city,price,code\n")
        file.writelines(f"{city},{price}.{abs(price) % 10},{code}\n" for city, price, code in rows)
    with (folder / "rows.jsonl").open("w") as file:
        file.writelines(json.dumps({"city": c, "price": p}) + "\n" for c, p, _ in rows)
    with gzip.open(folder / "words.txt.gz", "wt") as file:
        file.writelines(f"{city} {code}\n" for city, _, code in rows)
    (folder / "words.txt").write_text("".join(f"{city} {code}\n" for city, _, code in rows))
    return folder


def table(folder: Path) -> list[tuple[str, str, str]]:
    lines = (folder / "rows.csv").read_text().splitlines()[1:]
    return [tuple(line.split(",")) for line in lines]  # type: ignore[misc]


def grouped(folder: Path) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {}
    for city, price, _ in table(folder):
        groups.setdefault(city, []).append(price)
    return groups


def run(cluster: Cluster, request: dict[str, Any], plan: str) -> Records:
    with cluster.client() as client:
        info = client.wait(client.submit({**request, "plan": plan})["id"], timeout_s=60)
        assert info["state"] == "SUCCEEDED", info["status"]
        return sorted(client.results(info["id"]), key=lambda row: (row[0] or "", row[1]))


def reduce_columns(folder: Path, fn: str, name: str = "rows.csv", op: str = "read_csv") -> Any:
    node = {"id": "r", "op": "reduce_by_key", "key": "city", "value": "price", "fn": fn}
    return job([{"id": "read", "op": op, "path": str(folder / name)}, node], 3)


@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize("fn", ["sum", "count", "min", "max", "avg", "concat"])
def test_reducers_over_columns(shared_cluster: Cluster, folder: Path, plan: str, fn: str) -> None:
    found = dict(run(shared_cluster, reduce_columns(folder, fn), plan))
    groups = grouped(folder)
    assert set(found) == set(groups)
    for city, prices in groups.items():
        numbers = [Fraction(price) for price in prices]
        match fn:
            case "sum":
                assert Fraction(found[city]) == sum(numbers)
            case "count":
                assert found[city] == str(len(numbers))
            case "min" | "max":
                assert Fraction(found[city]) == {"min": min, "max": max}[fn](numbers)
            case "avg":
                assert found[city] == repr(float(sum(numbers) / len(numbers)))
            case _:
                assert sorted(found[city].split(",")) == sorted(prices)


@pytest.mark.parametrize("plan", PLANS)
def test_json_fields(shared_cluster: Cluster, folder: Path, plan: str) -> None:
    request = reduce_columns(folder, "max", "rows.jsonl", "read_jsonl")
    best: dict[str, int] = {}
    for line in (folder / "rows.jsonl").read_text().splitlines():
        row = json.loads(line)
        best[row["city"]] = max(row["price"], best.get(row["city"], -99))
    assert run(shared_cluster, request, plan) == sorted((c, str(p)) for c, p in best.items())


WORDS = {"id": "split", "op": "flat_map"}
PAIR = {"id": "pair", "op": "map", "fn": "pair_with_one"}


def words(folder: Path, *more: dict[str, Any], **options: Any) -> dict[str, Any]:
    read = {"id": "read", "op": "read_text", "path": str(folder / options.pop("name", "words.txt"))}
    return job([read, WORDS, PAIR, *more], 3, **options)


def counts(folder: Path) -> dict[str, int]:
    found: dict[str, int] = {}
    for word in (folder / "words.txt").read_text().split():
        found[word] = found.get(word, 0) + 1
    return found


@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize("read_back", [True, False])
def test_an_explicit_shuffle(
    shared_cluster: Cluster, folder: Path, plan: str, read_back: bool
) -> None:
    nodes = [{"id": "w", "op": "shuffle_write", "partitions": 5}]
    nodes += [{"id": "s", "op": "shuffle_read"}] if read_back else []
    request = words(folder, *nodes, {"id": "r", "op": "reduce_by_key", "partitions": 5})
    expected = sorted((word, str(count)) for word, count in counts(folder).items())
    assert run(shared_cluster, request, plan) == expected


@pytest.mark.parametrize("plan", PLANS)
def test_a_shuffle_alone_moves_records_and_changes_none(
    shared_cluster: Cluster, folder: Path, plan: str
) -> None:
    write = {"id": "w", "op": "shuffle_write", "partitions": 4}
    request = words(folder, write, {"id": "s", "op": "shuffle_read"})
    expected = sorted((word, "1") for word, n in counts(folder).items() for _ in range(n))
    assert run(shared_cluster, request, plan) == expected


@pytest.mark.parametrize("plan", PLANS)
def test_a_diamond(shared_cluster: Cluster, folder: Path, plan: str) -> None:
    request = words(
        folder,
        {"id": "a", "op": "reduce_by_key", "fn": "count"},
        {"id": "b", "op": "reduce_by_key", "fn": "max"},
        {"id": "j", "op": "join", "join_with": "b"},
        {"id": "low", "op": "map", "fn": "to_upper"},
        edges=[
            ["read", "split"], ["split", "pair"], ["pair", "a"], ["pair", "b"], ["a", "j"],
            ["b", "j"], ["j", "low"],
        ],
    )  # fmt: skip
    expected = sorted((word, f"({count},1)") for word, count in counts(folder).items())
    assert run(shared_cluster, request, plan) == expected


@pytest.mark.parametrize("plan", PLANS)
def test_several_leaves(shared_cluster: Cluster, folder: Path, plan: str) -> None:
    request = words(
        folder,
        {"id": "r", "op": "reduce_by_key"},
        {"id": "keys", "op": "filter", "fn": "has_key"},
        edges=[["read", "split"], ["split", "pair"], ["pair", "r"], ["pair", "keys"]],
    )
    found = counts(folder)
    expected = [(word, str(count)) for word, count in found.items()]
    expected += [(word, "1") for word, count in found.items() for _ in range(count)]
    assert run(shared_cluster, request, plan) == sorted(expected)


@pytest.mark.parametrize("plan", PLANS)
def test_compressed_input_and_a_reduce_of_a_reduce(
    shared_cluster: Cluster, folder: Path, plan: str
) -> None:
    request = words(
        folder,
        {"id": "r", "op": "reduce_by_key"},
        {"id": "swap", "op": "map", "fn": "pair_with_one"},
        {"id": "again", "op": "reduce_by_key"},
        name="words.txt.gz",
    )
    tally: dict[str, int] = {}
    for count in counts(folder).values():
        tally[str(count)] = tally.get(str(count), 0) + 1
    expected = sorted((count, str(n)) for count, n in tally.items())
    assert run(shared_cluster, request, plan) == expected


@pytest.mark.parametrize("plan", PLANS)
def test_a_join_by_a_column(shared_cluster: Cluster, folder: Path, plan: str) -> None:
    names = folder / "names.csv"
    names.write_text("city,name\na,Avila\nb,Burgos\nb,Bilbao\n")
    request = job(
        [
            {"id": "left", "op": "read_csv", "path": str(folder / "rows.csv")},
            {"id": "right", "op": "read_csv", "path": str(names)},
            {"id": "j", "op": "join", "key": "city", "join_with": "right"},
        ],
        3,
        edges=[["left", "j"], ["right", "j"]],
    )
    rights = {"a": ["a,Avila"], "b": ["b,Burgos", "b,Bilbao"]}
    expected = [
        (row[0], f"({','.join(row)},{right})")
        for row in table(folder)
        for right in rights.get(row[0], [])
    ]
    assert run(shared_cluster, request, plan) == sorted(expected)


def text_job(path: Path, *nodes: dict[str, Any]) -> dict[str, Any]:
    return job([{"id": "read", "op": "read_text", "path": str(path)}, *nodes], 3)


@pytest.mark.parametrize("plan", PLANS)
def test_distinct_lines_and_distinct_pairs(
    shared_cluster: Cluster, folder: Path, plan: str
) -> None:
    lines = (folder / "words.txt").read_text().splitlines()
    distinct = {"id": "d", "op": "distinct", "partitions": 2}
    request = text_job(folder / "words.txt", distinct)
    assert run(shared_cluster, request, plan) == sorted((None, line) for line in set(lines))
    found = run(shared_cluster, words(folder, distinct), plan)
    assert found == sorted((word, "1") for word in counts(folder))


@pytest.mark.parametrize("plan", PLANS)
def test_groups(shared_cluster: Cluster, folder: Path, plan: str) -> None:
    node = {"id": "g", "op": "group_by_key", "key": "city", "value": "price"}
    read = {"id": "read", "op": "read_csv", "path": str(folder / "rows.csv")}
    found = dict(run(shared_cluster, job([read, node], 3), plan))
    expected = {city: sorted(prices) for city, prices in grouped(folder).items()}
    assert {city: sorted(json.loads(text)) for city, text in found.items()} == expected


@pytest.mark.parametrize("plan", PLANS)
def test_take_and_sample(shared_cluster: Cluster, folder: Path, plan: str) -> None:
    path = folder / "words.txt"
    lines = path.read_text().splitlines()
    take = text_job(path, {"id": "t", "op": "take", "n": 7})
    assert run(shared_cluster, take, plan) == sorted((None, line) for line in lines[:7])
    sample = text_job(path, {"id": "s", "op": "sample", "fraction": 0.5, "seed": 4})
    found = run(shared_cluster, sample, plan)
    assert found == run(shared_cluster, sample, plan)
    assert len(lines) * 0.4 < len(found) < len(lines) * 0.6


@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize("op", ["left_outer_join", "right_outer_join", "full_outer_join"])
def test_outer_joins(shared_cluster: Cluster, tmp_path: Path, plan: str, op: str) -> None:
    left, right = tmp_path / "left.txt", tmp_path / "right.txt"
    left.write_text("a,1\nb,2\nb,3\nc,4\n")
    right.write_text("b,x\nc,y\nc,z\nd,u\n")
    request = job(
        [
            {"id": "left", "op": "read_text", "path": str(left)},
            {"id": "l", "op": "map", "fn": "extract_key"},
            {"id": "right", "op": "read_text", "path": str(right)},
            {"id": "r", "op": "map", "fn": "extract_key"},
            {"id": "j", "op": op, "join_with": "r"},
        ],
        3,
        edges=[["left", "l"], ["right", "r"], ["l", "j"]],
    )
    expected = [("b", "(2,x)"), ("b", "(3,x)"), ("c", "(4,y)"), ("c", "(4,z)")]
    expected += [("a", "(1,null)")] if op != "right_outer_join" else []
    expected += [("d", "(null,u)")] if op != "left_outer_join" else []
    assert run(shared_cluster, request, plan) == sorted(expected)


@pytest.mark.parametrize("plan", PLANS)
def test_a_union_of_unlike_inputs(shared_cluster: Cluster, folder: Path, plan: str) -> None:
    request = words(
        folder,
        {"id": "sum", "op": "reduce_by_key", "partitions": 2},
        {"id": "twice", "op": "map", "fn": "to_upper"},
        {"id": "rows", "op": "read_csv", "path": str(folder / "rows.csv")},
        {"id": "all", "op": "union"},
        {"id": "more", "op": "union"},
        {"id": "long", "op": "filter", "fn": "not_empty"},
        edges=[
            ["read", "split"], ["split", "pair"], ["pair", "sum"], ["sum", "twice"], ["sum", "all"],
            ["twice", "all"], ["all", "more"], ["rows", "more"], ["more", "long"],
        ],
    )  # fmt: skip
    pairs = [(word, str(count)) for word, count in counts(folder).items()]
    expected: Records = [*pairs, *pairs, *((None, ",".join(row)) for row in table(folder))]
    found = run(shared_cluster, request, plan)
    assert found == sorted(expected, key=lambda row: (row[0] or "", row[1]))


@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize("is_ascending", [True, False])
def test_a_total_order(
    shared_cluster: Cluster, folder: Path, plan: str, is_ascending: bool
) -> None:
    read = {"id": "read", "op": "read_csv", "path": str(folder / "rows.csv")}
    sort = {"id": "s", "op": "sort_by_key", "key": "price", "ascending": is_ascending}
    request = job([read, sort], 3, plan)
    with shared_cluster.client() as client:
        info = client.wait(client.submit(request)["id"], timeout_s=60)
        assert info["state"] == "SUCCEEDED", info["status"]
        found = list(client.results(info["id"]))
        files = [r["output_path"] for r in client.result_files(info["id"]) if r["output_path"]]
    keys = [key for key, _ in found]
    assert keys == sorted(keys, key=str, reverse=not is_ascending)
    assert sorted(value for _, value in found) == sorted(",".join(row) for row in table(folder))
    final = [path for path in files if "_s_p" in path]
    sizes = [len(json.loads(Path(path).read_text())["records"]) for path in final]
    assert len(sizes) == 3 and all(700 < size < 1300 for size in sizes), sizes


def filtered(folder: Path, name: str) -> tuple[dict[str, Any], Records]:
    """A job whose filters the fused plan asks sooner, and its answer by plain Python."""
    read = {"id": "read", "op": "read_csv", "path": str(folder / "rows.csv")}
    pair = {"id": "pair", "op": "map", "fn": "extract_key"}
    rows = [(city, f"{price},{code}") for city, price, code in table(folder)]
    has_x = {"id": "f", "op": "filter", "expr": "ends_with(value, 'x') and value != '1.1,x'"}
    with_x = [row for row in rows if row[1].endswith("x") and row[1] != "1.1,x"]
    is_b = {"id": "f", "op": "filter", "expr": "key == 'b' or starts_with(key, 'd')"}
    of_b = [row for row in rows if row[0] in ("b", "d")]
    match name:
        case "distinct":
            nodes = [read, pair, {"id": "once", "op": "distinct"}, has_x]
            return job(nodes, 3), sorted(set(with_x))
        case "sort":
            return job([read, pair, {"id": "s", "op": "sort_by_key"}, has_x], 3), sorted(with_x)
        case "group":
            nodes = [read, pair, {"id": "g", "op": "group_by_key"}, is_b]
            count = {"id": "n", "op": "map", "expr": "str(len(value))"}
            counts = Counter(city for city, _ in of_b)
            return job([*nodes, count], 3), sorted((c, str(n)) for c, n in counts.items())
        case _:
            other = {"id": "words", "op": "read_text", "path": str(folder / "few.txt")}
            pair2 = {**pair, "id": "pair2"}
            joined = {"id": "j", "op": "left_outer_join", "join_with": "pair2"}
            edges = [["read", "pair"], ["words", "pair2"], ["pair", "j"], ["j", "f"]]
            request = job([read, pair, other, pair2, joined, is_b], 3, edges=edges)
            (folder / "few.txt").write_text("b,1\nb,2\nc,3\n")
            met = [(c, f"({v},{n})") for c, v in of_b for n in ("12" if c == "b" else [])]
            return request, sorted(met + [(c, f"({v},null)") for c, v in of_b if c == "d"])


@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize("name", ["distinct", "sort", "group", "join"])
def test_filters_that_ask_sooner(
    shared_cluster: Cluster, folder: Path, plan: str, name: str
) -> None:
    request, expected = filtered(folder, name)
    assert expected and run(shared_cluster, request, plan) == expected
