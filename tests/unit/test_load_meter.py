"""What a worker says that it uses, and what the master takes of it."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from minispark.errors import ProtocolError
from minispark.master.reports import check_load
from minispark.metrics.worker_load import WorkerLoad
from minispark.storage.partition_cache import PartitionCache
from minispark.transport.codec import decode, encode
from minispark.transport.messages import Heartbeat
from minispark.worker.load_meter import LoadMeter

LOAD = WorkerLoad(12.5, 10, 20, 30, 4, 5)


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def cache(tmp_path: Path) -> Any:
    made = PartitionCache(str(tmp_path), "worker-1", 1 << 20)
    yield made
    made.close()


def burn(seconds: float) -> None:
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


def test_cpu_is_what_was_used_since_the_last_time(cache: PartitionCache) -> None:
    clock = Clock()
    meter = LoadMeter(cache, clock)
    assert meter.measure({}).cpu_percent == 0.0
    burn(0.2)
    clock.now = 0.4
    assert 40.0 <= meter.measure({}).cpu_percent <= 75.0
    clock.now = 1000.4
    assert meter.measure({}).cpu_percent < 1.0


def test_executors_count_without_what_they_share(cache: PartitionCache) -> None:
    meter = LoadMeter(cache)
    alone = meter.measure({}).rss_bytes
    words = [sys.executable, "-c", "print(flush=True); input()"]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()  # it is there, with all that it needs
        both = meter.measure({child.pid: 0}).rss_bytes
        shared = meter.measure({child.pid: 1 << 40}).rss_bytes
        child.kill()
    assert both > alone + (1 << 20)
    assert abs(shared - alone) < 1 << 20


def test_an_executor_that_is_gone_is_not_counted(cache: PartitionCache) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as child:
        child.wait()
    assert LoadMeter(cache).measure({child.pid: 0}).rss_bytes > 0


def test_a_process_that_ends_takes_nothing_off(cache: PartitionCache) -> None:
    clock = Clock()
    meter = LoadMeter(cache, clock)
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        meter.measure({child.pid: 0, os.getpid(): 0})
        child.kill()
    clock.now = 1.0
    assert meter.measure({}).cpu_percent >= 0.0


def test_a_heartbeat_carries_it_and_an_older_one_does_not() -> None:
    assert decode(encode(Heartbeat("w", 1, LOAD))) == Heartbeat("w", 1, LOAD)
    older = b'{"type":"heartbeat","worker_id":"w","active_tasks":1}'
    assert decode(older) == Heartbeat("w", 1, None)


@pytest.mark.parametrize(
    "wrong",
    [
        {"cpu_percent": math.nan},
        {"cpu_percent": math.inf},
        {"rss_bytes": -1},
        {"cache_hits": 2**50},
    ],
)
def test_figures_that_nobody_can_show_break_the_protocol(wrong: dict[str, Any]) -> None:
    check_load(LOAD)
    with pytest.raises(ProtocolError):
        check_load(replace(LOAD, **wrong))
