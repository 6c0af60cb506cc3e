"""Fixtures: one browser, one cluster with jobs of every kind, and pages that must not complain."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from tests.browser.gallery import Gallery
from tests.browser.pages import Visitor, running_browser
from tests.cluster.harness import Cluster


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with running_browser() as browser:
        yield browser


@pytest.fixture(scope="session")
def gallery() -> Iterator[Gallery]:
    cluster = Cluster(workers=3, threads=2)
    try:
        done = cluster.up()
        assert done.returncode == 0, done.stderr + cluster.logs()
        yield Gallery.fill(cluster)
        print(cluster.logs())
    finally:
        assert cluster.close() == []


@pytest.fixture
def cluster(gallery: Gallery) -> Cluster:
    return gallery.cluster


@pytest.fixture
def visitor(browser: Browser) -> Iterator[Visitor]:
    """Its pages' consoles must be silent at the end, but for what a test expects."""
    visitor = Visitor(browser)
    yield visitor
    visitor.close()
    assert visitor.unexpected() == []
