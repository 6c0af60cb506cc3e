"""What a shuffle of Spark's brought to one partition, put back into the order of the map outputs.

Spark hands over pieces in the order in which it fetched them. Must not know RDDs.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from io import BytesIO
from typing import TypeAlias

from minispark.compute.batch import Batch, record_count
from minispark.compute.blocks import Read, read_blocks
from minispark.compute.spill import Extent, Memory

Piece: TypeAlias = tuple[int, int, int, bytes]
"""Stage, its partition, which piece of that map output's share it is, and the bytes: blocks back to
back, cut anywhere.
"""


class ArrivedBlocks:
    """The map outputs' shares of one partition. What outgrows the memory waits on disk."""

    def __init__(self, pieces: Iterable[Piece], memory: Memory) -> None:
        """Takes all pieces. Raises OSError."""
        self._memory = memory
        self._held: dict[tuple[int, int, int], bytes] = {}
        self._spilled: dict[tuple[int, int, int], Extent] = {}
        self.bytes_read = 0
        held_bytes = 0
        for stage, partition, number, data in pieces:
            self._held[stage, partition, number] = data
            held_bytes += len(data)
            if held_bytes > memory.bytes_max:
                self._spill()
                held_bytes = 0

    def batches(self, stage: int) -> Iterator[Batch]:
        """The records of the stage's outputs, one output after the other; empty batches are left
        out. Raises OSError, CorruptBlock.
        """
        found: dict[int, list[tuple[int, int, int]]] = {}
        for place in sorted((*self._held, *self._spilled)):
            if place[0] == stage:
                found.setdefault(place[1], []).append(place)
        for places in found.values():
            for batch in read_blocks(_one_after_the_other(map(self._reader, places))):
                if record_count(batch):
                    yield batch

    def _spill(self) -> None:
        for place, data in self._held.items():
            self._spilled[place] = self._memory.spill.write([data])
        self._held.clear()

    def _reader(self, place: tuple[int, int, int]) -> Read:
        extent = self._spilled.get(place)
        if extent is not None:
            self.bytes_read += extent.size
            return self._memory.spill.reader(extent)
        self.bytes_read += len(self._held[place])
        return BytesIO(self._held[place]).read


def _one_after_the_other(reads: Iterator[Callable[[int], bytes | memoryview]]) -> Read:
    """Gives all their bytes in order, so many at a time as it is asked for."""
    left = deque(reads)

    def read(count: int) -> bytes:
        data = b""
        while left and len(data) < count:
            more = left[0](count - len(data))
            if more:
                data = data + more if data else bytes(more)
            else:
                left.popleft()
        return data

    return read
