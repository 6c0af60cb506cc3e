"""The partition cache: what stays in memory, what is spilled, what is evicted, what is counted."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from minispark.compute.batch import (
    Batch,
    Constant,
    Integers,
    Keyed,
    TextChunk,
    Values,
    has_json,
    records,
)
from minispark.errors import MiniSparkError, ProtocolError
from minispark.storage.memory_file import memory_file
from minispark.storage.partition_cache import SPILLED_FACTOR, PartitionCache
from minispark.storage.task_files import SHUFFLE_FILE, attempt_dir
from minispark.worker.cache_channel import CacheChannel, serve_cache
from minispark.worker.task_cache import TaskCache
from tests import jobs
from tests.in_process import plan_of, run_plan

ATTEMPT = "00000000-0000-5000-8000-000000000001"
OTHER = "00000000-0000-5000-8000-000000000002"
ROWS: list[Batch] = [Keyed(["a", "b"], Constant("1"), is_complete=True)]


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[PartitionCache]:
    made = PartitionCache(str(tmp_path), "worker-1", bytes_max=250)
    yield made
    made.close()
    assert (made.memory_bytes, made.spilled_bytes) == (0, 0)
    assert list(tmp_path.glob("spill/*/*")) == []


def put(
    cache: PartitionCache, key: str, size: int, attempt: str | None = None, is_copy: bool = False
) -> None:
    with memory_file("unused") as file:
        file.write(key[:1].encode() * size)
        file.flush()
        cache.put(key, os.dup(file.fileno()), attempt, is_copy)


def got(cache: PartitionCache, key: str) -> tuple[bytes, bool] | None:
    """What the entry holds, and whether it lies on disk."""
    found = cache.get(key)
    if found is None:
        return None
    with open(found.fd, "rb") as file:
        file.seek(0)
        return file.read(), found.is_spilled


def test_the_least_recently_used_entry_is_spilled_and_still_found(
    cache: PartitionCache, tmp_path: Path
) -> None:
    put(cache, "a:0", 100)
    put(cache, "b:0", 100)
    assert got(cache, "a:0") == (b"a" * 100, False)  # b is now used least
    put(cache, "c:0", 100)
    assert (cache.memory_bytes, cache.spilled_bytes) == (200, 100)
    assert [path.name for path in tmp_path.glob("spill/worker-1/*")] == ["b_0.blocks"]
    assert got(cache, "b:0") == (b"b" * 100, True)
    assert got(cache, "a:0") == (b"a" * 100, False)
    assert got(cache, "nobody:0") is None
    assert (cache.hits, cache.misses) == (3, 1)


def test_an_entry_above_the_limit_goes_to_disk_and_pushes_out_no_other(
    cache: PartitionCache,
) -> None:
    put(cache, "a:0", 100)
    put(cache, "b:0", 251)
    assert got(cache, "b:0") == (b"b" * 251, True)
    assert got(cache, "a:0") == (b"a" * 100, False)


def test_what_is_used_least_on_disk_is_evicted(cache: PartitionCache) -> None:
    for i in range(SPILLED_FACTOR + 2):
        put(cache, f"{chr(97 + i % 26)}:{i}", 251)
        assert got(cache, "a:0") is not None  # and so it is used
    assert cache.spilled_bytes <= SPILLED_FACTOR * 250
    assert got(cache, "b:1") is None
    assert got(cache, "a:0") == (b"a" * 251, True)


def test_a_new_entry_takes_the_place_of_an_old_one(cache: PartitionCache) -> None:
    put(cache, "a:0", 100, ATTEMPT)
    put(cache, "a:0", 30, OTHER)
    assert cache.memory_bytes == 30
    cache.drop_attempts([ATTEMPT])
    assert got(cache, "a:0") == (b"a" * 30, False)
    cache.drop_attempts([OTHER])
    assert got(cache, "a:0") is None


def test_entries_go_with_their_attempt_from_memory_and_from_disk(
    cache: PartitionCache, tmp_path: Path
) -> None:
    put(cache, "a:0", 200, ATTEMPT)
    put(cache, "b:0", 200, OTHER)
    put(cache, "c:0", 10)
    assert len(list(tmp_path.glob("spill/worker-1/*"))) == 1
    cache.drop_attempts([ATTEMPT, OTHER, ATTEMPT])
    assert (got(cache, "a:0"), got(cache, "b:0")) == (None, None)
    assert got(cache, "c:0") == (b"c" * 10, False)
    assert list(tmp_path.glob("spill/worker-1/*")) == []


def test_a_copy_of_an_attempts_file_is_spilled_as_a_second_name_of_that_file(
    cache: PartitionCache, tmp_path: Path
) -> None:
    folder = attempt_dir(str(tmp_path), ATTEMPT)
    folder.mkdir(parents=True)
    (folder / SHUFFLE_FILE).write_bytes(b"a" * 200)
    put(cache, "a:0", 200, ATTEMPT, is_copy=True)
    put(cache, "b:0", 200)
    (spilled,) = tmp_path.glob("spill/worker-1/*")
    assert spilled.samefile(folder / SHUFFLE_FILE)
    assert got(cache, "a:0") == (b"a" * 200, True)


def test_what_cannot_be_spilled_leaves_the_cache(
    cache: PartitionCache, caplog: pytest.LogCaptureFixture
) -> None:
    put(cache, "a:0", 200, ATTEMPT, is_copy=True)  # the file that it is a copy of is not there
    with caplog.at_level(logging.WARNING):
        put(cache, "b:0", 200)
    assert "a:0 cannot be spilled" in caplog.text
    assert got(cache, "a:0") is None
    assert cache.memory_bytes == 200


def test_a_spill_that_cannot_be_opened_is_logged_and_is_a_miss(
    cache: PartitionCache, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    put(cache, "a:0", 251)
    (tmp_path / "spill/worker-1/a_0.blocks").unlink()
    with caplog.at_level(logging.WARNING):
        assert got(cache, "a:0") is None
    assert "a:0 cannot be read" in caplog.text
    assert (cache.hits, cache.misses, cache.spilled_bytes) == (0, 1, 0)


@pytest.mark.parametrize("key", ["../x:0", "a/b:0", "", "k" * 151])
def test_a_key_that_makes_no_file_name_is_refused(cache: PartitionCache, key: str) -> None:
    with pytest.raises(ProtocolError):
        put(cache, key, 10)


def test_a_worker_deletes_what_an_earlier_one_of_its_name_spilled(tmp_path: Path) -> None:
    for name in ("worker-1", "worker-10"):
        (tmp_path / "spill" / name).mkdir(parents=True)
        (tmp_path / "spill" / name / "old_0.blocks").touch()
    PartitionCache(str(tmp_path), "worker-1", bytes_max=1)
    assert [path.parent.name for path in tmp_path.glob("spill/*/*")] == ["worker-10"]


# --- as a task uses it ------------------------------------------------------------------------


@pytest.fixture
def task_cache(cache: PartitionCache, tmp_path: Path) -> Iterator[TaskCache]:
    mine, theirs = socket.socketpair()
    serve_cache(theirs, cache)
    with mine:
        yield TaskCache(CacheChannel(mine), str(tmp_path), bytes_max=250)


def same(batches: list[Batch]) -> list[list[tuple[str | None, object]]]:
    return [list(records(batch)) for batch in batches]


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)


@st.composite
def any_batch(draw: st.DrawFn) -> Batch:
    keys = draw(st.lists(TEXT, max_size=6) | st.lists(st.none() | TEXT, min_size=1, max_size=6))
    count = len(keys)
    texts = st.lists(TEXT, min_size=count, max_size=count)
    numbers = st.lists(st.integers(), min_size=count, max_size=count)
    lines = st.lists(TEXT, max_size=4).map(lambda got: "".join(f"{t}\n" for t in got))
    return draw(
        texts.map(Values)
        | st.builds(TextChunk, lines, st.booleans())
        | numbers.map(lambda n: Values(n, is_json=True))
        | texts.map(lambda values: Keyed(keys, values))
        | numbers.map(lambda values: Keyed(keys, values, is_json=True))
        | numbers.map(lambda n: Keyed(keys, Integers(n)))
        | TEXT.map(lambda value: Keyed(keys, Constant(value)))
    )


@settings(max_examples=150, deadline=None)
@given(batches=st.lists(any_batch(), max_size=5))
def test_what_is_kept_is_read_back_batch_by_batch(
    tmp_path_factory: pytest.TempPathFactory, batches: list[Batch]
) -> None:
    folder = tmp_path_factory.mktemp("kept")
    with closing(PartitionCache(str(folder), "w", bytes_max=250)) as cache:
        mine, theirs = socket.socketpair()
        serve_cache(theirs, cache)
        with mine:
            tasks = TaskCache(CacheChannel(mine), str(folder), bytes_max=250)
            assert list(tasks.keep("k:0", None, iter(batches))) == batches
            found = tasks.read("k:0")
            assert found is not None
            kept = list(found)
    assert same(kept) == same(batches)
    for before, after in zip(batches, kept, strict=True):
        if isinstance(before, TextChunk):
            assert after == before
        elif isinstance(before, Keyed) and isinstance(before.values, Integers):
            assert not has_json(after)


def test_what_was_not_read_to_its_end_is_not_kept(task_cache: TaskCache) -> None:
    kept = task_cache.keep("k:0", None, iter(ROWS * 3))
    next(kept)
    kept.close()  # type: ignore[attr-defined]
    assert task_cache.read("k:0") is None


def test_a_partition_above_the_limit_is_read_from_disk(
    task_cache: TaskCache, cache: PartitionCache
) -> None:
    batches: list[Batch] = [Values([f"value {i} of many"]) for i in range(20)]
    list(task_cache.keep("k:0", None, iter(batches)))
    assert cache.memory_bytes == 0 and cache.spilled_bytes > 250
    found = task_cache.read("k:0")
    assert found is not None and same(list(found)) == same(batches)


@pytest.mark.parametrize("at", [0, 20, -30, -4])
def test_a_damaged_spill_is_a_miss_before_anything_of_it_was_used(
    task_cache: TaskCache, cache: PartitionCache, tmp_path: Path, at: int
) -> None:
    list(task_cache.keep("k:0", None, iter([Values(["x" * 300])])))
    path = tmp_path / "spill/worker-1/k_0.blocks"
    data = bytearray(path.read_bytes())
    data[at] ^= 0x41
    path.write_bytes(data)
    assert task_cache.read("k:0") is None
    assert (cache.hits, cache.misses) == (0, 1)
    assert not path.exists()


def test_without_a_cache_everything_passes(tmp_path: Path) -> None:
    tasks = TaskCache(CacheChannel(None), str(tmp_path), bytes_max=0)
    assert list(tasks.keep("k:0", None, iter(ROWS))) == ROWS
    assert tasks.read("k:0") is None


def test_an_agent_that_is_gone_is_a_cache_without_entries(tmp_path: Path) -> None:
    mine, theirs = socket.socketpair()
    theirs.close()
    with mine:
        tasks = TaskCache(CacheChannel(mine), str(tmp_path), bytes_max=250)
        assert tasks.read("k:0") is None
        assert list(tasks.keep("k:0", None, iter(ROWS))) == ROWS


# --- whole plans --------------------------------------------------------------------------------

OPERATORS = st.sampled_from(
    [
        {"op": "map", "fn": "pair_with_one"},
        {"op": "map", "expr": "(key, [key, value])"},
        {"op": "filter", "expr": "len(key) != 2"},
        {"op": "flat_map", "fn": "split_words"},
        {"op": "sample", "fraction": 0.5},
        {"op": "union"},
        {"op": "union"},
        {"op": "union"},
        {"op": "distinct"},
        {"op": "sort_by_key"},
        {"op": "reduce_by_key", "fn": "count"},
        {"op": "take", "n": 5},
    ]
)


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_a_plan_gives_the_same_records_with_and_without_a_cache_and_again(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("plan")
    (folder / "x").write_text("".join(f"w{i % 7} W{i % 5}\n\n" for i in range(30)))
    nodes: list[dict[str, object]] = [{"id": "n0", "op": "read_text", "path": str(folder / "x")}]
    nodes.append({"id": "n1", "op": "map", "expr": "(value, value)"})
    edges = [["n0", "n1"]]
    for i in range(2, data.draw(st.integers(4, 9))):
        node = {"id": f"n{i}", **data.draw(OPERATORS), "cache": data.draw(st.booleans())}
        parents = data.draw(st.permutations(range(1, i)))[: 2 if node["op"] == "union" else 1]
        nodes.append(node)
        edges += [[f"n{parent}", f"n{i}"] for parent in parents]
    request = jobs.job(nodes, data.draw(st.integers(1, 3)), edges=edges)
    try:
        made = plan_of(request)
        expected = run_plan(made, folder).results
    except MiniSparkError:
        event("no job")
        return  # an expression that asks a record without a key, say
    with closing(PartitionCache(str(folder), "w", bytes_max=2000)) as cache:
        mine, theirs = socket.socketpair()
        serve_cache(theirs, cache)
        with mine:
            for _ in range(2):
                assert run_plan(made, folder, channel=CacheChannel(mine)).results == expected
