"""How inputs are cut: every byte once, every task about as much, and no task too much."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minispark.model.job import InputFile, PlanKind, ReaderOptions, ResolvedInput
from minispark.model.plan import PhysicalPlan
from minispark.plan.parsing import parse_request
from minispark.plan.planner import plan
from minispark.plan.splits import SPLIT_BYTES_MAX, UNPACKED_FACTOR, byte_splits, tasks_by_size
from tests.jobs import job

MIB = 2**20
FILES = st.lists(
    st.tuples(st.integers(0, 60) | st.just(500), st.sampled_from([None, None, "gz"])),
    min_size=1,
    max_size=12,
)


def files_of(sizes: list[tuple[int, str | None]]) -> tuple[InputFile, ...]:
    return tuple(InputFile(f"/{i}", size, 0, 0, kind) for i, (size, kind) in enumerate(sizes))


def read_by(task: tuple[Any, ...]) -> int:
    """About how many bytes of text."""
    return sum((s.end - s.start) * (UNPACKED_FACTOR if s.compression else 1) for s in task)


@settings(max_examples=500)
@given(FILES, st.integers(1, 9), st.booleans())
def test_every_byte_is_read_once_and_whole_files_whole(
    sizes: list[tuple[int, str | None]], partitions: int, multiline: bool
) -> None:
    files = files_of(sizes)
    tasks = byte_splits(files, ReaderOptions(multiline=multiline), partitions)
    assert len(tasks) == partitions
    for file in files:
        pieces = [s for task in tasks for s in task if s.path == file.path]
        if file.compression or multiline:
            assert [(s.start, s.end) for s in pieces] == [(0, file.size)]
        else:
            ends = [0, *(s.end for s in pieces)]
            assert [s.start for s in pieces] == ends[:-1] and ends[-1] == file.size
    order = [file.path for file in files]
    for task in tasks:
        places = [(order.index(s.path), s.start) for s in task]
        assert places == sorted(places)
    assert tasks == byte_splits(files, ReaderOptions(multiline=multiline), partitions)


@settings(max_examples=500)
@given(FILES, st.integers(1, 9))
def test_a_task_that_got_what_can_be_cut_has_no_more_than_another(
    sizes: list[tuple[int, str | None]], partitions: int
) -> None:
    tasks = byte_splits(files_of(sizes), ReaderOptions(), partitions)
    loads = [read_by(task) for task in tasks]
    cut = [
        load
        for load, task in zip(loads, tasks, strict=True)
        if any(not s.compression for s in task)
    ]
    if cut:
        assert max(cut) <= min(loads) + 2, "a byte of rounding at each end"


@settings(max_examples=500)
@given(st.lists(st.integers(1, 100), min_size=1, max_size=12), st.integers(1, 5))
def test_whole_files_are_spread_by_size(sizes: list[int], partitions: int) -> None:
    tasks = byte_splits(files_of([(size, "gz") for size in sizes]), ReaderOptions(), partitions)
    loads = [sum(s.end for s in task) for task in tasks]
    # by Graham: the last file that made a task the largest went to what was the smallest then
    heaviest = tasks[loads.index(max(loads))]
    assert max(loads) - min(s.end for s in heaviest) <= min(loads)
    firsts = [int(task[0].path[1:]) for task in tasks if task]
    assert firsts == sorted(firsts) and all(tasks[: len(firsts)])


def test_large_files_do_not_follow_each_other_to_one_task() -> None:
    files = files_of([(100, "gz"), (1, "gz"), (1, "gz"), (98, "gz")])
    tasks = byte_splits(files, ReaderOptions(), 2)
    assert [[s.path for s in task] for task in tasks] == [["/0"], ["/1", "/2", "/3"]]
    mixed = files_of([(10, "gz"), (100, None)])
    assert [read_by(task) for task in byte_splits(mixed, ReaderOptions(), 2)] == [70, 70]


def test_many_small_files_share_a_task_and_a_large_one_has_several() -> None:
    files = files_of([(10, None)] * 90 + [(900, None)])
    tasks = byte_splits(files, ReaderOptions(), 4)
    assert [read_by(task) for task in tasks] == [450] * 4
    assert [len(task) for task in tasks] == [45, 45, 1, 1]


# --- as many tasks as it takes -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("sizes", "partitions", "tasks"),
    [
        ([2 * SPLIT_BYTES_MAX], 2, 2),
        ([2 * SPLIT_BYTES_MAX + 1], 2, 4),
        ([SPLIT_BYTES_MAX // 2] * 9, 2, 6),
        ([10**18], 4, 10_000),
        ([10**18], 20_000, 20_000),
        ([], 3, 3),
    ],
)
def test_tasks_are_full_rounds_of_no_more_than_the_size(
    sizes: list[int], partitions: int, tasks: int
) -> None:
    files = files_of([(size, None) for size in sizes])
    assert tasks_by_size(files, ReaderOptions(), partitions) == tasks


def test_files_that_are_read_whole_make_no_more_tasks_than_they_are() -> None:
    files = files_of([(SPLIT_BYTES_MAX, "gz")] * 3)
    assert tasks_by_size(files, ReaderOptions(), 2) == 3
    assert tasks_by_size(files[:1], ReaderOptions(), 2) == 2


READ = {"id": "read", "op": "read_text", "path": "x"}
PAIR = {"id": "pair", "op": "map", "fn": "pair_with_one"}
SUM = {"id": "sum", "op": "reduce_by_key"}


def planned(request: dict[str, Any], kind: str = "fused", **sizes: int) -> PhysicalPlan:
    found = {
        node["id"]: ResolvedInput(
            node["id"], (InputFile("/x", sizes.get(node["id"], 10 * SPLIT_BYTES_MAX), 0),), ("a",)
        )
        for node in request["dag"]["nodes"]
        if node["op"].startswith("read_")
    }
    return plan(parse_request(request), found, PlanKind(kind))


def tasks_of(*nodes: dict[str, Any], **more: Any) -> list[int]:
    sizes = more.pop("sizes", {})
    return [s.partitions for s in planned(job(list(nodes), 2, **more), **sizes).stages]


def test_a_large_input_has_more_tasks_than_the_parallelism_and_its_reduce_has_not() -> None:
    made = planned(job([READ, PAIR, SUM], 2))
    assert [stage.partitions for stage in made.stages] == [10, 2]
    assert max(map(read_by, made.stages[0].splits)) <= SPLIT_BYTES_MAX
    assert [stage.partitions for stage in planned(job([READ, PAIR, SUM], 2), "naive").stages] == (
        [2] * 4
    )


@pytest.mark.parametrize(
    "nodes",
    [
        [READ | {"partitions": 2}, PAIR, SUM],
        [READ, PAIR | {"partitions": 2}, SUM],
        [READ, PAIR],
        [READ, PAIR, {"id": "w", "op": "write_csv", "path": "/out"}],
    ],
)
def test_a_number_that_somebody_said_or_sees_is_kept(nodes: list[dict[str, Any]]) -> None:
    assert tasks_of(*nodes)[0] == 2


def test_a_reader_that_is_also_a_result_keeps_its_partitions() -> None:
    low = {"id": "low", "op": "map", "fn": "to_lower"}
    edges = [["read", "pair"], ["pair", "sum"], ["read", "low"]]
    assert tasks_of(READ, PAIR, SUM, low, edges=edges) == [2, 2, 2]


def joined(**more: Any) -> list[dict[str, Any]]:
    key = {"op": "map", "fn": "extract_key"}
    read2 = {**READ, "id": "read2"}
    join = {"id": "j", "op": "join", "join_with": "k2", **more}
    return [READ, {"id": "k", **key}, read2, {"id": "k2", **key}, join]


EDGES = [["read", "k"], ["read2", "k2"], ["k", "j"]]


def test_both_sides_of_a_shuffled_join_are_cut_by_size() -> None:
    assert tasks_of(*joined(), edges=EDGES) == [10, 10, 2]


def test_a_streamed_join_has_more_tasks_only_where_nobody_sees_them() -> None:
    small = {"read2": 10}
    assert tasks_of(*joined(), edges=EDGES, sizes=small) == [2, 2]
    edges = [*EDGES, ["j", "sum"]]
    assert tasks_of(*joined(), SUM, edges=edges, sizes=small) == [2, 10, 2]
    assert tasks_of(*joined(partitions=2), SUM, edges=edges, sizes=small) == [2, 2, 2]


def test_branches_of_a_union_are_cut_each_by_its_own_size() -> None:
    nodes = [READ, {**READ, "id": "read2"}, {"id": "u", "op": "union"}, SUM]
    edges = [["read", "u"], ["read2", "u"], ["u", "sum"]]
    assert tasks_of(*nodes, edges=edges, sizes={"read2": 100}) == [12, 2]
    nodes[2]["partitions"] = 4
    assert tasks_of(*nodes, edges=edges, sizes={"read2": 100}) == [4, 2]


@given(st.integers(1, 2000), st.integers(1, 16))
def test_no_task_reads_more_than_the_size(mib: int, partitions: int) -> None:
    files = files_of([(mib * MIB, None), (7, None)])
    tasks = tasks_by_size(files, ReaderOptions(), partitions)
    assert tasks % partitions == 0
    splits = byte_splits(files, ReaderOptions(), tasks)
    loads = [read_by(task) for task in splits]
    assert max(loads) <= SPLIT_BYTES_MAX and max(loads) - min(loads) <= 2
    assert tasks == partitions or (tasks - partitions) * SPLIT_BYTES_MAX < sum(loads)
    for one, other in pairwise(splits):
        if one and other and one[-1].path == other[0].path:
            assert one[-1].end == other[0].start
