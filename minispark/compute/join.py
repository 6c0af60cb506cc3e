"""Inner join by key: the right side is hashed, the left one streams past it.

A value is `(left,right)`; order is the left side's, then the right side's. Must not know shuffles.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

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
                old = rows.setdefault(key, value)  # type: ignore[arg-type]
                if old is value:
                    continue
                if isinstance(old, list):
                    old.append(value)
                else:
                    rows[key] = [old, value]  # type: ignore[index]

    def join(self, batches: Iterable[Batch]) -> Iterator[Keyed]:
        """The joined records of each left batch. Raises TaskError for a record without a key."""
        get = self._rows.get
        for batch in batches:
            keyed = require_keys(self._node_id, batch)
            keys: list[str] = []
            values: list[str] = []
            for key, left in zip(keyed.keys, text_list(keyed), strict=True):
                right = get(key)  # type: ignore[arg-type]
                if right is None:
                    continue
                if isinstance(right, str):
                    keys.append(key)  # type: ignore[arg-type]
                    values.append(f"({left},{right})")
                else:
                    keys.extend([key] * len(right))  # type: ignore[list-item]
                    values.extend([f"({left},{one})" for one in right])
            yield Keyed(keys, values, is_complete=True)


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
