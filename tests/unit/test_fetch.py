"""What a reader makes of damaged outputs, and of workers that do not answer (F14, F16)."""

from __future__ import annotations

import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from minispark.compute.batch import Record, records
from minispark.compute.blocks import encode_block
from minispark.errors import FetchError
from minispark.model.plan import OutputLocation
from minispark.storage.task_files import (
    SHUFFLE_FILE,
    attempt_dir,
    write_shuffle_file,
)
from minispark.transport.connection import Connection
from minispark.worker import fetch
from minispark.worker.data_server import DataServer
from minispark.worker.fetch import Fetcher
from minispark.worker.guests import Guests

HERE, TOKEN = "this host", "secret"
NAME = "job_w_p0.json"
RECORDS = [("a", "1"), ("b", "2")]


def id_of(number: int) -> str:
    return str(uuid.UUID(int=number))


def place(folder: Path, number: int, address: tuple[str, int], **more: bool) -> OutputLocation:
    return OutputLocation(0, number, id_of(number), "w", *address, HERE, str(folder), **more)


@pytest.fixture
def address(tmp_path: Path) -> Iterator[tuple[str, int]]:
    """Of a data server over `tmp_path`."""
    sock = socket.create_server(("127.0.0.1", 0))
    DataServer(sock, str(tmp_path), TOKEN, Guests()).start()
    yield sock.getsockname()
    sock.close()


@pytest.fixture
def far() -> Iterator[Fetcher]:
    with Fetcher(HERE, TOKEN, short_circuit=False) as made:
        yield made


@pytest.fixture(params=[True, False], ids=["near", "far"])
def fetcher(request: pytest.FixtureRequest) -> Iterator[Fetcher]:
    with Fetcher(HERE, TOKEN, short_circuit=request.param) as made:
        yield made


def write(folder: Path, number: int, blocks: int = 2) -> Path:
    """A shuffle file of one partition, as a task writes it."""
    attempt = attempt_dir(str(folder), id_of(number))
    attempt.mkdir(parents=True)
    keys, values = [key for key, _ in RECORDS], [value for _, value in RECORDS]
    write_shuffle_file(attempt / SHUFFLE_FILE, [[encode_block(keys, values)] * blocks])
    return attempt / SHUFFLE_FILE


def read(fetcher: Fetcher, *places: OutputLocation) -> list[list[Record]]:
    """The records of each batch."""
    wanted = [(place, NAME) for place in places]
    return [list(records(batch)) for batch in fetcher.documented(wanted, 0)]


def alter(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b"1\n2", b"1\n3"))


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-5])


@pytest.mark.parametrize("damage", [alter, truncate, Path.unlink])
def test_f16_a_damaged_output_is_a_lost_one(
    tmp_path: Path,
    fetcher: Fetcher,
    address: tuple[str, int],
    damage: Callable[[Path], None],
) -> None:
    paths = [write(tmp_path, number) for number in range(3)]
    places = [place(tmp_path, number, address) for number in range(3)]
    assert read(fetcher, *places) == [RECORDS] * 6
    damage(paths[0])
    with pytest.raises(FetchError, match="1 of 3") as caught:
        read(fetcher, *places)
    assert caught.value.attempt_ids == (id_of(0),)


def test_f16_all_damaged_outputs_are_named_at_once(
    tmp_path: Path, fetcher: Fetcher, address: tuple[str, int]
) -> None:
    paths = [write(tmp_path, number, blocks=1) for number in range(4)]
    alter(paths[1])
    truncate(paths[3])
    places = [(place(tmp_path, number, address), NAME) for number in range(4)]
    reading = fetcher.documented(places, 0)
    assert list(records(next(reading))) == RECORDS
    with pytest.raises(FetchError) as caught:
        list(reading)
    assert caught.value.attempt_ids == (id_of(1), id_of(3))


def test_f16_a_foreign_file_has_no_blocks_and_must_be_whole_all_the_same(
    tmp_path: Path, fetcher: Fetcher, address: tuple[str, int]
) -> None:
    path = tmp_path / NAME
    path.write_text('{"records": [{"key": "a", "value": "1"}, {"key": "b", "value": "2"}]}')
    foreign = place(tmp_path, 0, address, is_foreign=True)
    assert read(fetcher, foreign) == [RECORDS]
    truncate(path)
    with pytest.raises(FetchError) as caught:
        read(fetcher, foreign)
    assert caught.value.attempt_ids == (id_of(0),)


# --- workers that do not answer -----------------------------------------------------------------


def test_f14_of_a_worker_that_does_not_answer_everything_is_lost_at_once(
    tmp_path: Path, far: Fetcher, address: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch, "CONNECT_TIMEOUT_S", 1.5)
    write(tmp_path, 4)
    with socket.create_server(("127.0.0.1", 0)) as stopped:  # takes connections, and says nothing
        silent = [place(tmp_path, i, stopped.getsockname()) for i in range(4)]
        with pytest.raises(FetchError, match="4 of 5") as caught:
            read(far, *silent, place(tmp_path, 4, address))
        stopped.setblocking(False)
        stopped.accept()[0].close()
        with pytest.raises(BlockingIOError):  # it was tried once, not four times
            stopped.accept()
    assert caught.value.attempt_ids == tuple(id_of(i) for i in range(4))


def test_f14_patience_with_refused_connections_is_bounded_for_a_task(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch, "PATIENCE_S", 0.3)
    socks = [socket.create_server(("127.0.0.1", 0)) for _ in range(40)]
    addresses = [sock.getsockname() for sock in socks]
    for sock in socks:
        sock.close()
    gone = [place(tmp_path, i, address) for i, address in enumerate(addresses)]
    begun = time.monotonic()
    with Fetcher(HERE, TOKEN, short_circuit=False) as far, pytest.raises(FetchError) as caught:
        read(far, *gone)
    assert 0.3 <= time.monotonic() - begun < 10.0  # not for each of them
    assert len(caught.value.attempt_ids) == 40


@pytest.mark.parametrize("was_there", [True, False])
def test_f17_a_worker_that_is_back_soon_is_waited_for(
    tmp_path: Path, far: Fetcher, was_there: bool
) -> None:
    write(tmp_path, 0, blocks=1)
    listening = socket.create_server(("127.0.0.1", 0))
    address = listening.getsockname()
    servers = [listening]

    def start() -> None:
        servers.append(socket.create_server(address))
        DataServer(servers[-1], str(tmp_path), TOKEN, Guests()).start()

    def die_when_asked() -> None:
        peer = Connection.accept(listening.accept()[0], TOKEN, 10.0)
        peer.receive(10.0)
        listening.close()
        peer.close()

    killed = threading.Thread(target=die_when_asked)
    if was_there:
        killed.start()
    else:
        listening.close()
    timer = threading.Timer(0.3, start)
    timer.start()
    assert read(far, place(tmp_path, 0, address)) == [RECORDS]
    timer.join()
    if was_there:
        killed.join()
    for server in servers:
        server.close()
