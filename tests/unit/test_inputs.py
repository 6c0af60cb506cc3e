"""F53 and the readers: which files a job may read, and that every line is read once."""

from __future__ import annotations

import bz2
import errno
import gzip
import lzma
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from minispark.compute.batch import records
from minispark.errors import ClusterError, InputRefused, InvalidRequest, TaskError
from minispark.model.job import ReaderOptions
from minispark.model.plan import ReadRows, ReadSplits
from minispark.plan.parsing import parse_request
from minispark.plan.splits import byte_splits, whole_files
from minispark.storage.input_files import open_input
from minispark.storage.inputs import resolve_inputs
from minispark.storage.readers import Reader
from tests.jobs import job


def resolve(path: str, base: Path, roots: list[Path] | None = None, **node: object):  # type: ignore[no-untyped-def]
    read = {"id": "read", "op": node.pop("op", "read_text"), "path": path, **node}
    limits = None if roots is None else tuple(map(str, roots))
    request = parse_request(job([read], 1))
    return resolve_inputs(request, base_dir=str(base), input_roots=limits)["read"]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    (root / "folder" / "deeper").mkdir(parents=True)
    (root / "empty").mkdir()
    for name in ("b.txt", "a.txt", ".hidden", "_also", "deeper/c.txt"):
        (root / "folder" / name).write_text("x\n")
    (tmp_path / "outside.txt").write_text("secret\n")
    (root / "link.txt").symlink_to(tmp_path / "outside.txt")
    (root / "inside.txt").symlink_to(root / "folder" / "a.txt")
    os.mkfifo(root / "fifo")
    return root


def names(found) -> list[str]:  # type: ignore[no-untyped-def]
    return [Path(file.path).name for file in found.files]


def test_files_directories_and_globs_are_sorted_and_not_recursive(tree: Path) -> None:
    assert names(resolve("folder", tree)) == ["a.txt", "b.txt"]
    assert names(resolve("folder/*.txt", tree)) == ["a.txt", "b.txt"]
    assert names(resolve(f"folder/b.txt{os.pathsep}folder/a.txt", tree)) == ["b.txt", "a.txt"]
    assert names(resolve("inside.txt", tree, [tree])) == ["a.txt"]


@pytest.mark.parametrize(
    "path",
    [
        "../outside.txt",
        "folder/../../outside.txt",
        "link.txt",
        "/etc/passwd",
        "/nowhere",
        "*/../../*",
    ],
)
def test_f53_anonymous_submitters_stay_below_the_roots(tree: Path, path: str) -> None:
    with pytest.raises(InputRefused) as caught:
        resolve(path, tree, [tree])
    assert caught.value.field == "dag.nodes[0].path"


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/dev/zero", "a device"),
        ("fifo", "a FIFO"),
        ("sock", "a socket"),
        ("empty", "without files"),
        ("missing.txt", "No such file"),
        ("folder/*.csv", "matches no file"),
    ],
)
def test_f53_what_is_no_file_is_refused_for_everyone(tree: Path, path: str, words: str) -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        here = os.getcwd()
        os.chdir(tree)  # a socket's address is short
        sock.bind("sock")
        os.chdir(here)
        with pytest.raises(InputRefused, match=words):
            resolve(path, tree)


@pytest.mark.parametrize("end", ["there.txt", "not-there.txt", "*", "deeper/x"])
@pytest.mark.parametrize("start", ["*", "fold?r/*", "folder/[w]ay"])
def test_f53_a_pattern_does_not_tell_what_lies_outside(tree: Path, start: str, end: str) -> None:
    (tree.parent / "out").mkdir()
    (tree.parent / "out" / "there.txt").write_text("secret\n")
    (tree / "way").symlink_to(tree.parent / "out")
    (tree / "folder" / "way").symlink_to(tree.parent / "out")
    with pytest.raises(InputRefused, match=r"way/? lies outside"):
        resolve(f"{start}/{end}", tree, [tree])


def test_a_pattern_goes_through_links_that_stay_inside(tree: Path) -> None:
    (tree / "empty" / "way").symlink_to(tree / "folder")
    assert names(resolve("*/way/b*", tree, [tree])) == ["b.txt"]


def test_with_the_token_links_are_followed(tree: Path) -> None:
    assert names(resolve("link.txt", tree)) == ["outside.txt"]


@pytest.mark.parametrize("swapped", ["folder", "file"])
def test_f53_a_link_that_came_after_the_plan_is_not_followed(tmp_path: Path, swapped: str) -> None:
    inside, outside = tmp_path / "root" / "d", tmp_path / "outside"
    for folder, text in ((inside, "fine"), (outside, "secret")):
        folder.mkdir(parents=True)
        (folder / "f").write_text(f"{text}\n")
    found = resolve("d/f", tmp_path / "root", [tmp_path / "root"])
    splits = byte_splits(found.files, ReaderOptions(), 1)[0]
    source = ReadSplits("read", "text", ReaderOptions())
    replaced = inside if swapped == "folder" else inside / "f"
    replaced.rename(tmp_path / "away")
    replaced.symlink_to(outside if swapped == "folder" else outside / "f")
    with pytest.raises(TaskError, match="symbolic link"):
        list(Reader().read(source, splits, 0))


def test_f53_a_link_that_comes_while_a_file_is_opened_is_not_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside, outside = tmp_path / "d", tmp_path / "outside"
    for folder in (inside, outside):
        folder.mkdir()
        (folder / "f").write_text(folder.name)
    path = os.path.realpath(inside / "f")
    swaps = [lambda: inside.rename(tmp_path / "away"), lambda: inside.symlink_to(outside)]
    open_really = os.open

    def swap_and_open(*args: Any, **options: Any) -> int:
        while swaps:
            swaps.pop(0)()
        return open_really(*args, **options)

    monkeypatch.setattr(os, "open", swap_and_open)
    with pytest.raises(InputRefused, match="symbolic link"):
        open_input(path)


@pytest.mark.skipif(not hasattr(os, "O_PATH"), reason="folders are opened for reading here")
def test_a_file_in_a_folder_that_may_only_be_passed_can_be_read(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "f").write_text("x")
    (tmp_path / "d").chmod(0o100)
    try:
        os.close(open_input(os.path.realpath(tmp_path / "d" / "f")))
    finally:
        (tmp_path / "d").chmod(0o700)


def test_what_stands_in_the_way_is_named_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("x")
    with pytest.raises(NotADirectoryError):
        open_input(os.path.realpath(tmp_path / "f") + "/g")
    with pytest.raises(FileNotFoundError):
        open_input(os.path.realpath(tmp_path / "g" / "h"))


def test_a_process_without_descriptors_does_not_blame_the_submitter(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> int:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(os, "open", fail)
    with pytest.raises(ClusterError, match="Too many open files"):
        resolve("folder/a.txt", tree)


def test_files_of_one_csv_input_share_a_header(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x,y\n1,2\n")
    (tmp_path / "b.csv").write_text("x,z\n1,2\n")
    with pytest.raises(InvalidRequest, match=r"b\.csv has the columns x, z"):
        resolve("*.csv", tmp_path, op="read_csv")
    found = resolve("a.csv", tmp_path, op="read_csv")
    assert (found.header, found.files[0].data_start) == (("x", "y"), 4)


# --- reading -----------------------------------------------------------------------------------

FORMATS = {"read_text": "text", "read_csv": "csv", "read_jsonl": "jsonl"}


def read(path: Path, op: str = "read_text", partitions: int = 1, **node: object) -> list[str]:
    """The values that `partitions` tasks read, in order."""
    found = resolve(str(path), path.parent, op=op, **node)
    options = ReaderOptions(**dict(node))  # type: ignore[arg-type]
    splits = byte_splits(found.files, options, partitions)
    source = ReadSplits("read", FORMATS[op], options, found.header)
    return [
        value
        for p in range(partitions)
        for batch in Reader().read(source, splits[p], p)
        for _, value in records(batch)
    ]


@pytest.mark.parametrize("partitions", [1, 2, 3, 7, 40])
@pytest.mark.parametrize("ending", ["\n", "\r\n"])
@pytest.mark.parametrize("last", ["", "no newline"])
def test_every_line_is_read_once(tmp_path: Path, partitions: int, ending: str, last: str) -> None:
    lines = [f"línea {i}" + "x" * (i % 50) for i in range(200)] + ["", "a\rb", "z" * 300_000]
    path = tmp_path / "t.txt"
    path.write_bytes((ending.join(lines) + ending + last).encode())
    assert read(path, partitions=partitions) == lines + ([last] if last else [])


@pytest.mark.parametrize(
    ("name", "pack"), [("t.gz", gzip.compress), ("t.bz2", bz2.compress), ("t.xz", lzma.compress)]
)
def test_compressed_files(tmp_path: Path, name: str, pack: Callable[[bytes], bytes]) -> None:
    lines = [f"line {i}" for i in range(50_000)]
    (tmp_path / name).write_bytes(pack("\n".join(lines).encode()))
    assert read(tmp_path / name, partitions=3) == lines


def test_a_gzip_header_with_an_empty_field_is_read(tmp_path: Path) -> None:
    packed = gzip.compress(b"one\ntwo\n")
    has_field = bytes([4])
    (tmp_path / "t.gz").write_bytes(packed[:3] + has_field + packed[4:10] + b"\0\0" + packed[10:])
    assert read(tmp_path / "t.gz") == ["one", "two"]


def test_a_bom_is_dropped_and_other_encodings_are_read(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbfone\ntwo\n")
    assert read(tmp_path / "a.txt", partitions=2) == ["one", "two"]
    (tmp_path / "b.txt").write_bytes("uno\nñandú\n".encode("latin-1"))
    assert read(tmp_path / "b.txt", partitions=2, encoding="latin-1") == ["uno", "ñandú"]
    (tmp_path / "c.txt").write_bytes("uno\nñandú\n".encode("utf-16"))
    assert read(tmp_path / "c.txt", partitions=2, encoding="utf-16") == ["uno", "ñandú"]


def test_invalid_bytes_are_named_by_file_and_offset(tmp_path: Path) -> None:
    path = tmp_path / "t.txt"
    path.write_bytes(b"fine\nbad \xff\n")
    with pytest.raises(TaskError, match=r"t\.txt: byte 9 "):
        read(path)
    assert read(path, errors="replace") == ["fine", "bad \ufffd"]


def test_csv_rows_and_newlines_in_quotes(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text('a,b\n1,"x"\n\n5" nail,2\n3,"two\nlines"\n')
    with pytest.raises(TaskError, match=r'line 5 .*"multiline": true'):
        read(path, "read_csv")
    assert read(path, "read_csv", 3, multiline=True) == ['1,"x"', '5" nail,2', '3,"two\nlines"']


def test_naive_rows_are_dealt_out_by_their_index_over_all_files(tmp_path: Path) -> None:
    for name, rows in (("a.csv", range(5)), ("b.csv", range(5, 9))):
        (tmp_path / name).write_text("n\n" + "".join(f"{i}\n\n" for i in rows))
    found = resolve("*.csv", tmp_path, op="read_csv")
    dealt = []
    for p in range(4):
        source = ReadRows("read", ReaderOptions(), 4, found.header)
        batches = Reader().read(source, whole_files(found.files, 4)[p], p)
        dealt.append([int(v) for batch in batches for _, v in records(batch)])
    assert dealt == [[0, 4, 8], [1, 5], [2, 6], [3, 7]]


def test_jsonl_keys_and_malformed_lines(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text('{"key": "a", "v": 1}\n\n{"key": 5}\n[1]\nnot json\n"last"\n')
    with pytest.raises(TaskError, match="line 5 is no JSON"):
        read(path, "read_jsonl")
    found = resolve(str(path), tmp_path, op="read_jsonl", on_error="skip")
    options = ReaderOptions(on_error="skip")
    reader = Reader()
    source = ReadSplits("read", "jsonl", options)
    splits = byte_splits(found.files, options, 1)[0]
    rows = [row for batch in reader.read(source, splits, 0) for row in records(batch)]
    assert rows == [
        ("a", '{"key": "a", "v": 1}'), (None, '{"key": 5}'), (None, "[1]"), (None, '"last"'),
    ]  # fmt: skip
    assert reader.records_skipped == 1


def test_f02_a_jsonl_key_that_is_no_text_is_named_by_file_and_line(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text('{"key": "a", "v": "\\ud800"}\n{"key": "\\ud83d\\ude00"}\n')
    assert len(read(path, "read_jsonl")) == 2
    path.write_text('{"key": "a"}\n{"key": "x\\ud800"}\n')
    with pytest.raises(TaskError, match=r"t\.jsonl: line 2 .*half of a surrogate pair"):
        read(path, "read_jsonl")
