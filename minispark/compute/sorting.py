"""Records of one partition in the order of their keys, in bounded memory.

Keys are text, and compare by code points. What outgrows the budget is written as sorted runs, which
are merged in the end. Records with one key stay in their order. Must not know files.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from operator import itemgetter
from typing import Any

from minispark.compute.batch import Batch, Keyed, Record, has_json, records, value_list
from minispark.compute.blocks import encode_block, read_blocks
from minispark.compute.spill import ENTRY_BYTES, Extent, Memory

RUN_RECORDS = 4096
"""At most so many records are in one block of a run: what is held of each while they are merged."""
BLOCKS_SHARE = 64
"""A block has no more records than take this part of the budget."""
_key = itemgetter(0)


def sorted_rows(
    batches: Iterable[Batch], memory: Memory | None, is_descending: bool
) -> Iterator[Keyed]:
    """All records, by key; every record has one. `memory`: None never spills. Raises OSError."""
    keys: list[Any] = []
    values: list[Any] = []
    runs: list[Extent] = []
    size, is_json = 0, False
    for batch in batches:
        assert isinstance(batch, Keyed)
        column = value_list(batch)
        keys += batch.keys
        values += column
        is_json = is_json or has_json(batch)
        size += ENTRY_BYTES * len(column) + sum(map(len, batch.keys))  # type: ignore[arg-type]
        size += sum(len(value) for value in column if type(value) is str)
        if memory is not None and size > memory.bytes_max:
            fitting = memory.bytes_max * len(keys) // (BLOCKS_SHARE * size)
            parts = _parts(keys, values, is_descending, max(1, min(RUN_RECORDS, fitting)))
            runs.append(memory.spill.write(encode_block(*part) for part in parts))
            keys, values, size = [], [], 0
    if memory is None or not runs:
        for part_keys, part_values in _parts(keys, values, is_descending, RUN_RECORDS):
            yield Keyed(part_keys, part_values, is_complete=True, is_json=is_json)
        return
    last = chain.from_iterable(
        zip(*part, strict=True) for part in _parts(keys, values, is_descending, RUN_RECORDS)
    )
    rows = [*(_rows(memory, run) for run in runs), last]
    merged = heapq.merge(*rows, key=_key, reverse=is_descending)
    while part := list(islice(merged, RUN_RECORDS)):
        part_keys, part_values = [str(key) for key, _ in part], [value for _, value in part]
        yield Keyed(part_keys, part_values, is_complete=True, is_json=is_json)


def _rows(memory: Memory, run: Extent) -> Iterator[Record]:
    return chain.from_iterable(map(records, read_blocks(memory.spill.reader(run))))


def _parts(
    keys: list[str], values: list[Any], is_descending: bool, records_max: int
) -> Iterator[tuple[list[str], list[Any]]]:
    """Aligned columns in the order of the keys, so many at a time."""
    order = sorted(range(len(keys)), key=keys.__getitem__, reverse=is_descending)
    for start in range(0, len(order), records_max):
        part = order[start : start + records_max]
        yield [keys[i] for i in part], [values[i] for i in part]
