"""A task that begins before all that it reads is made: it reads what is there, in order, and waits
for the rest.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable, Iterator
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import pytest

from minispark.compute.blocks import encode_block
from minispark.compute.user_functions import UserFunctions
from minispark.errors import CacheMissed, FetchError
from minispark.model.plan import (
    FetchShuffle,
    Join,
    MadeOutput,
    OutputLocation,
    PartitionFile,
    StageProgram,
    TaskOrder,
    TaskOutcome,
)
from minispark.storage.task_files import SHUFFLE_FILE, attempt_dir, write_shuffle_file
from minispark.transport import messages as msg
from minispark.transport.connection import Connection
from minispark.transport.messages import MasterPlace, OutputsMade, Run, Succeeded
from minispark.worker.cache_channel import CacheChannel
from minispark.worker.executor import serve_orders
from minispark.worker.task import TaskContext, run_order
from minispark.worker.task_inputs import TaskInputs
from tests.unit.test_fetch import HERE, TOKEN, id_of

PROGRAM = StageProgram(FetchShuffle(0), (), PartitionFile("n"))
ME = id_of(99)


def place(folder: Path, partition: int) -> OutputLocation:
    return OutputLocation(0, partition, id_of(partition), "w", "h", 1, HERE, str(folder))


def made(folder: Path, partition: int) -> OutputLocation:
    """A map output of one record, whose key is its partition."""
    attempt = attempt_dir(str(folder), id_of(partition))
    attempt.mkdir(parents=True)
    block = encode_block([str(partition)], ["x"])
    write_shuffle_file(attempt / SHUFFLE_FILE, [[block]])
    return place(folder, partition)


def order(*awaited: int, attempt_id: str = ME) -> TaskOrder:
    outputs = tuple((0, partition) for partition in awaited)
    return TaskOrder(attempt_id, "j", 1, "n", 0, 0, 1, awaited=outputs)


def context(folder: Path) -> TaskContext:
    return TaskContext(str(folder), HERE, TOKEN, True, 64, 0, ("here", 0))


def run(
    folder: Path,
    places: tuple[OutputLocation, ...],
    awaited: tuple[int, ...],
    listen: Callable[[], tuple[MadeOutput, ...]],
) -> TaskOutcome:
    wanted = order(*awaited)
    inputs = TaskInputs(places, wanted.awaited, listen)
    return run_order(
        wanted, PROGRAM, inputs, context(folder), UserFunctions(), [], CacheChannel(None)
    )


def keys(folder: Path, attempt_id: str = ME) -> list[str]:
    """Of the result, in order."""
    document = json.loads((attempt_dir(str(folder), attempt_id) / "j_n_p0.json").read_text())
    return [record["key"] for record in document["records"]]


def test_what_comes_late_is_read_in_the_order_of_partitions(tmp_path: Path) -> None:
    there = (made(tmp_path, 0), made(tmp_path, 3))
    news = iter(
        [
            (MadeOutput(0, 4, made(tmp_path, 4)),),
            (MadeOutput(0, 2, None), MadeOutput(0, 1, made(tmp_path, 1))),
        ]
    )
    outcome = run(tmp_path, there, (1, 2, 4), lambda: next(news))
    assert keys(tmp_path) == ["0", "1", "3", "4"]
    assert next(news, None) is None
    assert outcome.records == 4


def test_what_is_there_before_the_first_gap_is_read_before_anybody_waits(tmp_path: Path) -> None:
    there = (made(tmp_path, 0), made(tmp_path, 1))

    def listen() -> tuple[MadeOutput, ...]:
        for partition in (0, 1):  # nobody needs them any more
            (attempt_dir(str(tmp_path), id_of(partition)) / SHUFFLE_FILE).unlink()
        return (MadeOutput(0, 2, made(tmp_path, 2)),)

    run(tmp_path, there, (2,), listen)
    assert keys(tmp_path) == ["0", "1", "2"]


def test_waiting_is_told_apart_from_fetching(tmp_path: Path) -> None:
    def listen() -> tuple[MadeOutput, ...]:
        sum(range(300_000))  # takes some milliseconds
        return (MadeOutput(0, 0, made(tmp_path, 0)),)

    outcome = run(tmp_path, (), (0,), listen)
    assert outcome.phases_us["wait"] > outcome.phases_us.get("fetch", 0)


def test_nobody_waits_for_more_once_something_cannot_be_read(tmp_path: Path) -> None:
    there = (made(tmp_path, 0), place(tmp_path, 1), place(tmp_path, 3))

    def listen() -> tuple[MadeOutput, ...]:
        raise AssertionError("it waits")

    with pytest.raises(FetchError) as caught:
        run(tmp_path, there, (2,), listen)
    assert caught.value.attempt_ids == (id_of(1), id_of(3))


def test_a_task_that_needs_what_was_skipped_says_so(tmp_path: Path) -> None:
    joined = Join("j", FetchShuffle(0), FetchShuffle(1))
    program = StageProgram(joined, (), PartitionFile("n"))
    inputs = TaskInputs((made(tmp_path, 0),), (), tuple, unmade=(1,))
    with pytest.raises(CacheMissed, match="stage 1 was skipped"):
        run_order(
            order(), program, inputs, context(tmp_path), UserFunctions(), [], CacheChannel(None)
        )


# --- the executor ------------------------------------------------------------------------------


@pytest.fixture
def executor(tmp_path: Path) -> Iterator[Connection]:
    """The agent's end of a process that runs orders."""
    mine, theirs = socket.socketpair()
    process = get_context("fork").Process(target=_serve, args=(theirs, mine, context(tmp_path)))
    process.start()
    theirs.close()
    connection = Connection(mine)
    connection.send(MasterPlace(HERE, "127.0.0.1", 1))
    yield connection
    connection.close()
    process.join(5.0)
    assert process.exitcode == 0


def _serve(sock: socket.socket, other: socket.socket, shared: TaskContext) -> None:
    other.close()
    nothing = os.open(os.devnull, os.O_WRONLY)
    serve_orders(0, sock, sock, nothing, shared)  # there is no cache, and nobody asks for it


def test_an_executor_hears_of_outputs_within_a_task_and_forgets_them_after_it(
    tmp_path: Path, executor: Connection
) -> None:
    executor.send(Run(order(1), PROGRAM, (made(tmp_path, 0),)))
    late = OutputsMade((ME,), (MadeOutput(0, 1, made(tmp_path, 1)),))
    executor.send(late)
    assert isinstance(executor.receive(5.0), Succeeded)
    executor.send(late)  # for a task that did not need it
    executor.send(Run(order(attempt_id=id_of(98)), None, None))
    assert isinstance(executor.receive(5.0), Succeeded)
    assert (keys(tmp_path), keys(tmp_path, id_of(98))) == (["0", "1"], ["0"])


def test_an_executor_that_waits_ends_with_its_agent(tmp_path: Path, executor: Connection) -> None:
    executor.send(Run(order(0), PROGRAM, ()))


def test_an_executor_reports_a_miss_and_goes_on(tmp_path: Path, executor: Connection) -> None:
    executor.send(Run(replace(order(), unmade=(0,)), PROGRAM, ()))
    assert executor.receive(5.0) == msg.CacheMissed(ME)
    executor.send(Run(order(attempt_id=id_of(98)), None, (made(tmp_path, 0),)))
    assert isinstance(executor.receive(5.0), Succeeded)
