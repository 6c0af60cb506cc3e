"""Every kernel against its per-record definition, on random batches."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minispark.compute.batch import (
    Batch,
    Constant,
    Keyed,
    TextChunk,
    Values,
    record_count,
    records,
)
from minispark.compute.columns import select_columns
from minispark.compute.functions import NARROW_FUNCTIONS
from minispark.compute.kernels import KERNELS
from minispark.compute.pipeline import Pipeline, key_by_value
from minispark.errors import TaskError
from minispark.model.function_names import FUNCTION_NAMES
from minispark.model.steps import Narrow, SelectColumns

LETTERS = st.sampled_from("aAbΣσςİıßﬁé\u0301ש𝕏 \t\r\x0b\x1c\x1f\x85\u00a0\u2028\x00,'\"")
TEXT = st.text(
    LETTERS | st.characters(exclude_categories=["Cs"], exclude_characters="\n"), max_size=12
)
ANY_TEXT = TEXT | st.text(LETTERS | st.just("\n"), max_size=8)
CHUNKS = st.builds(
    lambda lines, ending, skip: TextChunk("".join(f"{line}{ending}" for line in lines), skip),
    st.lists(TEXT, min_size=1, max_size=6),
    st.sampled_from(["\n", "\r\n"]),
    st.booleans(),
)
ROWS = st.lists(st.tuples(st.none() | ANY_TEXT, ANY_TEXT), max_size=6)
BATCHES = (
    CHUNKS
    | st.builds(Values, st.lists(ANY_TEXT, max_size=6))
    | ROWS.map(lambda rows: Keyed([k for k, _ in rows], [v for _, v in rows]))
    | st.builds(Keyed, st.lists(st.none() | ANY_TEXT, max_size=6), st.builds(Constant, ANY_TEXT))
)
ALL = [(op, fn) for op, names in KERNELS.items() for fn in names]


def test_every_named_function_has_a_meaning_and_a_kernel() -> None:
    for op, names in NARROW_FUNCTIONS.items():
        assert set(names) == set(KERNELS[op]) == set(FUNCTION_NAMES[op])


@pytest.mark.parametrize(("op", "fn"), ALL)
@settings(max_examples=150, deadline=None)
@given(batch=BATCHES)
def test_a_kernel_does_what_its_definition_says(op: str, fn: str, batch: Batch) -> None:
    function = NARROW_FUNCTIONS[op][fn]
    expected = [row for key, value in records(batch) for row in function(key, value)]
    result = KERNELS[op][fn](batch)
    assert list(records(result)) == expected
    assert record_count(result) == len(expected)


@settings(max_examples=200, deadline=None)
@given(batch=BATCHES, names=st.lists(st.sampled_from(ALL), max_size=5))
def test_a_pipeline_does_what_its_steps_say(batch: Batch, names: list[tuple[str, str]]) -> None:
    steps = tuple(Narrow(f"n{i}", op, fn) for i, (op, fn) in enumerate(names))
    expected = list(records(batch))
    counts: dict[str, int] = {}
    for step in steps:
        function = NARROW_FUNCTIONS[step.op][step.fn]
        expected = [row for key, value in expected for row in function(key, value)]
        counts[step.node_id] = len(expected)
    pipeline = Pipeline(steps)
    assert [row for out in pipeline.run([batch]) for row in records(out)] == expected
    assert pipeline.counts == counts, "also where a chunk stays whole"


@given(batch=BATCHES)
def test_unkeyed_records_count_as_their_value_and_one(batch: Batch) -> None:
    expected = [(v, "1") if k is None else (k, v) for k, v in records(batch)]
    assert list(records(key_by_value(batch))) == expected


@given(chunk=CHUNKS)
def test_lines_of_a_chunk(chunk: TextChunk) -> None:
    lines = [line.removesuffix("\r") for line in chunk.text.split("\n")[:-1]]
    assert chunk.lines() == [line for line in lines if line or not chunk.skip_blank]


@pytest.mark.parametrize("field", ['"key": "\\ud800", "v": 1', '"key": 1, "v": ["\\ud800"]'])
def test_f02_a_selected_field_that_is_no_text_is_named(field: str) -> None:
    step = SelectColumns("sum", "jsonl", "key", None, "v", None, "one")
    with pytest.raises(TaskError, match=r"sum: '(key|v)' of the line .*half of a surrogate pair"):
        select_columns(step, Values([f"{{{field}}}"]))
    assert list(records(select_columns(step, Values(['{"key": "\\ud83d\\ude00", "v": 1}'])))) == [
        ("\U0001f600", "1")
    ]
