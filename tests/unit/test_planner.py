"""Plans as golden text, and what must hold of every plan."""

from __future__ import annotations

import itertools
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minispark.errors import InvalidRequest
from minispark.master.submission import Submitter
from minispark.model.cache_keys import kept_keys
from minispark.model.job import Engine, InputFile, PlanKind, ReaderOptions, ResolvedInput
from minispark.model.plan import PhysicalPlan, Stage
from minispark.model.steps import Cache, Step
from minispark.plan import fused
from minispark.plan.explain import explain
from minispark.plan.keying import keying_steps
from minispark.plan.logical import LogicalNode
from minispark.plan.parsing import parse_request
from minispark.plan.planner import plan
from minispark.plan.size import PlanTooLarge
from minispark.plan.splits import byte_splits
from tests.jobs import job, join, word_count

GOLDEN = Path(__file__).parents[1] / "golden" / "plans"


def inputs_of(
    request: dict[str, Any], size: int = 1000, header: tuple[str, ...] = ("text",), **more: Any
) -> dict[str, ResolvedInput]:
    return {
        node["id"]: ResolvedInput(
            node["id"],
            (InputFile("/x", size, 0, 0, more.get("compression")),),
            header if node["op"] == "read_csv" else None,
        )
        for node in request["dag"]["nodes"]
        if node["op"].startswith("read_")
    }


def planned(request: dict[str, Any], kind: str, **inputs: Any) -> PhysicalPlan:
    return plan(parse_request(request), inputs_of(request, **inputs), PlanKind(kind))


def keyed(*more: dict[str, Any], **options: Any) -> dict[str, Any]:
    nodes = [
        {"id": "read", "op": "read_text", "path": "x"},
        {"id": "pair", "op": "map", "fn": "pair_with_one"},
        *more,
    ]
    return job(nodes, 3, **options)


COURSE = job(
    [
        {"id": "read", "op": "read_csv", "path": "x", "partitions": 4},
        {"id": "flat", "op": "flat_map", "fn": "tokenize"},
        {"id": "map1", "op": "map", "fn": "to_lower"},
        {"id": "agg", "op": "reduce_by_key", "key": "token", "fn": "sum"},
    ],
    4,
)
JSONL = job(
    [
        {"id": "read", "op": "read_jsonl", "path": "x"},
        {"id": "least", "op": "reduce_by_key", "key": "city", "value": "price", "fn": "min"},
    ],
    2,
)
COLUMNS = job(
    [
        {"id": "read", "op": "read_csv", "path": "x"},
        {"id": "some", "op": "filter", "fn": "is_long"},
        {"id": "r", "op": "reduce_by_key", "key": "city", "value": "price", "fn": "avg"},
    ],
    2,
)
WRITTEN = keyed(
    {"id": "w", "op": "shuffle_write", "partitions": 2},
    {"id": "s", "op": "shuffle_read"},
    {"id": "r", "op": "reduce_by_key", "partitions": 2},
)
DIAMOND = keyed(
    {"id": "a", "op": "reduce_by_key", "fn": "count"},
    {"id": "b", "op": "reduce_by_key", "fn": "max"},
    {"id": "j", "op": "join", "join_with": "b"},
    edges=[["read", "pair"], ["pair", "a"], ["pair", "b"], ["a", "j"], ["b", "j"]],
)
LEAVES = keyed(
    {"id": "low", "op": "map", "fn": "to_lower"},
    {"id": "r", "op": "reduce_by_key"},
    edges=[["read", "pair"], ["pair", "low"], ["pair", "r"]],
)
SHUFFLED = join("x", "y", 2)
SHUFFLED["dag"]["nodes"][4]["partitions"] = 5

ROWS = job(
    [
        {"id": "read", "op": "read_text", "path": "x"},
        {"id": "some", "op": "sample", "fraction": 0.1, "seed": 3},
        {"id": "pair", "op": "map", "fn": "extract_key"},
        {"id": "once", "op": "distinct", "partitions": 3},
        {"id": "lists", "op": "group_by_key"},
        {"id": "ten", "op": "take", "n": 10},
    ],
    2,
)
OUTER = job(
    [
        {"id": "read", "op": "read_text", "path": "x"},
        {"id": "pair", "op": "map", "fn": "extract_key"},
        {"id": "other", "op": "map", "fn": "extract_key"},
        {"id": "l", "op": "left_outer_join", "join_with": "other"},
        {"id": "f", "op": "full_outer_join", "join_with": "other", "partitions": 3},
    ],
    2,
    edges=[["read", "pair"], ["read", "other"], ["pair", "l"], ["l", "f"]],
)
UNION = job(
    [
        {"id": "a", "op": "read_text", "path": "x", "partitions": 2},
        {"id": "b", "op": "read_csv", "path": "x", "partitions": 3},
        {"id": "pair", "op": "map", "fn": "pair_with_one"},
        {"id": "sum", "op": "reduce_by_key", "partitions": 1},
        {"id": "both", "op": "union"},
        {"id": "u", "op": "union"},
        {"id": "all", "op": "distinct"},
    ],
    2,
    edges=[
        ["a", "pair"], ["pair", "sum"], ["b", "both"], ["a", "both"], ["both", "u"], ["sum", "u"],
        ["u", "all"],
    ],
)  # fmt: skip
FILTERS = keyed(
    {"id": "low", "op": "map", "fn": "to_lower"},
    {"id": "once", "op": "distinct"},
    {"id": "some", "op": "filter", "expr": "contains(value, 'a')"},
    {"id": "s", "op": "sort_by_key"},
    {"id": "b", "op": "filter", "expr": "starts_with(key, 'b')"},
    {"id": "odd", "op": "filter", "expr": "int(value) % 2 == 1"},
    edges=[["read", "pair"], ["pair", "low"], ["low", "once"], ["once", "some"], ["some", "s"],
           ["s", "b"], ["b", "odd"]],
)  # fmt: skip
SAVED = keyed(
    {"id": "sum", "op": "reduce_by_key"},
    {"id": "csv", "op": "write_csv", "path": "/out/csv"},
    {"id": "txt", "op": "write_text", "path": "/out/txt"},
    edges=[["read", "pair"], ["pair", "sum"], ["sum", "csv"], ["read", "txt"]],
)
CACHED = job(
    [
        {"id": "read", "op": "read_text", "path": "x"},
        {"id": "own", "op": "map", "expr": "(value[0], value)"},
        {"id": "kept", "op": "filter", "expr": "len(value) > 3", "cache": True},
        {"id": "some", "op": "sample", "fraction": 0.5},
        {"id": "both", "op": "union"},
        {"id": "more", "op": "map", "expr": "value + '!'", "cache": True},
        {"id": "all", "op": "union"},
        {"id": "order", "op": "sort_by_key"},
        {"id": "count", "op": "reduce_by_key", "fn": "count"},
    ],
    2,
    edges=[
        ["read", "own"], ["own", "kept"], ["kept", "some"], ["own", "both"], ["some", "both"],
        ["both", "more"], ["kept", "all"], ["more", "all"], ["all", "order"], ["more", "count"],
    ],
)  # fmt: skip
CASES: dict[str, tuple[dict[str, Any], str, dict[str, Any]]] = {
    "filters-fused": (FILTERS, "fused", {}),
    "filters-naive": (FILTERS, "naive", {}),
    "saved-fused": (SAVED, "fused", {}),
    "saved-naive": (SAVED, "naive", {}),
    "cached-fused": (CACHED, "fused", {}),
    "cached-naive": (CACHED, "naive", {}),
    "sort-fused": (keyed({"id": "s", "op": "sort_by_key"}), "fused", {}),
    "sort-naive": (keyed({"id": "s", "op": "sort_by_key", "ascending": False}), "naive", {}),
    "union-fused": (UNION, "fused", {}),
    "union-naive": (UNION, "naive", {}),
    "rows-fused": (ROWS, "fused", {}),
    "rows-naive": (ROWS, "naive", {}),
    "outer-joins-fused": (OUTER, "fused", {"size": 10**9}),
    "outer-joins-naive": (OUTER, "naive", {}),
    "wordcount_fused": (word_count("x", 4), "fused", {}),
    "wordcount_naive": (word_count("x", 2, op="read_csv"), "naive", {}),
    "course_fused": (COURSE, "fused", {}),
    "course_naive": (COURSE, "naive", {}),
    "join_broadcast": (join("x", "y", 2), "fused", {"header": ("id", "v")}),
    "join_shuffle": (SHUFFLED, "fused", {"header": ("id", "v")}),
    "join_naive": (join("x", "y", 2), "naive", {"header": ("id", "v")}),
    "jsonl_fused": (JSONL, "fused", {}),
    "jsonl_naive": (JSONL, "naive", {}),
    "columns_fused": (COLUMNS, "fused", {"header": ("city", "price")}),
    "columns_naive": (COLUMNS, "naive", {"header": ("city", "price")}),
    "shuffle_write_fused": (WRITTEN, "fused", {}),
    "shuffle_write_naive": (WRITTEN, "naive", {}),
    "diamond_fused": (DIAMOND, "fused", {}),
    "diamond_naive": (DIAMOND, "naive", {}),
    "leaves_fused": (LEAVES, "fused", {}),
    "compressed_fused": (word_count("x", 3), "fused", {"compression": "gz"}),
}


@pytest.mark.parametrize("name", CASES)
def test_the_plan_is_the_golden_one(name: str) -> None:
    request, kind, inputs = CASES[name]
    made = planned(request, kind, **inputs)
    check(made)
    path = GOLDEN / f"{name}.txt"
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(explain(made))
    assert explain(made) == path.read_text()


def check(made: PhysicalPlan) -> None:
    """What must hold of every plan."""
    assert [stage.index for stage in made.stages] == list(range(len(made.stages)))
    ids = [stage.id for stage in made.stages]
    assert len(set(ids)) == len(ids)
    assert any(stage.is_final for stage in made.stages)
    for stage in made.stages:
        assert all(parent < stage.index for parent in stage.parents)
        assert len(stage.splits) in (0, stage.partitions)


OPS = st.sampled_from(
    [("map", "identity"), ("map", "pair_with_one"), ("filter", "not_empty"), ("flat_map", None),
     ("reduce_by_key", "sum"), ("reduce_by_key", "concat"), ("join", None),
     ("left_outer_join", None), ("right_outer_join", None), ("full_outer_join", None),
     ("group_by_key", None), ("distinct", None), ("take", None), ("sample", None),
     ("union", None), ("sort_by_key", None)]
)  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_every_valid_dag_has_both_plans(data: st.DataObject) -> None:
    nodes: list[dict[str, Any]] = [
        {"id": "read", "op": "read_text", "path": "x"},
        {"id": "n0", "op": "map", "fn": "pair_with_one"},
    ]
    edges = [["read", "n0"]]
    for i in range(1, data.draw(st.integers(1, 8))):
        op, fn = data.draw(OPS)
        parents = [node["id"] for node in nodes[1:]]
        node: dict[str, Any] = {"id": f"n{i}", "op": op}
        left = data.draw(st.sampled_from(parents))
        more = {"take": {"n": 3}, "sample": {"fraction": 0.5}}
        node |= more.get(op, {})
        if op.endswith("join"):
            others = [parent for parent in parents if parent != left]
            if not others:
                continue
            node["join_with"] = data.draw(st.sampled_from(others))
        elif op == "union":
            others = [parent for parent in parents if parent != left]
            if not others:
                continue
            edges.append([data.draw(st.sampled_from(others)), node["id"]])
        elif fn is not None:
            node["fn"] = fn
        edges.append([left, node["id"]])
        nodes.append(node)
    request = job(nodes, data.draw(st.integers(1, 4)), edges=edges)
    size = data.draw(st.sampled_from([10, 10**9]))
    leaves = {n["id"] for n in nodes} - {e[0] for e in edges} - {n.get("join_with") for n in nodes}
    for kind in ("fused", "naive"):
        made = planned(request, kind, size=size)
        check(made)
        finals = {stage.node_ids[-1] for stage in made.stages if stage.is_final}
        assert finals == leaves


@given(sizes=st.lists(st.integers(0, 50), min_size=1, max_size=5), partitions=st.integers(1, 9))
def test_splits_cover_every_byte_once(sizes: list[int], partitions: int) -> None:
    files = tuple(InputFile(f"/{i}", size, 0) for i, size in enumerate(sizes))
    tasks = byte_splits(files, ReaderOptions(), partitions)
    assert len(tasks) == partitions
    for file in files:
        covered = [
            byte for task in tasks for s in task if s.path == file.path
            for byte in range(s.start, s.end)
        ]  # fmt: skip
        assert covered == list(range(file.size))


def test_lists_are_for_our_own_workers_only() -> None:
    request = keyed({"id": "g", "op": "group_by_key"}, {"id": "f", "op": "filter"})
    stages = {stage.id: stage for stage in planned(request, "naive").stages}
    assert stages["pair"].is_documented
    assert not stages["g"].is_documented and not stages["f"].is_documented


def test_a_join_of_unkeyed_records_proposes_extract_key() -> None:
    request = join("x", "y", 2)
    request["dag"]["nodes"][2]["fn_name"] = "identity"
    for kind in ("fused", "naive"):
        with pytest.raises(InvalidRequest, match="extract_key"):
            planned(request, kind)


def test_foreign_workers_may_run_only_what_means_the_same_there() -> None:
    def documented(request: dict[str, Any], **inputs: Any) -> list[str]:
        made = planned(request, "naive", **inputs)
        return [stage.id for stage in made.stages if stage.is_documented]

    request = word_count("x", 2, op="read_csv")
    everything = ["read", "flatmap", "map", "map_shuffle_write", "reduce"]
    assert documented(request) == everything
    assert documented(request, header=("a", "b")) == everything[1:]
    assert documented(request, compression="gz") == everything[1:]
    assert "agg" not in documented(COURSE)
    assert not {"a", "b"} & set(documented(DIAMOND))


def sized(partitions: int, kind: str, reduces: int, files: int = 1) -> PhysicalPlan:
    chain = [{"id": "read", "op": "read_csv", "path": "x"}]
    chain += [{"id": f"r{i}", "op": "reduce_by_key"} for i in range(reduces)]
    request = parse_request(job(chain, partitions, kind))
    found = ResolvedInput("read", (InputFile("/x", 100, 0),) * files, ("a",))
    return plan(request, {"read": found}, PlanKind(kind))


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ((10_000, "fused", 100), "1010000 tasks"),
        ((10_000, "naive", 1), "read_shuffle_write writes 10000 x 10000 files"),
        ((10_000, "naive", 0, 101), "1010000 pieces"),
    ],
)
def test_a_plan_that_no_master_should_hold_is_refused(asked: tuple[Any, ...], words: str) -> None:
    with pytest.raises(PlanTooLarge, match=words) as refused:
        sized(*asked)
    assert refused.value.field == "parallelism"
    assert "lower" in str(refused.value)


def test_a_million_tasks_and_files_may_be_planned() -> None:
    assert sized(10_000, "fused", 99).tasks_total == 1_000_000
    assert sized(1000, "naive", 1).tasks_total == 3000


def test_nested_diamonds_are_walked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    walked: list[str] = []

    def count(node: LogicalNode, *rest: Any) -> tuple[Step, ...]:
        walked.append(node.id)
        return keying_steps(node, *rest)

    monkeypatch.setattr(fused, "keying_steps", count)
    nodes: list[dict[str, Any]] = [
        {"id": "read", "op": "read_text", "path": "x"},
        {"id": "j0", "op": "map", "fn": "pair_with_one"},
    ]
    edges = [["read", "j0"]]
    for i in range(1, 120):
        nodes.append({"id": f"f{i}", "op": "filter"})
        nodes.append({"id": f"j{i}", "op": "join", "join_with": f"j{i - 1}"})
        edges += [[f"j{i - 1}", f"f{i}"], [f"f{i}", f"j{i}"]]
    request = parse_request(job(nodes, 2, edges=edges))
    plan(request, {"read": ResolvedInput("read", (InputFile("/x", 100, 0),))}, PlanKind.FUSED)
    assert len(walked) == 2 * 119, "the sides of each join"


def test_nested_unions_are_refused_before_anybody_plans_them() -> None:
    nodes: list[dict[str, Any]] = [{"id": "u0", "op": "read_text", "path": "x"}]
    edges = []
    for i in range(1, 100):
        nodes += [{"id": f"f{i}", "op": "filter"}, {"id": f"u{i}", "op": "union"}]
        edges += [[f"u{i - 1}", f"f{i}"], [f"f{i}", f"u{i}"], [f"u{i - 1}", f"u{i}"]]
    with pytest.raises(PlanTooLarge, match="u19 has the 1048576 partitions") as refused:
        planned(job(nodes, 2, edges=edges), "fused")
    assert refused.value.field == "dag.nodes[38]"


def test_a_job_that_is_too_large_for_the_naive_plan_has_the_other_one(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a")
    submitter = Submitter(str(tmp_path), (str(tmp_path),), str(tmp_path / "s"), PlanKind.FUSED)
    chain = [{"id": "read", "op": "read_text", "path": "a.txt"}, {"id": "r", "op": "reduce_by_key"}]
    _, plans = submitter.prepare(job(chain, 10_000), False)
    assert [made.kind for made in plans] == [PlanKind.FUSED]
    with pytest.raises(PlanTooLarge):
        submitter.prepare(job(chain, 10_000, "naive"), False)
    _, plans = submitter.prepare(job(chain, 100), False)
    assert [made.kind for made in plans] == [PlanKind.FUSED, PlanKind.NAIVE]


def test_an_engine_that_is_not_there_is_refused_at_the_field(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a")
    chain = job([{"id": "read", "op": "read_text", "path": "a.txt"}], 2, engine="spark")
    paths = (str(tmp_path), (str(tmp_path),), str(tmp_path / "s"))
    with pytest.raises(InvalidRequest, match="without a supervisor") as refused:
        Submitter(*paths, PlanKind.FUSED).prepare(chain, False)
    assert refused.value.field == "engine"
    has_spark = Submitter(*paths, PlanKind.NAIVE, Engine.SPARK, lambda: None)
    request, plans = has_spark.prepare(chain, False)
    assert (request.engine, [made.kind for made in plans]) == (Engine.SPARK, [PlanKind.FUSED])
    request, _ = has_spark.prepare({k: v for k, v in chain.items() if k != "engine"}, False)
    assert request.engine is Engine.SPARK
    request, _ = has_spark.prepare({**chain, "engine": "local"}, False)
    assert request.engine is Engine.LOCAL
    with pytest.raises(InvalidRequest, match="fused plans only"):
        has_spark.prepare({**chain, "plan": "naive"}, False)


def test_what_a_union_keeps_has_the_numbers_of_the_union_wherever_it_is_read() -> None:
    made = planned(CACHED, "fused")
    nested, alone = made.stages[0], made.stages[2]
    (more,) = [step for step in alone.program.steps if isinstance(step, Cache)]

    def kept(stage: Stage) -> list[list[str]]:
        keys = [kept_keys(stage.program, "job", number) for number in range(stage.partitions)]
        return [[key for key in one if key.startswith(str(more.lineage))] for one in keys]

    assert kept(alone) == [[f"{more.lineage}:{number}"] for number in range(4)]
    assert kept(nested) == [[], [], *kept(alone)]  # the first two are those of `kept`


def caches(nodes: list[dict[str, Any]], **inputs: Any) -> dict[str, str | None]:
    """The cached nodes of a chain that two consumers read in the end, and their lineage."""
    ids = [node["id"] for node in nodes]
    ends = [{"id": "end1", "op": "reduce_by_key"}, {"id": "end2", "op": "group_by_key"}]
    edges = [[a, b] for a, b in itertools.pairwise(ids)] + [[ids[-1], "end1"], [ids[-1], "end2"]]
    made = planned(job([*nodes, *ends], 2, edges=edges), "fused", **inputs)
    steps = [step for stage in made.stages for step in stage.program.steps]
    return {step.node_id: step.lineage for step in steps if isinstance(step, Cache)}


def test_what_is_read_twice_is_kept_where_it_was_made_dearly() -> None:
    read = {"id": "r", "op": "read_text", "path": "x"}
    pair = {"id": "p", "op": "map", "fn": "pair_with_one"}
    own = {"id": "p", "op": "map", "expr": "(value, 1)"}
    merged = {"id": "m", "op": "reduce_by_key"}
    assert caches([read, pair]) == {}
    assert caches([read, pair], compression="gz") == {"p": None}
    assert caches([read, own]) == {"p": None}
    assert caches([read, pair, merged]) == {"m": None}
    assert caches([read, own, merged]) == {"m": None}


# --- lineage ------------------------------------------------------------------------------------


def lineage_of(files: tuple[InputFile, ...] = (InputFile("/x", 1000, 5),), **changes: Any) -> str:
    """Of a cached node behind a few others."""
    kept = changes.pop("kept", "kept")
    nodes: list[dict[str, Any]] = [
        {"id": "read", "op": "read_text", "path": "x"},
        {"id": "own", "op": "map", "fn": "mine:pair"},
        {"id": "sum", "op": "reduce_by_key", "fn": "sum"},
        {"id": kept, "op": "filter", "fn": "has_key", "cache": True},
        {"id": "after", "op": "map", "fn": changes.pop("after", "identity")},
    ]
    for name, fields in changes.pop("nodes", {}).items():
        next(node for node in nodes if node["id"] == name).update(fields)
    modules = {"mine": changes.pop("source", "def pair(v): return v, 1")}
    request = job(nodes, changes.pop("parallelism", 2), modules=modules)
    found = ResolvedInput("read", files)
    made = plan(parse_request(request), {"read": found}, PlanKind.FUSED)
    (step,) = [s for stage in made.stages for s in stage.program.steps if isinstance(s, Cache)]
    assert step.lineage is not None
    return step.lineage


def test_the_same_records_have_the_same_lineage_in_every_job() -> None:
    assert lineage_of() == lineage_of()
    assert lineage_of() == lineage_of(kept="another_name", after="to_upper")


@pytest.mark.parametrize(
    "changes",
    [
        {"files": (InputFile("/y", 1000, 5),)},
        {"files": (InputFile("/x", 1001, 5),)},
        {"files": (InputFile("/x", 1000, 6),)},
        {"files": (InputFile("/x", 1000, 5), InputFile("/y", 1000, 5))},
        {"files": (InputFile("/x", 1000, 5, compression="gz"),)},
        {"source": "def pair(v): return v, 2"},
        {"parallelism": 3},
        {"nodes": {"sum": {"partitions": 3}}},
        {"nodes": {"sum": {"fn": "max"}}},
        {"nodes": {"own": {"fn": "mine:other"}}, "source": "def pair(v): ...\nother = pair"},
        {"nodes": {"read": {"encoding": "latin-1"}}},
        {"nodes": {"read": {"op": "read_jsonl"}}},
    ],
)
def test_other_records_have_another_lineage(changes: dict[str, Any]) -> None:
    assert lineage_of(**changes) != lineage_of()


def test_no_filter_moves_before_records_that_are_kept_for_other_jobs() -> None:
    def filters_before_the_sort(is_cached: bool) -> int:
        nodes = [
            {"id": "read", "op": "read_text", "path": "x"},
            {"id": "pair", "op": "map", "fn": "extract_key"},
            {"id": "sort", "op": "sort_by_key", "cache": is_cached},
            {"id": "some", "op": "filter", "fn": "not_empty"},
        ]
        made = planned(job(nodes, 2), "fused")
        early = [step for stage in made.stages[:-1] for step in stage.program.steps]
        return sum(step.node_id == "some" for step in early)

    assert filters_before_the_sort(False) > 0
    assert filters_before_the_sort(True) == 0


def test_as_many_tasks_as_made_the_records_are_part_of_their_lineage() -> None:
    def cached(*more: dict[str, Any]) -> tuple[int, str | None]:
        nodes = [
            {"id": "read", "op": "read_text", "path": "x"},
            {"id": "own", "op": "map", "expr": "(value, 1)", "cache": True},
        ]
        stage, *_ = planned(job([*nodes, *more], 2), "fused", size=2**30).stages
        (step,) = [step for step in stage.program.steps if isinstance(step, Cache)]
        return stage.partitions, step.lineage

    few, many = cached(), cached({"id": "count", "op": "reduce_by_key", "fn": "count"})
    assert few[0] == 2 < many[0]
    assert few[1] != many[1]


def test_a_sample_takes_the_records_of_the_partitions_that_its_job_asks_for() -> None:
    nodes = [
        {"id": "read", "op": "read_text", "path": "x"},
        {"id": "some", "op": "sample", "fraction": 0.5},
        {"id": "count", "op": "reduce_by_key", "fn": "count"},
    ]
    for sampled in (True, False):
        chain = nodes if sampled else [nodes[0], nodes[2]]
        stage, *_ = planned(job(chain, 2), "fused", size=2**30).stages
        assert (stage.partitions == 2) == sampled
