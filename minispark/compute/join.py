"""Inner join by key: the right side is hashed, the left one streams past it.

A value is `(left,right)`; order is the left side's, then the right side's. Must not know shuffles.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import compress

from minispark.compute.batch import Batch, Keyed, text_list, value_list
from minispark.errors import TaskError


class RightSide:
    """The hashed right side of a join."""

    def __init__(self, node_id: str, batches: Iterable[Batch]) -> None:
        """Raises TaskError for a record without a key."""
        self._node_id = node_id
        self._rows: dict[str, str | list[str]] = {}
        rows = self._rows
        for batch in batches:
            keyed = require_keys(node_id, batch)
            for key, value in zip(keyed.keys, text_list(keyed), strict=True):
                old = rows.get(key)  # type: ignore[arg-type]
                if old is None:
                    rows[key] = value  # type: ignore[index]
                elif isinstance(old, list):
                    old.append(value)
                else:
                    rows[key] = [old, value]  # type: ignore[index]

    def join(self, batches: Iterable[Batch]) -> Iterator[Keyed]:
        """The joined records of each left batch. Raises TaskError for a record without a key."""
        for batch in batches:
            keyed = require_keys(self._node_id, batch)
            keys, lefts = keyed.keys, text_list(keyed)
            rights = list(map(self._rows.get, keys))  # type: ignore[arg-type]
            kinds = set(map(type, rights))
            if type(None) in kinds:
                flags = [right is not None for right in rights]
                keys, lefts = list(compress(keys, flags)), list(compress(lefts, flags))
                rights = list(compress(rights, flags))
            if list not in kinds:
                joined = [f"({left},{right})" for left, right in zip(lefts, rights, strict=True)]
                yield Keyed(keys, joined, is_complete=True)
            else:
                yield _each_with_each(keys, lefts, rights)  # type: ignore[arg-type]


def _each_with_each(keys: list[str], lefts: list[str], rights: list[str | list[str]]) -> Keyed:
    """Some keys have several right values."""
    made: list[str] = []
    values: list[str] = []
    for key, left, right in zip(keys, lefts, rights, strict=True):
        several = [right] if isinstance(right, str) else right
        made += [key] * len(several)
        values += [f"({left},{one})" for one in several]
    return Keyed(made, values, is_complete=True)


def require_keys(node_id: str, batch: Batch) -> Keyed:
    """The batch, every record of which has a key. Raises TaskError that proposes `extract_key`."""
    if isinstance(batch, Keyed) and batch.has_all_keys:
        return batch
    values = value_list(batch)
    if not values:
        return Keyed([], [])
    raise TaskError(
        f"{node_id}: the record {str(values[0])[:100]!r} has no key to join by; "
        "put a map with extract_key before the join"
    )
