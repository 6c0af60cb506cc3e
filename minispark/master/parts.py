"""Publishes and discards the parts of jobs that write to directories of the user's.

In a thread of its own: a file system that hangs shall hold nobody else up. Must not know jobs.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Iterable

from minispark.errors import ClusterError
from minispark.model.effects import DiscardParts, PublishParts
from minispark.model.events import PartsPublished
from minispark.model.log_fields import about
from minispark.model.snapshot import JobView
from minispark.model.states import JobState
from minispark.storage.part_folders import discard, publish

logger = logging.getLogger("minispark.master")


def unsaved(ended: Iterable[JobView]) -> list[DiscardParts]:
    """What is to be discarded of jobs that did not succeed, if it was not yet."""
    return [
        DiscardParts(job.job_id, job.request.saved_at)
        for job in ended
        if job.state is not JobState.SUCCEEDED and job.request.saved_at
    ]


class PartsPublisher:
    """Takes orders from any thread, and carries them out in turn."""

    def __init__(self, post: Callable[[PartsPublished], None]) -> None:
        self._post = post
        self._queue: queue.SimpleQueue[PublishParts | DiscardParts | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="parts", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self, timeout_s: float) -> None:
        """Carry out what was asked for so far, within that time. The rest is for the next start."""
        self._queue.put(None)
        self._thread.join(timeout_s)

    def order(self, order: PublishParts | DiscardParts) -> None:
        self._queue.put(order)

    def _run(self) -> None:
        while (order := self._queue.get()) is not None:
            if isinstance(order, PublishParts):
                self._publish(order)
            else:
                self._discard(order)

    def _publish(self, order: PublishParts) -> None:
        error = None
        try:
            publish(order.folders, order.job_id)
        except ClusterError as failure:
            error = str(failure)
        self._post(PartsPublished(order.job_id, error, time.time()))

    def _discard(self, order: DiscardParts) -> None:
        try:
            discard(order.paths, order.job_id)
        except OSError as error:
            logger.warning("parts stay: %s", error, extra=about(job=order.job_id))
