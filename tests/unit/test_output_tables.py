"""What a worker was told once in a session is there for later orders, and for each executor."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import replace

import pytest

from minispark.errors import ProtocolError
from minispark.model.job import ReaderOptions
from minispark.model.plan import (
    OutputLocation,
    PartitionFile,
    ReadSplits,
    StageProgram,
    TaskOrder,
)
from minispark.transport.channel import Channel
from minispark.transport.codec import decode, encode
from minispark.transport.connection import Connection
from minispark.transport.messages import Launch, MasterPlace, OutputsMade, Run
from minispark.worker.executor_server import Executor
from minispark.worker.output_tables import OutputTables

PROGRAM = StageProgram(ReadSplits("r", "text", ReaderOptions()), (), PartitionFile("r"))
MASTER = MasterPlace("host", "127.0.0.1", 8080)
TABLE = (OutputLocation(0, 0, "a", "w", "h", 1, "host", "/s"),)
OTHER = (OutputLocation(0, 0, "b", "w", "h", 1, "host", "/s"),)


def launch(outputs_id: str | None, **shared: dict[str, tuple[OutputLocation, ...]]) -> Launch:
    order = TaskOrder("x", "j", 1, "s", 0, 0, 1, (), outputs_id)
    return Launch((order,), {"j/1": PROGRAM}, **shared)


def outputs(runs: list[Run]) -> tuple[OutputLocation, ...] | None:
    (run,) = runs
    return run.outputs


def test_a_table_serves_later_orders_until_it_changes() -> None:
    tables = OutputTables()
    assert outputs(tables.runs(launch("j/1", tables={"j/1": TABLE}))) == TABLE
    assert outputs(tables.runs(launch("j/1"))) == TABLE
    assert outputs(tables.runs(launch("j/1", tables={"j/1": OTHER}))) == OTHER
    assert outputs(tables.runs(launch("j/1"))) == OTHER
    assert outputs(tables.runs(launch(None))) == ()


def test_what_only_one_order_reads_is_not_kept() -> None:
    tables = OutputTables()
    assert outputs(tables.runs(launch("j/1/0", outputs={"j/1/0": TABLE}))) == TABLE
    with pytest.raises(ProtocolError, match="j/1/0"):
        tables.runs(launch("j/1/0"))


def test_tables_go_with_their_job_and_with_their_session() -> None:
    tables = OutputTables()
    tables.runs(launch("j/1", tables={"j/1": TABLE, "other/1": TABLE}))
    tables.forget("j")
    with pytest.raises(ProtocolError):
        tables.runs(launch("j/1"))
    assert outputs(tables.runs(launch("other/1"))) == TABLE
    tables.begin_session()
    with pytest.raises(ProtocolError):
        tables.runs(launch("other/1"))


@pytest.fixture
def ends() -> Iterator[tuple[Executor, Connection]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield Executor(0, 1, Channel(ours, lambda: None), 0.0, 0), Connection(theirs)


def test_an_executor_is_not_sent_again_what_it_has(ends: tuple[Executor, Connection]) -> None:
    executor, peer = ends
    tables = OutputTables()
    (first,) = tables.runs(launch("j/1", tables={"j/1": TABLE}))
    (second,) = tables.runs(launch("j/1"))
    (third,) = tables.runs(launch(None))
    (fourth,) = tables.runs(launch("j/1"))
    got = []
    for run in (first, second, third, fourth):
        executor.add(run, MASTER)
        executor.send()
        if run is first:
            assert peer.receive(5.0) == MASTER
        message = peer.receive(5.0)
        assert isinstance(message, Run)
        got.append(message.outputs)
    assert got == [TABLE, None, (), TABLE]


def test_an_executor_is_told_once_where_the_master_is_and_again_when_it_moved(
    ends: tuple[Executor, Connection],
) -> None:
    executor, peer = ends
    (run,) = OutputTables().runs(launch(None))
    moved = replace(MASTER, http_port=8081)
    for master in (MASTER, MASTER, moved):
        executor.add(run, master)
        executor.send()
    got = [peer.receive(5.0) for _ in range(5)]
    assert [type(m) if isinstance(m, Run) else m for m in got] == [MASTER, Run, Run, moved, Run]


def decode_again(message: Launch) -> Launch:
    again = decode(encode(message))
    assert isinstance(again, Launch)
    return again


def test_the_orders_of_a_stage_share_one_program_whenever_they_come() -> None:
    tables = OutputTables()
    (first,) = tables.runs(decode_again(launch(None)))
    (second,) = tables.runs(decode_again(launch(None)))
    assert first.program is second.program


def test_all_that_was_added_is_sent_in_order_and_once(ends: tuple[Executor, Connection]) -> None:
    executor, peer = ends
    (run,) = OutputTables().runs(launch(None))
    for partition in (1, 2):
        executor.add(replace(run, order=replace(run.order, partition=partition)), MASTER)
    executor.tell(made := OutputsMade(("x",), ()))
    executor.send()
    executor.add(replace(run, order=replace(run.order, partition=3)), MASTER)
    executor.send()
    executor.send()
    got = [peer.receive(5.0) for _ in range(5)]
    assert [m.order.partition if isinstance(m, Run) else m for m in got] == [MASTER, 1, 2, made, 3]
    with pytest.raises(TimeoutError):
        peer.receive(0.05)
