"""Small things: tasks that do nothing, the way of a small job, answers."""

from __future__ import annotations

import json
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from bench import latency
from bench.cold import MINISPARK
from bench.measure import Lanes, Measure, Target, WrongResult
from bench.peer import task_lanes
from bench.ping_pong import messages_per_s, round_trip_s
from bench.site import Site
from bench.warm import run_job

PING_PONG_S = 1.0
REQUESTS = 500
JOBS = 20
CLI_JOBS = 5


@contextmanager
def open_no_ops(site: Site) -> Iterator[Lanes]:
    count = latency.no_ops(site)
    with latency.open_tasks(site) as lanes, task_lanes(site, count) as peers:
        yield Lanes(lanes.ours, lambda: messages_per_s(PING_PONG_S), peers)


@contextmanager
def open_health(site: Site) -> Iterator[Lanes]:
    with site.cluster(1, 1) as (cluster, _):
        parts = urlsplit(cluster.master_url)
        address = (parts.hostname or "", parts.port or 80)
        request = b"GET /health HTTP/1.1\r\nHost: %b\r\n\r\n" % parts.netloc.encode()
        with socket.create_connection(address) as sock:

            def ours() -> float:
                return _p50_ms([_timed(lambda: _get(sock, request)) for _ in range(REQUESTS)])

            yield Lanes(ours, lambda: _p50_ms(round_trip_s(REQUESTS)))


@contextmanager
def open_first_task(site: Site) -> Iterator[Lanes]:
    with latency.small_job() as request, site.cluster(3, 2) as (_, client):

        def ours() -> float:
            waits = []
            for _ in range(JOBS):
                asked_at = time.time()
                _, info = run_job(client, request)
                stages = client.profile(info["id"])["stages"]
                waits.append(stages[0]["figures"]["first_started_at"] - asked_at)
            return _p50_ms(waits)

        yield Lanes(ours, lambda: _p50_ms(round_trip_s(REQUESTS)))


@contextmanager
def open_cli_job(site: Site) -> Iterator[Lanes]:
    with latency.small_job() as request, site.cluster(3, 2) as (cluster, _):
        job = Path(request["dag"]["nodes"][0]["path"]).with_name("job.json")
        job.write_text(json.dumps(request))
        words = [*MINISPARK, "--state-dir", str(cluster.state_dir), "submit", str(job), "--wait"]

        def submit() -> None:
            done = subprocess.run(words, check=False, capture_output=True, text=True)
            if done.returncode or "words" not in done.stdout:
                raise WrongResult(f"submit --wait shows {done.stdout!r} {done.stderr!r}")

        def interpreter() -> None:
            subprocess.run([sys.executable, "-c", "import json"], check=True)

        yield Lanes(
            lambda: _p50_ms([_timed(submit) for _ in range(CLI_JOBS)]),
            lambda: _p50_ms([_timed(interpreter) for _ in range(CLI_JOBS)]),
        )


def _get(sock: socket.socket, request: bytes) -> None:
    """As a load generator asks: what is timed is the server, not a client that parses."""
    sock.sendall(request)
    answer = b""
    while not answer.endswith(b"\r\n\r\nOK"):
        piece = sock.recv(4096)
        answer += piece
        if not piece or not answer.startswith(b"HTTP/1.1 200 "[: len(answer)]):
            raise WrongResult(f"GET /health answers {answer!r}")


def _timed(act: Callable[[], object]) -> float:
    begun = time.perf_counter()
    act()
    return time.perf_counter() - begun


def _p50_ms(seconds: list[float]) -> float:
    return 1000 * statistics.median(seconds)


MEASURES = (
    Measure(
        "no-ops", "tasks that map an empty file, journal on, beside bare messages", "1/s",
        "messages there and back, one at a time",
        Target(10_000 / 34_300, is_ratio=True, is_floor=True), open_no_ops,
        {"ray": Target(4.0, is_ratio=True, is_floor=True)},
    ),
    Measure(
        "job-cli", "100 lines, warm, by `submit --wait`", "ms", "`python -c 'import json'`",
        Target(100.0, is_time=True), open_cli_job,
    ),
    Measure(
        "health", "GET /health over one connection, p50", "ms", "a message there and back",
        Target(0.2, is_time=True), open_health,
    ),
    Measure(
        "first-task", "from the submission to the first task's start, p50", "ms",
        "a message there and back", Target(5.0, is_time=True), open_first_task,
    ),
)  # fmt: skip
