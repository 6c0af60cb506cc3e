"""Which partition a key belongs to: the same in every process and on every machine.

Must not know what is partitioned.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from zlib import crc32


def crc32_partition(key: str | None, count: int) -> int:
    """The fused plan's: crc32 of the key's UTF-8 bytes; a record without key counts as the empty
    one.
    """
    return crc32((key or "").encode()) % count


def documented_partition(key: str | None, count: int) -> int:
    """The naive plan's: h = 0, then h = (31 h + b) mod 2^32 for each UTF-8 byte (API.md,
    "Files").
    """
    h = 0
    for byte in (key or "").encode():
        h = (31 * h + byte) & 0xFFFFFFFF
    return h % count


def documented_partitions(keys: list[str | None] | list[str], count: int) -> list[int]:
    """`documented_partition` of every key, worked out once for each that is different."""
    targets = {key: documented_partition(key, count) for key in dict.fromkeys(keys)}
    return list(map(targets.__getitem__, keys))


def range_bounds(samples: Iterable[tuple[str, int]], count: int) -> list[str]:
    """The last keys of all but the last of `count` ranges that hold about equally many records.

    `samples`: keys, each with how many records it stands for. Fewer bounds where there are too few.
    """
    ordered = sorted(samples)
    total = sum(weight for _, weight in ordered)
    bounds: list[str] = []
    seen = 0
    for key, weight in ordered:
        seen += weight
        while len(bounds) < count - 1 and seen * count >= total * (len(bounds) + 1):
            bounds.append(key)
    return bounds


def range_partitions(
    keys: list[str], bounds: list[str], count: int, is_descending: bool
) -> list[int]:
    """Which range each key is in; the last of `count` ranges comes first where descending."""
    found = [bisect_left(bounds, key) for key in keys]
    return [count - 1 - partition for partition in found] if is_descending else found


def encoded_keys(keys: list[str | None] | list[str]) -> list[bytes] | None:
    """The keys in UTF-8; None where one is missing, or holds a newline."""
    try:
        encoded = "\n".join(keys).encode().split(b"\n")  # type: ignore[arg-type]
    except TypeError:  # a key is None
        return None
    return encoded if len(encoded) == len(keys) else None


def crc32_partitions(keys: list[str | None] | list[str] | list[bytes], count: int) -> list[int]:
    """`crc32_partition` of every key; keys may be encoded already."""
    if keys and isinstance(keys[0], bytes):
        return [value % count for value in map(crc32, keys)]
    return [crc32_partition(key, count) for key in keys]  # type: ignore[arg-type]
