"""`ps`: what it says of a process."""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from minispark.cli import ps
from minispark.supervisor.process_identity import ProcessIdentity
from tests.cluster.harness import wait_until


def test_a_paused_process_is_called_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        identity = ProcessIdentity.of(process.pid)
        assert identity is not None
        entry: dict[str, Any] = {
            "name": "worker-1", "pid": process.pid, "birth": identity.birth, "state": "RUNNING",
            "started_at": time.time(), "restarts": 0, "ports": {}, "reason": None,
        }  # fmt: skip
        document = {"master_url": "http://127.0.0.1:1", "state_dir": "/s", "processes": [entry]}
        monkeypatch.setattr(ps, "document_of", lambda _: document)
        args = argparse.Namespace(json=False, quiet=False)
        try:
            ps.print_processes(Path("/s"), args)
            assert "paused" not in capsys.readouterr().out
            process.send_signal(signal.SIGSTOP)
            stopped = psutil.STATUS_STOPPED
            wait_until(lambda: psutil.Process(process.pid).status() == stopped, "it is stopped", 10)
            ps.print_processes(Path("/s"), args)
            assert capsys.readouterr().out.splitlines()[2].split()[-1] == "paused"
        finally:
            process.kill()
