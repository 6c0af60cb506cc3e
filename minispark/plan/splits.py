"""Cuts inputs into byte ranges: every byte belongs to one split, and every task reads about as many
bytes as any other, whatever the number and the sizes of the files.

Must not know files beyond their sizes (whoever reads a range aligns it to line ends).
"""

from __future__ import annotations

from bisect import bisect_right
from heapq import heapify, heapreplace
from itertools import accumulate

from minispark.model.job import InputFile, ReaderOptions
from minispark.model.plan import Split

SPLIT_BYTES_MAX = 128 * 2**20
"""So much a task reads at most where the job leaves the number of tasks to the planner (ADR 16)."""
TASKS_BY_SIZE_MAX = 10_000
"""More do not follow from sizes alone."""
UNPACKED_FACTOR = 4
"""Text is about so many times as large unpacked."""

_ASCII_COMPATIBLE = ("utf-8", "utf8", "utf-8-sig", "ascii", "us-ascii", "latin-1", "iso-8859-1")
"""Encodings whose files may be cut at newline bytes. Another one is read whole, which is always
right.
"""


def byte_splits(
    files: tuple[InputFile, ...], options: ReaderOptions, partitions: int
) -> tuple[tuple[Split, ...], ...]:
    """The splits of each of `partitions` tasks, each task's in file order; some may have none.

    What must be read whole goes largest first to the task that has least; what can be cut fills up
    the others, in file order. Without the former, tasks are in file order too.
    """
    whole = [not _can_cut(file, options) for file in files]
    tasks: list[list[tuple[int, Split]]] = [[] for _ in range(partitions)]
    loads = [0] * partitions
    for task, indices in enumerate(_spread(files, whole, partitions)):
        tasks[task] = [(i, _split(files[i], 0, files[i].size)) for i in indices]
        loads[task] = sum(_weight(files[i]) for i in indices)
    cut = [(i, file) for i, file in enumerate(files) if not whole[i] and file.size]
    bounds = _filled_up(loads, sum(file.size for _, file in cut))
    offset = 0
    for index, file in cut:
        end = offset + file.size
        for task in range(_task_of(offset, bounds), partitions):
            low, high = max(offset, bounds[task]), min(end, bounds[task + 1])
            if low < high:
                tasks[task].append((index, _split(file, low - offset, high - offset)))
            if bounds[task + 1] >= end:
                break
        offset = end
    return tuple(
        tuple(split for _, split in sorted(task, key=lambda one: one[0])) for task in tasks
    )


def tasks_by_size(files: tuple[InputFile, ...], options: ReaderOptions, partitions: int) -> int:
    """`partitions`, or so many times as many tasks that none reads more than SPLIT_BYTES_MAX, where
    files can be cut: a multiple, so that the last tasks are not fewer than the slots either.
    """
    total = sum(map(_weight, files))
    wanted = partitions * -(-total // (partitions * SPLIT_BYTES_MAX))
    if not any(_can_cut(file, options) for file in files):
        wanted = min(wanted, len(files))
    return max(partitions, min(wanted, TASKS_BY_SIZE_MAX))


def whole_files(files: tuple[InputFile, ...], partitions: int) -> tuple[tuple[Split, ...], ...]:
    """Every task gets every file whole, and picks its rows."""
    return (tuple(_split(file, 0, file.size) for file in files),) * partitions


def _can_cut(file: InputFile, options: ReaderOptions) -> bool:
    is_searchable = options.encoding.lower().replace("_", "-") in _ASCII_COMPATIBLE
    return file.compression is None and is_searchable and not options.multiline


def _weight(file: InputFile) -> int:
    """About how many bytes of text it holds."""
    return file.size * (UNPACKED_FACTOR if file.compression else 1)


def _spread(files: tuple[InputFile, ...], whole: list[bool], partitions: int) -> list[list[int]]:
    """By task the files (their indices) that it reads whole; tasks in the order of their first."""
    bins = [(0, task) for task in range(partitions)]
    heapify(bins)
    found: list[list[int]] = [[] for _ in range(partitions)]
    indices = [i for i, is_whole in enumerate(whole) if is_whole]
    for i in sorted(indices, key=lambda i: (-_weight(files[i]), i)):
        load, task = bins[0]
        found[task].append(i)
        heapreplace(bins, (load + _weight(files[i]), task))
    return sorted(map(sorted, found), key=lambda task: task[0] if task else len(files))


def _filled_up(loads: list[int], total: int) -> list[int]:
    """Where to cut `total` bytes so that no task that gets some of them has more than another."""
    fewest = sorted(loads)
    below, count = 0, 0  # the tasks under the level to which the bytes fill them up
    while count < len(fewest) and (count == 0 or fewest[count] * count < below + total):
        below += fewest[count]
        count += 1
    rooms = [max(0, below + total - load * count) for load in loads]
    return [0, *(room // count for room in accumulate(rooms))]


def _task_of(offset: int, bounds: list[int]) -> int:
    """The task whose range holds the byte at `offset`."""
    return min(bisect_right(bounds, offset, lo=1) - 1, len(bounds) - 2)


def _split(file: InputFile, start: int, end: int) -> Split:
    return Split(file.path, start, end, file.data_start, file.compression, file.size, file.mtime_ns)
