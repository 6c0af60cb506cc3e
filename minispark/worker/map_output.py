"""A map task's output on its way to a shuffle file: records dealt out to the blocks of their
partitions.

Records are gathered into columns of some length, and leave them as encoded blocks, so that few
objects live at a time. Must not know files.
"""

from __future__ import annotations

from typing import Any

from minispark.compute.batch import Batch, Constant, Keyed, value_list
from minispark.compute.blocks import encode_blocks

BLOCK_RECORDS = 65536
"""So many records are dealt out at a time, at least, but for the last ones."""


class MapOutput:
    """The blocks of each of `partitions` partitions: several for one where there is much."""

    def __init__(self, partitions: int, is_documented: bool = False) -> None:
        """`is_documented`: records go to partitions by the documented hash of their key."""
        self._is_documented = is_documented
        self._keys: list[Any] = []
        self._values: list[Any] = []
        self._blocks: list[list[bytes]] = [[] for _ in range(partitions)]

    def add(self, batch: Batch) -> None:
        """Take in a batch; unkeyed records go where the empty key goes."""
        values = value_list(batch)
        keys = batch.keys if isinstance(batch, Keyed) else [None] * len(values)
        if len(values) > BLOCK_RECORDS:
            self.add_columns(keys, values)
            return
        self._keys += keys
        self._values += values
        if len(self._keys) >= BLOCK_RECORDS:
            self._deal()

    def add_columns(self, keys: list[Any], values: list[Any]) -> None:
        """Take in aligned columns."""
        for start in range(0, len(keys), BLOCK_RECORDS):
            self._keys += keys[start : start + BLOCK_RECORDS]
            self._values += values[start : start + BLOCK_RECORDS]
            self._deal()

    def _deal(self) -> None:
        values: list[Any] | Constant = self._values
        first = self._values[0]
        if isinstance(first, str) and self._values.count(first) == len(self._values):
            values = Constant(first)
        made = encode_blocks(self._keys, values, len(self._blocks), self._is_documented)
        for blocks, block in zip(self._blocks, made, strict=True):
            if block:
                blocks.append(block)
        self._keys, self._values = [], []

    def partitions(self) -> list[list[bytes]]:
        """Each partition's blocks, in order."""
        if self._keys:
            self._deal()
        return self._blocks
