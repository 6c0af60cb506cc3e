"""Where measures run: the data, its scale, a cluster, its memory. Must not know any measure."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from bench import cluster_process
from minispark.client import Client
from minispark.cluster import RunningCluster

ROOT = Path(__file__).parents[1]
FILES = {"A": ("a.csv",), "B": ("b.txt",), "C": ("sales.csv", "products.csv")}
SIZES = {"A": 1_000_000, "B": 200_000_000, "C": 2_000_000}
"""Lines, bytes, sales."""
SAMPLE_S = 0.05


@dataclass(frozen=True, slots=True)
class Site:
    """`scale`: the part of the data that is used, 1 for all of it."""

    data: Path
    scale: float = 1.0
    peers: tuple[str, ...] = ()
    peer_python: str = sys.executable

    def paths(self, which: str) -> list[str]:
        """The files of data set A, B or C, made once."""
        folder = self.data if self.scale == 1 else self.data / f"scale-{self.scale:g}"
        paths = [folder / name for name in FILES[which]]
        if not all(path.exists() for path in paths):
            words = [sys.executable, str(ROOT / "scripts" / "make_data"), which]
            words += ["--out", str(folder), "--lines", str(max(1, int(SIZES[which] * self.scale)))]
            subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
        return [str(path) for path in paths]

    @contextmanager
    def cluster(
        self, workers: int, threads: int, *settings: str
    ) -> Iterator[tuple[RunningCluster, Client]]:
        """A cluster of its own, and a client of it. `settings`: more of `KEY=VALUE`."""
        size = [f"workers.count={workers}", f"workers.threads={threads}"]
        with (
            cluster_process.serving(os.getcwd(), [*size, *settings]) as cluster,
            Client(cluster.master_url, cluster.token) as client,
        ):
            yield cluster, client


def peak_pss_bytes(pid: int, work: Callable[[], object]) -> int:
    """The most memory that the process and all below it shared out among them while `work` ran."""
    peak, is_done = 0, threading.Event()

    def watch() -> None:
        nonlocal peak
        while True:
            peak = max(peak, pss_bytes(pid))
            if is_done.wait(SAMPLE_S):
                return

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        work()
    finally:
        is_done.set()
        thread.join()
    return peak


def pss_bytes(pid: int) -> int:
    total = 0
    top = psutil.Process(pid)
    for process in (top, *top.children(recursive=True)):
        try:
            total += process.memory_full_info().pss
        except psutil.Error:
            pass  # it ended
    return total
