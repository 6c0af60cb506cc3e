"""Following logs: order, entries of several lines, and files that are renamed meanwhile."""

from __future__ import annotations

import argparse
import json
import logging
import logging.handlers
from collections.abc import Iterator
from pathlib import Path

import pytest

from minispark.cli.logs import Tail, run

NOW = "2026-01-02T03:04:05.678Z"


@pytest.fixture
def tail(tmp_path: Path) -> Iterator[Tail]:
    made = Tail(tmp_path)
    yield made
    made.close()


def texts(tail: Tail) -> list[str]:
    return [text for _, _, text in tail.new_entries()]


def test_lines_that_were_not_read_before_a_rotation_are_not_lost(
    tmp_path: Path, tail: Tail
) -> None:
    path = tmp_path / "w.log"
    handler = logging.handlers.RotatingFileHandler(path, maxBytes=100_000, backupCount=1)
    handler.setFormatter(logging.Formatter(f"{NOW} INFO w %(message)s"))
    log = logging.Logger("rotating")
    log.addHandler(handler)
    seen = []
    for number in range(100):
        log.info("line %d", number)
        if number % 30 == 7:
            seen += texts(tail)
        if number % 30 == 15:
            handler.doRollover()
    seen += texts(tail)
    handler.close()
    assert [text.rpartition(" ")[2] for text in seen] == [str(n) for n in range(100)]


def test_a_last_line_without_an_end_is_told_when_its_file_is_over(
    tmp_path: Path, tail: Tail
) -> None:
    path = tmp_path / "w.log"
    path.write_text(f"{NOW} one\nlast wor")
    assert texts(tail) == [f"{NOW} one"]
    path.rename(tmp_path / "w.log.1")
    assert texts(tail) == []  # nobody made another one yet
    path.write_text(f"{NOW} two\n")
    assert texts(tail) == ["last wor", f"{NOW} two"]


def test_entries_keep_their_lines_and_their_order(tmp_path: Path, tail: Tail) -> None:
    later = NOW.replace("05.678", "06.000")
    (tmp_path / "a.log").write_text(f"{NOW} z first\n{NOW} a second\n  more of it\n{{no json\n")
    (tmp_path / "b.log").write_text(json.dumps({"ts": later, "msg": "third"}) + "\n")
    entries = list(tail.new_entries())
    assert [at for at, _, _ in entries] == [NOW, NOW, later]
    assert entries[1][2] == f"{NOW} a second\n  more of it\n{{no json"


@pytest.mark.parametrize(("count", "shown"), [(2, ["two", "three"]), (0, []), (9, None)])
def test_the_newest_come_as_json_lines(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], count: int, shown: list[str] | None
) -> None:
    (tmp_path / "logs").mkdir()
    words = ["one", "two", "three"]
    (tmp_path / "logs" / "w.log").write_text("".join(f"{NOW} {word}\n" for word in words))
    args = argparse.Namespace(
        state_dir=str(tmp_path), names=[], follow=False, lines=count, json=True
    )
    assert run(args) == 0
    documents = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [d["text"].split()[-1] for d in documents] == (words if shown is None else shown)
    assert all(d["process"] == "w" and d["at"] == NOW for d in documents)
