"""The one Spark application of this process: started when the first job needs it, and again where
Java ended.

Must not know jobs.
"""

from __future__ import annotations

import logging
import threading
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

from minispark.errors import ClusterError
from minispark.spark.context import is_alive, spark_context

if TYPE_CHECKING:
    from pyspark import SparkContext

CLOSE_WAIT_S = 1.0
"""How long `close` waits for one that is just starting."""
FAILED_FOR_S = 20.0
NAME = "minispark"

logger = logging.getLogger("minispark.driver")


class Application:
    """`master` and `conf` are Spark's. Any thread may ask for the context."""

    def __init__(self, master: str, conf: dict[str, str]) -> None:
        self._master = master
        self._conf = conf
        self._lock = threading.Lock()
        # Protected by self._lock:
        self._stack: ExitStack | None = None
        self._context: SparkContext | None = None
        self._is_closed = False
        self._failure: ClusterError | None = None
        """Why it did not start when it was tried last, and when that was (monotonic)."""
        self._failed_at = 0.0

    def context(self) -> SparkContext:
        """Waits while it starts. Raises ClusterError: Spark is not installed, or does not start."""
        with self._lock:
            if self._context is not None and not is_alive(self._context):
                logger.error("the Spark application is gone; another one starts")
                self._end()
            if self._context is None:
                self._begin_unless_it_just_failed()
            assert self._context is not None
            return self._context

    def _begin_unless_it_just_failed(self) -> None:
        """A master of Spark's that does not answer takes a minute: who tries again soon learns the
        same at once.
        """
        now = time.monotonic()
        if self._failure is not None and now < self._failed_at + FAILED_FOR_S:
            raise self._failure
        try:
            self._begin()
        except ClusterError as error:
            self._failure, self._failed_at = error, time.monotonic()
            raise
        self._failure = None

    def _begin(self) -> None:
        if self._is_closed:
            raise ClusterError("the driver stops")
        begun = time.monotonic()
        stack = ExitStack()
        self._context = stack.enter_context(spark_context(self._master, self._conf, NAME))
        self._stack = stack
        what = (self._master, self._context.applicationId, time.monotonic() - begun)
        logger.info("Spark runs: %s, application %s, after %.1f s", *what)

    def _end(self) -> None:
        stack, self._stack, self._context = self._stack, None, None
        if stack is not None:
            try:
                stack.close()
            except Exception as error:  # whatever Java's end makes of it
                logger.warning("the Spark application did not end in order: %s", error)

    def pulse(self) -> None:
        """Returns once Java has answered, if there is one."""
        context = self._context
        if context is not None:
            is_alive(context)

    def close(self) -> None:
        """End it in order. One that is just starting is left to who ends this process."""
        if self._lock.acquire(timeout=CLOSE_WAIT_S):
            try:
                self._is_closed = True
                self._end()
            finally:
                self._lock.release()
