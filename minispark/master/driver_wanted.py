"""Asks the supervisor for a Spark driver, from a thread of its own: an answer may take seconds.

Must not know why one is wanted.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable
from pathlib import Path

from minispark.errors import ClusterError
from minispark.model.events import DriverMissing, Event
from minispark.supervisor.control import ask
from minispark.supervisor.state_dir import read_cluster_file

logger = logging.getLogger("minispark.master")


class DriverWanted:
    """`want` may be called from any thread, and as often as somebody likes."""

    def __init__(self, state_dir: Path, post: Callable[[Event], None]) -> None:
        self._state_dir = state_dir
        self._post = post
        self._queue: queue.SimpleQueue[bool] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="driver wanted", daemon=True)
        self._told: str | None = None
        """Why the supervisor could not be asked, as the log has it."""

    def start(self) -> None:
        self._thread.start()

    def stop(self, timeout_s: float) -> None:
        self._queue.put(False)
        self._thread.join(timeout_s)

    def want(self) -> None:
        self._queue.put(True)

    def _run(self) -> None:
        while self._queue.get():
            try:
                document = read_cluster_file(self._state_dir)
                if document is None:
                    raise ClusterError("this master runs without a supervisor")
                ask(document["control"], {"driver": "start"})
                self._told = None
            except ClusterError as error:
                self._post(DriverMissing(str(error), time.time()))
                if self._told != str(error):
                    self._told = str(error)
                    logger.warning("no Spark driver can be started: %s", error)
