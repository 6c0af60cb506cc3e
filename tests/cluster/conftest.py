"""Fixtures: clusters that print their logs when a test fails, and leave nothing behind."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

from tests.cluster.harness import PLAIN_ENVIRONMENT, ROOT, Cluster


@pytest.fixture
def make_cluster(request: pytest.FixtureRequest) -> Iterator[Callable[..., Cluster]]:
    """Makes clusters for one test; each is stopped, and must have stopped cleanly, at its end."""
    made: list[Cluster] = []

    def make(*settings: str, workers: int = 3, threads: int = 2) -> Cluster:
        cluster = Cluster(*settings, workers=workers, threads=threads)
        made.append(cluster)
        done = cluster.up()
        assert done.returncode == 0, done.stderr + cluster.logs()
        return cluster

    failures_before = request.session.testsfailed
    yield make
    logs = "\n".join(cluster.logs() for cluster in made)
    if request.session.testsfailed > failures_before:
        print(logs)
    killed = [process for cluster in made for process in cluster.close()]
    assert killed == [], f"processes outlived `down`: {killed}\n{logs}"


@pytest.fixture
def start_cli() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts a command on a cluster, and does not wait for its end."""
    started: list[subprocess.Popen[str]] = []

    def start(cluster: Cluster, *words: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [
                sys.executable,
                *(str(ROOT / "minispark.py"), *words, "--state-dir", str(cluster.state_dir)),
            ],
            cwd=ROOT,
            env=PLAIN_ENVIRONMENT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.fixture(scope="module")
def shared_cluster() -> Iterator[Cluster]:
    """One cluster for the tests of a module that break nothing."""
    cluster = Cluster()
    done = cluster.up()
    assert done.returncode == 0, done.stderr + cluster.logs()
    yield cluster
    logs = cluster.logs()
    print(logs)
    assert cluster.close() == [], logs


@pytest.fixture
def foreground() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts `up` in the foreground, as a group of its own, as a terminal would."""
    started: list[subprocess.Popen[str]] = []

    def start(
        cluster: Cluster,
        *words: str,
        stdout: int = subprocess.PIPE,
        stderr: int = subprocess.STDOUT,
    ) -> subprocess.Popen[str]:
        command = [sys.executable, str(ROOT / "minispark.py"), "up", "--state-dir"]
        process = subprocess.Popen(
            [*command, str(cluster.state_dir), *cluster.settings, *words],
            cwd=ROOT,
            env=PLAIN_ENVIRONMENT,
            stdout=stdout,
            stderr=stderr,
            text=True,
            start_new_session=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.wait()
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()
