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
from minispark.compute.blocks import read_blocks
from minispark.compute.runs import RUN_RECORDS, block_records, in_key_order, run_blocks
from minispark.compute.spill import ENTRY_BYTES, Extent, Memory

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
            fitting = block_records(memory.bytes_max, len(keys), size)
            runs.append(memory.spill.write(run_blocks(keys, values, fitting, is_descending)))
            keys, values, size = [], [], 0
    if memory is None or not runs:
        for part_keys, part_values in in_key_order(keys, values, RUN_RECORDS, is_descending):
            yield Keyed(part_keys, part_values, is_complete=True, is_json=is_json)
        return
    last = chain.from_iterable(
        zip(*part, strict=True) for part in in_key_order(keys, values, RUN_RECORDS, is_descending)
    )
    rows = [*(_rows(memory, run) for run in runs), last]
    merged = heapq.merge(*rows, key=_key, reverse=is_descending)
    while part := list(islice(merged, RUN_RECORDS)):
        part_keys, part_values = [str(key) for key, _ in part], [value for _, value in part]
        yield Keyed(part_keys, part_values, is_complete=True, is_json=is_json)


def _rows(memory: Memory, run: Extent) -> Iterator[Record]:
    return chain.from_iterable(map(records, read_blocks(memory.spill.reader(run))))
