"""`state/jobs.json`: the documented snapshot of all jobs, for people and other programs.

The database is the truth; nothing is recovered from this file. Must not know HTTP.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any


class CorruptSnapshot(Exception):
    """The file is not the documented JSON; `moved_to` is where it lies now."""

    def __init__(self, message: str, moved_to: Path) -> None:
        super().__init__(message)
        self.moved_to = moved_to


def read_snapshot(path: Path) -> dict[str, Any] | None:
    """The document, or None when there is no file. A corrupt one is moved aside and reported.

    Raises CorruptSnapshot.
    """
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        return None
    try:
        document = json.loads(text)
        jobs = document["jobs"]
        jobs.items()
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        aside = move_aside(path)
        raise CorruptSnapshot(str(error), aside) from error
    return dict(document)


def write_snapshot(path: Path, document: Mapping[str, Any]) -> None:
    """Replace the file atomically: a reader sees the old document or the new one."""
    temporary = path.with_suffix(".json.new")
    with temporary.open("w", encoding="utf-8") as file:
        json.dump(document, file, indent=2, ensure_ascii=False)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def move_aside(path: Path) -> Path:
    """Rename a corrupt file to `free_name_aside`; returns the new path."""
    aside = free_name_aside(path)
    path.replace(aside)
    return aside


def free_name_aside(path: Path) -> Path:
    """`<name>.corrupt-<n>`, the first free n."""
    number = 1
    while (aside := path.with_name(f"{path.name}.corrupt-{number}")).exists():
        number += 1
    return aside
