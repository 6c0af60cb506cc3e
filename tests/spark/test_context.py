"""The start of a SparkContext, where Spark says that it went well and it did not."""

from __future__ import annotations

from typing import Any

import pyspark
import pytest

from minispark.errors import ClusterError
from minispark.spark.context import spark_context

MASTER = "spark://nobody:7077"


class FakeContext:
    """Needs no Java. What Spark gives for a master, and after a minute for one that is none."""

    _gateway = _jvm = _active_spark_context = None
    applicationId = ""
    stops = 0

    def __init__(self, conf: Any) -> None:
        assert conf.get("spark.master") == MASTER

    def addPyFile(self, path: str) -> None:
        assert path.endswith(".zip")

    def stop(self) -> None:
        type(self).stops += 1


def start(monkeypatch: pytest.MonkeyPatch, application_id: str) -> type[FakeContext]:
    class Made(FakeContext):
        applicationId = application_id

    monkeypatch.setattr(pyspark, "SparkContext", Made)
    monkeypatch.setattr("pyspark.SparkConf", Conf)
    with spark_context(MASTER, {}, "tests"):
        assert Made.stops == 0
    return Made


class Conf(dict[str, str]):
    """The real one asks the Java of this process, where there is one."""

    def setMaster(self, master: str) -> Conf:
        self["spark.master"] = master
        return self

    def setAppName(self, name: str) -> Conf:
        return self


def test_a_master_that_does_not_answer_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    said = f"Spark failed: no master answers at {MASTER}; its own words are in `logs spark-driver`"
    with pytest.raises(ClusterError, match=said):
        start(monkeypatch, "spark-application-1796062252484")


def test_a_master_that_took_the_application_gave_it_an_id(monkeypatch: pytest.MonkeyPatch) -> None:
    assert start(monkeypatch, "app-20261130181153-0000").stops == 1
