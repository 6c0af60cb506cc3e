"""The options of every command, and `NO_COLOR`, at the commands that show something."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable

import pytest

from tests.cluster.harness import PLAIN_ENVIRONMENT, ROOT, Cluster

ESCAPE = "\x1b["
COMMANDS = [
    ["ps"],
    ["status"],
    ["status", "last"],
    ["jobs"],
    ["results", "last"],
    ["results", "last", "--files"],
    ["explain", "last"],
    ["explain", "last", "--analyze"],
    ["explain", "data/jobs/wordcount.json"],
    ["metrics", "system"],
    ["metrics", "job", "last"],
    ["config"],
    ["logs", "-n", "5"],
    ["trace", "last"],
    ["completion", "fish"],
    ["bench", "--list"],
    ["submit", "-i", "data/input.csv", "--wait"],
    ["submit-join"],
]
STREAMS = ("logs",)


@pytest.fixture(scope="module", autouse=True)
def job(shared_cluster: Cluster) -> None:
    done = shared_cluster.cli("submit", "-i", "data/input.csv", "--wait")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_json_is_one_document_and_quiet_leaves_only_the_result(
    shared_cluster: Cluster, words: list[str]
) -> None:
    as_json = shared_cluster.cli(*words, "--json")
    texts = as_json.stdout.splitlines() if words[0] in STREAMS else [as_json.stdout]
    assert as_json.returncode == 0 and texts
    for text in texts:
        json.loads(text)
    quiet = shared_cluster.cli(*words, "-q")
    assert (quiet.returncode, quiet.stderr) == (0, "")
    assert quiet.stdout and ESCAPE not in quiet.stdout


def test_verbose_says_which_cluster_it_is_and_why_not(
    shared_cluster: Cluster, start_cli: Callable[..., subprocess.Popen[str]]
) -> None:
    nowhere = ("jobs", "-m", "http://127.0.0.1:1")
    failing = [start_cli(shared_cluster, *nowhere, *more) for more in (["--verbose"], [])]
    done = shared_cluster.cli("jobs", "-v")
    assert shared_cluster.document()["master_url"] in done.stderr
    verbose, plain = (process.communicate(timeout=60)[1] for process in failing)
    assert [process.returncode for process in failing] == [3, 3]
    assert "because of ConnectionRefusedError" in verbose
    assert "no master answers" in plain and "because of" not in plain


def on_a_terminal(cluster: Cluster, environment: dict[str, str], *words: str) -> str:
    ours, theirs = pty.openpty()
    try:
        command = [sys.executable, str(ROOT / "minispark.py"), *words]
        subprocess.run(
            [*command, "--state-dir", str(cluster.state_dir)],
            cwd=ROOT,
            env={**PLAIN_ENVIRONMENT, **environment},
            stdin=subprocess.DEVNULL,
            stdout=theirs,
            stderr=theirs,
            timeout=60,
            check=True,
        )
        return os.read(ours, 65536).decode()
    finally:
        os.close(ours)
        os.close(theirs)


@pytest.mark.parametrize("words", [["status"], ["logs", "-n", "3"], ["doctor"]], ids=" ".join)
def test_colours_are_for_terminals_without_no_color(
    shared_cluster: Cluster, words: list[str]
) -> None:
    assert ESCAPE in on_a_terminal(shared_cluster, {"NO_COLOR": ""}, *words)
    assert ESCAPE not in on_a_terminal(shared_cluster, {"NO_COLOR": "1"}, *words)
    assert ESCAPE not in shared_cluster.cli(*words).stdout
