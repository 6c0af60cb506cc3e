"""The start of a SparkContext, where Spark says that it went well and it did not."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pyspark
import pytest

from minispark.errors import ClusterError
from minispark.spark.context import spark_context


class StoppedContext:
    """What Spark gives for a `spark://` master that nobody answers for, after a minute."""

    _gateway = _jvm = _active_spark_context = None

    def __init__(self, conf: Any) -> None:
        self._jsc = SimpleNamespace(sc=lambda: SimpleNamespace(isStopped=lambda: True))
        self.stops = 0

    def addPyFile(self, path: str) -> None:
        assert path.endswith(".zip")

    def stop(self) -> None:
        self.stops += 1


def test_a_context_that_has_stopped_already_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pyspark, "SparkContext", StoppedContext)
    said = "Spark failed: it stopped on spark://nobody:7077; its own words are in `logs spark-dr"
    with (
        pytest.raises(ClusterError, match=said),
        spark_context("spark://nobody:7077", {}, "tests"),
    ):
        raise AssertionError("nothing can run on it")
