"""Join by key: the right side is hashed, the left one streams past it.

A value is `(left,right)`; order is the left side's, then the right side's. A right side that
outgrows the memory is dealt out to parts by the hash of its keys, and the left side likewise: then
the order is that within each part, one part after the other. A part that is still too large,
because one key has very many records, is hashed piece by piece, and the part's left side streams
past each piece. Must not know shuffles, nor files.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import chain, compress, repeat

from minispark.compute.batch import Batch, Keyed, text_list, value_list
from minispark.compute.map_output import MapOutput
from minispark.compute.partition import documented_partitions
from minispark.compute.spill import ENTRY_BYTES, Memory
from minispark.errors import TaskError

PARTS = 32
"""Parts of a side that does not fit."""
NULL = "null"
"""Stands for the missing side of an outer join."""
ROWS_RECORDS = 1024
"""A batch of hashed records that go to parts after all has about so many."""
JOINED_RECORDS = 65536
"""A batch of joined records has no more than so many: each may meet each."""


def join(
    node_id: str,
    left: Iterable[Batch],
    right: Iterable[Batch],
    memory: Memory | None = None,
    held: list[object] | None = None,
    kind: str = "inner",
) -> Iterator[Keyed]:
    """The joined records. `memory`: None never spills. `held` gets the hashed right side: to free
    it takes time, which its owner may have later. `kind`: as in `model.plan.Join`.

    Raises TaskError for a record without a key, OSError, CorruptBlock.
    """
    lefts = (require_keys(node_id, batch) for batch in left)
    rights = (require_keys(node_id, batch) for batch in right)
    table = RightSide()
    if table.take(rights, memory):
        if held is not None:
            held.append(table)
        yield from _join_whole(table, lefts, kind)
        return
    assert memory is not None
    all_rights = chain(table.rows(), rights)
    del table  # it goes when its rows were taken
    yield from _join_by_parts(lefts, all_rights, memory, kind)


def _join_whole(table: RightSide, lefts: Iterable[Keyed], kind: str) -> Iterator[Keyed]:
    """All of the right side is in the table."""
    met: dict[str, None] = {}
    keeps_right = kind in ("right", "full")
    for batch in lefts:
        if keeps_right:
            met.update(dict.fromkeys(filter(table.has, batch.keys)))  # type: ignore[arg-type]
        yield from table.meet(batch, keeps_left=kind in ("left", "full"))
    if keeps_right:
        yield table.unmet(met)


def _join_by_parts(
    left: Iterator[Keyed], right: Iterable[Keyed], memory: Memory, kind: str
) -> Iterator[Keyed]:
    # by another hash than that which chose these keys for one partition
    targets_of = partial(documented_partitions, count=PARTS)
    left_parts = MapOutput(PARTS, memory, targets_of)
    right_parts = MapOutput(PARTS, memory, targets_of)
    for side, parts in ((right, right_parts), (left, left_parts)):
        for batch in side:
            parts.add(batch)
        parts.finish()
    for part in range(PARTS):

        def lefts(part: int = part) -> Iterator[Keyed]:
            return _keyed(left_parts.batches(part))

        table, rights = RightSide(), _keyed(right_parts.batches(part))
        if table.take(rights, memory):
            yield from _join_whole(table, lefts(), kind)
        else:
            yield from _join_by_pieces(table, lefts, rights, memory, kind)


def _join_by_pieces(
    table: RightSide,
    lefts: Callable[[], Iterator[Keyed]],
    rights: Iterator[Keyed],
    memory: Memory,
    kind: str,
) -> Iterator[Keyed]:
    """`table` is the first piece of the right side; the left side passes each of them, and once
    more for those that met none.
    """
    right_keys: dict[str, None] = {}
    is_last = False
    while True:
        yield from _join_whole(table, lefts(), "right" if kind in ("right", "full") else "inner")
        right_keys.update(dict.fromkeys(table.keys()))
        if is_last:
            break
        table = RightSide()
        is_last = table.take(rights, memory)
    if kind in ("left", "full"):
        for batch in lefts():
            pairs = zip(batch.keys, text_list(batch), strict=True)
            alone = [(key, f"({value},{NULL})") for key, value in pairs if key not in right_keys]
            yield Keyed([key for key, _ in alone], [text for _, text in alone], is_complete=True)


def _keyed(batches: Iterator[Batch]) -> Iterator[Keyed]:
    return (batch for batch in batches if isinstance(batch, Keyed))


class RightSide:
    """Right records, hashed."""

    def __init__(self) -> None:
        self._rows: dict[str, str | list[str]] = {}
        self._bytes = 0

    def take(self, batches: Iterator[Keyed], memory: Memory | None) -> bool:
        """Take in batches until the memory is full; whether those were all."""
        for batch in batches:
            self._add(batch)
            if memory is not None and self._bytes > memory.bytes_max:
                return False
        return True

    def _add(self, batch: Keyed) -> None:
        rows, texts = self._rows, text_list(batch)
        for key, value in zip(batch.keys, texts, strict=True):
            old = rows.get(key)  # type: ignore[arg-type]
            if old is None:
                rows[key] = value  # type: ignore[index]
            elif isinstance(old, list):
                old.append(value)
            else:
                rows[key] = [old, value]  # type: ignore[index]
        self._bytes += sum(map(len, texts)) + sum(map(len, batch.keys))  # type: ignore[arg-type]
        self._bytes += ENTRY_BYTES * len(texts)

    def rows(self) -> Iterator[Keyed]:
        """All records, those of one key in their order."""
        keys: list[str] = []
        column: list[str] = []
        for key, values in self._rows.items():
            several = [values] if isinstance(values, str) else values
            keys += [key] * len(several)
            column += several
            if len(keys) >= ROWS_RECORDS:
                yield Keyed(keys, column, is_complete=True)
                keys, column = [], []
        yield Keyed(keys, column, is_complete=True)

    def keys(self) -> Iterable[str]:
        return self._rows.keys()

    def meet(self, batch: Keyed, keeps_left: bool) -> Iterator[Keyed]:
        """A left batch's records, joined. `keeps_left`: those without a partner with NULL."""
        keys, lefts = batch.keys, text_list(batch)
        other = NULL if keeps_left else None
        rights = list(map(self._rows.get, keys, repeat(other)))  # type: ignore[arg-type]
        kinds = set(map(type, rights))
        if type(None) in kinds:
            flags = [right is not None for right in rights]
            keys, lefts = list(compress(keys, flags)), list(compress(lefts, flags))
            rights = list(compress(rights, flags))
        if list not in kinds:
            joined = [f"({left},{right})" for left, right in zip(lefts, rights, strict=True)]
            yield Keyed(keys, joined, is_complete=True)
        else:
            yield from _each_with_each(keys, lefts, rights)  # type: ignore[arg-type]

    def has(self, key: str | None) -> bool:
        return key in self._rows

    def unmet(self, met: dict[str, None]) -> Keyed:
        """The right records whose key is not among those that were met, with NULL."""
        keys: list[str] = []
        values: list[str] = []
        for key, right in self._rows.items():
            if key not in met:
                several = [right] if isinstance(right, str) else right
                keys += [key] * len(several)
                values += [f"({NULL},{one})" for one in several]
        return Keyed(keys, values, is_complete=True)


def _each_with_each(
    keys: list[str], lefts: list[str], rights: list[str | list[str]]
) -> Iterator[Keyed]:
    """Some keys have several right values."""
    made: list[str] = []
    values: list[str] = []
    for key, left, right in zip(keys, lefts, rights, strict=True):
        several = [right] if isinstance(right, str) else right
        for start in range(0, len(several), JOINED_RECORDS):
            part = several[start : start + JOINED_RECORDS]
            made += [key] * len(part)
            values += [f"({left},{one})" for one in part]
            if len(made) >= JOINED_RECORDS:
                yield Keyed(made, values, is_complete=True)
                made, values = [], []
    yield Keyed(made, values, is_complete=True)


def require_keys(node_id: str, batch: Batch) -> Keyed:
    """The batch, every record of which has a key. Raises TaskError that proposes `extract_key`."""
    if isinstance(batch, Keyed) and batch.has_all_keys:
        return batch
    values = value_list(batch)
    if not values:
        return Keyed([], [])
    raise TaskError(
        f"{node_id}: the record {str(values[0])[:100]!r} has no key; "
        "put a map with extract_key before it"
    )
