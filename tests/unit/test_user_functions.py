"""The user's own functions: what they may return, and what is said of what they may not."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minispark.compute.batch import (
    Batch,
    Keyed,
    TextChunk,
    Values,
    batch_of,
    record_count,
    records,
    text_of,
    value_list,
)
from minispark.compute.fused_loop import FusedLoop, LoopStep
from minispark.compute.pipeline import Pipeline, key_by_value
from minispark.compute.user_functions import UserFunction, UserFunctions
from minispark.compute.user_kernels import Fold, user_kernel
from minispark.errors import InvalidRequest, TaskError
from minispark.model.expressions import parse_expression
from minispark.model.steps import Aggregate, Narrow

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=2), inner),
    max_leaves=4,
)
KEY = st.none() | st.sampled_from(["a", "b", "\n"])
ROWS = st.lists(st.tuples(KEY, JSON), max_size=6)


def own(call: Callable[..., Any], arity: int = 1) -> UserFunction:
    return UserFunction("m:f", call, arity)


def run(op: str, call: Callable[..., Any], batch: Batch, arity: int = 1) -> list[tuple[Any, Any]]:
    return list(records(user_kernel(op, own(call, arity))(batch)))


def plain(value: Any) -> Any:
    """As JSON has it."""
    return json.loads(json.dumps(value))


# --- by their definition --------------------------------------------------------------------


@settings(max_examples=200, deadline=None)
@given(rows=ROWS, returns=st.lists(JSON, min_size=6, max_size=6))
def test_a_map_keeps_keys_and_takes_any_json_value(
    rows: list[tuple[str | None, Any]], returns: list[Any]
) -> None:
    answers = iter(returns)
    got = run("map", lambda value: next(answers), batch_of(rows))
    want = [(key, value) for (key, _), value in zip(rows, returns, strict=False)]
    assert got == want and repr(got) == repr(want)


@settings(max_examples=200, deadline=None)
@given(rows=ROWS, keys=st.lists(st.booleans() | st.integers() | st.text(max_size=3), min_size=6))
def test_a_two_tuple_is_a_key_and_a_value(
    rows: list[tuple[str | None, Any]], keys: list[Any]
) -> None:
    answers = iter(keys)
    got = run("map", lambda value: (next(answers), value), batch_of(rows))
    want = [(text_of(key), value) for key, (_, value) in zip(keys, rows, strict=False)]
    assert got == want


@settings(max_examples=200, deadline=None)
@given(rows=ROWS)
def test_a_flat_map_and_a_filter_see_key_and_value(rows: list[tuple[str | None, Any]]) -> None:
    batch = batch_of(rows)
    doubled = run("flat_map", lambda key, value: [value] * (2 if key else 0), batch, arity=2)
    assert doubled == [row for row in rows for _ in range(2 if row[0] else 0)]
    kept = run("filter", lambda key, value: key == "a", batch, arity=2)
    assert kept == [row for row in rows if row[0] == "a"]


@settings(max_examples=200, deadline=None)
@given(
    rows=st.lists(st.tuples(st.sampled_from("abc"), st.integers()), max_size=9),
    cut=st.integers(0, 9),
)
def test_partial_folds_merge_to_what_one_pass_gives(rows: list[tuple[str, int]], cut: int) -> None:
    def feed(part: list[tuple[str, int]]) -> Fold:
        fold = Fold(own(lambda a, b: a + b, 2))
        fold.add([key for key, _ in part], [value for _, value in part])
        return fold

    merged = Fold(own(lambda a, b: a + b, 2))
    for part in (rows[:cut], rows[cut:]):
        merged.merge(*feed(part).partials())
    assert list(records(merged.finish())) == list(records(feed(rows).finish()))
    sums: dict[str, int] = {}
    for key, value in rows:
        sums[key] = sums.get(key, 0) + value
    assert dict(records(merged.finish())) == sums


def test_named_functions_see_text() -> None:
    batch = Keyed(["a", "b", "a"], [1.5, [True, "x"], None], is_json=True)
    steps = (Narrow("up", "map", "to_upper"), Narrow("long", "filter", "is_long"))
    out = [row for b in Pipeline(steps).run([batch]) for row in records(b)]
    assert out == [("b", '[TRUE,"X"]')]
    (summed,) = Pipeline((Aggregate("s", "sum", partial_in=False),)).run(
        [Keyed(["a", "a", "b"], [1, 2.5, "7"], is_json=True)]
    )
    assert list(records(summed)) == [("a", "3.5"), ("b", "7")]


def test_tuples_become_lists_and_a_copy_is_kept() -> None:
    same: list[int] = []

    def growing(value: str) -> list[int]:
        same.append(len(same))
        return same

    assert run("map", lambda value: {"t": (1, (2,))}, Values(["x"])) == [(None, {"t": [1, [2]]})]
    assert run("map", lambda value: (1, 2, 3), Values(["x"])) == [(None, [1, 2, 3])]
    assert run("map", growing, Values(["a", "b"]))[0][1] == [0, 1]


def test_a_mixture_of_pairs_and_values() -> None:
    got = run("map", lambda v: (v, 1) if v else v, Keyed(["k", "k"], ["", "w"]))
    assert got == [("k", ""), ("w", 1)]


def test_unkeyed_records_count_as_one_each() -> None:
    assert list(records(key_by_value(TextChunk("a\n"), is_number=True))) == [("a", 1)]
    mixed = Keyed([None, "k"], [5, "v"], is_json=True)
    assert list(records(key_by_value(mixed, is_number=True))) == [("5", 1), ("k", "v")]


CHAINS = st.lists(st.sampled_from(["map", "flat_map", "filter"]), min_size=1, max_size=4)


@settings(max_examples=300, deadline=None)
@given(chain=CHAINS, rows=ROWS, seed=st.integers(0, 10**6), cut=st.integers(0, 6))
def test_a_fused_loop_means_what_the_kernels_mean(
    chain: list[str], rows: list[tuple[str | None, Any]], seed: int, cut: int
) -> None:
    """Every function's answers are drawn by what it is asked, so both ways get the same ones."""

    def answer(step: int, op: str) -> Callable[[Any, Any], Any]:
        def call(key: Any, value: Any) -> Any:
            rng = random.Random(f"{seed} {step} {key!r} {value!r}")
            made = [value, (rng.choice(["x", 7, True]), value), [value, (1,)], 1.5, (1, 2, 3), None]
            match op:
                case "filter":
                    return rng.random() < 0.7
                case "map":
                    return rng.choice(made)
                case _:
                    return (rng.choice(made) for _ in range(rng.randint(0, 2)))

        return call

    functions = [own(answer(i, op), 2) for i, op in enumerate(chain)]
    fold = own(lambda a, b: [a, b], 2)
    batches = [batch_of(rows[:cut]), batch_of(rows[cut:])]
    plain_fold, fused_fold = Fold(fold), Fold(fold)
    counts = [0] * len(chain)
    for batch in batches:
        for i, (op, function) in enumerate(zip(chain, functions, strict=True)):
            batch = user_kernel(op, function)(batch)
            counts[i] += record_count(batch)
        keyed = key_by_value(batch, is_number=True)
        plain_fold.add(keyed.keys, value_list(keyed))  # type: ignore[arg-type]
    steps = [
        LoopStep(str(i), op, f) for i, (op, f) in enumerate(zip(chain, functions, strict=True))
    ]
    loop = FusedLoop(steps, fused_fold)
    for batch in batches:
        loop.take(batch)
    assert repr(fused_fold.partials()) == repr(plain_fold.partials())
    assert list(loop.counts.values()) == counts


# --- what they may not ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("op", "call", "said"),
    [
        ("map", lambda v: {1, 2}, "a set, which is no JSON value"),
        ("map", lambda v: float("nan"), "returned nan"),
        ("map", lambda v: 10**5000, "no JSON value"),
        ("map", lambda v: (None, v), "the key None, a NoneType"),
        ("map", lambda v: (1.5, v), "the key 1.5, a float"),
        ("map", lambda v: ("k", b"x"), "a bytes, which is no JSON value"),
        ("flat_map", lambda v: None, "returned a NoneType, not something to iterate over"),
        ("flat_map", lambda v: 5 if v == "two" else [], "for the record 'two'"),
        ("filter", lambda v: v, "returned a str, not True or False"),
    ],
)
def test_what_is_no_record_is_an_error_that_names_function_and_record(
    op: str, call: Callable[..., Any], said: str
) -> None:
    with pytest.raises(TaskError) as caught:
        run(op, call, Values(["one", "two"]))
    assert "m:f" in str(caught.value) and said in str(caught.value)


def _generator(value: str) -> Any:
    yield value
    if value == "two":
        raise KeyError(value)


def _exits(value: str) -> Any:
    raise SystemExit(3)


@pytest.mark.parametrize(
    ("op", "call", "said"),
    [
        ("map", lambda v: 1 // (v != "two"), "ZeroDivisionError"),
        ("flat_map", _generator, "KeyError: 'two'"),
        ("filter", lambda v: v.nothing, "has no attribute 'nothing'"),
        ("map", _exits, "SystemExit: 3"),
    ],
)
def test_f20_what_they_raise_names_the_record(op: str, call: Callable[..., Any], said: str) -> None:
    with pytest.raises(TaskError) as caught:
        run(op, call, Values(["one", "two"] if op != "filter" and call is not _exits else ["two"]))
    assert said in str(caught.value).splitlines()[0]
    assert str(caught.value).splitlines()[-1] == "the record: 'two'"


def test_f20_what_a_fused_loop_raises_names_function_and_record() -> None:
    def loop(op: str, call: Callable[..., Any], fold: Callable[..., Any]) -> None:
        steps = [LoopStep("a", "map", own(lambda v: ("k", v))), LoopStep("b", op, own(call))]
        FusedLoop(steps, Fold(UserFunction("m:fold", fold, 2))).take(Values(["one", "two", "two"]))

    def add(a: Any, b: Any) -> Any:
        return a + b

    for op, call, said, record in (
        ("map", lambda v: 1 // (v != "two"), "ZeroDivisionError", "('k', 'two')"),
        ("flat_map", _generator, "KeyError: 'two'", "('k', 'two')"),
        ("flat_map", lambda v: 5, "not iterable", "('k', 'one')"),
        ("filter", lambda v: v.nothing, "no attribute 'nothing'", "('k', 'one')"),
        ("map", lambda v: v if v == "one" else 1, "TypeError", "key 'k', 'one' and 1"),
    ):
        with pytest.raises(TaskError) as caught:
            loop(op, call, add)
        assert said in str(caught.value).splitlines()[0]
        assert str(caught.value).splitlines()[-1] == f"the record: {record}"
    for op, call, said in (
        (
            "filter",
            lambda v: v,
            "m:f returned a str, not True or False, for the record ('k', 'one')",
        ),
        ("map", lambda v: {1}, "m:f returned {1}, a set"),
        ("map", lambda v: (None, v), "m:f returned the key None"),
    ):
        with pytest.raises(TaskError, match=re.escape(said)):
            loop(op, call, add)


def test_f20_what_a_reducer_raises_names_key_and_values() -> None:
    fold = Fold(own(lambda a, b: a + b, 2))
    with pytest.raises(TaskError, match=r"the record: key 'k', 1 and 'x'"):
        fold.add(["k", "k"], [1, "x"])


# --- expressions --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "value", "result"),
    [
        ("len(value) > 3", "four", True),
        ("upper(value) if key is None else key", "x", "X"),
        ("(value[0], 1)", "word", ("w", 1)),
        ("[int(p) for_ in value]", "", None),
        ("contains(value, 'a') and not starts_with(value, 'b')", "abc", True),
        ("split(value, ',')[1:]", "a,b,c", ["b", "c"]),
        ("{'n': len(value)}", "ab", {"n": 2}),
        ("max(1, 2) ** 2 - -3 % 2", "", 3),
    ],
)
def test_expressions(text: str, value: str, result: Any) -> None:
    if result is None:
        with pytest.raises(InvalidRequest):
            parse_expression(text, ("key", "value"))
        return
    function = UserFunctions().function("map", f"expr:{text}")
    assert function.call(None, value) == result


@pytest.mark.parametrize(
    "text",
    [
        "value.upper()",
        "().__class__",
        "__import__('os')",
        "open('/etc/passwd')",
        "lambda: 1",
        "[v for v in value]",
        "(x := 1)",
        "f'{value}'",
        "value; 1",
        "print(value)",
        "sorted(value, key=len)",
        "len",
        "other",
        "1 +",
        "\x00",
        "(" * 500 + ")" * 500,
        "len(value) + " * 200 + "1",
    ],
)
def test_an_expression_can_only_compute(text: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse_expression(text, ("key", "value"), "dag.nodes[0].expr")
    assert caught.value.field == "dag.nodes[0].expr"
