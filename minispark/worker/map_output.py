"""A map task's output on its way to blocks: records gathered by the partition of their key.

Must not know files.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from minispark.compute.batch import Batch, Constant, Keyed, value_list
from minispark.compute.blocks import encode_block
from minispark.compute.partition import crc32_partitions


class MapOutput:
    """Columns for each of `partitions` partitions."""

    def __init__(self, partitions: int) -> None:
        self._keys: list[list[Any]] = [[] for _ in range(partitions)]
        self._values: list[list[Any]] = [[] for _ in range(partitions)]

    def add(self, batch: Batch) -> None:
        """Take in a batch; unkeyed records go where the empty key goes."""
        values = value_list(batch)
        if isinstance(batch, Keyed):
            self.add_columns(batch.keys, values)
        else:
            self.add_columns([None] * len(values), values)

    def add_columns(self, keys: list[Any], values: list[Any]) -> None:
        """Take in aligned columns."""
        if len(self._keys) == 1:
            self._keys[0] += keys
            self._values[0] += values
            return
        add_key = [column.append for column in self._keys]
        add_value = [column.append for column in self._values]
        partitions = crc32_partitions(keys, len(self._keys))
        for key, value, partition in zip(keys, values, partitions, strict=True):
            add_key[partition](key)
            add_value[partition](value)

    def blocks(self) -> Iterator[bytes]:
        """Each partition's block, in order; its columns are gone afterwards."""
        for index, (keys, values) in enumerate(zip(self._keys, self._values, strict=True)):
            is_constant = bool(values) and values.count(values[0]) == len(values)
            is_constant = is_constant and isinstance(values[0], str)
            yield encode_block(keys, Constant(values[0]) if is_constant else values)
            self._keys[index], self._values[index] = [], []
