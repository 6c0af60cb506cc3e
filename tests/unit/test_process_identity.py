"""Which process it is, and how one ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from minispark.supervisor.forked import ForkedProcess, how_it_ended
from minispark.supervisor.process_identity import ProcessIdentity


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
    yield process
    process.kill()
    process.wait()


def test_f44_a_process_is_told_from_another_with_its_pid(
    sleeper: subprocess.Popen[bytes],
) -> None:
    identity = ProcessIdentity.of(sleeper.pid)
    assert identity is not None and identity.is_alive
    stranger = ProcessIdentity(sleeper.pid, "another birth")
    assert not stranger.is_alive
    stranger.signal(signal.SIGKILL)
    assert identity.is_alive
    entry = {"pid": identity.pid, "birth": identity.birth}
    assert ProcessIdentity.in_entry(entry) == identity
    assert ProcessIdentity.in_entry({"pid": None, "birth": None}) is None
    assert ProcessIdentity.in_entry({"pid": identity.pid}) is None


@pytest.mark.skipif(not hasattr(os, "waitid"), reason="no waitid on this system")
def test_f44_a_zombie_is_gone(sleeper: subprocess.Popen[bytes]) -> None:
    identity = ProcessIdentity.of(sleeper.pid)
    assert identity is not None
    sleeper.kill()
    os.waitid(os.P_PID, sleeper.pid, os.WEXITED | os.WNOWAIT)
    assert not identity.is_alive
    assert ProcessIdentity.of(sleeper.pid) is None
    sleeper.wait()
    assert ProcessIdentity.of(sleeper.pid) is None


@pytest.mark.parametrize(
    ("code", "text"), [(0, "status 0"), (7, "status 7"), (-9, "signal SIGKILL"), (-35, "signal 35")]
)
def test_every_end_has_words(code: int, text: str) -> None:
    assert how_it_ended(code) == text


def test_f44_a_child_that_was_reaped_is_not_signalled(monkeypatch: pytest.MonkeyPatch) -> None:
    process = ForkedProcess(lambda: 7)
    assert process.wait(10) == 7
    assert process.reap() == 7
    monkeypatch.setattr(os, "kill", lambda *_: pytest.fail("its pid may be a stranger's"))
    process.signal(signal.SIGTERM)
