"""A partition of a job's results as its files: the documented one, and a part of the user's beside
it. Must not know how they get their names in the end.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from minispark.compute import documented, parts
from minispark.compute.batch import Batch
from minispark.model.plan import SavedParts
from minispark.storage.task_files import write_documented_file


def write_partition(path: Path, batches: Iterable[Batch]) -> int:
    """Write the documented file; returns its bytes. Raises OSError, and what the batches raise."""
    return write_documented_file(path, documented.render(batches))


def write_partition_and_part(
    path: Path, part: Path, saved: SavedParts, batches: Iterable[Batch]
) -> int:
    """Write both; returns the bytes of both. Raises OSError, and what the batches raise."""
    with part.open("wb", buffering=1 << 20) as file:
        file.write(parts.head(saved).encode())

        def copied() -> Iterator[Batch]:
            for batch in batches:
                file.write(parts.lines(saved, batch).encode())
                yield batch

        return write_partition(path, copied()) + file.tell()
