"""Where a job's time goes: the phase clock of a task, a stage's sums, and the analyzed plan."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from minispark.cli.explain_analyze import analyzed, duration, size
from minispark.compute.batch import Batch, Values
from minispark.compute.pipeline import Pipeline
from minispark.metrics.phases import PHASE_US_MIN, PhaseClock
from minispark.model import effects as fx
from minispark.model.figures import OperatorFigures, StageFigures
from minispark.model.job import ReaderOptions
from minispark.model.plan import (
    FetchShuffle,
    Join,
    OperatorCount,
    PartitionFile,
    ReadSplits,
    ShuffleBlocks,
    Source,
    Stage,
    StageProgram,
    TaskOutcome,
)
from minispark.model.steps import (
    Aggregate,
    Narrow,
    RequireKey,
    Step,
)
from minispark.plan.analyze import OperatorLine, analyze
from minispark.plan.explain import explain, source_lines
from minispark.scheduling.stage_figures import NAMES_MAX, StageSums
from minispark.storage.job_history import JobHistory
from minispark.storage.job_store import JobStore
from tests.unit.test_job_store import PLAN, facts


class Hand:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def read(self) -> float:
        return self.now


SPLIT = Narrow("split", "flat_map", "split_words")
PAIR = Narrow("pair", "map", "pair_with_one")

# --- the clock ------------------------------------------------------------------------------


def test_an_inner_phase_stops_the_outer_one() -> None:
    hand = Hand()
    clock = PhaseClock(hand.read)
    hand.now += 1
    with clock.phase("write"):
        hand.now += 2
        with clock.phase("read"):
            hand.now += 4
        hand.now += 8
    hand.now += 16
    assert clock.phases_us() == {"other": 17_000_000, "write": 10_000_000, "read": 4_000_000}


def test_pulled_batches_count_where_they_are_made() -> None:
    hand = Hand()
    clock = PhaseClock(hand.read)

    def lines() -> Iterator[int]:
        for i in range(3):
            hand.now += 1
            yield i

    def doubled(numbers: Iterator[int]) -> Iterator[int]:
        for number in numbers:
            hand.now += 10
            yield 2 * number

    with clock.phase("write"):
        flow = clock.timed(doubled(clock.timed(lines(), "read")), "compute", "double")
        for _ in flow:
            hand.now += 100
    assert clock.phases_us() == {"read": 3_000_000, "compute": 30_000_000, "write": 300_000_000}
    assert clock.node_us("double") == 30_000_000 and clock.node_us("else") == 0


def test_a_phase_that_raises_gives_the_clock_back() -> None:
    hand = Hand()
    clock = PhaseClock(hand.read)

    def broken() -> Iterator[int]:
        hand.now += 1
        raise ValueError
        yield 0

    with pytest.raises(ValueError):
        list(clock.timed(broken(), "read"))
    hand.now += 2
    assert clock.phases_us() == {"read": 1_000_000, "other": 2_000_000}


def test_every_step_of_a_pipeline_is_watched() -> None:
    hand = Hand()
    clock = PhaseClock(hand.read)

    def watch(node_id: str, batches: Iterator[Batch]) -> Iterator[Batch]:
        def slowly() -> Iterator[Batch]:
            for batch in batches:
                hand.now += 1
                yield batch

        return clock.timed(slowly(), "compute", node_id)

    steps = (SPLIT, PAIR, Aggregate("sum", "sum", False))
    assert list(Pipeline(steps, watch=watch).run([Values(["a b", "a"])]))
    assert [clock.node_us(node) for node in ("split", "pair", "sum")] == [1_000_000] * 3


def test_what_takes_next_to_nothing_is_not_reported() -> None:
    hand = Hand()
    clock = PhaseClock(hand.read)
    with clock.phase("read"):
        hand.now += (PHASE_US_MIN - 1) / 1e6
    with clock.phase("write"):
        hand.now += (PHASE_US_MIN + 1) / 1e6
    assert clock.phases_us() == {"write": PHASE_US_MIN + 1}


# --- the sums of a stage ----------------------------------------------------------------------


def outcome(records: int) -> TaskOutcome:
    return TaskOutcome(
        records=records,
        bytes_written=10,
        operators=(OperatorCount("split", 3 * records, 5), OperatorCount("pair", records, 7)),
        bytes_read=100,
        bytes_spilled=1,
        phases_us={"read": 20, "compute": 12},
    )


def test_accepted_attempts_add_up() -> None:
    sums = StageSums()
    sums.started(3.0)
    sums.started(4.0)
    sums.accepted(outcome(1), 5.0)
    sums.accepted(outcome(2), 6.0)
    assert sums.figures(7.0) == StageFigures(
        tasks=2, bytes_read=200, bytes_written=20, bytes_spilled=2, records=3,
        phases_us={"read": 40, "compute": 24},
        operators={"split": OperatorFigures(9, 10), "pair": OperatorFigures(3, 14)},
        first_started_at=3.0, last_accepted_at=6.0, completed_at=7.0,
    )  # fmt: skip


def test_a_worker_that_invents_names_fills_no_memory() -> None:
    sums = StageSums()
    for start in range(0, 3 * NAMES_MAX, 100):
        sums.accepted(TaskOutcome(0, 0, phases_us={f"p{start + i}": 1 for i in range(100)}), 0.0)
    assert len(sums.figures(0.0).phases_us) == NAMES_MAX


def test_figures_are_durable_and_go_with_their_job(tmp_path: Path) -> None:
    sums = StageSums()
    sums.accepted(outcome(1), 5.0)
    figures = sums.figures(7.0)
    path = tmp_path / "j.db"
    store = JobStore(path, lambda _: "{}", lambda _: "{}", lambda _: "[]")
    store.write([*facts("j"), fx.StageMeasured("j", 0, StageFigures())])
    store.write([fx.StageMeasured("j", 0, figures)])  # complete once more
    assert JobHistory(path).figures("j") == {0: figures}
    store.write([fx.ForgetJob("j")])
    store.write(facts("j"))  # the next job gets the same number
    assert JobHistory(path).figures("j") == {}
    store.close()


# --- the analyzed plan --------------------------------------------------------------------------


def stage(source: Source, steps: tuple[Step, ...], sink: object) -> Stage:
    program = StageProgram(source, steps, sink)  # type: ignore[arg-type]
    return Stage(
        **{
            name: getattr(PLAN.stages[0], name)
            for name in Stage.__dataclass_fields__
            if name != "program"
        },
        program=program,
    )


def test_each_operator_has_its_rows_bytes_and_time() -> None:
    took = StageFigures(
        tasks=2, bytes_read=100, bytes_written=30, bytes_spilled=9, records=4,
        phases_us={"read": 5, "compute": 100, "shuffle write": 7, "other": 1000},
        operators={"split": OperatorFigures(12, 40), "pair": OperatorFigures(12, 20)},
    )  # fmt: skip
    read = ReadSplits("read", "text", _options())
    lines = analyze(stage(read, (SPLIT, PAIR), ShuffleBlocks("sum", 3, "sum")), took)
    assert [(x.records, x.bytes, x.us, x.bytes_spilled) for x in lines] == [
        (None, 100, 5, None),
        (12, None, 40, None),
        (12, None, 20, None),
        (4, 30, 7 + (100 - 60), 9),  # what combining took is the sink's
    ]


def test_a_merge_has_the_spill_and_a_join_its_input() -> None:
    took = StageFigures(
        tasks=1, bytes_read=50, bytes_written=30, bytes_spilled=9, records=4,
        phases_us={"fetch": 5, "merge": 11, "write": 2},
        operators={"sum": OperatorFigures(4, 11)},
    )  # fmt: skip
    merge = stage(FetchShuffle(0, True), (Aggregate("sum", "sum", True),), PartitionFile("sum"))
    _, aggregate, sink = analyze(merge, took)
    assert (aggregate.us, aggregate.bytes_spilled) == (11, 9)
    assert (sink.us, sink.bytes_spilled) == (2, None)

    left = (SPLIT, RequireKey("join"))
    source = Join("join", FetchShuffle(0), FetchShuffle(1), left)
    took = StageFigures(
        tasks=1, bytes_read=50, records=4, phases_us={"fetch": 5, "compute": 12},
        operators={"join": OperatorFigures(4, 10), "split": OperatorFigures(6, 2)},
    )  # fmt: skip
    lines = analyze(stage(source, (), PartitionFile("join")), took)
    assert [line.what for line in lines[:-1]] == source_lines(source)
    assert lines[0] == OperatorLine("join [join]", 4, 50, 15, 0)
    assert [line.records for line in lines] == [4, None, 6, None, None, 4]


def _options() -> ReaderOptions:
    return ReaderOptions()


def test_what_did_not_run_has_its_lines_alone() -> None:
    said = explain(PLAN)
    for each in PLAN.stages:
        for line in analyze(each, StageFigures()):
            assert line.what.strip() in said
            assert (line.records, line.us, line.bytes_spilled) == (None, None, None)


def test_the_table_says_what_was_measured() -> None:
    figures = {"tasks": 3, "first_started_at": 1.0, "completed_at": 1.5}
    line = {"what": "read", "records": None, "bytes": 1500, "us": 2500, "bytes_spilled": None}
    shown = {
        "index": 0,
        "id": "read+map",
        "partitions": 4,
        "tasks_skipped": 0,
        "figures": figures,
        "operators": [line],
    }
    idle = {**shown, "index": 1, "figures": None}
    text = analyzed({"stages": [shown, idle, {**idle, "index": 2, "tasks_skipped": 4}]})
    assert "stage 0: read+map (3 of 4 tasks measured, 0.500 s from its first to its last)" in text
    assert "stage 1: read+map (not complete)" in text
    assert "stage 2: read+map (skipped)" in text
    assert text.splitlines()[3].split() == ["read", "1.5", "kB", "2.5", "ms"]


@pytest.mark.parametrize(
    ("show", "value", "text"),
    [
        (size, None, ""), (size, 0, "0 B"), (size, 999, "999 B"), (size, 1_234_567, "1.2 MB"),
        (duration, None, ""), (duration, 500, "0.5 ms"), (duration, 1_234_567, "1.235 s"),
    ],
)  # fmt: skip
def test_sizes_and_times_are_short(
    show: Callable[[int | None], str], value: int | None, text: str
) -> None:
    assert show(value) == text
