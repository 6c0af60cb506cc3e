"""Runs: records in the order of their keys, spilled in blocks. One block of each run is held while
they are merged.

Must not know what the records are, nor files.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from minispark.compute.blocks import encode_block

RUN_RECORDS = 4096
"""At most so many records are in one block of a run."""
FAN_IN_MAX = 32
"""So many runs may be merged at a time."""
BLOCKS_SHARE = 2 * FAN_IN_MAX
"""A block has no more records than take this part of the budget: all that are merged fit."""


def block_records(bytes_max: int, records: int, size: int) -> int:
    """How many records a block may have, where so many records took `size` bytes in memory."""
    fitting = bytes_max * records // (BLOCKS_SHARE * max(1, size))
    return max(1, min(RUN_RECORDS, fitting))


def in_key_order(
    keys: list[str], values: list[Any], records_max: int, is_descending: bool = False
) -> Iterator[tuple[list[str], list[Any]]]:
    """Aligned columns in the order of the keys, so many records at a time; equal keys stay as they
    stand.
    """
    order = sorted(range(len(keys)), key=keys.__getitem__, reverse=is_descending)
    for start in range(0, len(order), records_max):
        part = order[start : start + records_max]
        yield [keys[i] for i in part], [values[i] for i in part]


def run_blocks(
    keys: list[str], values: list[Any], records_max: int, is_descending: bool = False
) -> Iterator[bytes]:
    """The blocks of a run of these records."""
    return (encode_block(*part) for part in in_key_order(keys, values, records_max, is_descending))
