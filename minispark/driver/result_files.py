"""Files of final tasks: where Spark's tasks write them, and how they become those of an attempt.

From there on they are committed, found and deleted like those of any worker. Must not know Spark.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from minispark.model.plan import PartitionFile
from minispark.storage.part_folders import rename_attempt
from minispark.storage.task_files import attempt_dir


class ResultFiles:
    """Of one job. All lie on one file system, so that nothing is copied."""

    def __init__(self, state_dir: str, scratch: Path, job_id: str) -> None:
        self._state_dir = state_dir
        self._job_id = job_id
        self.folder = scratch / job_id
        """Where tasks write the documented files."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def adopt(self, name: str, sink: PartitionFile, written_as: str, attempt_id: str) -> None:
        """What a task wrote is that attempt's from now on. Raises OSError."""
        own = attempt_dir(self._state_dir, attempt_id)
        own.mkdir(mode=0o700, exist_ok=True)
        (self.folder / name).replace(own / name)
        if sink.saved is not None:
            rename_attempt(sink.saved.path, self._job_id, written_as, attempt_id)

    def remove(self) -> None:
        """What no attempt took over."""
        shutil.rmtree(self.folder, ignore_errors=True)
