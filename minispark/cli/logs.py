"""`logs`: the processes' logs, merged by time, and followed; of a job, all that is said of it."""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from operator import itemgetter
from pathlib import Path
from typing import BinaryIO

from minispark.cli.find import find_job_offline, state_dir_of
from minispark.cli.render import colour, print_json_line
from minispark.errors import NotFound
from minispark.model.file_names import log_file

EXAMPLES = """\
examples:
  minispark logs -n 50              the newest 50 lines of all processes
  minispark logs -f worker-1        follow one
  minispark logs --job last         what all of them say of a job, with what its tasks printed
"""
SEE_ALSO = ("ps", "status")
EXITS = {1: "there are no such logs", 3: ""}
POLL_S = 0.2
LINES_SHOWN = 100
TASK = "task"
"""In front of what tasks printed, where others have their process's name."""
NAME_CHARS = 10
"""In front of a line: as long as `supervisor`, and longer where a name is."""
_STAMP = re.compile(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d\d\dZ")
_COLOURS = ("cyan", "green", "yellow", "magenta", "blue")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("names", nargs="*", metavar="NAME", help="processes; default: all")
    parser.add_argument("-f", "--follow", action="store_true", help="wait for more")
    parser.add_argument("--job", metavar="JOB", help="an id, a prefix, a name, or last")
    parser.add_argument(
        "-n",
        "--lines",
        type=int,
        metavar="N",
        help=f"the newest N entries; default: {LINES_SHOWN}, of a job all",
    )


def run(args: argparse.Namespace) -> int:
    folder = state_dir_of(args) / "logs"
    known = sorted(path.stem for path in folder.glob("*.log"))
    if not known:
        raise NotFound(f"there are no logs in {folder}")
    for name in args.names:
        if name not in known:
            raise NotFound(f"there is no log of {name!r}; there are {', '.join(known)}")
    job_id = find_job_offline(args, args.job) if args.job is not None else None
    lines = LINES_SHOWN if args.lines is None and job_id is None else args.lines
    with closing(Tail(folder, tuple(args.names), args.json, job_id)) as tail:
        tail.print_new(lines)
        while args.follow:
            time.sleep(POLL_S)  # how often the files are looked at
            tail.print_new()
    return 0


class Tail:
    """Reads what is new in a folder's `*.log` files, also what a file still got before it was
    renamed.
    """

    def __init__(
        self,
        folder: Path,
        names: tuple[str, ...] = (),
        is_json: bool = False,
        job_id: str | None = None,
    ) -> None:
        """`job_id`: only what is about that job, from its beginning, and what its tasks printed."""
        self._job_id = job_id
        self._folder = folder
        self._names = names
        self._is_json = is_json
        self._files: dict[Path, _Followed] = {}

    def close(self) -> None:
        for followed in self._files.values():
            followed.file.close()

    def print_new(self, lines_max: int | None = None) -> None:
        """Print what is new, by time; at most so many entries, the newest."""
        known = sorted(path.stem for path in self._folder.glob("*.log"))
        entries = sorted(self.new_entries(), key=itemgetter(0))
        if lines_max is not None:
            entries = entries[max(0, len(entries) - lines_max) :]
        for at, name, text in entries:
            if self._is_json:
                print_json_line({"process": name, "at": at or None, "text": text})
            else:
                print(_line(name, text, known))
        sys.stdout.flush()

    def new_entries(self) -> Iterator[tuple[str, str, str]]:
        """(timestamp, process, entry); lines that belong to an entry stay with it."""
        for path in sorted(self._folder.glob("*.log")):
            if self._names and path.stem not in self._names:
                continue
            for at, entry in _entries(self._read(path)):
                if self._job_id is None or self._job_id in entry:
                    yield at, path.stem, entry
        if self._job_id is not None:
            for at, entry in _entries(self._read(self._folder.parent / log_file(self._job_id))):
                yield at, TASK, entry

    def _read(self, path: Path) -> list[str]:
        lines: list[str] = []
        if self._job_id is not None and path not in self._files:
            lines += _rotated_lines(path)
        followed = self._files.get(path)
        if followed is not None:
            is_over = followed.is_renamed(path)  # before it is read: nothing comes after that
            lines += followed.lines(is_over)
            if not is_over:
                return lines
            followed.file.close()
            del self._files[path]
        try:
            self._files[path] = _Followed(path)
        except FileNotFoundError:
            return lines  # it is just being renamed
        return lines + self._files[path].lines(False)


class _Followed:
    """One open file, and the beginning of a line that is not whole yet."""

    def __init__(self, path: Path) -> None:
        self.file: BinaryIO = path.open("rb")
        self._begun = b""

    def is_renamed(self, path: Path) -> bool:
        """Whether its name belongs to another file now."""
        try:
            return not os.path.samestat(os.fstat(self.file.fileno()), path.stat())
        except FileNotFoundError:
            return True

    def lines(self, is_over: bool) -> list[str]:
        """Whole lines that are new; when it is over, also one that was never ended."""
        *whole, self._begun = (self._begun + self.file.read()).split(b"\n")
        if is_over and self._begun:
            whole.append(self._begun)
        return [line.decode(errors="replace") for line in whole]


def _entries(lines: list[str]) -> Iterator[tuple[str, str]]:
    """(timestamp, entry): a line without a timestamp belongs to the entry before it."""
    at = ""
    entry: list[str] = []
    for line in lines:
        stamp = _stamp_of(line)
        if stamp is not None:
            if entry:
                yield at, "\n".join(entry)
            at, entry = stamp, []
        entry.append(line)
    if entry:
        yield at, "\n".join(entry)


def _rotated_lines(path: Path) -> list[str]:
    """What the log's earlier files hold, oldest first; one that goes meanwhile is passed over."""
    numbered = ((old, old.name.removeprefix(f"{path.name}.")) for old in _siblings(path))
    files = sorted(((int(n), old) for old, n in numbered if n.isdigit()), reverse=True)
    lines: list[str] = []
    for _, old in files:
        try:
            lines += old.read_text(encoding="utf-8", errors="replace").splitlines()
        except FileNotFoundError:
            pass
    return lines


def _siblings(path: Path) -> Iterator[Path]:
    return path.parent.glob(f"{path.name}.*")


def _stamp_of(line: str) -> str | None:
    """The time at the beginning of an entry; None of a line that belongs to the one before."""
    if line.startswith("{"):
        try:
            return str(json.loads(line)["ts"])
        except (ValueError, KeyError, TypeError):
            return None
    found = _STAMP.match(line)
    return found.group() if found else None


def _line(name: str, text: str, known: list[str]) -> str:
    shade = _COLOURS[known.index(name) % len(_COLOURS)] if name in known else "cyan"
    width = max(NAME_CHARS, *map(len, known))
    return f"{colour(name.ljust(width), shade)} {text}"
