"""The pure-Python bound: what two forked processes can do with the best known technique, and no
cluster.

usage: python -m bench.bound A|B|C|A-own|B-own PATH...
prints seconds, and a checksum of the answer

`-own`: by functions that could be anything, called word by word: the bound for a user's own.
Reads with os.pread in pieces cut at the last newline, counts with Counter's C helper over
`piece.split()`, exchanges by crc32 as joined keys and packed counts through files.
"""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import time
import traceback
from array import array
from collections import _count_elements  # type: ignore[attr-defined]
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn
from zlib import crc32

from minispark.supervisor.forked import signals_blocked

PROCESSES = 2
PIECE_BYTES = 64 * 1024


def ranges(path: str, start: int) -> list[tuple[int, int]]:
    """A byte range for each process, cut at line ends."""
    size = os.path.getsize(path)
    bounds = [start]
    with open(path, "rb") as file:
        for i in range(1, PROCESSES):
            file.seek(start + (size - start) * i // PROCESSES)
            file.readline()
            bounds.append(file.tell())
    return list(zip(bounds, [*bounds[1:], size], strict=True))


def pieces(path: str, start: int, end: int):  # type: ignore[no-untyped-def]
    """Whole lines of the range."""
    fd = os.open(path, os.O_RDONLY)
    while start < end:
        piece = os.pread(fd, min(PIECE_BYTES, end - start), start)
        cut = piece.rfind(b"\n") + 1 or len(piece)
        yield piece[:cut]
        start += cut
    os.close(fd)


def in_processes(work) -> None:  # type: ignore[no-untyped-def]
    """Run `work(i)` in each process and wait. Who is stopped meanwhile leaves none."""
    pids = []
    try:
        for i in range(PROCESSES):
            with signals_blocked():  # what a handler raises within the hooks of a fork is ignored
                pid = os.fork()
                if pid:
                    pids.append(pid)
            if not pid:
                _live(work, i)
        while pids:
            status = os.waitpid(pids[0], 0)[1]
            del pids[0]
            if status:
                raise SystemExit("a process failed")
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def _live(work, i: int) -> NoReturn:  # type: ignore[no-untyped-def]
    """What the parent has open is not the child's to close, whatever ends it."""
    code = 1
    try:
        work(i)
        code = 0
    except Exception:
        traceback.print_exc()
    finally:
        os._exit(code)


def count_words(counts: dict[bytes, int], piece: bytes) -> None:
    _count_elements(counts, piece.split())


def split(line: str) -> list[str]:
    return line.split()


def pair(word: str) -> tuple[str, int]:
    return word, 1


def add(a: int, b: int) -> int:
    return a + b


def count_by_calls(counts: dict[bytes, int], piece: bytes) -> None:
    """Calls `split`, `pair` and `add` as if nobody knew what they do."""
    found: dict[str, int] = counts  # type: ignore[assignment]
    for line in piece.decode().split("\n"):
        for word in split(line):
            key, value = pair(word)
            if key in found:
                found[key] = add(found[key], value)
            else:
                found[key] = value


def word_count(
    path: str,
    skip_header: bool,
    folder: Path,
    take: Callable[[dict[bytes, int], bytes], None] = count_words,
) -> tuple[int, int]:
    """(distinct words, words): mapped, exchanged, reduced and written, all in pairs of
    processes.
    """
    start = 0
    if skip_header:
        with open(path, "rb") as file:
            start = len(file.readline())
    parts = ranges(path, start)

    def count(i: int) -> None:
        counts: dict[bytes, int] = {}
        for piece in pieces(path, *parts[i]):
            take(counts, piece)
        if counts and isinstance(next(iter(counts)), str):
            counts = dict(
                zip("\n".join(counts).encode().split(b"\n"), counts.values(), strict=True)
            )  # type: ignore[arg-type]
        dealt: list[tuple[list[bytes], array[int]]] = [([], array("q")) for _ in range(PROCESSES)]
        for key, value in counts.items():
            keys, values = dealt[crc32(key) % PROCESSES]
            keys.append(key)
            values.append(value)
        for to, (keys, values) in enumerate(dealt):
            (folder / f"k{i}-{to}").write_bytes(b"\n".join(keys))
            (folder / f"v{i}-{to}").write_bytes(values.tobytes())

    def merge(to: int) -> None:
        total: dict[bytes, int] = {}
        get = total.get
        for i in range(PROCESSES):
            data = (folder / f"k{i}-{to}").read_bytes()
            values = array("q")
            values.frombytes((folder / f"v{i}-{to}").read_bytes())
            for key, value in zip(data.split(b"\n") if data else [], values, strict=True):
                total[key] = get(key, 0) + value
        with (folder / f"r{to}").open("wb") as file:
            file.write(b"\n".join(b"%b\t%d" % item for item in total.items()))
        (folder / f"n{to}").write_text(f"{len(total)} {sum(total.values())}")

    in_processes(count)
    in_processes(merge)
    found = [(folder / f"n{to}").read_text().split() for to in range(PROCESSES)]
    return sum(int(n) for n, _ in found), sum(int(n) for _, n in found)


def join(sales: str, products: str, folder: Path) -> tuple[int, int]:
    """(joined rows, bytes of output): the small side hashed before the fork, the large one
    streamed.
    """
    names: dict[bytes, bytes] = {}
    with open(products, "rb") as file:
        next(file)
        for line in file:
            key, _, rest = line.rstrip(b"\n").partition(b",")
            names[key] = rest
    with open(sales, "rb") as file:
        start = len(file.readline())
    parts = ranges(sales, start)

    def probe(i: int) -> None:
        get, rows = names.get, 0
        with (folder / f"j{i}").open("wb", buffering=1 << 20) as out:
            for piece in pieces(sales, *parts[i]):
                lines = []
                for line in piece.split(b"\n"):
                    key, _, rest = line.partition(b",")
                    other = get(key)
                    if other is not None:
                        lines.append(b"%b\t(%b,%b)" % (key, rest, other))
                rows += len(lines)
                out.write(b"\n".join(lines))
        (folder / f"n{i}").write_text(str(rows))

    in_processes(probe)
    sizes = [(folder / f"j{i}").stat().st_size for i in range(PROCESSES)]
    return sum(int((folder / f"n{i}").read_text()) for i in range(PROCESSES)), sum(sizes)


def run(which: str, paths: list[str]) -> tuple[float, tuple[int, int]]:
    """Seconds, and what was found."""
    with tempfile.TemporaryDirectory() as folder:
        begun = time.perf_counter()
        if which == "C":
            found = join(paths[0], paths[1], Path(folder))
        else:
            take = count_by_calls if which.endswith("-own") else count_words
            found = word_count(paths[0], which.startswith("A"), Path(folder), take)
        return time.perf_counter() - begun, found


if __name__ == "__main__":
    seconds, found = run(sys.argv[1], sys.argv[2:])
    print(f"{seconds:.3f} s {found}")
