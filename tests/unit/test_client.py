"""The client against a scripted server: masters that break off, come back, or never will."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from minispark import client as client_module
from minispark.client import Client
from minispark.errors import ClusterError, NoCluster
from minispark.supervisor.state_dir import why_ended
from tests.cluster_files import write_cluster


def answer(value: Any, length: int | None = None) -> bytes:
    """A response with this JSON; `length` is what its header says, if that is not the truth."""
    body = json.dumps(value).encode()
    said = len(body) if length is None else length
    return f"HTTP/1.1 200 OK\r\nContent-Length: {said}\r\n\r\n".encode() + body


def stream(rows: list[tuple[str, str]], *, is_whole: bool) -> bytes:
    """Records in chunks, and with `is_whole` the last chunk."""
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    for key, value in rows:
        line = json.dumps({"key": key, "value": value}).encode() + b"\n"
        head += b"%x\r\n%b\r\n" % (len(line), line)
    return head + (b"0\r\n\r\n" if is_whole else b"")


class Scripted:
    """Takes one connection after the other, reads a request, sends the next answer, and closes."""

    def __init__(self, answers: list[bytes], port: int = 0) -> None:
        self._listener = socket.create_server(("127.0.0.1", port))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.asked: list[str] = []
        self._answers = answers
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        for data in self._answers:
            peer, _ = self._listener.accept()
            with peer:
                head = b""
                while b"\r\n\r\n" not in head:
                    head += peer.recv(65536)
                self.asked.append(head.split(b" ")[1].decode())
                peer.sendall(data)
                peer.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        self._thread.join(10)
        self._listener.close()


@pytest.fixture
def servers() -> Iterator[list[Scripted]]:
    made: list[Scripted] = []
    yield made
    for server in made:
        server.close()


@pytest.fixture
def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])


def test_f30_an_answer_that_breaks_off_is_asked_for_again(servers: list[Scripted]) -> None:
    servers.append(Scripted([answer([1], length=100), b"", answer([{"id": "w"}])]))
    with Client(servers[0].url) as client:
        assert client.workers() == [{"id": "w"}]
    assert servers[0].asked == ["/api/v1/workers"] * 3


def test_f30_a_submit_that_breaks_off_is_repeated_under_its_key(servers: list[Scripted]) -> None:
    servers.append(Scripted([answer({}, length=9), answer({"id": "j"})]))
    with Client(servers[0].url) as client:
        assert client.submit({"name": "x"})["id"] == "j"


def test_what_changes_something_is_not_repeated(servers: list[Scripted]) -> None:
    servers.append(Scripted([answer({}, length=9)]))
    with Client(servers[0].url) as client, pytest.raises(NoCluster):
        client.cancel("j")


@pytest.mark.parametrize("call", ["workers", "cancel"])
def test_f30_a_master_that_somebody_starts_again_by_hand_is_waited_for(
    servers: list[Scripted], free_port: int, call: str
) -> None:
    starter = threading.Timer(
        0.3, lambda: servers.append(Scripted([answer({"id": "j"})], free_port))
    )
    starter.start()
    try:
        with Client(f"http://127.0.0.1:{free_port}") as client:
            assert client.cancel("j") if call == "cancel" else client.workers()
    finally:
        starter.join()


def test_one_that_never_comes_is_not_waited_for_long(
    free_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "FIRST_GAP_S", 0.2)
    begun = time.monotonic()
    with (
        Client(f"http://127.0.0.1:{free_port}") as client,
        pytest.raises(NoCluster, match=f"no master answers at .*{free_port}"),
    ):
        client.jobs()
    assert 0.2 <= time.monotonic() - begun < 3


def write_state(folder: Path, url: str, state: str) -> None:
    (folder / "token").write_text("t")
    entry = {"name": "master", "pid": os.getpid(), "state": state, "reason": "ended with SIGKILL"}
    write_cluster(folder, [entry], master_url=url)


def test_f41_a_cluster_that_is_gone_is_not_waited_for(
    free_port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "FIRST_GAP_S", 60.0)
    write_state(tmp_path, f"http://127.0.0.1:{free_port}", "RUNNING")
    begun = time.monotonic()
    with Client.of_state_dir(tmp_path) as client, pytest.raises(NoCluster, match="no master"):
        client.jobs()
    assert time.monotonic() - begun < 20


@pytest.mark.parametrize("state", ["FATAL", "STOPPED"])
def test_f45_a_master_that_will_not_come_back_is_named_at_once(tmp_path: Path, state: str) -> None:
    begun = time.monotonic()
    with socket.create_server(("127.0.0.1", 0)) as listener:  # the supervisor's: nobody accepts
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        write_state(tmp_path, url, state)
        with Client.of_state_dir(tmp_path) as client:
            for call in (client.jobs, lambda: client.submit({}), lambda: client.wait("j")):
                with pytest.raises(NoCluster, match=f"{state}.*SIGKILL.*restart master"):
                    call()
    assert time.monotonic() - begun < 5


def test_f45_a_master_that_ends_for_good_meanwhile_is_named(
    tmp_path: Path, servers: list[Scripted]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        write_state(tmp_path, url, "RUNNING")
        gives_up = threading.Timer(0.6, write_state, (tmp_path, url, "FATAL"))
        gives_up.start()
        with Client.of_state_dir(tmp_path) as client, pytest.raises(NoCluster, match="FATAL"):
            client.job("j", wait_s=20)
        gives_up.join()


def test_only_what_ended_for_good_has_a_reason() -> None:
    for state in ("STARTING", "RUNNING", "BACKOFF", "STOPPING"):
        assert why_ended({"name": "master", "state": state}) is None
    assert "its log says why" in str(why_ended({"name": "w", "state": "FATAL", "reason": None}))


def test_another_server_is_no_master(servers: list[Scripted]) -> None:
    servers.append(Scripted([b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n<>"]))
    with Client(servers[0].url) as client, pytest.raises(NoCluster, match="is no master"):
        client.jobs()


def test_f30_results_go_on_where_they_broke_off(servers: list[Scripted]) -> None:
    first, second = [("a", "1"), ("b", "2")], [("c", "3")]
    servers.append(Scripted([stream(first, is_whole=False), stream(second, is_whole=True)]))
    with Client(servers[0].url) as client:
        assert list(client.results("j", limit=5, offset=10)) == first + second
    queries = [path.partition("?")[2] for path in servers[0].asked]
    assert queries == ["format=jsonl&offset=10&limit=5", "format=jsonl&offset=12&limit=3"]


def test_results_that_break_off_twice_at_one_record_are_an_error(servers: list[Scripted]) -> None:
    servers.append(Scripted([stream([("a", "1")], is_whole=False), stream([], is_whole=False)]))
    with Client(servers[0].url) as client, pytest.raises(ClusterError, match="broke off"):
        list(client.results("j"))


def test_attempts_are_read_page_by_page(servers: list[Scripted]) -> None:
    pages = [{"tasks": [{"n": 1}, {"n": 2}], "total": 3}, {"tasks": [{"n": 3}], "total": 3}]
    servers.append(Scripted([answer(page) for page in pages]))
    with Client(servers[0].url) as client:
        assert [attempt["n"] for attempt in client.attempts("j", "LOST")] == [1, 2, 3]
    assert "offset=2" in servers[0].asked[1] and "state=LOST" in servers[0].asked[1]
