"""What an executor writes to its stdout and stderr finds the log of its attempt."""

from __future__ import annotations

import os
from pathlib import Path

from minispark.model.file_names import log_file
from minispark.model.plan import TaskOrder
from minispark.worker.raw_prints import Keeper, RawPrints, descriptors
from minispark.worker.task_log import LINE_CHARS_MAX, TaskLogs

JOBS = [f"8c0e1d9a-6c1f-4a0e-9a44-00000000000{number}" for number in range(2)]


def order(job_id: str, partition: int) -> TaskOrder:
    return TaskOrder("attempt", job_id, 0, "read+map", partition, 0, 9)


def mark(logs: TaskLogs, job_id: str, partition: int) -> bytes:
    """What an executor that was told to begin writes."""
    read, write = os.pipe()
    prints = RawPrints(write, logs)
    out, err = os.dup(1), os.dup(2)
    with descriptors({1: out, 2: err}):
        prints.begin(order(job_id, partition), is_users=True)
    os.close(write)
    with open(read, "rb") as pipe:
        data = pipe.read()
    for number in (out, err):
        os.close(number)
    return data


def said(folder: Path, job_id: str) -> list[str]:
    """`0/0 text`: what lies in the job's log, without times and names."""
    path = folder / log_file(job_id)
    lines = path.read_text().splitlines() if path.exists() else []
    return [line.partition(" read+map/")[2] for line in lines]


def test_lines_go_to_the_attempt_that_was_begun_before_them(tmp_path: Path) -> None:
    logs = TaskLogs(str(tmp_path), "worker-1", "text")
    one, two = mark(logs, JOBS[0], 3), mark(logs, JOBS[1], 4)
    keeper = Keeper(logs)
    for byte in one + b"a\nb\xff\nunended" + two + b"c":  # as it comes, in any pieces
        keeper.feed(bytes([byte]))
    keeper.close()
    assert said(tmp_path, JOBS[0]) == ["3/0 a", "3/0 b\N{REPLACEMENT CHARACTER}", "3/0 unended"]
    assert said(tmp_path, JOBS[1]) == ["4/0 c"]


def test_what_only_looks_like_a_mark_is_a_line_of_its_task(tmp_path: Path) -> None:
    logs = TaskLogs(str(tmp_path), "worker-1", "text")
    keeper = Keeper(logs)
    keeper.feed(mark(logs, JOBS[0], 0) + b"\0attempt:[\n")
    for job_id in (JOBS[1], "../x"):
        keeper.feed(b'\0attempt:{"job": "%s"}\n' % job_id.encode())
    keeper.close()
    lines = said(tmp_path, JOBS[0])
    assert len(lines) == 3 and all("attempt:" in line for line in lines)
    assert [path.name for path in tmp_path.iterdir()] == [log_file(JOBS[0])]


def test_a_line_without_an_end_is_kept_in_pieces(tmp_path: Path) -> None:
    logs = TaskLogs(str(tmp_path), "worker-1", "text")
    keeper = Keeper(logs)
    keeper.feed(mark(logs, JOBS[0], 0))
    for _ in range(3):
        keeper.feed(b"x" * (LINE_CHARS_MAX + 1))
    assert len(said(tmp_path, JOBS[0])) == 3
    keeper.close()


def test_an_executor_keeps_its_descriptors_while_no_code_is_the_users(tmp_path: Path) -> None:
    read, write = os.pipe()
    before = os.fstat(1)
    RawPrints(write, TaskLogs(str(tmp_path), "worker-1", "text")).begin(order(JOBS[0], 0), False)
    assert os.path.samestat(os.fstat(1), before)
    os.close(write)
    assert os.read(read, 1) == b""
    os.close(read)
