"""Fixtures: clusters that print their logs when a test fails, and leave nothing behind."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.cluster.harness import Cluster


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
