"""How commands show things: tables, JSON, and a progress bar on stderr. Must not know what they
show.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterable, Sequence
from typing import Any

from minispark.model.safe_text import escaped

BAR_CHARS = 24
_COLOURS = {"red": 31, "green": 32, "yellow": 33, "blue": 34, "magenta": 35, "cyan": 36}


class _Coloured(str):
    """Text with escape sequences of our own."""


def table(rows: Iterable[Sequence[Any]], headers: Sequence[str]) -> str:
    """A table for people; numbers as they were written, control characters as escapes."""
    from tabulate import tabulate

    cells = [[_cell(value) for value in row] for row in rows]
    return tabulate(cells, headers=list(headers), tablefmt="simple", disable_numparse=True)


def _cell(value: Any) -> Any:
    if not isinstance(value, str) or isinstance(value, _Coloured):
        return value
    return escaped(value).replace("\n", "\\n")


def print_json(value: Any) -> None:
    """One JSON document on stdout."""
    print(json.dumps(value, ensure_ascii=False, indent=2))


def print_json_line(value: Any) -> None:
    """One JSON document of a stream of them, on a line of its own."""
    print(json.dumps(value, ensure_ascii=False), flush=True)


def use_colour(stream: Any) -> bool:
    return bool(stream.isatty()) and not os.environ.get("NO_COLOR")


def colour(text: str, name: str, stream: Any = sys.stdout) -> str:
    if not use_colour(stream):
        return text
    return _Coloured(f"\x1b[{_COLOURS[name]}m{text}\x1b[0m")


def bar(done: int, total: int, width: int = BAR_CHARS) -> str:
    """`[######....]`."""
    filled = width * done // total if total else 0
    return f"[{'#' * filled}{'.' * (width - filled)}]"


def age(seconds: float) -> str:
    """`5s`, `3m12s`, `2h05m`."""
    whole = int(max(0, seconds))
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    return f"{whole // 3600}h{whole % 3600 // 60:02d}m"


class Progress:
    """A job's progress on stderr: one line that is drawn again, or a line for each change."""

    def __init__(self, is_quiet: bool) -> None:
        self._is_quiet = is_quiet
        self._is_terminal = sys.stderr.isatty()
        self._last = ""
        self._started = time.monotonic()

    def show(self, job: dict[str, Any]) -> None:
        """Draw the JobInfo's state; pass it to `Client.wait`."""
        tasks = job["tasks"]
        total = sum(tasks.values())
        line = f"{bar(tasks['completed'], total)} {tasks['completed']}/{total} tasks {job['state']}"
        if job.get("retries"):
            line += f", {job['retries']} retries"
        if job.get("note"):
            line += f" ({escaped(job['note'])})"
        if self._is_quiet or line == self._last:
            return
        self._last = line
        if self._is_terminal:
            sys.stderr.write(f"\r\x1b[K{line} {time.monotonic() - self._started:.1f}s")
        else:
            sys.stderr.write(f"{line}\n")
        sys.stderr.flush()

    def end(self) -> None:
        if self._is_terminal and not self._is_quiet and self._last:
            sys.stderr.write("\n")
