"""What a task may hold in memory, and where what does not fit goes.

Sizes are counted from what is held, never read from the process. Must not know files.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import islice
from typing import Any, Protocol

ENTRY_BYTES = 120
"""Of a key in a dictionary, its characters and its value aside: slot, index, headers of objects."""
SAMPLE = 8
"""So many of the oldest keys and of the newest ones stand for all of them."""


@dataclass(frozen=True, slots=True)
class Extent:
    """Where blocks lie that were written back to back: bytes [start, start + size)."""

    start: int
    size: int


class Spill(Protocol):
    """Blocks on disk, for as long as their task runs."""

    def write(self, blocks: Iterable[bytes]) -> Extent:
        """Append them. Raises OSError."""

    def reader(self, extent: Extent) -> Callable[[int], bytes]:
        """Gives the extent's bytes in order, so many at a time as it is asked for, fewer at the
        end. Several readers may take turns.
        """


@dataclass(frozen=True, slots=True)
class Memory:
    """The budget of each aggregation, join side and output of a task."""

    bytes_max: int
    spill: Spill


def held_bytes(held: dict[str, Any], size_of: Callable[[Any], int] | None = None) -> int:
    """What a dictionary with text keys takes, estimated from a few of its entries.

    `size_of`: of a value, where ENTRY_BYTES does not cover that.
    """
    if not held:
        return 0
    sample = [*islice(held, SAMPLE), *islice(reversed(held), SAMPLE)]
    total = sum(map(len, sample))
    if size_of is not None:
        total += sum(size_of(held[key]) for key in sample)
    return len(held) * ENTRY_BYTES + len(held) * total // len(sample)
