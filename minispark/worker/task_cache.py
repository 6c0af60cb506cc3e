"""The partition cache as one task uses it: batches in, batches out.

Must not know why something is kept.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from minispark.compute.batch import Batch
from minispark.compute.blocks import check_blocks, decode_blocks, encode_batch
from minispark.errors import CorruptBlock
from minispark.storage.memory_file import copy_bytes, disk_file, memory_file
from minispark.storage.task_files import locate_block, range_reader, shuffle_tail
from minispark.worker.cache_channel import CacheChannel


class TaskCache:
    """Reads and keeps partitions, each as a shuffle file, under a key."""

    def __init__(self, channel: CacheChannel, state_dir: str, bytes_max: int) -> None:
        """A larger partition than `bytes_max` does not wait in memory to be spilled."""
        self._channel = channel
        self._state_dir = state_dir
        self._bytes_max = bytes_max
        self.bytes_read = 0

    def read(self, key: str, partition: int = 0) -> Iterator[Batch] | None:
        """The records of that partition of the entry; None where it is not in the cache."""
        found = self._channel.get(key)
        if found is None:
            return None
        try:
            offset, size = locate_block(found.fd, partition)
            if found.is_spilled:  # what comes from a disk may be damaged
                check_blocks(range_reader(found.fd, offset, size))
            mapped = mmap.mmap(found.fd, 0, prot=mmap.PROT_READ)
        except (OSError, ValueError, CorruptBlock) as error:
            self._channel.spoiled(key, str(error))
            return None
        finally:
            os.close(found.fd)
        self.bytes_read += size
        return decode_blocks(memoryview(mapped)[offset : offset + size])

    def keep(self, key: str, attempt_id: str | None, batches: Iterator[Batch]) -> Iterator[Batch]:
        """Pass the batches on; once the last one has passed, their records are in the cache, until
        the end of that attempt's job where one is named. Raises OSError.
        """
        if not self._channel.is_open:
            yield from batches
            return
        size, file = 0, memory_file(self._state_dir)
        try:
            for batch in batches:
                block = encode_batch(batch)
                if size <= self._bytes_max < size + len(block):
                    file = self._moved_to_disk(file)
                file.write(block)
                size += len(block)
                yield batch
            file.write(shuffle_tail([(0, size)]))
            file.flush()
            self._channel.put(key, file.fileno(), attempt_id, is_copy=False)
        finally:
            file.close()

    def keep_copy(self, key: str, attempt_id: str, path: Path) -> None:
        """Keep the attempt's shuffle file, as long as its job runs. Raises OSError."""
        if not self._channel.is_open:
            return
        with path.open("rb") as source:
            if os.fstat(source.fileno()).st_size > self._bytes_max:
                self._channel.put(key, source.fileno(), attempt_id, is_copy=True)
                return
            with memory_file(self._state_dir) as file:
                copy_bytes(source.fileno(), file.fileno())
                self._channel.put(key, file.fileno(), attempt_id, is_copy=True)

    def _moved_to_disk(self, file: BinaryIO) -> BinaryIO:
        with file:
            file.flush()
            moved = disk_file(self._state_dir)
            copy_bytes(file.fileno(), moved.fileno())
            return moved
