"""One SparkContext for all tests that need no cluster of their own: to start one takes seconds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from minispark.spark.context import spark_context
from tests.cluster.conftest import make_cluster  # noqa: F401
from tests.spark.standalone import QUICK_START

if TYPE_CHECKING:
    from pyspark import SparkContext


@pytest.fixture(scope="session")
def sc() -> Iterator[SparkContext]:
    conf = {"spark.log.level": "ERROR", "spark.driver.extraJavaOptions": QUICK_START}
    with spark_context("local[2]", conf, "tests") as sc:
        yield sc
