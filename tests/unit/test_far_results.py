"""A result file of another host: what breaks on its way is gone on with, and given up in time."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from minispark.errors import ClusterError
from minispark.master.far_results import PIECE_BYTES, far_pieces
from minispark.transport.connection import Connection
from minispark.worker.data_server import DataServer
from minispark.worker.guests import Guests

TOKEN = "secret"
CONTENT = bytes(range(256)) * (5 * PIECE_BYTES // 256) + b"the end"


@pytest.fixture
def connect(tmp_path: Path) -> Iterator[Callable[[], Connection]]:
    """Connections to the data server that has `part.json` and the empty `none.json`."""
    (tmp_path / "part.json").write_bytes(CONTENT)
    (tmp_path / "none.json").write_bytes(b"")
    with socket.create_server(("127.0.0.1", 0)) as listening:
        host, port = listening.getsockname()
        DataServer(listening, str(tmp_path), TOKEN, Guests()).start()
        yield lambda: Connection.connect(host, port, TOKEN, 5.0)
        listening.shutdown(socket.SHUT_RDWR)


class Breaking:
    """Connections of which each is cut after so many pieces."""

    def __init__(self, connect: Callable[[], Connection], *pieces: int) -> None:
        self._connect = connect
        self._pieces = list(pieces)
        self.made = 0

    def __call__(self) -> Connection:
        self.made += 1
        connection = self._connect()
        if self._pieces:
            left = self._pieces.pop(0)
            whole = connection.receive_bulk

            def receive_bulk(size: int, timeout_s: float | None = None) -> bytes:
                nonlocal left
                if left == 0:
                    raise ConnectionResetError("cut")
                left -= 1
                return whole(size, timeout_s)

            connection.receive_bulk = receive_bulk  # type: ignore[method-assign]
        return connection


def test_it_goes_on_where_it_was(connect: Callable[[], Connection]) -> None:
    breaking = Breaking(connect, 2, 0, 1)
    assert b"".join(far_pieces(breaking, "part.json")) == CONTENT
    assert breaking.made == 4


def test_an_empty_file_has_no_pieces(connect: Callable[[], Connection]) -> None:
    assert list(far_pieces(connect, "none.json")) == []


def test_what_its_worker_does_not_have_is_not_asked_for_again(
    connect: Callable[[], Connection],
) -> None:
    breaking = Breaking(connect)
    with pytest.raises(ClusterError, match=r"has no other\.json"):
        list(far_pieces(breaking, "other.json"))
    assert breaking.made == 1


def test_who_is_never_reached_is_given_up() -> None:
    tried = threading.Semaphore(0)

    def connect() -> Connection:
        tried.release()
        raise ConnectionRefusedError("nobody is there")

    with pytest.raises(ConnectionRefusedError):
        list(far_pieces(connect, "part.json", patience_s=0.3))
    assert tried.acquire(blocking=False) and tried.acquire(blocking=False)
