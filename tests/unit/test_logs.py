"""Following logs: order, entries of several lines, files that are renamed meanwhile, one job."""

from __future__ import annotations

import argparse
import json
import logging
import logging.handlers
from collections.abc import Iterator
from pathlib import Path

import pytest

from minispark.cli.logs import Tail, run
from minispark.errors import NotFound

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
        state_dir=str(tmp_path), names=[], follow=False, lines=count, json=True, job=None
    )
    assert run(args) == 0
    documents = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [d["text"].split()[-1] for d in documents] == (words if shown is None else shown)
    assert all(d["process"] == "w" and d["at"] == NOW for d in documents)


JOB = "11111111-2222-3333-4444-555555555555"


def test_of_one_job_all_that_is_about_it_is_told_by_time(tmp_path: Path) -> None:
    """From its beginning, also where the log rotated since; as text and as JSON."""
    logs = tmp_path / "logs"
    logs.mkdir()
    at = [NOW.replace("05.678", f"{second:02}.000") for second in range(10)]
    (logs / "master.log.2").write_text(f"{at[0]} oldest job={JOB}\n{at[0]} other\n")
    (logs / "master.log.1").write_text(f"{at[1]} older job={JOB}\n    Traceback\n")
    (logs / "master.log").write_text(f"{at[4]} newest job={JOB}\n{at[4]} job=another\n")
    entry = {"ts": at[3], "msg": "ran", "job": JOB}
    (logs / "worker-1.log").write_text(json.dumps(entry) + "\n" + json.dumps({"ts": at[3]}) + "\n")
    (tmp_path / f"{JOB}_prints.log").write_text(f"{at[2]} read/0/0 printed\n")
    tail = Tail(logs, job_id=JOB)
    told = sorted(tail.new_entries())
    assert [(name, text.split()[1]) for _, name, text in told if name != "worker-1"] == [
        ("master", "oldest"),
        ("master", "older"),
        ("task", "read/0/0"),
        ("master", "newest"),
    ]
    assert [name for _, name, _ in told] == ["master", "master", "task", "worker-1", "master"]
    assert told[1][2].endswith("Traceback")
    with (tmp_path / f"{JOB}_prints.log").open("a") as file:
        file.write(f"{at[5]} read/1/0 printed too\n")
    assert [text.split()[1] for text in texts(tail)] == ["read/1/0"]
    tail.close()


def test_a_job_is_found_where_no_cluster_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MASTER_URL", raising=False)
    (tmp_path / "logs").mkdir()
    (tmp_path / "state").mkdir()
    (tmp_path / "logs" / "master.log").write_text(f"{NOW} one job={JOB}\n{NOW} two\n")
    saved = {"jobs": {JOB: {"id": JOB, "name": "words"}}, "last_saved": 0}
    (tmp_path / "state" / "jobs.json").write_text(json.dumps(saved))
    args = argparse.Namespace(
        state_dir=str(tmp_path), names=[], follow=False, lines=None, json=True, master=None
    )
    for text in (JOB, JOB[:4], "words", "last"):
        args.job = text
        assert run(args) == 0
        (line,) = capsys.readouterr().out.splitlines()
        assert json.loads(line)["text"].endswith(f"one job={JOB}")
    args.job = "nothing"
    with pytest.raises(NotFound, match="nothing"):
        run(args)
