"""What the command line waits for, and the times that it takes."""

from __future__ import annotations

import argparse
import os
import threading
import time
from pathlib import Path

import pytest

from minispark.cli.durations import exactly, seconds
from minispark.cli.processes import await_processes
from minispark.errors import ClusterError, DeadlineExceeded
from tests.cluster_files import write_cluster


def write(folder: Path, *states: tuple[str, str]) -> None:
    processes = [
        {"name": name, "pid": os.getpid(), "state": state, "reason": "ended with status 1"}
        for name, state in states
    ]
    write_cluster(folder, processes)


def test_it_waits_for_those_that_come_and_those_that_go(tmp_path: Path) -> None:
    write(tmp_path, ("a", "STARTING"), ("b", "STOPPING"))
    later = threading.Timer(0.2, write, (tmp_path, ("a", "RUNNING")))
    later.start()
    await_processes(tmp_path, ["a"], 5.0, leaving=["b"])
    later.join()


@pytest.mark.parametrize(
    ("states", "said"),
    [
        ([("a", "FATAL")], r"a is FATAL \(ended with status 1\).*`restart a`"),
        ([("a", "STOPPED")], "a is STOPPED"),
        ([("other", "RUNNING")], "a is no longer part of the cluster: it was scaled away"),
    ],
)
def test_f45_one_that_will_not_come_ends_the_wait_at_once(
    tmp_path: Path, states: list[tuple[str, str]], said: str
) -> None:
    write(tmp_path, *states)
    begun = time.monotonic()
    with pytest.raises(ClusterError, match=said):
        await_processes(tmp_path, ["a"], 30.0)
    assert time.monotonic() - begun < 15


def test_a_wait_that_is_over_names_who_is_late(tmp_path: Path) -> None:
    write(tmp_path, ("a", "RUNNING"), ("b", "BACKOFF"), ("c", "STOPPING"))
    with pytest.raises(DeadlineExceeded, match="b is BACKOFF") as raised:
        await_processes(tmp_path, ["a", "b"], 0.01, leaving=["c"])
    assert "c is STOPPING" in str(raised.value) and "a is" not in str(raised.value)


@pytest.mark.parametrize(
    ("text", "value_s"),
    [("60s", 60), ("2m", 120), ("500ms", 0.5), ("7", 7), ("0.25s", 0.25)],
)
def test_times_have_units(text: str, value_s: float) -> None:
    assert seconds(text) == value_s


@pytest.mark.parametrize("text", ["0", "-1s", "nan", "inf", "1e400", "", "s", "1h", "1e-400s"])
def test_a_time_is_finite_and_above_0(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="no time above 0"):
        seconds(text)


@pytest.mark.parametrize("value_s", [60.0, 0.7, 1 / 3, 1e-7, 123456.789])
def test_a_time_is_written_exactly(value_s: float) -> None:
    assert seconds(exactly(value_s)) == value_s


def test_whole_seconds_are_written_short() -> None:
    values = [exactly(60.0), exactly(0.7)]
    assert values == ["60s", "0.7s"]
