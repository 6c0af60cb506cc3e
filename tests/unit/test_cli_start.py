"""A command that only talks to the master starts without what the cluster's own processes need."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = (
    "minispark.config",
    "minispark.scheduling",
    "minispark.storage",
    "psutil",
    "yaml",
    "sqlite3",
)


@pytest.mark.parametrize("command", ["submit", "status", "results"])
def test_a_commands_process_imports_nothing_heavy(command: str) -> None:
    code = f"import sys, minispark.cli.main, minispark.cli.{command}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert [name for name in HEAVY if name in done.stdout.split()] == []
