"""Restart policy, state directory and logs."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from minispark.errors import ClusterRuns
from minispark.supervisor import state_dir
from minispark.supervisor.process_log import configure_logging, stamp
from minispark.supervisor.restart_policy import RestartLimits, RestartPolicy

LIMITS = RestartLimits("on-failure", 0.2, 1.0, 4, 60.0)


def test_f45_delays_grow_up_to_a_limit_and_then_end() -> None:
    policy = RestartPolicy(LIMITS)
    assert [policy.delay_after(1, now) for now in range(5)] == [0.2, 0.4, 0.8, 1.0, None]


def test_ends_outside_the_window_are_forgotten() -> None:
    policy = RestartPolicy(LIMITS)
    assert [policy.delay_after(-9, 100.0 * i) for i in range(9)] == [0.2] * 9


@pytest.mark.parametrize(
    ("name", "code", "delay"),
    [("on-failure", 0, None), ("always", 0, 0.2), ("never", 1, None), ("on-failure", -15, 0.2)],
)
def test_policies(name: str, code: int, delay: float | None) -> None:
    assert RestartPolicy(RestartLimits(name)).delay_after(code, 0.0) == delay


def test_the_state_directory_is_private_and_locked(tmp_path: Path) -> None:
    folder, notice = state_dir.prepare(str(tmp_path / "s"), is_default=False)
    assert notice is None
    assert folder.stat().st_mode & 0o777 == 0o700
    fd = state_dir.lock(folder)
    with pytest.raises(ClusterRuns, match=str(os.getpid())):
        state_dir.lock(folder)
    os.close(fd)
    os.close(state_dir.lock(folder))


def test_a_token_is_made_once_and_kept_private(tmp_path: Path) -> None:
    token = state_dir.token_of(tmp_path, "auto")
    assert len(token) > 30
    assert state_dir.token_of(tmp_path, "auto") == token
    assert (tmp_path / "token").stat().st_mode & 0o777 == 0o600
    assert state_dir.token_of(tmp_path, "mine") == "mine"


def test_only_a_marked_directory_is_purged(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    assert not state_dir.purge(tmp_path)
    assert (tmp_path / "state").exists()


@pytest.fixture
def clean_logging() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    fds = [os.dup(1), os.dup(2)]
    yield
    for handler in root.handlers:
        if handler not in handlers:
            handler.close()
    root.handlers[:] = handlers
    root.setLevel(level)
    for fd, number in zip(fds, (1, 2), strict=True):
        os.dup2(fd, number)
        os.close(fd)


@pytest.mark.usefixtures("clean_logging")
def test_logs_are_text_or_json_and_take_in_stderr(tmp_path: Path) -> None:
    configure_logging("worker-1", "info", "json", tmp_path / "w.log", 1, 1)
    logging.getLogger("minispark.worker").info("hello %s", "ñ")
    logging.getLogger("minispark.worker").debug("unheard")
    os.write(2, b"last words\n")
    entry, raw = (tmp_path / "w.log").read_text().splitlines()
    assert json.loads(entry)["msg"] == "hello ñ"
    assert json.loads(entry)["process"] == "worker-1"
    assert raw == "last words"
    configure_logging("worker-2", "warning", "text", tmp_path / "t.log", 1, 1)
    logging.getLogger("minispark").warning("careful")
    assert (tmp_path / "t.log").read_text().endswith("Z WARN  worker-2 careful\n")


def test_stamps_are_utc_with_milliseconds() -> None:
    assert stamp(1.25) == "1970-01-01T00:00:01.250Z"
