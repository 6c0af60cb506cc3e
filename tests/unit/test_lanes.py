"""Rows of a timeline."""

from __future__ import annotations

import random
from itertools import pairwise

from minispark.metrics.lanes import Lanes


def test_what_overlaps_by_a_little_is_cut_and_by_more_gets_a_row_beside() -> None:
    lanes = Lanes()
    assert lanes.put("slot", 100, 200, 10) == (0, 100, 200)
    assert lanes.put("slot", 195, 300, 10) == (0, 200, 300)
    assert lanes.put("slot", 50, 105, 10) == (0, 50, 100)
    assert lanes.put("slot", 150, 160, 10) == (1, 150, 160)  # within another one
    assert lanes.put("slot", 200, 205, 10) == (1, 200, 205)  # nothing of it would be left
    assert lanes.put("other", 100, 200, 10) == (0, 100, 200)


def test_what_overlaps_in_every_row_that_may_be_is_left_out() -> None:
    lanes = Lanes()
    assert lanes.put("slot", 100, 200, 0, 2) == (0, 100, 200)
    assert lanes.put("slot", 100, 200, 0, 2) == (1, 100, 200)
    assert lanes.put("slot", 150, 250, 0, 2) is None
    assert lanes.put("slot", 200, 250, 0, 2) == (0, 200, 250)


def test_a_span_is_never_empty() -> None:
    lanes = Lanes()
    assert lanes.put("slot", 100, 100, 10) == (0, 100, 101)
    assert lanes.put("slot", 100, 90, 10) == (1, 100, 101)


def test_no_two_spans_of_a_row_overlap_whatever_comes() -> None:
    for seed in range(200):
        draw = random.Random(seed)
        lanes, rows = Lanes(), dict[tuple[int, int], list[tuple[int, int]]]()
        for _ in range(60):
            place, begun = draw.randrange(2), draw.randrange(1000)
            ended, slack = begun + draw.randrange(80), draw.choice([0, 5, 40])
            put = lanes.put(place, begun, ended, slack)
            assert put is not None
            lane, shown_from, shown_to = put
            assert begun <= shown_from < shown_to <= max(ended, begun + 1), seed
            assert shown_from - begun <= slack and ended - shown_to <= slack, seed
            rows.setdefault((place, lane), []).append((shown_from, shown_to))
        for spans in rows.values():
            spans.sort()
            assert all(a[1] <= b[0] for a, b in pairwise(spans)), seed
