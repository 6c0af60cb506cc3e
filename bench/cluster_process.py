"""A private cluster that a process of its own starts: a cluster has a part of the memory of who
forks it, and the bench grows. Must not import what measures.

usage: python -m bench.cluster_process BASE_DIR KEY=VALUE...
prints how to reach the cluster, and stops it when its input ends or a signal asks for that
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from minispark.cluster import RunningCluster, private_cluster
from minispark.config import load
from minispark.errors import ClusterError, MiniSparkError
from minispark.supervisor.stop_signals import STOP_SIGNALS


@contextmanager
def serving(base_dir: str, settings: Sequence[str]) -> Iterator[RunningCluster]:
    """One that is ready, from such a process. Raises ClusterError when it did not start: its
    process has said why.
    """
    words = [sys.executable, "-m", "bench.cluster_process", base_dir, *settings]
    checkout = Path(__file__).parents[1]
    process = subprocess.Popen(
        words, cwd=checkout, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin is not None and process.stdout is not None
    try:
        line = process.stdout.readline()
        if not line:
            raise ClusterError("the cluster of a measure did not start")
        found = json.loads(line)
        yield RunningCluster(**{**found, "state_dir": Path(found["state_dir"])})
    finally:
        process.stdin.close()
        process.wait()
        process.stdout.close()


def main() -> None:
    base_dir, *settings = sys.argv[1:]
    with private_cluster(load(None, {}, settings).config, base_dir) as cluster:
        print(json.dumps(asdict(cluster), default=str), flush=True)
        sys.stdin.read()


def _end(number: int, _: object) -> None:
    raise SystemExit(128 + number)


if __name__ == "__main__":
    for one in STOP_SIGNALS:
        if signal.getsignal(one) is not signal.SIG_IGN:  # as nohup wants it
            signal.signal(one, _end)
    try:
        main()
    except MiniSparkError as error:
        sys.exit(f"minispark: {error}")
