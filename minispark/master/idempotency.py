"""One job for each Idempotency-Key, whatever is repeated, and when.

The journal says which keys have a job. Here is only what it cannot know yet: whose turn it is to
submit under a key, and which keys have a job that is taken in, but not durable. Must not know HTTP.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from minispark.master.loop import EventHeld, JournalBlocked

TURN_TIMEOUT_S = 30.0
"""How long a repetition waits for the one before it."""


class Turn:
    """The right to submit under one key: one thread has it at a time."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.users = 0
        """Threads that have it, or wait for it."""
        # Protected by self.lock:
        self.is_held = False
        """A job of this key was taken in, and may become durable at any time."""


class IdempotencyKeys:
    """The keys that are in use now."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # Protected by self._lock, `users` of the turns too:
        self._turns: dict[str, Turn] = {}

    def __len__(self) -> int:
        return len(self._turns)

    @contextmanager
    def turn(self, key: str) -> Iterator[Turn]:
        """The key's turn, for the block. Raises JournalBlocked when it did not come in time.

        A block that ends with EventHeld leaves a job that the journal may still take in.
        """
        with self._lock:
            turn = self._turns.setdefault(key, Turn())
            turn.users += 1
        try:
            if not turn.lock.acquire(timeout=TURN_TIMEOUT_S):
                raise JournalBlocked("another request with this Idempotency-Key is not done yet")
            try:
                yield turn
            except EventHeld:
                turn.is_held = True
                raise
            finally:
                turn.lock.release()
        finally:
            with self._lock:
                turn.users -= 1
                if not turn.users and not turn.is_held:
                    del self._turns[key]
