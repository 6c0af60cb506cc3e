"""Deletes the results of jobs that left the history.

What a killed master left undone is done at the next start. Must not know why a job is forgotten.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Collection
from pathlib import Path

from minispark.master.recovery import database_path
from minispark.storage.result_files import delete_files

logger = logging.getLogger("minispark.master")


class ResultsDeleter:
    """Takes ids of forgotten jobs from any thread, and deletes in its own: a state directory may
    hold a hundred thousand names, and nobody should wait for that.
    """

    def __init__(self, state_dir: Path) -> None:
        self._state_dir = state_dir
        self._queue: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="retention", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self, timeout_s: float) -> None:
        """Delete what was asked for so far, within that time."""
        self._queue.put(None)
        self._thread.join(timeout_s)

    def delete(self, job_id: str) -> None:
        self._queue.put(job_id)

    def _run(self) -> None:
        is_last = False
        while not is_last:
            waiting = [self._queue.get()]  # all that wait share one listing
            while not self._queue.empty():
                waiting.append(self._queue.get())
            is_last = None in waiting
            doomed = {job_id for job_id in waiting if job_id is not None}
            _delete(self._state_dir, doomed.__contains__)


def clear_results(state_dir: Path, known: Collection[str]) -> None:
    """Delete the results of jobs that no database knows: a master was killed after it forgot them.

    They stay while a damaged database lies aside, and beside a new one: there they may be all that
    is left of jobs that were lost, not forgotten.
    """
    database = database_path(state_dir)
    if known and not any(database.parent.glob(f"{database.name}.corrupt-*")):
        deleted = _delete(state_dir, lambda job_id: job_id not in known)
        if deleted:
            logger.info("deleted %d files of jobs that an earlier master forgot", deleted)


def _delete(state_dir: Path, is_doomed: Callable[[str], bool]) -> int:
    try:
        deletion = delete_files(state_dir, is_doomed)
    except OSError as error:
        logger.warning("results of forgotten jobs stay: %s", error)
        return 0
    for reason in deletion.errors:
        logger.warning("a result of a forgotten job stays: %s", reason)
    return deletion.deleted
