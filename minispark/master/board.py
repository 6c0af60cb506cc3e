"""Where the loop thread puts the latest snapshot and any other thread reads it, or waits for a
change.

Must not know what a snapshot holds.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from minispark.model.snapshot import Snapshot


class SnapshotBoard:
    """One published snapshot."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        # Protected by self._changed:
        self._snapshot = Snapshot()
        self._is_closed = False

    @property
    def latest(self) -> Snapshot:
        return self._snapshot  # one reference, read atomically

    def publish(self, snapshot: Snapshot) -> None:
        with self._changed:
            self._snapshot = snapshot
            self._changed.notify_all()

    def close(self) -> None:
        """Wake everybody who waits; nothing will change any more."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()

    def wait_for(self, is_enough: Callable[[Snapshot], bool], timeout_s: float) -> Snapshot:
        """Return the first snapshot that is enough, or the latest one after `timeout_s`."""
        with self._changed:
            self._changed.wait_for(lambda: self._is_closed or is_enough(self._snapshot), timeout_s)
            return self._snapshot
