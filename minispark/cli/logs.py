"""`logs`: the processes' logs, merged by time, and followed."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from minispark.cli.find import state_dir_of
from minispark.cli.render import colour
from minispark.errors import NotFound

EXAMPLES = """\
examples:
  minispark logs -n 50              the newest 50 lines of all processes
  minispark logs -f worker-1        follow one
"""
POLL_S = 0.2
_COLOURS = ("cyan", "green", "yellow", "magenta", "blue")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("names", nargs="*", metavar="NAME", help="processes; default: all")
    parser.add_argument("-f", "--follow", action="store_true", help="wait for more")
    parser.add_argument("-n", "--lines", type=int, default=100, metavar="N", help="default: 100")


def run(args: argparse.Namespace) -> int:
    folder = state_dir_of(args) / "logs"
    known = sorted(path.stem for path in folder.glob("*.log"))
    if not known:
        raise NotFound(f"there are no logs in {folder}")
    for name in args.names:
        if name not in known:
            raise NotFound(f"there is no log of {name!r}; there are {', '.join(known)}")
    tail = Tail(folder, tuple(args.names))
    lines = sorted(tail.new_entries())
    for _, name, text in lines[max(0, len(lines) - args.lines) :]:
        print(_line(name, text, known))
    while args.follow:
        time.sleep(POLL_S)  # how often the files are looked at
        tail.print_new()
    return 0


def _line(name: str, text: str, known: list[str]) -> str:
    shade = _COLOURS[known.index(name) % len(_COLOURS)] if name in known else "cyan"
    return f"{colour(f'{name:<10}', shade)} {text}"


class Tail:
    """Reads what is new in a folder's `*.log` files."""

    def __init__(self, folder: Path, names: tuple[str, ...] = ()) -> None:
        self._folder = folder
        self._names = names
        self._offsets: dict[Path, tuple[int, int]] = {}
        """Of each file: inode and how far it was read."""

    def new_entries(self) -> Iterator[tuple[str, str, str]]:
        """(timestamp, process, entry); lines that belong to an entry stay with it."""
        for path in sorted(self._folder.glob("*.log")):
            if self._names and path.stem not in self._names:
                continue
            at = ""
            entry: list[str] = []
            for line in self._read(path):
                if line[:2] == "20" or line[:1] == "{":
                    if entry:
                        yield at, path.stem, "\n".join(entry)
                    at, entry = line[:40], []
                entry.append(line)
            if entry:
                yield at, path.stem, "\n".join(entry)

    def print_new(self) -> None:
        """Print what is new, by time."""
        known = sorted(path.stem for path in self._folder.glob("*.log"))
        for _, name, text in sorted(self.new_entries()):
            print(_line(name, text, known))
        sys.stdout.flush()

    def _read(self, path: Path) -> list[str]:
        try:
            with path.open("rb") as file:
                inode = os.fstat(file.fileno()).st_ino
                seen, offset = self._offsets.get(path, (inode, 0))
                file.seek(offset if seen == inode else 0)
                data = file.read()
                whole = data.rfind(b"\n") + 1
                self._offsets[path] = (inode, file.tell() - len(data) + whole)
        except FileNotFoundError:
            return []
        return data[:whole].decode(errors="replace").splitlines()
