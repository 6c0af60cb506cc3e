"""The inner join, against two nested loops."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minispark.compute.batch import Constant, Keyed, batch_of, records, text_of
from minispark.compute.join import join
from minispark.errors import TaskError

VALUE = st.text("ab,(", max_size=3) | st.integers() | st.none()
SIDE = st.lists(st.tuples(st.sampled_from(["", "a", "b", "c"]), VALUE), max_size=6)


@settings(max_examples=300, deadline=None)
@given(left=SIDE, right=SIDE, cut=st.integers(0, 6))
def test_a_join_is_two_nested_loops(
    left: list[tuple[str, object]], right: list[tuple[str, object]], cut: int
) -> None:
    lefts = [batch_of(part) for part in (left[:cut], left[cut:])]
    rights = [batch_of(part) for part in (right[:cut], right[cut:])]
    got = [row for batch in join("j", lefts, rights) for row in records(batch)]
    assert got == [
        (key, f"({text_of(one)},{text_of(other)})")
        for key, one in left
        for k, other in right
        if k == key
    ]


def test_constant_columns_join() -> None:
    rights = [Keyed(["a", "b"], Constant("1"))]
    (joined,) = join("j", [Keyed(["b", "x"], Constant("2"))], rights)
    assert list(records(joined)) == [("b", "(2,1)")]


def test_a_record_without_a_key_proposes_extract_key() -> None:
    with pytest.raises(TaskError, match="extract_key"):
        list(join("j", [batch_of([(None, "x")])], []))
