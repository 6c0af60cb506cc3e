"""Files without a name: in memory where the system has such files, or on disk.

Must not know what is written to them.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import BinaryIO

PIECE_BYTES = 1 << 20


def memory_file(state_dir: str) -> BinaryIO:
    """An empty one, for reading and writing; gone with the last descriptor of it. Raises OSError.

    On Linux its pages lie in memory; elsewhere in a temporary file, which the system keeps in
    memory as long as it likes.
    """
    if sys.platform == "linux":
        return open(os.memfd_create("minispark-cache", os.MFD_CLOEXEC), "w+b")
    return disk_file(state_dir)


def disk_file(state_dir: str) -> BinaryIO:
    """As `memory_file`, in `spill/`. Raises OSError."""
    folder = Path(state_dir) / "spill"
    folder.mkdir(parents=True, exist_ok=True)
    return tempfile.TemporaryFile(dir=folder)


def copy_bytes(source: int, target: int) -> None:
    """Append all of one open file to another. Raises OSError."""
    at = 0
    while piece := os.pread(source, PIECE_BYTES, at):
        view = memoryview(piece)
        while view:
            view = view[os.write(target, view) :]
        at += len(piece)
