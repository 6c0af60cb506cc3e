"""Who a worker is: the id that the master gave it, kept over restarts.

Must not know the network.
"""

from __future__ import annotations

import re
from pathlib import Path

from minispark.model.ids import NIL_ID, is_uuid


class WorkerId:
    """The id, and its copy in `{state_dir}/workers/<name>.id`."""

    def __init__(self, state_dir: str, name: str) -> None:
        self._path = Path(state_dir) / "workers" / f"{re.sub('[^A-Za-z0-9_.-]', '_', name)}.id"
        self._written = self._read()
        self.value = self._written
        """The nil UUID before the first registration."""

    def keep(self, worker_id: str) -> None:
        """It is this from now on. Raises OSError when only this process will know."""
        self.value = worker_id
        if worker_id == self._written:
            return
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        temporary = self._path.with_suffix(".new")
        temporary.write_text(worker_id, encoding="ascii")
        temporary.replace(self._path)
        self._written = worker_id

    def _read(self) -> str:
        try:
            text = self._path.read_text(encoding="ascii").strip()
        except (OSError, ValueError):
            return NIL_ID
        return text if is_uuid(text) else NIL_ID
