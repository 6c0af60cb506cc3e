"""Who a worker is: the id that the master gave it, kept over restarts.

Must not know the network.
"""

from __future__ import annotations

import re
from pathlib import Path

from minispark.model.ids import NIL_ID, is_uuid


class WorkerIdFile:
    """`{state_dir}/workers/<name>.id`."""

    def __init__(self, state_dir: str, name: str) -> None:
        folder = Path(state_dir) / "workers"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._path = folder / f"{re.sub('[^A-Za-z0-9_.-]', '_', name)}.id"

    def read(self) -> str:
        """The id; the nil UUID before the first registration."""
        try:
            text = self._path.read_text(encoding="ascii").strip()
        except (OSError, ValueError):
            return NIL_ID
        return text if is_uuid(text) else NIL_ID

    def write(self, worker_id: str) -> None:
        temporary = self._path.with_suffix(".new")
        temporary.write_text(worker_id, encoding="ascii")
        temporary.replace(self._path)
