"""The user's code is checked at submit, on its syntax tree: nothing of it runs in the master."""

from __future__ import annotations

import pytest

from minispark.errors import InvalidRequest
from minispark.model.job import PlanKind, ResolvedInput
from minispark.plan.parsing import parse_request
from minispark.plan.planner import plan
from minispark.plan.validation import validate
from tests import jobs

SOURCE = """
import re
from math import sqrt as root
table = {}
double = lambda value: value * 2

def one(value): return value
def two(key, value): return value
def three(a, b, c): return a
def many(*values): return values
def optional(value, extra=1): return value
def needs_keyword(value, *, how): return value
async def later(value): return value
class Callable:
    def __call__(self, value): return value
if table:
    def hidden(value): return value
"""


def check(op: str, fn: str | None = None, *, source: str = SOURCE, expr: str | None = None) -> None:
    node = {"id": "n", "op": op, **({"fn": fn} if fn else {}), **({"expr": expr} if expr else {})}
    request = jobs.job(
        [{"id": "read", "op": "read_text", "path": "x"}, node], 2, modules={"mine": source}
    )
    validate(parse_request(request))


@pytest.mark.parametrize(
    ("op", "name"),
    [
        ("map", "one"),
        ("map", "two"),
        ("filter", "double"),
        ("flat_map", "optional"),
        ("map", "many"),
        ("reduce_by_key", "two"),
        ("reduce_by_key", "many"),
        ("map", "root"),
        ("map", "Callable"),
        ("map", "hidden"),
    ],
)
def test_functions_that_can_be_called_are_taken(op: str, name: str) -> None:
    check(op, f"mine:{name}")


@pytest.mark.parametrize(
    ("op", "fn", "said", "field"),
    [
        ("map", "mine:tow", "mine.py defines no 'tow'; did you mean two?", "dag.nodes[1].fn"),
        ("map", "other:one", "the module 'other', which is not in modules", "dag.nodes[1].fn"),
        ("map", "mine:three", "mine.py, line 9: three takes 3 arguments", "dag.nodes[1].fn"),
        ("reduce_by_key", "mine:one", "line 7: one takes 1 arguments", "dag.nodes[1].fn"),
        ("map", "mine:needs_keyword", "line 12", "dag.nodes[1].fn"),
        ("map", "mine:later", "line 13: later is async", "dag.nodes[1].fn"),
        ("shuffle_write", "mine:one", "takes no function", "dag.nodes[1].fn"),
    ],
)
def test_functions_that_cannot_are_refused_with_their_line(
    op: str, fn: str, said: str, field: str
) -> None:
    with pytest.raises(InvalidRequest) as caught:
        check(op, fn)
    assert said in str(caught.value)
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("modules", "said"),
    [
        ({"mine": "def f(:\n  pass"}, "mine.py, line 1"),
        ({"mine": "x = '\x00'"}, "mine.py"),
        ({"mine": "(" * 5000}, "mine.py"),
        ({"json": "x = 1"}, "the name of another module"),
        ({"minispark": "x = 1"}, "the name of another module"),
        ({"no-name": "x = 1"}, "a Python identifier"),
        ({"mine": 5}, "its source as a string"),
        ({"mine": "x" * 300_000}, "the limit is 256 KiB"),
        ({f"m{i}": "" for i in range(40)}, "at most 32 modules"),
        ([], "must be a JSON object"),
    ],
)
def test_modules_that_cannot_be_are_refused(modules: object, said: str) -> None:
    request = jobs.job([{"id": "read", "op": "read_text", "path": "x"}], 2, modules=modules)
    with pytest.raises(InvalidRequest) as caught:
        validate(parse_request(request))
    assert said in str(caught.value)
    assert (caught.value.field or "").startswith("modules")


def test_an_expression_and_a_function_are_one_too_many() -> None:
    check("filter", expr="len(value) > 3")
    check("reduce_by_key", expr="a + b")
    for op, fn, expr in (
        ("filter", "not_empty", "len(value) > 3"),
        ("reduce_by_key", None, "value"),
        ("map", None, "value.upper()"),
    ):
        with pytest.raises(InvalidRequest):
            check(op, fn, expr=expr)


@pytest.mark.parametrize("kind", list(PlanKind))
def test_modules_travel_only_with_stages_that_run_them(kind: PlanKind) -> None:
    request = parse_request(
        jobs.job(
            [
                {"id": "read", "op": "read_text", "path": "x"},
                {"id": "map", "op": "map", "fn": "mine:one"},
                {"id": "sum", "op": "reduce_by_key", "fn": "count"},
                {"id": "max", "op": "reduce_by_key", "expr": "a"},
            ],
            2,
            modules={"mine": SOURCE},
        )
    )
    inputs = {"read": ResolvedInput("read", ())}
    stages = plan(request, inputs, kind).stages
    with_code = [stage.id for stage in stages if stage.program.modules]
    if kind is PlanKind.FUSED:
        assert with_code == ["read+map"]
    else:
        assert with_code == ["map"]
        # what a foreign worker would make of other values than text is not the same
        assert [s.id for s in stages if s.is_documented] == []
