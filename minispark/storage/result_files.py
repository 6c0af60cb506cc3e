"""The files of jobs in the state directory: their size, and their deletion by job.

Must not know which jobs exist, nor what is in the files.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from minispark.errors import ProtocolError
from minispark.model.file_names import job_of
from minispark.storage.task_files import checked_name


@dataclass(frozen=True, slots=True)
class Deletion:
    """How many files went, and why others did not."""

    deleted: int
    errors: tuple[OSError, ...]


def delete_files(state_dir: str | Path, is_doomed: Callable[[str], bool]) -> Deletion:
    """Delete the files of every job whose id `is_doomed`; any other name stays.

    Lists the directory once. Raises OSError when that cannot be listed.
    """
    with os.scandir(state_dir) as entries:
        names = [entry.name for entry in entries]
    deleted = 0
    errors: list[OSError] = []
    for name in names:
        job_id = job_of(name)
        if job_id is None or not is_doomed(job_id):
            continue
        try:
            os.unlink(os.path.join(state_dir, name))
            deleted += 1
        except FileNotFoundError:
            pass  # somebody was faster
        except OSError as error:
            errors.append(error)
    return Deletion(deleted, tuple(errors))


def size_of(state_dir: str | Path, names: Iterable[str]) -> int:
    """Bytes of these files together. A name that is none, or of no file, counts 0."""
    total = 0
    for name in names:
        try:
            path = os.path.join(state_dir, checked_name(name))
            total += os.stat(path, follow_symlinks=False).st_size
        except (OSError, ProtocolError):
            pass  # whether it is what the task should have written is the core's question
    return total
