"""The journal's events as they become durable: pages of them, and a stream that follows them.

A follower reads pages from the database at its own pace and holds one at a time, so that a slow one
harms nobody. Must not know HTTP, nor what events mean.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from typing import Any

from minispark.errors import ClusterError
from minispark.storage.job_history import EventRow, JobHistory

PAGE_EVENTS = 500
PAGE_INTERVAL_S = 0.1
"""Between two pages of one follower: a browser shows no more, and the master has other work."""
BEHIND_EVENTS_MAX = 5000
"""A follower that is further behind skips what it missed, and is told how much that was."""
ALIVE_S = 15.0
"""A stream without events says so often that it still exists."""
LOOK_S = 1.0
"""How soon it is noticed that nobody follows any more: an empty piece lets the server look."""
FOLLOWERS_MAX = 32
RETRY_MS = 1000


class EventStream:
    """Events of `history`, and who follows them."""

    def __init__(self, history: JobHistory) -> None:
        self._history = history
        self._changed = threading.Condition()
        # Protected by self._changed:
        self._last = history.last_event()
        self._followers = 0
        self._is_closed = False

    def advance(self, last: int) -> None:
        """The event of that id is durable, and all before it. For the loop thread."""
        if last == self._last:
            return
        with self._changed:
            self._last = last
            self._changed.notify_all()

    def close(self) -> None:
        """End every stream."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()

    @property
    def last(self) -> int:
        with self._changed:
            return self._last

    def page(
        self,
        after: int,
        limit: int,
        job_id: str | None,
        stage_id: str | None,
        partition: int | None,
    ) -> list[EventRow]:
        """As `JobHistory.events`."""
        return self._history.events(after, limit, job_id, stage_id, partition)

    def follow(self, after: int | None, job_id: str | None) -> Iterator[bytes]:
        """Server-sent events behind that id (None: from now on), without end. Raises ClusterError
        when there are too many followers.
        """
        with self._changed:
            if self._followers >= FOLLOWERS_MAX:
                raise ClusterError(f"{FOLLOWERS_MAX} streams are open; close one of them")
            begun_at = self._last if after is None else min(after, self._last)
        return self._follow(begun_at, job_id)

    def _follow(self, seen: int, job_id: str | None) -> Iterator[bytes]:
        with self._changed:
            self._followers += 1  # not before it is read: a HEAD request never does
        try:
            yield f"retry: {RETRY_MS}\nid: {seen}\n\n".encode()
            quiet_s = 0.0
            while True:
                last = self._await(seen, LOOK_S)
                if last is None:
                    return
                if last == seen:
                    quiet_s = (quiet_s + LOOK_S) % ALIVE_S
                    yield b": alive\n\n" if quiet_s == 0.0 else b""
                    continue
                quiet_s = 0.0
                if last - seen > BEHIND_EVENTS_MAX:
                    skipped, seen = last - seen - PAGE_EVENTS, last - PAGE_EVENTS
                    yield _message(seen, "gap", {"skipped": skipped})
                rows = self._history.events(seen, PAGE_EVENTS, job_id)
                is_whole = len(rows) < PAGE_EVENTS
                seen = max(last, rows[-1].id if rows else 0) if is_whole else rows[-1].id
                if rows:
                    yield b"".join(_message(r.id, "fact", event_document(r)) for r in rows)
                if self._pause():
                    return
        finally:
            with self._changed:
                self._followers -= 1

    def _await(self, seen: int, timeout_s: float) -> int | None:
        """The newest event's id once there is one behind `seen`, or after that time; None at the
        end.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._is_closed or self._last > seen, timeout_s)
            return None if self._is_closed else self._last

    def _pause(self) -> bool:
        """Let others work; whether the stream ends."""
        with self._changed:
            return self._changed.wait_for(lambda: self._is_closed, PAGE_INTERVAL_S)


def event_document(row: EventRow) -> dict[str, Any]:
    return {
        "id": row.id,
        "at": row.at_unix_s,
        "kind": row.kind,
        "job_id": row.job_id,
        "stage": row.stage_id,
        "partition": row.partition,
        "attempt": row.attempt,
        "worker": row.worker_name,
        "text": row.text,
    }


def _message(event_id: int, name: str, data: dict[str, Any]) -> bytes:
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    return f"id: {event_id}\nevent: {name}\ndata: {text}\n\n".encode("utf-8", "replace")
