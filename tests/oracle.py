"""The same jobs computed in a few sequential lines of plain Python, independent of the package."""

from __future__ import annotations

import csv
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path

Records = list[tuple[str | None, str]]


def lines_of(paths: Iterable[Path], is_csv: bool = False) -> list[str]:
    found: list[str] = []
    for path in paths:
        text = path.read_bytes().decode("utf-8")
        lines = text.split("\n")
        if lines[-1] == "":
            lines.pop()
        lines = [line.removesuffix("\r") for line in lines]
        found += [line for line in lines[1:] if line] if is_csv else lines
    return found


def word_count(lines: Iterable[str]) -> Records:
    counts = Counter(word for line in lines for word in line.split())
    return sorted((word, str(count)) for word, count in counts.items())


def join(left: Path, right: Path) -> Records:
    rights: dict[str, list[str]] = defaultdict(list)
    for row in lines_of([right], is_csv=True):
        key, _, rest = row.partition(",")
        rights[key].append(rest)
    joined: Records = []
    for row in lines_of([left], is_csv=True):
        key, _, rest = row.partition(",")
        joined += [(key, f"({rest},{other})") for other in rights.get(key, [])]
    return sorted(joined)


def write_csv(path: Path, rows: Iterable[Iterable[str]]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)
    return path
