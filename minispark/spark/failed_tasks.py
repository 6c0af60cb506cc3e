"""How a task's failure travels through Spark: its text, inside the text of Spark's own error.

Spark hands on what its Python worker printed, between lines of two languages' stacks. Must not know
what failed.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager

from minispark.errors import ClusterError, MiniSparkError, TaskError
from minispark.tasks.failures import failure_of

ERROR_CHARS_MAX = 20_000
PRINTS_SHOWN_MAX = 8000
"""The end of what it printed: it travels in the text of an error."""
SPARK_ENDED = ("JAVA_GATEWAY_EXITED", "stopped SparkContext")
"""Errors that do not say why it ended."""
IN_THE_LOG = "its own words are in `logs spark-driver`"
LINES_MAX = 3
"""Of an error that is Spark's own, the first lines say what it is."""
_CALLED = re.compile(r"An error occurred while calling \S+\n: ")
"""py4j says first which method it called, which is of no use to who wrote the job."""
_AT = re.compile(r"\s+at ")
"""A line of Java's stack."""
_MARKED = re.compile(r"minispark-task<([A-Za-z0-9+/=]+)>")


class TaskOfStageFailed(TaskError):
    """A task of ours failed for good. `str(error)` is what the local engine says of such a task."""

    def __init__(
        self, message: str, stage_index: int, partition: int, reason: str, prints: str = ""
    ) -> None:
        """`reason`: `error` or `internal`, as in `tasks.failures`, or `timeout`."""
        super().__init__(message)
        self.stage_index = stage_index
        self.partition = partition
        self.reason = reason
        self.prints = prints


class MarkedError(Exception):
    """What a task raises in Spark's Python worker."""

    def __init__(
        self, stage_index: int, partition: int, error: Exception, prints: str = ""
    ) -> None:
        reason, text = failure_of(error, ERROR_CHARS_MAX)
        super().__init__(_marked(text, stage_index, partition, reason, prints))


class TimedOut(BaseException):
    """The same, of a task that was stopped. No Exception: a function that catches everything must
    not catch it.
    """

    def __init__(self, stage_index: int, partition: int, seconds: float | None) -> None:
        text = f"stopped after {seconds or 0:g} s (scheduler.task_timeout_s)"
        super().__init__(_marked(text, stage_index, partition, "timeout", ""))


def _marked(text: str, stage_index: int, partition: int, reason: str, prints: str) -> str:
    said = json.dumps([text, stage_index, partition, reason, prints[-PRINTS_SHOWN_MAX:]])
    return f"minispark-task<{base64.b64encode(said.encode()).decode()}>"


def read_failure(error: Exception) -> MiniSparkError:
    """What to raise for what Spark raised: TaskOfStageFailed, or ClusterError where Spark itself
    failed.
    """
    said = str(error)
    found = _MARKED.search(said)
    if found is None:
        said = _CALLED.sub("", said)
        lines = [line for line in said.splitlines() if line.strip() and not _AT.match(line)]
        text = " ".join(lines[:LINES_MAX])[:ERROR_CHARS_MAX]
        where = f"; {IN_THE_LOG}" if any(sign in text for sign in SPARK_ENDED) else ""
        return ClusterError(f"Spark failed: {text}{where}")
    return TaskOfStageFailed(*json.loads(base64.b64decode(found[1])))


@contextmanager
def spark_errors_read() -> Iterator[None]:
    """What Spark raises within the block becomes what `read_failure` makes of it."""
    from py4j.protocol import Py4JError
    from pyspark.errors import PySparkException

    try:
        yield
    except (Py4JError, PySparkException, OSError) as error:  # Java may be gone
        raise read_failure(error) from error
