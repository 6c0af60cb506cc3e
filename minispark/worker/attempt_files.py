"""What the agent does with files of attempts when the master says so: name, list, delete them.

Every answer is a message for the master. Must not know what attempts are for.
"""

from __future__ import annotations

import logging
from queue import SimpleQueue
from threading import Thread

from minispark.errors import CorruptBlock
from minispark.storage.task_files import attempts_on_disk, commit_files, drop_attempt
from minispark.transport.messages import (
    ATTEMPTS_PER_PAGE,
    AttemptsFound,
    Commit,
    CommitFailed,
    Committed,
)

logger = logging.getLogger("minispark.worker")


class AttemptFiles:
    """The attempts on one worker's disk, those of others among them."""

    def __init__(self, state_dir: str) -> None:
        self._state_dir = state_dir
        self._unwanted: SimpleQueue[str] = SimpleQueue()
        self._deleter: Thread | None = None

    def commit(self, order: Commit) -> Committed | CommitFailed:
        try:
            commit_files(self._state_dir, order.attempt_id, order.files)
        except (OSError, CorruptBlock) as error:
            return CommitFailed(order.attempt_id, str(error))
        return Committed(order.attempt_id)

    def find(self) -> list[AttemptsFound]:
        """All that are there, in pages. A disk that cannot be listed has none."""
        try:
            found = attempts_on_disk(self._state_dir)
        except OSError as error:
            logger.warning("the attempts on this disk cannot be listed: %s", error)
            return []
        starts = range(0, len(found), ATTEMPTS_PER_PAGE)
        return [AttemptsFound(tuple(found[i : i + ATTEMPTS_PER_PAGE])) for i in starts]

    def drop(self, attempt_id: str) -> None:
        """Delete them now: the attempt may begin anew."""
        drop_attempt(self._state_dir, attempt_id)

    def drop_later(self, attempt_ids: tuple[str, ...]) -> None:
        """Delete what nobody will ever read, in a thread: while somebody syncs that disk to remove
        a directory takes longer than a small task. What this process does not come to, the next
        master has deleted.
        """
        for attempt_id in attempt_ids:
            self._unwanted.put(attempt_id)
        if self._deleter is None:
            self._deleter = Thread(target=self._delete, name="deleter", daemon=True)
            self._deleter.start()

    def _delete(self) -> None:
        while True:
            self.drop(self._unwanted.get())
