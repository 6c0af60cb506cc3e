"""Text of strangers forges no log entry and drives no terminal."""

from __future__ import annotations

import io
import json
import logging
import re
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from minispark.cli import main, render
from minispark.cli.jobs import jobs_table
from minispark.cli.render import colour, table
from minispark.errors import NotFound
from minispark.supervisor.process_log import configure_logging

FORGED = "a\n2026-11-25T00:00:00.000Z ERROR master forged\r\x1b[2Jx\x9by\u2028z\x85\u202e\udcff"
UNSAFE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\ud800-\udfff]")


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], io.StringIO]]:
    """Sends the log of this process, in one of the formats, into what it returns."""
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    monkeypatch.setattr("threading.excepthook", threading.excepthook)  # it is put back, too

    def to(format: str) -> io.StringIO:
        stream = io.StringIO()
        monkeypatch.setattr("sys.stderr", stream)
        configure_logging("master", "info", format, None, 1, 1)
        return stream

    yield to
    root.handlers[:] = before
    root.setLevel(level)


def say(text: str) -> None:
    logger = logging.getLogger("minispark.test")
    logger.info("job accepted: %s", text)
    try:
        raise ValueError(text)
    except ValueError:
        logger.exception("%s failed", text)


def test_f54_no_text_passes_for_an_entry_of_the_log(log: Callable[[str], io.StringIO]) -> None:
    stream = log("text")
    say(FORGED)
    written = stream.getvalue()
    assert "forged" in written
    assert not UNSAFE.search(written)
    entries = [line for line in written.splitlines() if not line.startswith("    ")]
    assert len(entries) == 2
    assert all(" master " in entry and "test_safe_text" not in entry for entry in entries)


def test_an_entry_of_the_json_log_is_one_line(log: Callable[[str], io.StringIO]) -> None:
    stream = log("json")
    say(FORGED)
    first, second = stream.getvalue().splitlines()
    assert not UNSAFE.search(first + second)
    assert json.loads(first)["msg"].startswith("job accepted: a\n2026")
    assert "ValueError" in json.loads(second)["msg"]


def test_tables_show_control_characters_and_do_not_send_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    job: dict[str, Any] = {
        "id": "1" * 36, "request": {"name": FORGED}, "state": "RUNNING", "progress": 0.0,
        "tasks": {"completed": 0}, "plan": None, "retries": 0, "created_at": 0,
    }  # fmt: skip
    shown = jobs_table([job])
    assert not UNSAFE.search(shown)
    assert len(shown.splitlines()) == 3
    assert "\\x1b[2Jx" in shown
    monkeypatch.setattr(render, "use_colour", lambda stream: True)
    assert "\x1b[31mDown\x1b[0m" in table([(colour("Down", "red"),)], ("state",))


def test_an_error_drives_no_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(words: list[str]) -> int:
        raise NotFound(FORGED)

    monkeypatch.setattr(main, "_dispatch", fail)
    assert main.main([]) == 1
    assert not UNSAFE.search(capsys.readouterr().err)
