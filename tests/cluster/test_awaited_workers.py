"""A worker that `up` does not start: it prints what to run, waits, and takes the worker in."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from minispark.client import Client
from tests.cluster.harness import PLAIN_ENVIRONMENT, ROOT, run_cli, wait_until

CONFIG = """
state_dir: {folder}/master
master: {{host: 0.0.0.0, http_port: 0, socket_port: 0}}
security: {{token: a-token-for-several-hosts-0123}}
workers:
  - {{name: near, port: 0, threads: 1}}
  - {{name: far, host: 127.0.0.1, port: 0, threads: 3}}
"""


class Awaiting:
    """`up` with its configuration, and what is run on its behalf."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config = folder / "two.yaml"
        self.config.write_text(CONFIG.format(folder=folder))
        self.worker: subprocess.Popen[bytes] | None = None

    def use_tls(self) -> None:
        """As `certs` says."""
        certs = self.folder / "certs"
        done = run_cli("certs", str(certs), "--host", "127.0.0.1", "--json")
        assert done.returncode == 0, done.stderr
        tls = json.dumps(json.loads(done.stdout)["tls"])
        text = self.config.read_text().replace("0123}", f"0123, tls: {tls}}}")
        self.config.write_text(text)

    def up(self, timeout_s: int) -> subprocess.Popen[str]:
        words = ["up", "-d", "-c", str(self.config), "--timeout", str(timeout_s)]
        return subprocess.Popen(
            [sys.executable, str(ROOT / "minispark.py"), *words],
            stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=PLAIN_ENVIRONMENT,
        )  # fmt: skip

    def run_there(self, what_to_copy: str, command: str) -> None:
        """What somebody does on the other host."""
        there = self.folder / "far"
        there.mkdir(exist_ok=True)
        _, _, copied = what_to_copy.partition(": copy ")
        for copy in copied.partition(" there (mode 600)")[0].split(", "):
            path, _, name = copy.partition(" as ")
            shutil.copy(path, there / (name or Path(path).name))
        minispark, *words = shlex.split(command)
        assert minispark == "minispark"
        self.worker = subprocess.Popen(
            [sys.executable, str(ROOT / "minispark.py"), *words, "--state-dir", str(there / "s")],
            cwd=there, env=PLAIN_ENVIRONMENT, stderr=subprocess.DEVNULL,
        )  # fmt: skip

    def close(self) -> None:
        run_cli("--state-dir", str(self.folder / "master"), "down")
        if self.worker is not None:
            self.worker.terminate()
            assert self.worker.wait(30) == 0


@pytest.fixture
def awaiting(tmp_path: Path) -> Iterator[Awaiting]:
    made = Awaiting(tmp_path)
    yield made
    made.close()


@pytest.mark.parametrize("is_secure", [False, True], ids=["plain", "TLS"])
def test_up_says_what_to_run_there_and_waits_for_it(awaiting: Awaiting, is_secure: bool) -> None:
    if is_secure:
        awaiting.use_tls()
    process = awaiting.up(60)
    assert process.stderr is not None
    told: list[str] = []
    while not told or not told[-1].startswith("  minispark worker"):
        told.append(process.stderr.readline())
        assert told[-1], told
    assert any("far is to run on 127.0.0.1" in line for line in told)
    assert any("can be read on the wire" in line for line in told) is not is_secure
    awaiting.run_there(*told[-2:])
    output, rest = process.communicate(timeout=60)
    assert process.returncode == 0, (told, rest)
    assert "far" not in output  # no process of this host
    text = awaiting.folder / "words.txt"
    text.write_text("one two two\n" * 1000)
    with Client.of_state_dir(awaiting.folder / "master") as client:
        workers = {worker["name"]: worker for worker in client.workers()}
        assert workers["far"]["status"] == "Up" and workers["far"]["slots"] == 3
    words = ("--state-dir", str(awaiting.folder / "master"))
    done = run_cli(*words, "submit", "-i", str(text), "--wait")
    assert done.returncode == 0, done.stderr
    rows = run_cli(*words, "results", "last", "--format", "tsv").stdout.split()
    assert sorted(rows) == sorted(["key", "value", "one", "1000", "two", "2000"])


def test_who_does_not_come_in_time_is_named_and_the_rest_works(awaiting: Awaiting) -> None:
    process = awaiting.up(1)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 4
    assert "far did not come up within 1 s" in told
    with Client.of_state_dir(awaiting.folder / "master") as client:
        wait_until(lambda: [w["name"] for w in client.workers()] == ["near"], "near is Up")


def test_a_token_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    words = ("worker", "--master", "127.0.0.1:1", "--token-file", str(tmp_path / "none"))
    done = run_cli("--state-dir", str(tmp_path / "s"), *words)
    assert done.returncode == 2 and "--token-file" in done.stderr and "none" in done.stderr
