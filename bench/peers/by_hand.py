"""Map and reduce by hand, for systems that only run functions: what their users would write."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from zlib import crc32

PARTS = 2


def nothing(number: int) -> int:
    """A task that costs only what it takes to run one."""
    return 1


def ranges(path: str, has_header: bool) -> list[tuple[int, int]]:
    """Byte ranges, cut at line ends."""
    size = os.path.getsize(path)
    with open(path, "rb") as file:
        start = len(file.readline()) if has_header else 0
        bounds = [start]
        for i in range(1, PARTS):
            file.seek(start + (size - start) * i // PARTS)
            file.readline()
            bounds.append(file.tell())
    return list(zip(bounds, [*bounds[1:], size], strict=True))


def lines(path: str, start: int, end: int):  # type: ignore[no-untyped-def]
    with open(path, "rb") as file:
        file.seek(start)
        while start < end:
            line = file.readline()
            start += len(line)
            yield line.decode()


def count(path: str, start: int, end: int) -> list[dict[str, int]]:
    """Counts of the range's words, a part for each reducer."""
    counts: Counter[str] = Counter()
    for line in lines(path, start, end):
        counts.update(line.split())
    parts: list[dict[str, int]] = [{} for _ in range(PARTS)]
    for word, number in counts.items():
        parts[crc32(word.encode()) % PARTS][word] = number
    return parts


def merge(out: str, part: int, *counted: list[dict[str, int]]) -> int:
    """Add up one part of every map's counts, and write it."""
    total: Counter[str] = Counter()
    for parts in counted:
        total.update(parts[part])
    text = "".join(f"{word}\t{number}\n" for word, number in total.items())
    (Path(out) / f"part-{part}").write_text(text)
    return len(total)


def join(out: str, part: int, sales: str, start: int, end: int, products: str) -> int:
    """Join a range of the sales with all products, and write the rows."""
    with open(products) as file:
        next(file)
        names = dict(line.rstrip("\n").split(",", 1) for line in file)
    rows = 0
    with (Path(out) / f"part-{part}").open("w") as file:
        for line in lines(sales, start, end):
            key, _, quantity = line.rstrip("\n").partition(",")
            if key in names:
                rows += 1
                file.write(f"{key}\t({quantity},{names[key]})\n")
    return rows
