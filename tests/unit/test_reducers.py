"""Reducers: partials merge to what one pass gives; numbers are exact; errors name the record."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minispark.compute import numbers
from minispark.compute.batch import Constant, records
from minispark.compute.reducers import Reducer, new_reducer
from minispark.errors import TaskError
from minispark.model.function_names import FUNCTION_NAMES

INTEGER = st.integers(-(10**25), 10**25).map(str) | st.sampled_from(["+5", "-0", "007"])
DECIMAL = st.decimals(-(10**9), 10**9, places=3).map(lambda d: format(d, "f"))
NUMBER = INTEGER | DECIMAL | st.sampled_from(["1", "1.0", "1.00", "-0.0"])
PAIRS = st.lists(st.tuples(st.sampled_from("abc"), NUMBER), max_size=12)


def feed(reducer: Reducer, pairs: list[tuple[str, str]]) -> Reducer:
    reducer.add([key for key, _ in pairs], [value for _, value in pairs])
    return reducer


def result(reducer: Reducer) -> dict[str, str]:
    return dict(records(reducer.finish()))  # type: ignore[arg-type]


@pytest.mark.parametrize("name", FUNCTION_NAMES["reduce_by_key"])
@settings(max_examples=150, deadline=None)
@given(pairs=PAIRS, cut=st.integers(0, 12), constants=st.integers(0, 5))
def test_partials_merge_to_what_one_pass_gives(
    name: str, pairs: list[tuple[str, str]], cut: int, constants: int
) -> None:
    whole = feed(new_reducer(name), pairs)
    whole.add(["c"] * constants, Constant("1"))
    merged = new_reducer(name)
    for part in (pairs[:cut], pairs[cut:]):
        merged.merge(*feed(new_reducer(name), part).partials())
    last = new_reducer(name)
    last.add(["c"] * constants, Constant("1"))
    merged.merge(*last.partials())
    assert list(records(merged.finish())) == list(
        records(whole.finish())
    )  # the same keys in the same order, too


@settings(max_examples=200, deadline=None)
@given(pairs=PAIRS)
def test_results_are_exact(pairs: list[tuple[str, str]]) -> None:
    values: dict[str, list[str]] = {}
    for key, value in pairs:
        values.setdefault(key, []).append(value)
    sums = result(feed(new_reducer("sum"), pairs))
    averages = result(feed(new_reducer("avg"), pairs))
    least = result(feed(new_reducer("min"), pairs))
    assert result(feed(new_reducer("count"), pairs)) == {k: str(len(v)) for k, v in values.items()}
    assert result(feed(new_reducer("concat"), pairs)) == {k: ",".join(v) for k, v in values.items()}
    for key, texts in values.items():
        total = sum(map(Fraction, texts))
        assert Fraction(sums[key]) == total
        assert averages[key] == repr(float(total / len(texts)))
        assert (Fraction(least[key]), least[key]) == min((Fraction(t), t) for t in texts)


@given(pairs=PAIRS, seed=st.randoms())
def test_order_changes_nothing_but_the_order_of_keys(
    pairs: list[tuple[str, str]], seed: object
) -> None:
    shuffled = list(pairs)
    seed.shuffle(shuffled)  # type: ignore[attr-defined]
    for name in ("sum", "count", "min", "max", "avg"):
        assert result(feed(new_reducer(name), pairs)) == result(feed(new_reducer(name), shuffled))


def test_integers_stay_integers_and_decimals_keep_their_scale() -> None:
    assert result(feed(new_reducer("sum"), [("a", "1"), ("a", "+2")])) == {"a": "3"}
    assert result(feed(new_reducer("sum"), [("a", "1.50"), ("a", "2")])) == {"a": "3.50"}
    assert result(feed(new_reducer("sum"), [("a", "0.1")] * 10)) == {"a": "1.0"}
    assert result(feed(new_reducer("avg"), [("a", "1"), ("a", "2")])) == {"a": "1.5"}
    assert result(feed(new_reducer("max"), [("a", "9"), ("a", "10")])) == {"a": "10"}


@pytest.mark.parametrize(
    "text", ["", " 1", "1 ", "1_0", "１", "1.", ".5", "1e3", "0x1", "nan", "1,5", "9" * 5000]
)
@pytest.mark.parametrize("name", ["sum", "min", "max", "avg"])
def test_what_is_no_number_is_named(name: str, text: str) -> None:
    with pytest.raises(TaskError) as caught:
        feed(new_reducer(name), [("the key", "1"), ("the key", text)])
    assert name in str(caught.value) and "the key" in str(caught.value)
    assert repr(text[:100]) in str(caught.value)


@given(st.lists(NUMBER, min_size=1))
def test_addition_is_exact_whatever_the_context(texts: list[str]) -> None:
    total: numbers.Number = 0
    for text in texts:
        number = numbers.parse(text)
        assert number is not None
        total = numbers.add(total, number)
    assert Fraction(total) == sum(Fraction(Decimal(text)) for text in texts)
