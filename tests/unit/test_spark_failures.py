"""What is read out of an error of Spark's own."""

from __future__ import annotations

import pytest

from minispark.spark.failed_tasks import read_failure

CALLED = "An error occurred while calling None.org.apache.spark.api.java.JavaSparkContext.\n: "


@pytest.mark.parametrize(
    ("said", "read"),
    [
        (
            f"{CALLED}a.B: Asked for 0 threads\n\tat a.B(C.scala:3)\n\tat a.D",
            "a.B: Asked for 0 threads",
        ),
        (
            f"{CALLED}a.B: no\n\tat a.B(C.scala:3)\nCaused by: d.E: why",
            "a.B: no Caused by: d.E: why",
        ),
        ("plain", "plain"),
        (
            "[JAVA_GATEWAY_EXITED] it exited.",
            "[JAVA_GATEWAY_EXITED] it exited.; its own words are in `logs spark-driver`",
        ),
    ],
)
def test_its_words_are_kept_without_its_stack(said: str, read: str) -> None:
    assert str(read_failure(Exception(said))) == f"Spark failed: {read}"
