"""`scripts/chaos_tour` from end to end, in its short form: it fails by itself when a fault had no
effect or a result differs.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.cluster.harness import PLAIN_ENVIRONMENT, ROOT

NEEDS_S = 180
"""Half a minute on an idle machine."""


@pytest.mark.skipif(
    not (ROOT / ".venv" / "installed").exists(), reason="the scripts would set up a .venv first"
)
def test_f60_the_tour_shows_a_reaction_to_every_fault(tmp_path: Path) -> None:
    done = subprocess.run(
        [str(ROOT / "scripts" / "chaos_tour"), "--short"],
        env={**PLAIN_ENVIRONMENT, "TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=NEEDS_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    said = iter(done.stdout.splitlines())
    for reaction in (
        *("1. SIGKILL", "is Up", "tasks rerun"),
        *("2. SIGKILL", "replaced by pid", "tasks rerun"),
        *("3. A worker", "noticed: Down", "is Up", "tasks rerun"),
        *("4. A worker", "goes on", "tasks rerun"),
        *("5. Bytes", "noticed by a reader", "recomputed", "tasks rerun"),
        *("6. SIGKILL", "accepting again", "tasks rerun"),
        *("7. SIGTERM", "is Up", "tasks rerun"),
        *("8. A monkey", "tasks retried", "replay: minispark chaos monkey --seed 8"),
        *(f"step {number}: 70009 lines, the same" for number in range(1, 9)),
    ):
        assert any(reaction in line for line in said), f"{reaction}\n{done.stdout}"
    assert os.listdir(tmp_path) == []


def test_the_tour_knows_its_options() -> None:
    done = subprocess.run(
        [str(ROOT / "scripts" / "chaos_tour"), "--fast"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2 and "usage" in done.stderr
