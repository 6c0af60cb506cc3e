"""F50 and F53 on a whole cluster: peers that misbehave at every port, and links that appear."""

from __future__ import annotations

import http.client
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from minispark.client import Client
from minispark.errors import ClusterError, MiniSparkError
from minispark.transport.connection import Connection
from minispark.transport.framing import FRAME_BYTES_MAX, encode_frame
from minispark.transport.http_server import BODY_BYTES_MAX
from minispark.transport.messages import FetchFile, Missing
from tests import jobs
from tests.cluster.harness import Cluster, wait_until

SMALL = Path(__file__).parents[2] / "data" / "input.csv"
SOON_S = 2.0
MB = 2**20
needs_prlimit = pytest.mark.skipif(
    not hasattr(psutil, "RLIMIT_NOFILE"), reason="no prlimit on this system"
)


class Peers:
    """Connections that are all closed at the end."""

    def __init__(self) -> None:
        self._socks: list[socket.socket] = []

    def open(self, port: int, data: bytes = b"") -> socket.socket:
        sock = socket.create_connection(("127.0.0.1", port), timeout=10)
        self._socks.append(sock)
        sock.sendall(data)
        return sock

    def close(self) -> None:
        for sock in self._socks:
            sock.close()


@pytest.fixture
def peers() -> Iterator[Peers]:
    made = Peers()
    yield made
    made.close()


def answer_to(sock: socket.socket) -> bytes:
    data = b""
    try:
        while chunk := sock.recv(65536):
            data += chunk
    except ConnectionError:
        pass  # it ended with what was sent unread
    return data


def states(cluster: Cluster) -> list[str]:
    with cluster.client() as client:
        return [worker["status"] for worker in client.workers()]


def run_job(cluster: Cluster) -> None:
    with cluster.client() as client:
        job = wait_until(lambda: submitted(client), "the job is taken in", 20)
        info = client.wait(job["id"], timeout_s=30)
        assert info["state"] == "SUCCEEDED", info["status"]


def submitted(client: Client) -> Any:
    try:
        return client.submit(jobs.word_count(str(SMALL), 2))
    except ClusterError:
        return None  # it has no room now


def test_f50_strangers_take_no_worker_down_and_fill_no_memory(
    make_cluster: Callable[..., Cluster], peers: Peers
) -> None:
    cluster = make_cluster("scheduler.heartbeat_timeout_s=1.5", workers=2)
    master = psutil.Process(cluster.process("master")["pid"])
    port = cluster.process("master")["ports"]["socket"]
    begin = b'{"type":"hello","protocol":1,"version":"0.1.0","python":"3","nonce":"' + b"a" * 32
    junk = encode_frame(begin + b'","x":[' + b"{}," * (FRAME_BYTES_MAX // 3 - 50) + b"1]}")
    before = master.memory_info().rss
    socks = [peers.open(port) for _ in range(36)]

    def send(sock: socket.socket) -> None:
        try:
            sock.sendall(junk)
        except OSError:
            pass  # it is refused after four bytes

    threads = [threading.Thread(target=send, args=(sock,)) for sock in socks]
    for thread in threads:
        thread.start()
    seen: list[str] = []
    deadline = time.monotonic() + 3.0  # longer than the heartbeat timeout
    while time.monotonic() < deadline:
        seen += states(cluster)
        threads[0].join(0.05)
    for thread in threads:
        thread.join()
    assert set(seen) == {"Up"}
    assert master.memory_info().rss - before < 64 * MB
    run_job(cluster)


def test_f50_peers_that_misbehave_at_a_workers_ports_hold_nobody_up(
    make_cluster: Callable[..., Cluster], peers: Peers
) -> None:
    cluster = make_cluster("workers.short_circuit=false", workers=1)
    ports = cluster.process("worker-1")["ports"]
    data, metrics = ports["data"], ports["metrics"]
    worker = psutil.Process(cluster.process("worker-1")["pid"])
    token = (cluster.state_dir / "token").read_text().strip()
    rss_before, threads_before = worker.memory_info().rss, worker.num_threads()
    silent = [peers.open(data) for _ in range(150)]
    for _ in range(50):
        peers.open(metrics)
        peers.open(data, b"\x00\x00\x01\x00{").shutdown(socket.SHUT_WR)
        peers.open(metrics, b"GET /metrics HTTP/1.1\r\nHo").shutdown(socket.SHUT_WR)
    for payload in (FRAME_BYTES_MAX.to_bytes(4, "big"), encode_frame(b"\xff\xfe"), b"GET / HTTP"):
        assert b'"type":"refused"' in answer_to(peers.open(data, payload))
    head = b"POST /metrics HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n"
    assert b" 413 " in answer_to(peers.open(metrics, head % (BODY_BYTES_MAX + 1)))
    assert b" 400 " in answer_to(peers.open(metrics, b"\x16\x03\x01garbage\r\n\r\n"))

    begun = time.monotonic()
    fetcher = Connection.connect("127.0.0.1", data, token, 10)
    fetcher.send(FetchFile("nothing.json"))
    assert isinstance(fetcher.receive(10), Missing)
    fetcher.close()
    connection = http.client.HTTPConnection("127.0.0.1", metrics, timeout=10)
    connection.request("GET", "/metrics")
    assert connection.getresponse().status == 200
    connection.close()
    assert time.monotonic() - begun < SOON_S
    run_job(cluster)
    assert worker.memory_info().rss - rss_before < 64 * MB
    assert worker.num_threads() - threads_before < 200
    assert [answer_to(sock) for sock in silent] == [b""] * 150
    assert cluster.process("worker-1")["restarts"] == 0


@needs_prlimit
def test_f50_a_master_without_descriptors_rests_and_recovers(
    make_cluster: Callable[..., Cluster], peers: Peers
) -> None:
    cluster = make_cluster(workers=1)
    master = psutil.Process(cluster.process("master")["pid"])
    log = cluster.state_dir / "logs" / "master.log"
    files = master.num_fds() + 10
    master.rlimit(psutil.RLIMIT_NOFILE, (files, files))
    logged, worked = log.stat().st_size, sum(master.cpu_times()[:2])
    begun = time.monotonic()
    for _ in range(25):
        peers.open(cluster.process("master")["ports"]["socket"])
    wait_until(lambda: "Too many open files" in log.read_text(), "it says so", 5)
    # its strangers are given up, while more of them wait
    wait_until(lambda: answers(cluster), "it answers again", 20)
    peers.close()
    assert sum(master.cpu_times()[:2]) - worked < 0.5 * (time.monotonic() - begun)
    assert log.stat().st_size - logged < 20_000
    run_job(cluster)
    assert cluster.process("master")["restarts"] == 0


@needs_prlimit
def test_f50_connections_leave_a_small_process_descriptors_of_its_own(
    make_cluster: Callable[..., Cluster], peers: Peers
) -> None:
    cluster = make_cluster(workers=1)
    psutil.Process(cluster.process("supervisor")["pid"]).rlimit(psutil.RLIMIT_NOFILE, (128, 128))
    old = cluster.process("master")
    psutil.Process(old["pid"]).kill()
    wait_until(
        lambda: cluster.process("master")["pid"] not in (None, old["pid"]) and answers(cluster),
        "the master is back, and its worker too",
    )
    port = cluster.process("master")["ports"]["socket"]
    for _ in range(200):
        peers.open(port)
    wait_until(lambda: answers(cluster), "it answers", SOON_S)
    run_job(cluster)
    assert "Too many open files" not in (cluster.state_dir / "logs" / "master.log").read_text()
    cluster.note_processes()


def answers(cluster: Cluster) -> bool:
    try:
        return bool(states(cluster))
    except MiniSparkError:
        return False


@pytest.mark.parametrize("plan", ["fused", "naive"])
def test_f53_a_link_that_comes_after_the_submit_is_refused_by_the_executor(
    make_cluster: Callable[..., Cluster], tmp_path: Path, plan: str
) -> None:
    folder = tmp_path / "inputs"
    folder.mkdir()
    (folder / "text.txt").write_text("fine\n")
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "text.txt").write_text("secret\n")
    cluster = make_cluster("scheduler.task_retries_max=0", workers=1)
    agent = psutil.Process(cluster.process("worker-1")["pid"])
    agent.suspend()
    try:
        with cluster.client() as client:
            info = client.submit(jobs.word_count(str(folder / "text.txt"), 1, plan))
    finally:
        os.rename(folder, tmp_path / "away")
        folder.symlink_to(secret)
        agent.resume()
    with cluster.client() as client:
        info = client.wait(info["id"], timeout_s=30)
        assert info["state"] == "FAILED"
        assert "a symbolic link stands in this path" in info["status"]["Failed"].splitlines()[0]
