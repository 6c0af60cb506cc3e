"""Outer joins, group_by_key, distinct, sample and take: what each means, record by record."""

from __future__ import annotations

import json
import tracemalloc
from collections import Counter
from collections.abc import Iterator
from itertools import chain, pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minispark.compute.batch import Batch, Constant, Keyed, Record, Values, batch_of, records
from minispark.compute.join import NULL, join
from minispark.compute.partition import range_bounds, range_partitions
from minispark.compute.pipeline import Pipeline
from minispark.compute.reducers import new_reducer
from minispark.compute.rows import (
    first_records,
    records_of_keys,
    sampled,
    sampled_keys,
    whole_record_keys,
)
from minispark.compute.sorting import sorted_rows
from minispark.compute.spill import Memory
from minispark.model.steps import Limit, Sample
from tests.in_process import plan_of, run_plan
from tests.jobs import job
from tests.unit.test_spilling import Heap

VALUE = (
    st.text("ab\n", max_size=2) | st.integers() | st.none() | st.lists(st.integers(), max_size=2)
)
ROWS = st.lists(st.tuples(st.none() | st.text("ab", max_size=2), VALUE), max_size=8)
SIDE = st.lists(
    st.lists(st.tuples(st.text("abc", max_size=2), st.text("xy", max_size=2)), max_size=8),
    max_size=4,
)


def flat(batches: Iterator[Batch] | list[Batch]) -> list[Record]:
    return [row for batch in batches for row in records(batch)]


def outer_join(left: list[Record], right: list[Record], kind: str) -> list[Record]:
    rows = [(k, f"({a},{b})") for k, a in left for key, b in right if key == k]
    if kind in ("left", "full"):
        rows += [(k, f"({a},{NULL})") for k, a in left if k not in {key for key, _ in right}]
    if kind in ("right", "full"):
        rows += [(k, f"({NULL},{b})") for k, b in right if k not in {key for key, _ in left}]
    return rows


@settings(max_examples=400, deadline=None)
@given(
    SIDE,
    SIDE,
    st.sampled_from(["inner", "left", "right", "full"]),
    st.none() | st.integers(0, 2000),
)
def test_outer_joins_keep_what_has_no_partner(
    left: list[list[Record]], right: list[list[Record]], kind: str, budget: int | None
) -> None:
    memory = None if budget is None else Memory(budget, Heap())
    got = flat(join("j", map(batch_of, left), map(batch_of, right), memory, kind=kind))
    assert Counter(got) == Counter(outer_join(list(chain(*left)), list(chain(*right)), kind))


def test_an_outer_join_remembers_no_keys_of_the_left_side_that_meet_nobody() -> None:
    def lefts() -> Iterator[Batch]:
        for start in range(0, 200_000, 1000):
            keys = [f"a left key {i}" for i in range(start, start + 1000)]
            yield Keyed(keys, Constant("1"), is_complete=True)

    tracemalloc.start()
    rights = [batch_of([("alone", "x")])]
    rows = 0
    for batch in join("j", lefts(), rights, Memory(1 << 20, Heap()), kind="full"):
        rows += len(batch.keys)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert rows == 200_001
    assert peak < 4 << 20, peak


@given(st.lists(st.lists(st.tuples(st.text("ab", max_size=1), VALUE), max_size=6), max_size=4))
def test_group_by_key_keeps_order_and_types(parts: list[list[tuple[str, object]]]) -> None:
    whole, merged = new_reducer("collect"), new_reducer("collect")
    expected: dict[str, list[object]] = {}
    for part in parts:
        keys, values = [key for key, _ in part], [value for _, value in part]
        partial = new_reducer("collect")
        whole.add(keys, values)
        partial.add(keys, values)
        merged.merge(*partial.partials())
        for key, value in part:
            expected.setdefault(key, []).append(value)
    assert list(records(whole.finish())) == list(expected.items())
    assert list(records(merged.finish())) == list(expected.items())


@given(ROWS)
def test_equal_records_and_no_others_have_one_key(rows: list[Record]) -> None:
    keyed = whole_record_keys(batch_of(rows))
    for key, row in zip(keyed.keys, rows, strict=True):
        same = [other for other, k in zip(rows, keyed.keys, strict=True) if k == key]
        assert {json.dumps(other) for other in same} == {json.dumps(row)}
    assert flat([records_of_keys(keyed)]) == rows


@given(st.lists(ROWS, max_size=4), st.integers(0, 40))
def test_take_gives_the_first_records(parts: list[list[Record]], n: int) -> None:
    got = flat(first_records(map(batch_of, parts), n))
    assert got == list(chain(*parts))[:n]


def test_take_asks_for_no_more_batches_than_it_needs() -> None:
    asked = 0

    def batches() -> Iterator[Batch]:
        nonlocal asked
        while True:
            asked += 1
            yield Values(["x"] * 10)

    pipeline = Pipeline((Limit("t", 25),))
    assert len(flat(pipeline.run(batches()))) == 25
    assert asked == 3
    assert pipeline.counts == {"t": 25}


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(1, 50), max_size=5), st.floats(0, 1), st.integers(0, 9))
def test_a_sample_does_not_depend_on_how_records_are_batched(
    sizes: list[int], fraction: float, seed: int
) -> None:
    rows: list[Record] = [(None, str(i)) for i in range(sum(sizes))]
    starts = [sum(sizes[:i]) for i in range(len(sizes) + 1)]
    parts = [batch_of(rows[a:b]) for a, b in pairwise(starts)]
    step = Sample("s", fraction, seed)
    assert flat(sampled(parts, step, 3)) == flat(sampled([batch_of(rows)], step, 3))


@pytest.mark.parametrize("fraction", [0.0, 0.25, 1.0])
def test_a_sample_has_about_its_part_of_the_records(fraction: float) -> None:
    batch = Values([str(i) for i in range(20_000)])
    picked = {p: flat(sampled([batch], Sample("s", fraction, 7), p)) for p in (0, 1)}
    for rows in picked.values():
        assert abs(len(rows) - 20_000 * fraction) <= 400
    if fraction == 0.25:
        assert picked[0] != picked[1]
        assert picked[0] != flat(sampled([batch], Sample("s", fraction, 8), 0))


# --- sort_by_key --------------------------------------------------------------------------------


PAIRS = st.lists(
    st.lists(st.tuples(st.text("ab\u00e9", max_size=2), VALUE), max_size=8), max_size=5
)


@settings(max_examples=300, deadline=None)
@given(PAIRS, st.none() | st.integers(0, 2000), st.booleans())
def test_sorting_is_stable_and_the_same_when_it_spills(
    parts: list[list[Record]], budget: int | None, is_descending: bool
) -> None:
    memory = None if budget is None else Memory(budget, Heap())
    batches = [Keyed([k for k, _ in part], [v for _, v in part], is_json=True) for part in parts]
    got = flat(sorted_rows(batches, memory, is_descending))
    assert got == sorted(chain(*parts), key=lambda row: str(row[0]), reverse=is_descending)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(st.text("abc", max_size=3), st.integers(1, 9)), max_size=40),
    st.lists(st.text("abcd", max_size=4)),
    st.integers(1, 7),
    st.booleans(),
)
def test_ranges_keep_the_total_order(
    samples: list[tuple[str, int]], keys: list[str], count: int, is_descending: bool
) -> None:
    bounds = range_bounds(samples, count)
    assert range_bounds(reversed(samples), count) == bounds
    targets = range_partitions(keys, bounds, count, is_descending)
    assert all(0 <= target < count for target in targets)
    for one, at in zip(keys, targets, strict=True):
        for other, there in zip(keys, targets, strict=True):
            assert at == there or (at < there) is ((one < other) is not is_descending)


def test_ranges_are_about_equally_large() -> None:
    keys = [f"{i * 7919 % 100_000:05}" for i in range(100_000)]
    batches = [Keyed(keys[at : at + 1000], ["x"] * 1000) for at in range(0, 100_000, 1000)]
    samples = [(str(key), int(weight)) for key, weight in flat(sampled_keys(batches, 0))]
    sizes = Counter(range_partitions(keys, range_bounds(samples, 4), 4, False))
    assert all(20_000 < size < 30_000 for size in sizes.values()), sizes


# --- no records ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "last",
    [
        {"op": "sort_by_key"},
        {"op": "reduce_by_key", "fn": "count"},
        {"op": "join", "join_with": "pair"},
        {"op": "distinct"},
    ],
)
@pytest.mark.parametrize("fn", ["split_lines", "split_words"])
def test_what_needs_keys_takes_no_records_at_all(
    tmp_path: Path, last: dict[str, Any], fn: str
) -> None:
    (tmp_path / "in.txt").write_text("a,1\nb\n")
    nodes = [
        {"id": "read", "op": "read_text", "path": str(tmp_path / "in.txt")},
        {"id": "pair", "op": "map", "fn": "extract_key"},
        {"id": "none", "op": "sample", "fraction": 0.0},
        {"id": "split", "op": "flat_map", "fn": fn},
        {"id": "last", **last},
    ]
    assert run_plan(plan_of(job(nodes, 2)), tmp_path).rows() == []
