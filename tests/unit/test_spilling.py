"""What outgrows its memory goes to disk, and comes out as if it had not."""

from __future__ import annotations

import errno
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minispark.compute import aggregation, map_output, runs
from minispark.compute.aggregation import Aggregation
from minispark.compute.batch import Keyed, Record, batch_of, records
from minispark.compute.join import join
from minispark.compute.map_output import MapOutput
from minispark.compute.partition import crc32_partition
from minispark.compute.pipeline import Pipeline
from minispark.compute.reducers import Column, new_reducer
from minispark.compute.spill import Extent, Memory
from minispark.compute.user_functions import UserFunction
from minispark.compute.user_kernels import Fold
from minispark.model.function_names import FUNCTION_NAMES
from minispark.storage.spill_file import SpillFile


class Heap:
    """Spills into memory, and counts."""

    def __init__(self) -> None:
        self.data = b""
        self.writes = 0

    def write(self, blocks: Iterable[bytes]) -> Extent:
        start = len(self.data)
        self.data += b"".join(blocks)
        self.writes += 1
        return Extent(start, len(self.data) - start)

    def reader(self, extent: Extent) -> Callable[[int], bytes]:
        at, end = extent.start, extent.start + extent.size

        def read(size: int) -> bytes:
            nonlocal at
            start, at = at, min(at + size, end)
            return self.data[start:at]

        return read


KEY = st.text("ab\n\u00e9", max_size=3)
PAIRS = st.lists(st.tuples(KEY, st.integers(-99, 99).map(str)), max_size=30)
BATCHES = st.lists(PAIRS, max_size=5)
REDUCERS = (*FUNCTION_NAMES["reduce_by_key"], "collect")


def columns(pairs: list[tuple[str, str]]) -> tuple[list[str], list[str]]:
    return [key for key, _ in pairs], [value for _, value in pairs]


@settings(max_examples=300, deadline=None)
@given(BATCHES, st.sampled_from(REDUCERS), st.integers(0, 1500))
def test_an_aggregation_that_spills_gives_the_same_by_key(
    batches: list[list[tuple[str, str]]], name: str, budget: int
) -> None:
    whole = new_reducer(name)
    heap = Heap()
    bounded = Aggregation(lambda: new_reducer(name), Memory(budget, heap))
    for pairs in batches:
        whole.add(*columns(pairs))
        bounded.add(*columns(pairs))
    expected = list(records(whole.finish()))
    got = [row for batch in bounded.results() for row in records(batch)]
    assert got == (sorted(expected) if heap.writes else expected)


@pytest.mark.parametrize("name", REDUCERS)
def test_many_runs_are_merged_a_few_at_a_time(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    open_at_once: list[int] = []
    ranges = aggregation._ranges

    def watched(merged: list[aggregation._Run]) -> Iterator[list[tuple[list[str], Column]]]:
        open_at_once.append(len(merged))
        return ranges(merged)

    monkeypatch.setattr(aggregation, "FAN_IN_MAX", 3)
    monkeypatch.setattr(aggregation, "_ranges", watched)
    whole = new_reducer(name)
    bounded = Aggregation(lambda: new_reducer(name), Memory(0, Heap()))
    for number in range(40):
        pairs = [(f"k{(number * 7 + i) % 11}", str(number)) for i in range(4)]
        whole.add(*columns(pairs))
        bounded.add(*columns(pairs))
    got = [row for batch in bounded.results() for row in records(batch)]
    assert got == sorted(records(whole.finish()))
    levels = 4  # 3 ** 4 is more than 40 runs
    assert open_at_once.count(3) > 10 and max(open_at_once) <= 2 * levels + 1


def test_what_is_held_of_a_run_is_a_small_part_of_the_budget(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    blocks: list[int] = []
    encode = runs.encode_block
    monkeypatch.setattr(runs, "encode_block", lambda *a: blocks.append(len(a[0])) or encode(*a))
    bounded = Aggregation(lambda: new_reducer("concat"), Memory(1 << 20, Heap()))
    for number in range(3000):
        bounded.add([f"k{number}"], ["x" * 1000])
    assert len(list(bounded.results())) > 1
    assert max(blocks) * 1000 < (1 << 20) / runs.FAN_IN_MAX


@settings(max_examples=200, deadline=None)
@given(BATCHES, st.integers(0, 1500))
def test_an_aggregation_by_a_function_of_the_users_spills_too(
    batches: list[list[tuple[str, str]]], budget: int
) -> None:
    def fold() -> Fold:
        return Fold(UserFunction("m:longest", lambda a, b: max(a, b, key=lambda t: (len(t), t)), 2))

    whole, heap = fold(), Heap()
    bounded = Aggregation(fold, Memory(budget, heap))
    for pairs in batches:
        whole.add(*columns(pairs))
        bounded.add(*columns(pairs))
    expected = list(records(whole.finish()))
    got = [row for batch in bounded.results() for row in records(batch)]
    assert got == (sorted(expected) if heap.writes else expected)


@settings(max_examples=200, deadline=None)
@given(BATCHES, st.sampled_from(REDUCERS), st.integers(0, 1500))
def test_a_map_side_aggregate_that_outgrows_its_memory_comes_in_parts(
    batches: list[list[tuple[str, str]]], name: str, budget: int
) -> None:
    whole, merged = new_reducer(name), new_reducer(name)
    for pairs in batches:
        whole.add(*columns(pairs))
    inputs = [Keyed(*columns(pairs), is_complete=True) for pairs in batches]
    for keys, partials in Pipeline((), memory=Memory(budget, Heap())).combine(name, inputs):
        merged.merge(keys, partials)
    assert list(records(merged.finish())) == list(records(whole.finish()))


SIDE = st.lists(st.lists(st.tuples(KEY, st.text("xy", max_size=2)), max_size=12), max_size=4)


@settings(max_examples=300, deadline=None)
@given(SIDE, SIDE, st.integers(0, 2000))
def test_a_join_that_spills_gives_the_same_records(
    left: list[list[Record]], right: list[list[Record]], budget: int
) -> None:
    def joined(memory: Memory | None) -> list[Record]:
        lefts, rights = map(batch_of, left), map(batch_of, right)
        return [row for batch in join("j", lefts, rights, memory) for row in records(batch)]

    assert Counter(joined(Memory(budget, Heap()))) == Counter(joined(None))


def test_a_join_on_one_hot_key_holds_a_piece_of_the_right_side_at_a_time() -> None:
    heap = Heap()
    rights = (Keyed(["hot"] * 100, [f"r{i}-{k}" for i in range(100)]) for k in range(50))
    lefts = (Keyed(["hot"] * 10, [f"l{i}-{k}" for i in range(10)]) for k in range(3))
    memory = Memory(60_000, heap)
    got = Counter(row for batch in join("j", lefts, rights, memory) for row in records(batch))
    assert len(got) == 30 * 5000 and set(got.values()) == {1}
    assert heap.writes > 0


@settings(max_examples=100, deadline=None)
@given(BATCHES, st.integers(1, 5), st.integers(0, 2000))
def test_a_map_output_that_spills_has_the_same_partitions(
    batches: list[list[tuple[str, str]]], partitions: int, budget: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(map_output, "BLOCK_RECORDS", 7)
        output = MapOutput(partitions, Memory(budget, Heap()))
        for pairs in batches:
            output.add(batch_of(list(pairs)))
        output.finish()
    flat = [pair for pairs in batches for pair in pairs]
    assert output.is_empty is (not flat)
    for partition in range(partitions):
        got = [row for batch in output.batches(partition) for row in records(batch)]
        assert got == [row for row in flat if crc32_partition(row[0], partitions) == partition]


# --- the file -----------------------------------------------------------------------------------


@pytest.fixture
def spill(tmp_path: Path) -> Iterator[SpillFile]:
    file = SpillFile(str(tmp_path))
    yield file
    file.close()


def test_extents_are_read_back_piece_by_piece_in_turns(spill: SpillFile) -> None:
    first, second = spill.write([b"one", b"two"]), spill.write([b"three"])
    one, other = spill.reader(first), spill.reader(second)
    assert [one(4), other(2), one(4), other(9), one(1)] == [b"onet", b"th", b"wo", b"ree", b""]
    assert spill.bytes_written == 11


def test_a_spill_file_has_no_name(spill: SpillFile, tmp_path: Path) -> None:
    spill.write([b"data"])
    assert list((tmp_path / "spill").iterdir()) == []


def test_f21_a_full_disk_while_spilling_says_so(
    spill: SpillFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(OSError, match=r"No space left on device, spilling to .*spill"):
        spill.write([b"data"])
