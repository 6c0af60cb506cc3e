"""A task's output on its way to a shuffle file: records dealt out to blocks of their partitions.

Records are gathered into columns of some length, and leave them as encoded blocks, so that few
objects live at a time; blocks that are too many go to disk. Must not know files.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from minispark.compute.batch import Batch, Constant, Keyed, text_list, value_list
from minispark.compute.blocks import TargetsOf, decode_blocks, encode_blocks, read_blocks
from minispark.compute.spill import Extent, Memory

BLOCK_RECORDS = 65536
"""Up to so many records are dealt out at a time."""
RECORD_BYTES = 128
"""Of a record that is gathered, its value's characters aside."""
GATHERED_SHARE = 16
"""Gathered records may take this part of the budget."""
PIECE_BYTES = 1 << 20
SHARE = 4
"""Encoded blocks may take this part of the budget: columns live beside them."""


class MapOutput:
    """The blocks of each of `partitions` partitions: several for one where there is much."""

    def __init__(
        self, partitions: int, memory: Memory | None = None, targets_of: TargetsOf | None = None
    ) -> None:
        """`targets_of`: the partitions of keys; None: by their crc32."""
        self._memory = memory
        self._targets_of = targets_of
        self._records_max = BLOCK_RECORDS
        self._chars_max = float("inf")
        if memory is not None:
            self._chars_max = memory.bytes_max // GATHERED_SHARE
            self._records_max = min(BLOCK_RECORDS, 1 + int(self._chars_max) // RECORD_BYTES)
        self._keys: list[Any] = []
        self._values: list[Any] = []
        self._chars = 0
        self._blocks: list[list[bytes]] = [[] for _ in range(partitions)]
        self._bytes = 0
        self._spilled: list[list[Extent]] = [[] for _ in range(partitions)]
        self.is_empty = True

    def add(self, batch: Batch) -> None:
        """Take in a batch; unkeyed records go where the empty key goes. Raises OSError."""
        values = value_list(batch)
        keys = batch.keys if isinstance(batch, Keyed) else [None] * len(values)
        if len(values) > self._records_max:
            self.add_columns(keys, values)
            return
        self._keys += keys
        self._values += values
        if values and type(values[0]) is str:
            self._chars += sum(map(len, text_list(batch)))
        if len(self._keys) >= self._records_max or self._chars > self._chars_max:
            self._deal()

    def add_columns(self, keys: list[Any], values: list[Any]) -> None:
        """Take in aligned columns. No block holds records of two calls."""
        self.finish()
        for start in range(0, len(keys), self._records_max):
            self._keys += keys[start : start + self._records_max]
            self._values += values[start : start + self._records_max]
            self._deal()

    def finish(self) -> None:
        """Deal out what was gathered. Raises OSError."""
        if self._keys:
            self._deal()

    def _deal(self) -> None:
        values: list[Any] | Constant = self._values
        first = self._values[0]
        if isinstance(first, str) and self._values.count(first) == len(self._values):
            values = Constant(first)
        made = encode_blocks(self._keys, values, len(self._blocks), self._targets_of)
        for blocks, block in zip(self._blocks, made, strict=True):
            if block:
                blocks.append(block)
                self._bytes += len(block)
        self._keys, self._values, self._chars = [], [], 0
        self.is_empty = False
        if self._memory is not None and SHARE * self._bytes > self._memory.bytes_max:
            self._spill(self._memory)

    def _spill(self, memory: Memory) -> None:
        for blocks, extents in zip(self._blocks, self._spilled, strict=True):
            if blocks:
                extents.append(memory.spill.write(blocks))
                blocks.clear()
        self._bytes = 0

    # --- once it is finished -------------------------------------------------------------------

    def partitions(self) -> Iterator[Iterator[bytes]]:
        """The bytes of each partition's blocks, piece by piece. Raises OSError."""
        for blocks, extents in zip(self._blocks, self._spilled, strict=True):
            yield self._pieces(blocks, extents)

    def _pieces(self, blocks: list[bytes], extents: list[Extent]) -> Iterator[bytes]:
        for extent in extents:
            assert self._memory is not None
            read = self._memory.spill.reader(extent)
            while piece := read(PIECE_BYTES):
                yield piece
        yield from blocks

    def batches(self, partition: int) -> Iterator[Batch]:
        """The records of one partition. Raises OSError, CorruptBlock."""
        for extent in self._spilled[partition]:
            assert self._memory is not None
            yield from read_blocks(self._memory.spill.reader(extent))
        for block in self._blocks[partition]:
            yield from decode_blocks(block)
