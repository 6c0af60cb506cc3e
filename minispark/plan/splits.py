"""Cuts inputs into byte ranges: every byte belongs to one split, whatever the parallelism.

Must not know files beyond their sizes (whoever reads a range aligns it to line ends).
"""

from __future__ import annotations

from bisect import bisect_right

from minispark.model.job import InputFile, ReaderOptions
from minispark.model.plan import Split

_ASCII_COMPATIBLE = ("utf-8", "utf8", "utf-8-sig", "ascii", "us-ascii", "latin-1", "iso-8859-1")
"""Encodings whose files may be cut at newline bytes. Another one is read whole, which is always
right.
"""


def byte_splits(
    files: tuple[InputFile, ...], options: ReaderOptions, partitions: int
) -> tuple[tuple[Split, ...], ...]:
    """The splits of each of `partitions` tasks, in file order; some tasks may have none."""
    can_cut = options.encoding.lower().replace("_", "-") in _ASCII_COMPATIBLE
    can_cut = can_cut and not options.multiline
    total = sum(file.size for file in files)
    tasks: list[list[Split]] = [[] for _ in range(partitions)]
    bounds = [total * i // partitions for i in range(partitions + 1)]
    offset = 0
    for file in files:
        end = offset + file.size
        if file.compression is not None or not can_cut:
            first = _task_of(offset, bounds)
            tasks[first].append(_split(file, 0, file.size))
        elif file.size:
            for task in range(_task_of(offset, bounds), partitions):
                low, high = max(offset, bounds[task]), min(end, bounds[task + 1])
                if low < high:
                    tasks[task].append(_split(file, low - offset, high - offset))
                if bounds[task + 1] >= end:
                    break
        offset = end
    return tuple(map(tuple, tasks))


def whole_files(files: tuple[InputFile, ...], partitions: int) -> tuple[tuple[Split, ...], ...]:
    """Every task gets every file whole, and picks its rows."""
    return (tuple(_split(file, 0, file.size) for file in files),) * partitions


def _task_of(offset: int, bounds: list[int]) -> int:
    """The task whose range holds the byte at `offset`."""
    return min(bisect_right(bounds, offset, lo=1) - 1, len(bounds) - 2)


def _split(file: InputFile, start: int, end: int) -> Split:
    return Split(file.path, start, end, file.data_start, file.compression)
