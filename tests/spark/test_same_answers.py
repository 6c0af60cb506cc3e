"""Both engines give the same records in the same order, and they are the right ones."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from minispark.model.function_names import FUNCTION_NAMES, JOINS, OPERATORS, WRITERS
from tests.jobs import job
from tests.oracle import write_csv
from tests.spark.both_engines import run_both
from tests.spark.drawn_jobs import OWN, OWN_SOURCE, Drawing
from tests.spark.plain import answers, bag

if TYPE_CHECKING:
    from pyspark import SparkContext


def check(sc: SparkContext, request: dict[str, Any]) -> None:
    both = run_both(sc, request)
    assert both.spark.results == both.local.results, request
    assert both.spark.counts == both.local.counts, request
    expected = answers(request, OWN)
    nodes = {node["id"]: node for node in request["dag"]["nodes"]}
    for leaf, partitions in both.spark.results.items():
        rows = [row for partition in partitions for row in partition]
        if expected[leaf].is_known:
            assert bag(rows, nodes[leaf]) == bag(expected[leaf].rows, nodes[leaf])


def test_every_operator_reader_and_reducer(sc: SparkContext, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("b,ü 日本\na,🦉 a\n\nb,\nc,x x\n" * 5)
    (tmp_path / "none").write_text("")
    rows = [("a", "1", 'say "a,b"'), ("ü", "2.50", "two\nlines"), ("a", "-7", ""), ("", "1", "x")]
    write_csv(tmp_path / "csv", [("k", "n", "text"), *rows * 3])
    lines = [json.dumps({"key": k, "n": n}) for k, n, _ in rows]
    (tmp_path / "jsonl").write_text("\n".join(lines) + "\n")

    nodes: list[dict[str, Any]] = []
    edges: list[list[str]] = []

    def node(op: str, *parents: str, **more: Any) -> str:
        nodes.append({"id": f"n{len(nodes)}", "op": op, **more})
        edges.extend([parent, nodes[-1]["id"]] for parent in parents)
        return str(nodes[-1]["id"])

    text = node("read_text", path=str(tmp_path / "text"))
    table = node("read_csv", path=str(tmp_path / "csv"), multiline=True)
    objects = node("read_jsonl", path=str(tmp_path / "jsonl"))
    keyed = node("map", text, fn="extract_key")
    nothing = node("map", node("read_text", path=str(tmp_path / "none")), fn="extract_key")
    for fn in (*FUNCTION_NAMES["reduce_by_key"], "own:plus"):
        reduced = node("reduce_by_key", table, key="k", value="n", fn=fn)
    for op in ("map", "filter", "flat_map"):
        for fn in FUNCTION_NAMES[op]:
            node(op, keyed, fn=fn)
    for kind in JOINS:
        node(kind, keyed, reduced, join_with=reduced, partitions=3)
        node(kind, objects, nothing, join_with=nothing, partitions=1)
    words = node("flat_map", text, fn="own:twice", cache=True)
    again = node("shuffle_read", node("shuffle_write", words))
    both = node("union", again, node("distinct", words))
    node("sort_by_key", node("reduce_by_key", both, fn="count"), ascending=False)
    node("sample", both, fraction=0.5, seed=1)
    node("take", node("filter", both, expr="len(value) > 1"), n=3)
    node("group_by_key", node("map", keyed, fn="own:sizes"))
    node("sort_by_key", node("union", keyed, nothing, objects), partitions=4)
    used = {node["op"] for node in nodes}
    assert used == set(OPERATORS) - set(WRITERS)
    check(sc, {**job(nodes, 2, edges=edges), "modules": {"own": OWN_SOURCE}})


@settings(max_examples=20, phases=[Phase.generate])  # to make a failure small takes minutes here
@given(data=st.data())
def test_any_job_gives_the_same_on_both_engines(sc: SparkContext, data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as folder:
        check(sc, Drawing(data, Path(folder)).request())
