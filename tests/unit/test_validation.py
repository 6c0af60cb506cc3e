"""F52: what is wrong with a job description is named by its field, with what to change."""

from __future__ import annotations

from typing import Any

import pytest

from minispark.errors import InvalidRequest
from minispark.plan.parsing import NODES_MAX, parse_request
from minispark.plan.validation import validate
from tests.jobs import job

READ = {"id": "read", "op": "read_text", "path": "x"}
MAP = {"id": "m", "op": "map", "fn": "to_lower"}
PAIR = {"id": "p", "op": "map", "fn": "pair_with_one"}
REDUCE = {"id": "r", "op": "reduce_by_key"}


def chain(*nodes: dict[str, Any], **more: Any) -> dict[str, Any]:
    return job([READ, *nodes], more.pop("parallelism", 2), **more)


def join(**changes: Any) -> dict[str, Any]:
    other = {"id": "read2", "op": "read_text", "path": "y"}
    node = {"id": "j", "op": "join", "join_with": "read2"} | changes
    return job([READ, other, node], 2, edges=[["read", "j"], ["read2", "j"]])


INVALID: list[tuple[str, Any, str | None, str]] = [
    ("no object", [], None, "object"),
    ("no name", {"dag": {}, "parallelism": 1}, "dag.nodes", "missing"),
    ("no dag", {"name": "x"}, "dag", "missing"),
    ("empty name", chain(name=""), "name", "1 to"),
    ("no nodes", {"name": "x", "dag": {"nodes": [], "edges": []}, "parallelism": 1}, "dag.nodes",
     "reader"),
    ("too many", chain(*[MAP] * NODES_MAX), "dag.nodes", "limit"),
    ("zero", chain(parallelism=0), "parallelism", "from 1"),
    ("negative", chain(parallelism=-1), "parallelism", "from 1"),
    ("huge", chain(parallelism=10**9), "parallelism", "from 1"),
    ("fraction", chain(parallelism=1.5), "parallelism", "whole number"),
    ("text", chain(parallelism="4"), "parallelism", "whole number"),
    ("true", chain(parallelism=True), "parallelism", "whole number"),
    ("partitions", chain(MAP | {"partitions": 0}), "dag.nodes[1].partitions", "from 1"),
    ("narrow partitions", chain(MAP | {"partitions": 7}), "dag.nodes[1].partitions",
     "shuffle_write"),
    ("cycle", chain(MAP, edges=[["read", "m"], ["m", "m2"], ["m2", "m"]]), "dag.edges[1]", "m2"),
    ("self edge", chain(MAP, edges=[["m", "m"]]), "dag.edges[0]", "own input"),
    ("unknown parent", chain(MAP, edges=[["raed", "m"]]), "dag.edges[0]", "did you mean read"),
    ("edge twice", chain(MAP, edges=[["read", "m"]] * 2), "dag.edges[1]", "twice"),
    ("no edge", chain(MAP, edges=[["read"]]), "dag.edges[0]", "from"),
    ("duplicate id", chain(READ), "dag.nodes[1].id", "two nodes"),
    ("two inputs", job([READ, READ | {"id": "b"}, MAP], 1, edges=[["read", "m"], ["b", "m"]]),
     "dag.nodes[2]", "one input"),
    ("no input", chain(MAP, edges=[]), "dag.nodes[1]", "needs an input"),
    ("reader with input", job([READ, READ | {"id": "b"}], 1), "dag.nodes[1]", "reads files"),
    ("unknown operator", chain(MAP | {"op": "mpa"}), "dag.nodes[1].op", "did you mean map"),
    ("unknown function", chain(MAP | {"fn": "to_lwer"}), "dag.nodes[1].fn",
     "did you mean to_lower"),
    ("take without n", chain({"id": "t", "op": "take"}), "dag.nodes[1].n", "how many"),
    ("take negative", chain({"id": "t", "op": "take", "n": -1}), "dag.nodes[1].n", "from 0"),
    ("take partitions", chain({"id": "t", "op": "take", "n": 1, "partitions": 2}),
     "dag.nodes[1].partitions", "one partition"),
    ("sample without fraction", chain({"id": "s", "op": "sample"}), "dag.nodes[1].fraction",
     "from 0 to 1"),
    ("sample too much", chain({"id": "s", "op": "sample", "fraction": 1.5}),
     "dag.nodes[1].fraction", "from 0 to 1"),
    ("distinct by a function", chain({"id": "d", "op": "distinct", "fn": "sum"}),
     "dag.nodes[1].fn", "takes no function"),
    ("outer join alone", chain({"id": "j", "op": "left_outer_join"}), "dag.nodes[1].join_with",
     "right side"),
    ("union of one", chain({"id": "u", "op": "union"}), "dag.nodes[1]", "second input"),
    ("union partitions",
     job([READ, READ | {"id": "b"}, {"id": "u", "op": "union", "partitions": 9}], 1,
         edges=[["read", "u"], ["b", "u"]]), "dag.nodes[2].partitions", "leave it out"),
    ("function of another", chain(MAP | {"fn": "sum"}), "dag.nodes[1].fn", "known are"),
    ("function on a reader", job([READ | {"fn": "sum"}], 1), "dag.nodes[0].fn", "no function"),
    ("two functions", chain(MAP | {"fn_name": "to_upper"}), "dag.nodes[1].fn", "differ"),
    ("no path", job([{"id": "read", "op": "read_text"}], 1), "dag.nodes[0].path", "path"),
    ("join alone", join(join_with=None), "dag.nodes[2].join_with", "right side"),
    ("join with nobody", join(join_with="raed2"), "dag.nodes[2].join_with", "did you mean read2"),
    ("join itself", join(join_with="j"), "dag.nodes[2].join_with", "itself"),
    ("join_with on a map", chain(MAP | {"join_with": "read"}), "dag.nodes[1].join_with",
     "takes no"),
    ("bad id", chain(MAP | {"id": "a/b"}), "dag.nodes[1].id", "A-Z"),
    ("long id", chain(MAP | {"id": "a" * 65}), "dag.nodes[1].id", "64"),
    ("kept id", chain(MAP | {"id": "x_shuffle_write"}), "dag.nodes[1].id", "kept"),
    ("plan", chain(plan="quick"), "plan", "naive or fused"),
    ("engine", chain(engine="flink"), "engine", "local or spark"),
    ("timeout", chain(timeout_s=-1), "timeout_s", "seconds"),
    ("timeout without end", chain(timeout_s=10**400), "timeout_s", "seconds"),
    ("infinite timeout", chain(timeout_s=1e400), "timeout_s", "seconds"),
    ("timeout that is none", chain(timeout_s=float("nan")), "timeout_s", "seconds"),
    ("null", chain(parallelism=None), "parallelism", "parallelism is null"),
    ("newline", chain(name="a\n2026-01-01 ERROR"), "name", "control"),
    ("escape", chain(name="\x1b[31mred"), "name", "control"),
    ("C1", chain(name="\x9b31mred"), "name", "control"),
    ("line separator", chain(name="a\u2028b"), "name", "control"),
    ("errors", job([READ | {"errors": "ignore"}], 1), "dag.nodes[0].errors", "strict or replace"),
    ("NUL", job([READ | {"path": "a\0b"}], 1), "dag.nodes[0].path", "NUL"),
    ("shuffle_write alone", chain({"id": "w", "op": "shuffle_write"}), "dag.nodes[1]",
     "nothing reads"),
    ("shuffle_read alone", chain({"id": "w", "op": "shuffle_read"}), "dag.nodes[1]",
     "shuffle_write"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("request_", "field", "words"), [row[1:] for row in INVALID], ids=[row[0] for row in INVALID]
)
def test_f52_the_field_is_named(request_: Any, field: str | None, words: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        validate(parse_request(request_))
    assert caught.value.field == field, str(caught.value)
    assert words in str(caught.value)


def test_a_true_cycle_is_named() -> None:
    other = MAP | {"id": "m2"}
    cyclic = chain(MAP, other, edges=[["m2", "m"], ["m", "m2"]])
    with pytest.raises(InvalidRequest, match="cycle"):
        validate(parse_request(cyclic))


def test_unknown_fields_are_warnings() -> None:
    request = parse_request(chain(MAP | {"weight": "x"}) | {"colour": "red"})
    assert request.warnings == (
        "colour is unknown and was ignored",
        "dag.nodes[1].weight is unknown and was ignored",
    )


def test_aliases_and_defaults() -> None:
    flat = {"id": "f", "op": "flat_map", "fn": "tokenize"}
    dag = validate(parse_request(chain(flat, PAIR, REDUCE)))
    assert [node.fn for node in dag.nodes] == [None, "split_words", "pair_with_one", "sum"]
    assert [node.partitions for node in dag.nodes] == [2, 2, 2, 2]
    assert [leaf.id for leaf in dag.leaves] == ["r"]


def test_nodes_may_stand_in_any_order() -> None:
    request = job([REDUCE, PAIR, READ], 3, edges=[["p", "r"], ["read", "p"]])
    assert [node.id for node in validate(parse_request(request)).nodes] == ["read", "p", "r"]
