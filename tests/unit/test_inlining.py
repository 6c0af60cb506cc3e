"""Simple functions of the user's are written into the loop: only those that may be, and with the
same records and errors as when they are called.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minispark.compute.batch import Record, Values, batch_of, record_count, value_list
from minispark.compute.fused_loop import FusedLoop, LoopStep
from minispark.compute.pipeline import key_by_value
from minispark.compute.user_functions import UserFunctions
from minispark.compute.user_kernels import Fold, user_kernel
from minispark.errors import TaskError
from minispark.tasks.user_modules import UserModules


@contextmanager
def loaded(**sources: str) -> Iterator[UserFunctions]:
    modules = UserModules(tuple(sources.items()))
    modules.load()
    try:
        yield UserFunctions(modules.find, sources)
    finally:
        modules.unload()


PRELUDE = """
import math
from math import floor as down
LIMIT = 3
SEEN = []
count = 0
twice = 1
twice = 2
def helper(x): return str(x)
def bump():
    global count
    count += 1
def hidden(f): return f
"""


@pytest.mark.parametrize(
    ("source", "is_inlined"),
    [
        ("def f(v): return v.split()", True),
        (
            "def f(v):\n    'says what it does'\n    w = v.strip()\n    w = w + w\n    return w, 1",
            True,
        ),
        ("def f(v):\n    v = v.strip()\n    return v", True),
        ("def f(k, v): return k or v, len(v)", True),
        ("def f(v): return f'{v!r:>{LIMIT}}', math.pi", True),
        ("def f(v): return helper(down(len(v)))", True),
        ("def f(v): return SEEN.append(v)", True),
        ("def f(v): return {'a': [v, {v}]}['a'][0:1]", True),
        ("def f(v): return count", False),  # somebody may bind it anew
        ("def f(v): return twice", False),
        ("def f(v): return nobody(v)", False),
        ("def f(v): return [w for w in v]", False),
        ("def f(v): return (lambda: v)()", False),
        ("def f(v): return (w := v)", False),
        ("def f(v): return locals()", False),
        ("def f(v): yield v", False),
        ("def f(v):\n    if v:\n        return v\n    return 'x'", False),
        ("def f(v):\n    print(v)\n    return v", False),
        ("def f(v):\n    w = x\n    x = v\n    return w", False),
        ("def f(v): pass", False),
        ("def f(v, w=1): return v", False),
        ("def f(*v): return v", False),
        ("def f(v, w, x): return v", False),
        ("@hidden\ndef f(v): return v", False),
        ("def g():\n    x = 1\n    def f(v): return v + x\n    return f\nf = g()", False),
        ("f = lambda v: v", False),
        ("class f:\n    def __init__(self, v): ...", False),
        ("f = str.lower", False),
        ("def f(v): return LIMIT\ndef g(): globals()['LIMIT'] = 5", False),
    ],
)
def test_what_may_be_written_into_a_loop(source: str, is_inlined: bool) -> None:
    with loaded(own=PRELUDE + source) as functions:
        assert (functions.function("map", "own:f").inline is not None) == is_inlined


def test_what_another_module_binds_anew_is_called() -> None:
    other = "import own\ndef change(): own.LIMIT = 9"
    with loaded(own=PRELUDE + "def f(v): return v, LIMIT", other=other) as functions:
        assert functions.function("map", "own:f").inline is None


SOURCE = """
WORDS = ("a", "bb")
def same(v): return v
def pair(v): return v, 1
def pair_of_both(k, v): return k, [k, v]
def text(v): return f"<{v}>"
def size(v):
    shown = repr(v)
    return len(shown), shown
def odd_key(k, v): return (True if k == "a" else 7), v
def lower(v):
    v = str(v)
    v = v.lower() + "x"
    return v
def choice(v): return v if v == "a" else (v, 2) if v == "b" else (1, 2, 3)
def number(v): return 1.5
def long(v): return len(str(v)) > 1
def known(k, v): return k in WORDS or v in WORDS
def twice(v): return [v, v]
def letters(v): return str(v)
def pairs(k, v): return ((v, k), (k, v)) if k else []
def join(a, b): return [a, b]
def least(a, b):
    both = [str(a), str(b)]
    both = sorted(both)
    return both[0]
"""
OPS = {
    "map": ["same", "pair", "text", "size", "odd_key", "lower", "choice", "number"],
    "filter": ["long", "known"],
    "flat_map": ["twice", "letters", "pairs"],
}
STEP = st.sampled_from([(op, name) for op, names in OPS.items() for name in names])
VALUE = st.sampled_from(["a", "b", "bb", "", 1, None, ["x"]])
ROWS = st.lists(st.tuples(st.none() | st.sampled_from(["a", "b"]), VALUE), max_size=8)


@settings(max_examples=400, deadline=None)
@given(
    chain=st.lists(STEP, min_size=1, max_size=4),
    fold_name=st.sampled_from(["join", "least"]),
    rows=ROWS,
)
def test_inlined_functions_mean_what_they_mean_when_they_are_called(
    chain: list[tuple[str, str]], fold_name: str, rows: list[Record]
) -> None:
    with loaded(own=SOURCE) as functions:
        steps = [
            LoopStep(str(i), op, functions.function(op, f"own:{name}"))
            for i, (op, name) in enumerate(chain)
        ]
        fold = functions.function("reduce_by_key", f"own:{fold_name}")
        inlined = [step.function for step in steps]
        assert all(function.inline is not None for function in (*inlined, fold))
        by_calls = _outcome(lambda: _by_kernels(steps, Fold(fold), rows))
        assert _outcome(lambda: _by_loop(steps, Fold(fold), rows)) == by_calls


def _outcome(work: Any) -> Any:
    """Of several records that fail, a loop meets another one first than batches do."""
    try:
        return work()
    except TaskError:
        return TaskError


def _by_kernels(steps: list[LoopStep], fold: Fold, rows: list[Record]) -> str:
    batch, counts = batch_of(rows), []
    for step in steps:
        batch = user_kernel(step.op, step.function)(batch)
        counts.append(record_count(batch))
    keyed = key_by_value(batch, is_number=True)
    fold.add(keyed.keys, value_list(keyed))  # type: ignore[arg-type]
    return repr((fold.partials(), counts))


def _by_loop(steps: list[LoopStep], fold: Fold, rows: list[Record]) -> str:
    loop = FusedLoop(steps, fold)
    loop.take(batch_of(rows))
    return repr((fold.partials(), list(loop.counts.values())))


@pytest.mark.parametrize(
    ("body", "fold", "said", "record"),
    [
        ("v = v + 'x'\n    return v.missing, 1", "a + b", "own.py, line 3, in f", "'one'"),
        ("return v, 1 // (v != 'two')", "a + b", "ZeroDivisionError", "'two'"),
        ("return 'k', v", "a - b", "own.py, line 3, in add", "key 'k', 'one' and 'two'"),
    ],
)
def test_an_inlined_function_that_fails_is_found_in_the_users_file(
    body: str, fold: str, said: str, record: str
) -> None:
    with loaded(own=f"def f(v):\n    {body}\ndef add(a, b): return {fold}") as functions:
        step = LoopStep("f", "map", functions.function("map", "own:f"))
        fold_by = functions.function("reduce_by_key", "own:add")
        assert step.function.inline is not None and fold_by.inline is not None
        with pytest.raises(TaskError) as caught:
            FusedLoop([step], Fold(fold_by)).take(Values(["one", "two"]))
    lines = str(caught.value).splitlines()
    assert said in lines[0] and lines[0].startswith("own.py, line")
    assert lines[-1] == f"the record: {record}"


@pytest.mark.parametrize("key", ["None", "1.5", "[v]", "{}"])
def test_a_key_that_is_none_is_named_wherever_it_is_noticed(key: str) -> None:
    with loaded(own=f"def f(v): return {key}, v\ndef add(a, b): return a + b") as functions:
        step = LoopStep("f", "map", functions.function("map", "own:f"))
        assert step.function.inline is not None
        with pytest.raises(TaskError, match="own:f returned the key"):
            FusedLoop([step], Fold(functions.function("reduce_by_key", "own:add"))).take(
                Values(["one", "one"])
            )


def test_an_expression_is_written_into_the_loop() -> None:
    functions = UserFunctions()
    steps = [
        LoopStep("m", "map", functions.function("map", "expr:(lower(value), len(value))")),
        LoopStep("f", "filter", functions.function("filter", "expr:value > 1")),
    ]
    fold = Fold(functions.function("reduce_by_key", "expr:max(a, b)"))
    loop = FusedLoop(steps, fold)
    assert "call0(" not in loop.source and "fold(" not in loop.source
    loop.take(Values(["Aa", "b", "aA", "Bcd"]))
    assert fold.values == {"aa": 2, "bcd": 3}
