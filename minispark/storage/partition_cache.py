"""The partition cache of one worker: shuffle files in memory, the least recently used ones on disk.

Source: the specification, 8.1 and 8.2. An entry is a file without a name, which lives as long as
somebody has it open; to spill one gives it a name in `spill/<worker>/`. Any thread may call. Must
not know who reads an entry, nor what is in it.
"""

from __future__ import annotations

import logging
import os
import shutil
import threading
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from minispark.errors import ProtocolError
from minispark.storage.memory_file import copy_bytes
from minispark.storage.task_files import SHUFFLE_FILE, attempt_dir, checked_name

SPILLED_FACTOR = 32
"""So many times its memory a cache may have on disk; what is used least is evicted then."""
KEY_CHARS_MAX = 150

logger = logging.getLogger("minispark.worker")


@dataclass(frozen=True, slots=True)
class _Entry:
    fd: int
    """-1 of a spilled one."""
    size: int
    attempt_id: str | None
    """It goes with that attempt; None: it stays for later jobs."""
    is_copy: bool
    """The attempt's own shuffle file holds the same."""


@dataclass(frozen=True, slots=True)
class Found:
    """`fd` is the caller's to close."""

    fd: int
    is_spilled: bool


class PartitionCache:
    """Entries by their key (`cache_keys.py`)."""

    def __init__(self, state_dir: str, worker_name: str, bytes_max: int) -> None:
        """What an earlier worker of that name spilled is deleted. Raises ProtocolError for a name
        that names no directory.
        """
        self._state_dir = state_dir
        self._bytes_max = bytes_max
        self._folder = Path(state_dir) / "spill" / checked_name(worker_name)
        self._lock = threading.Lock()
        # Protected by self._lock, the least recently used entry first:
        self._in_memory: OrderedDict[str, _Entry] = OrderedDict()
        self._spilled: OrderedDict[str, _Entry] = OrderedDict()
        self._keys_of: dict[str, dict[str, None]] = {}
        """By attempt."""
        self.memory_bytes = 0
        self.spilled_bytes = 0
        self.hits = 0
        self.misses = 0
        shutil.rmtree(self._folder, ignore_errors=True)

    def put(self, key: str, fd: int, attempt_id: str | None, is_copy: bool) -> None:
        """Take in a shuffle file; the descriptor is the cache's from now on. What is in memory
        above the limit is spilled, the least recently used first. Raises OSError, ProtocolError.
        """
        try:
            size = os.fstat(fd).st_size
            self._path(key)  # a key that makes no file name is refused here
        except BaseException:
            os.close(fd)
            raise
        with self._lock:
            self._evict(key)
            self._in_memory[key] = _Entry(fd, size, attempt_id, is_copy)
            self.memory_bytes += size
            if attempt_id is not None:
                self._keys_of.setdefault(attempt_id, {})[key] = None
            if size > self._bytes_max:
                self._spill(key)  # and nothing else for its sake
            while self.memory_bytes > self._bytes_max:
                self._spill(next(iter(self._in_memory)))
            while self.spilled_bytes > SPILLED_FACTOR * self._bytes_max:
                self._evict(next(iter(self._spilled)))

    def get(self, key: str) -> Found | None:
        """The entry's shuffle file, and it is the most recently used one; None: a miss. A spilled
        one that cannot be opened is logged, and is a miss.
        """
        with self._lock:
            if key in self._in_memory:
                self._in_memory.move_to_end(key)
                self.hits += 1
                return Found(os.dup(self._in_memory[key].fd), is_spilled=False)
            if key not in self._spilled:
                self.misses += 1
                return None
            self._spilled.move_to_end(key)
            self.hits += 1
            try:
                flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
                return Found(os.open(self._path(key), flags), is_spilled=True)
            except OSError as error:
                self._spoil(key, str(error))
                return None

    def spoiled(self, key: str, why: str) -> None:
        """Who got the entry could not read it: it was a miss after all."""
        with self._lock:
            self._spoil(key, why)

    def drop_attempts(self, attempt_ids: Iterable[str]) -> None:
        """Nobody needs the outputs of these attempts any more."""
        with self._lock:
            for attempt_id in attempt_ids:
                for key in self._keys_of.pop(attempt_id, ()):
                    self._evict(key)

    def close(self) -> None:
        """Evict everything."""
        with self._lock:
            for key in (*self._in_memory, *self._spilled):
                self._evict(key)

    # --- with the lock held ----------------------------------------------------------------------

    def _spoil(self, key: str, why: str) -> None:
        logger.warning("the cached %s cannot be read: %s", key, why)
        self.hits -= 1
        self.misses += 1
        self._evict(key)

    def _spill(self, key: str) -> None:
        entry = self._in_memory[key]
        try:
            self._write(key, entry)
        except OSError as error:
            logger.warning("%s cannot be spilled and leaves the cache: %s", key, error)
            self._evict(key)
            return
        os.close(entry.fd)
        del self._in_memory[key]
        self.memory_bytes -= entry.size
        self._spilled[key] = _Entry(-1, entry.size, entry.attempt_id, entry.is_copy)
        self.spilled_bytes += entry.size

    def _write(self, key: str, entry: _Entry) -> None:
        path = self._path(key)
        self._folder.mkdir(parents=True, exist_ok=True)
        if entry.is_copy and entry.attempt_id is not None:
            os.link(attempt_dir(self._state_dir, entry.attempt_id) / SHUFFLE_FILE, path)
            return
        try:
            with path.open("xb") as target:
                copy_bytes(entry.fd, target.fileno())
        except OSError:
            path.unlink(missing_ok=True)
            raise

    def _evict(self, key: str) -> None:
        if (entry := self._in_memory.pop(key, None)) is not None:
            os.close(entry.fd)
            self.memory_bytes -= entry.size
        elif (entry := self._spilled.pop(key, None)) is not None:
            self._path(key).unlink(missing_ok=True)
            self.spilled_bytes -= entry.size
        if entry is not None and entry.attempt_id in self._keys_of:
            keys = self._keys_of[entry.attempt_id]
            keys.pop(key, None)
            if not keys:
                del self._keys_of[entry.attempt_id]

    # --- names -----------------------------------------------------------------------------------

    def _path(self, key: str) -> Path:
        """Raises ProtocolError for a key that makes no file name."""
        if len(key) > KEY_CHARS_MAX:
            raise ProtocolError(f"{key[:100]!r} is no key of the cache")
        return self._folder / checked_name(f"{key.replace(':', '_')}.blocks")
