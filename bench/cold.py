"""Whole commands: `run` from nothing to its result, and `up` until every worker is Up."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from bench import bound
from bench.measure import Lanes, Measure, Target, WrongResult, at_most
from bench.peer import peer_lanes
from bench.site import ROOT, Site
from bench.warm import bound_lane, check_same

MINISPARK = [sys.executable, str(ROOT / "minispark.py")]
FREE_PORTS = ["master.http_port=0", "master.socket_port=0", "workers.base_port=0"]


def run_command(words: list[str]) -> None:
    """Raises CalledProcessError. Who is stopped meanwhile stops the command in order, and waits:
    it removes what it made.
    """
    with subprocess.Popen(words, stdout=subprocess.DEVNULL) as process:
        try:
            code = process.wait()
        except BaseException:
            process.terminate()
            process.wait()
            raise
    if code:
        raise subprocess.CalledProcessError(code, words)


@contextmanager
def open_cold(site: Site) -> Iterator[Lanes]:
    (path,) = site.paths("A")
    _, expected = bound.run("A", [path])
    with tempfile.TemporaryDirectory(prefix="minispark-bench-") as folder:
        out = Path(folder) / "out.jsonl"
        words = [*MINISPARK, "run", "wordcount", path, "--threads", "2", "-q"]
        words += ["--format", "jsonl", "-o", str(out)]

        def ours() -> float:
            begun = time.perf_counter()
            run_command(words)
            took = time.perf_counter() - begun
            with out.open(encoding="utf-8") as file:
                values = [int(json.loads(line)["value"]) for line in file]
            check_same("A cold", (len(values), sum(values)), expected)
            return took

        with peer_lanes(site, "A", [path], expected, is_cold=True) as peers:
            yield Lanes(ours, bound_lane("A", [path]), peers)


@contextmanager
def open_ready(site: Site) -> Iterator[Lanes]:
    with ExitStack() as at_end:
        folder = at_end.enter_context(tempfile.TemporaryDirectory(prefix="minispark-bench-"))
        words = [*MINISPARK, "--state-dir", f"{folder}/state"]
        settings = [f"--set={name}" for name in (*FREE_PORTS, "workers.count=3")]
        down = [*words, "down", "-q"]
        # whatever was broken off: without a check, and without a word when none runs
        at_end.callback(subprocess.run, down, check=False, stderr=subprocess.DEVNULL)

        def ours() -> float:
            begun = time.perf_counter()
            run_command([*words, "up", "-d", "-q", *settings])
            took = time.perf_counter() - begun
            shown = subprocess.run([*words, "ps", "--json"], check=True, stdout=subprocess.PIPE)
            states = [process["state"] for process in json.loads(shown.stdout)["processes"]]
            if states != ["RUNNING"] * 5:
                raise WrongResult(f"up returned, and its processes are {states}")
            run_command(down)
            return took

        def interpreter() -> float:
            begun = time.perf_counter()
            subprocess.run([sys.executable, "-c", "import json"], check=True, env=dict(os.environ))
            return time.perf_counter() - begun

        yield Lanes(ours, interpreter)


MEASURES = (
    Measure(
        "A-cold",
        "`run` of A, from nothing to a result file and a stopped cluster",
        "s",
        "two processes",
        None,
        open_cold,
        at_most({"pyspark": 1 / 7, "ray": 1 / 4}),
    ),
    Measure(
        "ready",
        "`up -d`: a master and 3 workers Up",
        "s",
        "`python -c 'import json'`",
        Target(0.5, is_time=True),
        open_ready,
    ),
)
