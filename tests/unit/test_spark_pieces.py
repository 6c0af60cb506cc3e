"""What the engine spark does without Spark: what is installed, how blocks arrive, how failures
travel.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minispark.compute.batch import Record, batch_of, records
from minispark.compute.map_output import MapOutput
from minispark.compute.spill import Memory
from minispark.errors import ClusterError, TaskError
from minispark.spark.arrived import ArrivedBlocks, Piece
from minispark.spark.context import write_package
from minispark.spark.failed_tasks import MarkedError, TaskOfStageFailed, read_failure
from minispark.spark.installed import require_spark
from tests.unit.test_spilling import Heap

# --- what is installed ----------------------------------------------------------------------


def with_java(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, says: str) -> Path:
    """A Java that says that of itself, as the one that Spark would start."""
    java = tmp_path / "bin" / "java"
    java.parent.mkdir()
    java.write_text(f"#!/bin/sh\n{says}\n")
    java.chmod(0o755)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    return java


@pytest.fixture
def with_pyspark(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())


def test_without_pyspark_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ClusterError, match=r"pip install 'pyspark>="):
        require_spark()


@pytest.mark.usefixtures("with_pyspark")
def test_without_java_the_error_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    with pytest.raises(ClusterError, match=r"Java 17 or later .*none was found: install one"):
        require_spark()


@pytest.mark.usefixtures("with_pyspark")
@pytest.mark.parametrize(
    ("says", "error"),
    [
        ("""echo 'openjdk version "17.0.15" 2025-04-15' >&2""", None),
        ("""echo 'java version "21" 2023-09-19 LTS' >&2""", None),
        ("""echo 'openjdk version "11.0.20" 2023-07-18' >&2""", "is Java 11: install it"),
        ("""echo 'java version "1.8.0_382"' >&2""", "is Java 8: install it"),
        ("echo hello", "does not say its version"),
        ("exit 1", "does not say its version"),
    ],
)
def test_java_must_be_new_enough(
    says: str, error: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    java = with_java(tmp_path, monkeypatch, says)
    if error is None:
        require_spark()
        return
    with pytest.raises(ClusterError, match=error) as raised:
        require_spark()
    assert str(java) in str(raised.value)


def test_a_task_needs_no_more_than_the_package_that_spark_ships(tmp_path: Path) -> None:
    package = write_package(tmp_path)
    code = (
        f"import sys; sys.path.insert(0, {str(package)!r}); import minispark.spark.stage_run as m"
    )
    # isolated, and without site-packages
    ran = subprocess.run(
        [sys.executable, "-I", "-S", "-c", f"{code}; print(m.__file__)"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.stdout.startswith(str(package)), ran.stderr


# --- how blocks arrive ----------------------------------------------------------------------

ROWS = st.lists(
    st.tuples(st.none() | st.text("aé", max_size=2), st.text("x\n", max_size=3)), max_size=6
)


def pieces_of(stage: int, partition: int, rows: list[Record], size: int) -> list[Piece]:
    """The map output's blocks, cut every `size` bytes."""
    output = MapOutput(1)
    for start in range(0, len(rows), 2):
        output.add(batch_of(rows[start : start + 2]))
        output.finish()
    (blocks,) = output.partitions()
    data = b"".join(blocks)
    cuts = range(0, len(data), size)
    return [(stage, partition, n, data[at : at + size]) for n, at in enumerate(cuts)]


@given(
    st.lists(ROWS, max_size=4),
    st.lists(ROWS, max_size=4),
    st.integers(1, 80),
    st.integers(0, 300),
    st.randoms(use_true_random=False),
)
def test_records_come_in_the_order_of_the_map_outputs_however_pieces_arrive(
    left: list[list[Record]], right: list[list[Record]], size: int, budget: int, random: object
) -> None:
    sides = {3: left, 11: right}
    arriving = [
        piece
        for stage, outputs in sides.items()
        for partition, rows in enumerate(outputs)
        for piece in pieces_of(stage, partition, rows, size)
    ]
    random.shuffle(arriving)  # type: ignore[attr-defined]
    arrived = ArrivedBlocks(arriving, Memory(budget, Heap()))
    for stage, outputs in sides.items():
        got = [row for batch in arrived.batches(stage) for row in records(batch)]
        assert got == [row for rows in outputs for row in rows]
    assert arrived.bytes_read == sum(len(data) for *_, data in arriving)


def test_blocks_that_outgrow_the_memory_wait_on_disk() -> None:
    heap = Heap()
    arriving = pieces_of(0, 0, [("k", "v" * 100)] * 20, 64)
    arrived = ArrivedBlocks(arriving, Memory(500, heap))
    total = sum(len(data) for *_, data in arriving)
    assert total - 500 - 64 <= len(heap.data) <= total
    assert len([row for batch in arrived.batches(0) for row in records(batch)]) == 20


# --- how failures travel --------------------------------------------------------------------


def through_spark(error: Exception) -> Exception:
    return RuntimeError(f"Job aborted: PythonException: Traceback\n{error}\n\tat org.apache.spark")


def test_a_failure_is_read_out_of_what_spark_says() -> None:
    text = "own.py, line 3, in f: ValueError: ü > 1\nTraceback"
    failed = read_failure(through_spark(MarkedError(2, 5, TaskError(text))))
    assert isinstance(failed, TaskOfStageFailed) and str(failed) == text
    assert (failed.stage_index, failed.partition, failed.reason) == (2, 5, "error")


def test_a_bug_of_ours_comes_with_its_traceback() -> None:
    try:
        raise KeyError("x")
    except KeyError as error:
        failed = read_failure(through_spark(MarkedError(0, 0, error)))
    assert isinstance(failed, TaskOfStageFailed) and failed.reason == "internal"
    assert "test_spark_pieces.py" in str(failed)


def test_a_failure_of_sparks_own_is_told_in_its_first_lines() -> None:
    failed = read_failure(RuntimeError("An error occurred\n\n: lost executor 1\nat x\nat y"))
    assert type(failed) is ClusterError
    assert str(failed) == "Spark failed: An error occurred : lost executor 1 at x"
