"""Spilled blocks of one task: a file without a name, which is gone with the process that opened it.

Must not know what is in a block.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path

from minispark.compute.spill import Extent
from minispark.storage.memory_file import disk_file
from minispark.storage.task_files import range_reader


class SpillFile:
    """Made when something is written first. For one task, in one thread."""

    def __init__(self, state_dir: str) -> None:
        self._state_dir = state_dir
        self._fd: int | None = None
        self.bytes_written = 0

    def write(self, blocks: Iterable[bytes]) -> Extent:
        """Append them. Raises OSError that says what for."""
        start = self.bytes_written
        try:
            fd = self._opened()
            for block in blocks:
                view = memoryview(block)
                while view:
                    count = os.pwrite(fd, view, self.bytes_written)
                    self.bytes_written += count
                    view = view[count:]
        except OSError as error:
            raise OSError(error.errno, f"{error.strerror}, spilling to {self._folder}") from error
        return Extent(start, self.bytes_written - start)

    def reader(self, extent: Extent) -> Callable[[int], bytes]:
        """Gives the extent's bytes in order."""
        assert self._fd is not None
        return range_reader(self._fd, extent.start, extent.size)

    def close(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    @property
    def _folder(self) -> Path:
        return Path(self._state_dir) / "spill"

    def _opened(self) -> int:
        if self._fd is None:
            with disk_file(self._state_dir) as file:
                self._fd = os.dup(file.fileno())
        return self._fd
