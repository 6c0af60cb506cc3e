"""Other systems beside ours: each in a process of its own, by a Python that may be another one.

A peer that cannot be imported there is left out, in one line. Must not know how a peer works:
`peers/serve.py` speaks for it.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from bench.measure import Lane, WrongResult
from bench.peers.serve import NO_OPS
from bench.site import ROOT, Site

PEERS = ("duckdb", "polars", "pyspark", "pyspark-rdd", "ray", "dask")
TASK_PEERS = {"pyspark-rdd": 0.02, "ray": 1.0, "dask": 1.0}
"""Those whose users can run single tasks, and what part of the tasks is enough to see how many go
through in a second.
"""


class PeerFailed(Exception):
    """It cannot be started, or it ended."""


class Peer:
    """One process that runs jobs when it is told so."""

    def __init__(self, name: str, python: str, folder: Path) -> None:
        """Start it. Raises PeerFailed: with what it said last."""
        self.name = name
        self._said = (folder / f"{name}.log").open("w+", encoding="utf-8", errors="replace")
        self._process = subprocess.Popen(
            [python, "-m", "bench.peers.serve", name, str(folder / name)],
            cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._said, text=True,
        )  # fmt: skip
        try:
            self._answer()  # it is ready
        except PeerFailed:
            self.close()
            raise

    def job(self, which: str, paths: list[str], **more: Any) -> dict[str, Any]:
        """Seconds and what was found. Raises PeerFailed."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps({"which": which, "paths": paths, **more}) + "\n")
            self._process.stdin.flush()
        except OSError as error:
            raise PeerFailed(f"{self.name} ended: {self._last_line()}") from error
        return self._answer()

    def close(self) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()
        self._said.close()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith("{"):  # others print where they like
                answer: dict[str, Any] = json.loads(line)
                if "error" in answer:
                    raise PeerFailed(f"{self.name}: {answer['error']}")
                return answer
        raise PeerFailed(f"{self.name} ended: {self._last_line()}")

    def _last_line(self) -> str:
        self._process.wait()
        self._said.seek(0)
        lines = [line.strip() for line in self._said if line.strip()]
        return lines[-1] if lines else "it said nothing"


@contextmanager
def peer_lanes(
    site: Site, which: str, paths: list[str], expected: tuple[int, int], is_cold: bool = False
) -> Iterator[dict[str, Lane]]:
    """A lane for each of the site's peers that can do this job; cold: from its start to its end."""
    with _peers(site, site.peers, which, partial(Peer.job, which=which, paths=paths)) as peers:
        if is_cold:
            python = site.peer_python
            yield {p.name: partial(_cold, p.name, python, which, paths, expected) for p in peers}
        else:
            yield {p.name: partial(_warm, p, which, paths, expected) for p in peers}


@contextmanager
def task_lanes(site: Site, count: int) -> Iterator[dict[str, Lane]]:
    """For each of the site's peers that runs single tasks: no-ops a second, in a run of `count`, or
    fewer where that takes long.
    """
    names = tuple(name for name in site.peers if name in TASK_PEERS)
    with _peers(site, names, NO_OPS, partial(_no_ops, count=count)) as peers:
        yield {peer.name: partial(_no_ops, peer, count) for peer in peers}


@contextmanager
def _peers(
    site: Site, names: tuple[str, ...], which: str, warm_up: Callable[[Peer], object]
) -> Iterator[list[Peer]]:
    """Those of that name that can do this; warm."""
    peers = []
    with ExitStack() as at_end:
        for name in names:
            folder = Path(at_end.enter_context(tempfile.TemporaryDirectory()))
            try:
                peer = Peer(name, site.peer_python, folder)
                at_end.callback(peer.close)
                warm_up(peer)
            except PeerFailed as error:
                print(f"{which}: without {error}", file=sys.stderr)
                continue
            peers.append(peer)
        yield peers


def _no_ops(peer: Peer, count: int) -> float:
    count = max(1, int(count * TASK_PEERS[peer.name]))
    answer = peer.job(NO_OPS, [], count=count)
    _check(peer.name, answer, (count, count))
    return count / float(answer["seconds"])


def _warm(peer: Peer, which: str, paths: list[str], expected: tuple[int, int]) -> float:
    answer = peer.job(which, paths)
    _check(peer.name, answer, expected)
    return float(answer["seconds"])


def _cold(name: str, python: str, which: str, paths: list[str], expected: tuple[int, int]) -> float:
    with tempfile.TemporaryDirectory() as folder:
        begun = time.perf_counter()
        peer = Peer(name, python, Path(folder))
        try:
            answer = peer.job(which, paths)
        finally:
            peer.close()
        took = time.perf_counter() - begun
    _check(name, answer, expected)
    return took - float(answer["checked_s"])


def _check(name: str, answer: dict[str, Any], expected: tuple[int, int]) -> None:
    found = tuple(answer["found"])
    if found != expected:
        raise WrongResult(f"{name}: found {found}, expected {expected}")


def versions(names: tuple[str, ...], python: str) -> dict[str, str]:
    """Of the peers that are installed there."""
    packages = sorted({name.partition("-")[0] for name in names})
    code = (
        "import sys, json, importlib.metadata as m\n"
        "found = {}\n"
        "for name in sys.argv[1:]:\n"
        "    try: found[name] = m.version(name)\n"
        "    except m.PackageNotFoundError: pass\n"
        "print(json.dumps(found))"
    )
    done = subprocess.run([python, "-c", code, *packages], check=True, stdout=subprocess.PIPE)
    found: dict[str, str] = json.loads(done.stdout)
    return found
