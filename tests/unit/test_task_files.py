"""Attempt files: commits are atomic and repeatable, names are checked, damage is seen."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from minispark.errors import CorruptBlock, ProtocolError
from minispark.storage.task_files import (
    SHUFFLE_FILE,
    attempt_dir,
    commit_files,
    drop_attempt,
    locate_block,
    open_below,
    range_reader,
    write_shuffle_file,
)

FIRST, SECOND = str(uuid.UUID(int=1)), str(uuid.UUID(int=2))


def write(state_dir: Path, attempt_id: str, text: str) -> None:
    folder = attempt_dir(str(state_dir), attempt_id)
    folder.mkdir(parents=True)
    (folder / "out.json").write_text(text)


def test_a_commit_gives_the_documented_name_and_may_be_repeated(tmp_path: Path) -> None:
    write(tmp_path, FIRST, "one")
    for _ in range(2):
        commit_files(str(tmp_path), FIRST, [("out.json", "job_r_p0.json")])
        assert (tmp_path / "job_r_p0.json").read_text() == "one"
    drop_attempt(str(tmp_path), FIRST)
    assert (tmp_path / "job_r_p0.json").read_text() == "one"
    assert not attempt_dir(str(tmp_path), FIRST).exists()
    drop_attempt(str(tmp_path), FIRST)


def test_a_loser_overwrites_nothing_until_it_is_told_to_commit(tmp_path: Path) -> None:
    write(tmp_path, FIRST, "winner")
    write(tmp_path, SECOND, "loser")
    commit_files(str(tmp_path), FIRST, [("out.json", "job_r_p0.json")])
    with (attempt_dir(str(tmp_path), SECOND) / "out.json").open("a") as file:
        file.write(" goes on writing")
    assert (tmp_path / "job_r_p0.json").read_text() == "winner"


@pytest.mark.parametrize("name", ["../x", "a/b", "", ".", "..", ".hidden", "a\0b", "x" * 300])
def test_names_from_peers_stay_in_their_directory(tmp_path: Path, name: str) -> None:
    write(tmp_path, FIRST, "one")
    with pytest.raises(ProtocolError):
        commit_files(str(tmp_path), FIRST, [("out.json", name)])
    with pytest.raises(ProtocolError):
        open_below(tmp_path, name)
    with pytest.raises(ProtocolError):
        attempt_dir(str(tmp_path), name)


def test_links_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "link.json").symlink_to(tmp_path / "secret")
    with pytest.raises(OSError, match="symbolic links"):
        open_below(tmp_path, "link.json")


@pytest.fixture
def shuffle(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / SHUFFLE_FILE
    write_shuffle_file(path, [[b"first"], [], [b"third", b" block"]])
    yield path


def read(path: Path, partition: int) -> bytes:
    fd = os.open(path, os.O_RDONLY)
    try:
        offset, size = locate_block(fd, partition)
        return range_reader(fd, offset, size)(size)
    finally:
        os.close(fd)


def test_blocks_are_found_by_partition(shuffle: Path) -> None:
    assert [read(shuffle, p) for p in range(3)] == [b"first", b"", b"third block"]
    with pytest.raises(CorruptBlock):
        read(shuffle, 3)


def test_f16_a_shuffle_file_cut_anywhere_is_seen(shuffle: Path) -> None:
    data = shuffle.read_bytes()
    for size in range(len(data)):
        shuffle.write_bytes(data[:size])
        with pytest.raises(CorruptBlock):
            read(shuffle, 0)
