"""Filters that ask sooner than the job says: where they go, and that no record can tell."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from minispark.compute.batch import Batch, TextChunk, Values, records
from minispark.compute.chunk_filters import HITS_MAX, filter_kernel, lines_with
from minispark.compute.user_functions import UserFunctions
from minispark.errors import InvalidRequest, TaskError
from minispark.model.figures import OperatorFigures, StageFigures
from minispark.model.filter_facts import NeededText, needed_text, never_fails, reads
from minispark.plan import early_filters, fused
from minispark.plan.algebra import cheapest_order
from minispark.plan.analyze import analyze
from minispark.plan.explain import explain
from minispark.plan.logical import LogicalNode, keyedness_of
from tests.in_process import plan_of, run_plan
from tests.jobs import job
from tests.unit.test_kernels import CHUNKS

# --- what is known of a filter ------------------------------------------------------------------

ATOMS = st.sampled_from(["value", "key", "'a'", "''", "3", "1.5", "True", "None", "('a', 'b')"])
EXPRESSIONS = st.recursive(
    ATOMS,
    lambda inner: (
        st.builds(
            "({}({}))".format, st.sampled_from(["lower", "strip", "len", "int", "not "]), inner
        )
        | st.builds("contains({}, {})".format, inner, inner)
        | st.builds(
            "({} {} {})".format, inner, st.sampled_from(["==", "<", "in", "and", "or", "+"]), inner
        )
    ),
    max_leaves=5,
)
VALUES = st.text("ab1", max_size=3) | st.none() | st.integers(-2, 2) | st.just(["a"])


def answer(fn: str, key: Any, value: Any) -> Any:
    return UserFunctions().function("filter", fn).call(key, value)


@settings(max_examples=1000, deadline=None)
@given(EXPRESSIONS, st.none() | st.text("ab", max_size=2), VALUES)
def test_what_is_said_never_to_fail_says_true_or_false(text: str, key: Any, value: Any) -> None:
    fn = f"expr:{text}"
    if never_fails(fn, key_is_text=False, value_is_text=False):
        assert type(answer(fn, key, value)) is bool
    if never_fails(fn, key_is_text=True, value_is_text=True):
        assert type(answer(fn, str(key), str(value))) is bool
    for name in {"key", "value"} - set(reads(fn)):
        assert name not in text


def test_what_a_filter_may_read_and_whether_it_may_fail() -> None:
    assert reads("not_empty") == reads("expr:len(value) > 2") == ("value",)
    assert reads("has_key") == reads("expr:key == 'value'") == ("key",)
    assert reads("mytext:f") == ("key", "value")
    assert not never_fails("mytext:f", True, True)
    assert never_fails("expr:contains(lower(value), 'a') or key != 'b'", True, True)
    assert not never_fails("expr:contains(value, 'a')", True, value_is_text=False)
    assert not never_fails("expr:starts_with(key, 'a')", key_is_text=False, value_is_text=True)
    for text in ("value", "int(value) > 1", "1 < value", "len(value)", "value in ('a', 'b')"):
        assert not never_fails(f"expr:{text}", True, True)


PARTS = [
    "contains(value, 'a')", "'aA' in value", "starts_with(value, 'b')", "ends_with(value, 'a')",
    "value == 'ab'", "contains(value, 'a') and int(value) > 0", "contains(value, '')",
    "contains(value, 'a\\r')", "int(value) > 0 and contains(value, 'a')", "contains('a', value)",
]  # fmt: skip


def outcome(kernel: Any, batch: Batch) -> Any:
    try:
        return list(records(kernel(batch)))
    except TaskError as error:
        return str(error)


@settings(max_examples=400, deadline=None)
@given(CHUNKS, st.sampled_from(PARTS))
def test_a_chunk_is_filtered_as_its_lines_are(chunk: TextChunk, text: str) -> None:
    fn = f"expr:{text}"
    kernel = filter_kernel(fn, UserFunctions().function("filter", fn))
    needed = needed_text(fn)
    rows = Values(chunk.lines())
    assert outcome(kernel, chunk) == outcome(kernel, rows)
    if needed is not None:
        fits = [row for _, row in records(rows) if needed.text in row]
        assert len(fits) >= (1 if outcome(kernel, rows) else 0)


def test_the_text_that_is_asked_for_first_is_needed() -> None:
    found = [needed_text(f"expr:{text}") for text in PARTS]
    parts = [("a", True), ("aA", True), ("b", False), ("a", False), ("ab", False), ("a", False)]
    assert found[:6] == [NeededText(*part) for part in parts]
    assert found[6] is None and found[8:] == [None, None]
    assert needed_text("m:f") is None


@pytest.mark.parametrize("hits", [0, 1, HITS_MAX, HITS_MAX + 1, 3000])
def test_lines_that_hold_a_text_are_found_however_many_they_are(hits: int) -> None:
    lines = [f"line {i} xx" if i < hits else f"line {i}" for i in range(3000)]
    for ending in ("\n", "\r\n"):
        assert lines_with(TextChunk("".join(line + ending for line in lines)), "x") == lines[:hits]


# --- where they go ------------------------------------------------------------------------------

READ = {"id": "read", "op": "read_text", "path": "/dev/null"}
PAIR = {"id": "pair", "op": "map", "fn": "extract_key"}
JOB = [READ, PAIR]


def has(text: str = "contains(value, 'a')") -> dict[str, Any]:
    return {"id": "f", "op": "filter", "expr": text}


def stages_with_filter(*nodes: dict[str, Any], **more: Any) -> list[str]:
    """For each stage the lines from its reader or fetch to its filter, in short."""
    request = job([*nodes], 2, **more)
    with patch("tests.in_process.resolve_inputs", _no_files):
        made = plan_of(request)
    found = []
    for paragraph in explain(made).split("\n\n")[1:]:
        lines = [line.strip() for line in paragraph.splitlines()[1:]]
        if any(line.endswith("[f]") for line in lines):
            found.append(" ".join(line.rpartition("[")[2].rstrip("]") for line in lines[:-1]))
    return found


def _no_files(request: Any, **_: Any) -> Any:
    from minispark.model.job import InputFile, ResolvedInput

    files = (InputFile("/x", 10**9, 0),)
    return {
        n.id: ResolvedInput(n.id, files, ("a", "b") if n.op == "read_csv" else None)
        for n in request.dag.nodes
        if n.op.startswith("read_")
    }


def op(name: str, **more: Any) -> dict[str, Any]:
    return {"id": "x", "op": name, **more}


KEY = "starts_with(key, 'a')"
BEFORE, BEHIND = ["read pair f"], ["f"]


@pytest.mark.parametrize(
    ("node", "expr", "moves"),
    [
        (op("distinct"), None, True),
        (op("shuffle_write"), None, True),
        (op("group_by_key"), KEY, True),
        (op("group_by_key"), "key == 'b'", True),
        (op("group_by_key"), "len(key) > 1 and value != 'a'", False),
        (op("reduce_by_key", fn="max"), KEY, False),
        (op("distinct"), "int(value) > 1", False),
        (op("take", n=3), None, False),
        (op("sample", fraction=0.5), None, False),
        (op("map", fn="to_lower"), KEY, True),
        (op("map", fn="to_lower"), None, False),
        (op("flat_map", fn="split_words"), KEY, True),
        (op("flat_map", fn="split_words"), None, False),
        (op("map", fn="pair_with_one"), KEY, False),
    ],
)
def test_a_filter_passes_what_cannot_tell(
    node: dict[str, Any], expr: str | None, moves: bool
) -> None:
    more = [{"id": "s", "op": "shuffle_read"}] if node["op"] == "shuffle_write" else []
    (found,) = stages_with_filter(*JOB, node, *more, has(expr) if expr else has())
    assert found.startswith("read pair f") is moves, found


def test_before_a_sort_both_its_stages_ask() -> None:
    assert [s.partition(" f")[0] for s in stages_with_filter(*JOB, op("sort_by_key"), has())] == [
        "read pair", "read pair",
    ]  # fmt: skip


def test_a_filter_on_keys_is_asked_on_both_sides_of_a_join() -> None:
    nodes = [
        READ, PAIR, {**READ, "id": "read2"}, {**PAIR, "id": "pair2"},
        op("full_outer_join", join_with="pair2"), has(KEY),
    ]  # fmt: skip
    edges = [["read", "pair"], ["read2", "pair2"], ["pair", "x"], ["x", "f"]]
    assert stages_with_filter(*nodes, edges=edges) == ["read pair x f", "read2 pair2 x f"]
    assert len(stages_with_filter(*nodes[:-1], has(), edges=edges)) == 1


def test_a_filter_stays_where_somebody_else_reads_what_it_filters() -> None:
    nodes = [*JOB, op("distinct"), has(), {"id": "all", "op": "take", "n": 1}]
    edges = [["read", "pair"], ["pair", "x"], ["x", "f"]]
    assert stages_with_filter(*nodes[:-1], edges=edges)[0].startswith("read pair f")
    assert not stages_with_filter(*nodes, edges=[*edges, ["x", "all"]])[0].startswith("read")


def test_a_filter_stands_behind_what_gives_the_key() -> None:
    nodes = [{**READ, "op": "read_csv"}, op("group_by_key", key="a"), has(KEY)]
    (found,) = stages_with_filter(*nodes)
    assert (
        found == "read, key by column a, value the row [x] f".split("[")[0] + "[x] f"
        or "f" in found
    )


def test_a_filter_does_not_hide_a_record_without_the_key_that_a_sort_needs() -> None:
    nodes = [{**READ, "op": "read_jsonl"}, op("distinct"), {"id": "s", "op": "sort_by_key"}]
    behind_all = {"id": "f", "op": "filter", "fn": "has_key"}
    found = stages_with_filter(*nodes, behind_all)
    assert [" x x s f" in stage for stage in found] == [True, True], "not before it is distinct"


def test_what_is_known_of_a_node_is_found_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def count(node: LogicalNode, known: Any) -> Any:
        asked.append(node.id)
        return keyedness_of(node, known)

    monkeypatch.setattr(early_filters, "keyedness_of", count)
    chain = [{**has(), "id": f"f{i}"} for i in range(100)]
    assert len(stages_with_filter(*JOB, op("sort_by_key"), *chain, has())) == 2
    assert len(asked) == 104


def test_nothing_with_a_key_can_be_sorted(tmp_path: Path) -> None:
    write_inputs(tmp_path, ["a"])
    read = {"id": "r", "op": "read_text", "path": str(tmp_path / "read_text")}
    nodes = [read, {"id": "f", "op": "filter", "fn": "has_key"}, {"id": "s", "op": "sort_by_key"}]
    assert run_plan(plan_of(job(nodes, 2)), tmp_path).rows() == []


def test_filters_pass_each_other_and_a_union_on_their_way() -> None:
    nodes = [
        READ, PAIR, {"id": "once", "op": "distinct"}, {**READ, "id": "other"},
        {"id": "pair2", "op": "map", "fn": "extract_key"}, op("union"),
        {"id": "g", "op": "filter", "fn": "is_long"}, has(),
    ]  # fmt: skip
    edges = [
        ["read", "pair"], ["pair", "once"], ["once", "x"], ["other", "pair2"], ["pair2", "x"],
        ["x", "g"], ["g", "f"],
    ]  # fmt: skip
    first, last = stages_with_filter(*nodes, edges=edges)
    assert first.startswith("read pair g f once")
    assert "pair2 g f" in last


def test_letter_case_is_changed_before_words_are_split() -> None:
    from minispark.model.steps import Narrow

    split, lower = Narrow("a", "flat_map", "split_words"), Narrow("b", "map", "to_lower")
    assert cheapest_order((split, lower)) == (lower, split)


def test_a_filter_in_the_branches_of_a_union_keeps_its_figures() -> None:
    nodes = [
        READ, PAIR, {**READ, "id": "other"}, {**PAIR, "id": "low", "fn": "to_lower"}, op("union"),
        {"id": "f", "op": "filter", "fn": "has_key"},
    ]  # fmt: skip
    edges = [["read", "pair"], ["other", "low"], ["pair", "x"], ["low", "x"], ["x", "f"]]
    with patch("tests.in_process.resolve_inputs", _no_files):
        (stage,) = plan_of(job(nodes, 2, edges=edges)).stages
    took = StageFigures(tasks=4, operators={"f": OperatorFigures(7, 3), "low": OperatorFigures(9)})
    lines = {line.what.strip(): line.records for line in analyze(stage, took)[:-1]}
    assert lines["map to_lower [low]"] == 9
    asked = [line.records for line in analyze(stage, took) if "has_key" in line.what]
    assert asked == [None, 7]


# --- that no record can tell --------------------------------------------------------------------


class Unmoved:
    """Filters as the job has them."""

    def __init__(self, dag: object) -> None:
        pass

    def on(self, parent: LogicalNode, consumer: LogicalNode) -> tuple[()]:
        return ()

    def has_moved(self, node: LogicalNode) -> bool:
        return False


LINES = st.lists(
    st.sampled_from(["a,1", "b,2 a", "", "ab,ba B", "a,", "Ab,3", "2,A", "c,a\x0bb", "b,7"]),
    min_size=4,
    max_size=9,
)
NODE_KINDS = (
    [("map", fn) for fn in ("to_lower", "to_upper", "identity", "pair_with_one", "extract_key")]
    + [("flat_map", "split_words"), ("flat_map", "split_chars"), ("map", "expr:len(value)")]
    + [("distinct", ""), ("sort_by_key", ""), ("group_by_key", ""), ("shuffle", ""), ("take", "")]
    + [("reduce_by_key", "max"), ("union", ""), ("join", ""), ("full_outer_join", "")]
)
NODES = st.sampled_from(NODE_KINDS)
FILTER_FNS = (
    ["not_empty", "is_long", "has_key"]
    + [f"expr:{text}" for text in PARTS[:5]]
    + [f"expr:{text}" for text in (KEY, "key != 'a'", "not contains(lower(key), 'b')")]
    + ["expr:len(value) > 2", "expr:value != 2", "expr:value < 'b'", "expr:int(value) > 0"]
)


FILTERS = st.sampled_from(FILTER_FNS)


def made_node(node_id: str, op: str, fn: str) -> dict[str, Any]:
    node: dict[str, Any] = {"id": node_id, "op": "shuffle_write" if op == "shuffle" else op}
    if fn:
        is_expression = fn.startswith("expr:")
        node["expr" if is_expression else "fn"] = fn.removeprefix("expr:")
    more = {"take": {"n": 2}, "group_by_key": {"key": "a"}}
    return node | more.get(op, {})


def drawn(data: st.DataObject, folder: Path) -> dict[str, Any]:
    """A job with a filter after about every operator."""
    nodes: list[dict[str, Any]] = []
    edges: list[list[str]] = []
    for name in ("r0", "r1"):
        read = data.draw(st.sampled_from(["read_text", "read_csv", "read_jsonl"]))
        nodes.append({"id": name, "op": read, "path": str(folder / read)})
        if data.draw(st.sampled_from([True, True, True, False])):
            nodes.append({"id": f"{name}k", "op": "map", "fn": "extract_key"})
            edges.append([name, f"{name}k"])
    others = [node["id"] for node in nodes]
    last = others.pop()
    for i in range(data.draw(st.integers(3, 8))):
        is_filter = i % 2 == 1
        op, fn = ("filter", data.draw(FILTERS)) if is_filter else data.draw(NODES)
        node = made_node(f"n{i}", op, fn)
        if op.endswith("join"):
            node["join_with"] = data.draw(st.sampled_from(others))
        elif op == "union":
            edges.append([data.draw(st.sampled_from(others)), node["id"]])
        nodes.append(node)
        edges.append([last, node["id"]])
        last = node["id"]
        if op == "shuffle":
            nodes.append({"id": f"s{i}", "op": "shuffle_read"})
            edges.append([last, f"s{i}"])
            last = f"s{i}"
    return job(nodes, data.draw(st.integers(1, 3)), edges=edges)


def check_same(request: dict[str, Any], folder: Path) -> None:
    """The rewritten plan's records, in order, are those of the plan as it was asked for."""

    def ran() -> Any:
        try:
            results = run_plan(plan_of(request), folder).results
        except TaskError as error:
            return type(error)
        return {leaf: [row for part in parts for row in part] for leaf, parts in results.items()}

    made = ran()
    with (
        patch.object(fused, "EarlyFilters", Unmoved),
        patch.object(fused, "rewritten", lambda source, steps: (source, steps)),
    ):
        assert ran() == made


def write_inputs(folder: Path, lines: list[str]) -> None:
    (folder / "read_text").write_text("".join(f"{line}\n" for line in lines))
    (folder / "read_csv").write_text("a,b\n" + "".join(f"{line}\n" for line in lines))
    rows = [json.dumps({"key": line, "a": i} if i % 2 else line) for i, line in enumerate(lines)]
    (folder / "read_jsonl").write_text("".join(f"{row}\n" for row in rows))


@settings(max_examples=250, deadline=None)
@given(st.data())
def test_a_rewritten_plan_gives_the_same_records_in_the_same_order(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as name:
        write_inputs(Path(name), data.draw(LINES))
        try:
            check_same(drawn(data, Path(name)), Path(name))
        except InvalidRequest:
            assume(False)


SELDOM_FAIL = ("expr:1 / len(value) > 0", "expr:1 / len(key) > 0")
"""On the empty text, which does not come everywhere."""
ROWS = ["1,a", "1,", "2,Ab", "1,a", "3,b a", "a,7", "Ab,A", ",x", "a,a b", "2,7"]
OTHERS = ["1,x", "z,7", "a,b", "Ab,", "1,y"]


@pytest.mark.parametrize("op", [pair for pair in NODE_KINDS if pair[0] != "union"])
def test_no_operator_can_tell_where_a_filter_stands(op: tuple[str, str], tmp_path: Path) -> None:
    write_inputs(tmp_path, ROWS)
    (tmp_path / "other").write_text("".join(f"{row}\n" for row in OTHERS))
    name, fn = op
    for filter_fn in (*FILTER_FNS, *SELDOM_FAIL, "expr:len(key) > 1 and len(value) < 4"):
        nodes: list[dict[str, Any]] = [
            {"id": "r", "op": "read_text", "path": str(tmp_path / "read_text")},
            {"id": "k", "op": "map", "fn": "extract_key"},
            {"id": "low", "op": "map", "fn": "identity"},
            made_node("x", name, fn),
            {"id": "xr", "op": "shuffle_read" if name == "shuffle" else "filter"},
            made_node("f", "filter", filter_fn),
        ]
        edges = [["r", "k"], ["k", "low"], ["low", "x"], ["x", "xr"], ["xr", "f"]]
        if name.endswith("join"):
            nodes.append({"id": "r2", "op": "read_text", "path": str(tmp_path / "other")})
            nodes.append({"id": "k2", "op": "map", "fn": "extract_key"})
            nodes[3]["join_with"] = "k2"
            edges.append(["r2", "k2"])
        check_same(job(nodes, 2, edges=edges), tmp_path)
