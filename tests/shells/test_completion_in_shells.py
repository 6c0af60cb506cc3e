"""fish and zsh complete for real: what is offered for a line, as they would show it.

bash is in `tests/unit/test_completion.py`.
"""

from __future__ import annotations

import os
import pty
import re
import select
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from minispark.cli.completion_others import fish_script, zsh_script
from minispark.cli.completion_words import commands, common
from tests.cluster.harness import ROOT, Cluster
from tests.jobs import word_count

WAIT_S = 30.0
READ_BYTES = 65536
CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[=>]|[\x00-\x09\x0b-\x1f]")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    made = Cluster()
    done = made.up()
    assert done.returncode == 0, done.stderr + made.logs()
    with made.client() as client:
        client.submit({**word_count("data/input.csv", 2), "name": "tale"})
    yield made
    assert made.close() == [], made.logs()


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, cluster: Cluster) -> Path:
    """With the program, the scripts, and some files, of which one's name has a space."""
    folder = tmp_path_factory.mktemp("home")
    program = folder / "minispark"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{ROOT}/minispark.py" "$@"\n')
    program.chmod(0o755)
    (folder / "script.fish").write_text(fish_script(commands(), common()))
    (folder / "script.zsh").write_text(zsh_script(commands(), common()))
    (folder / "work" / "fifth").mkdir(parents=True)
    (folder / "work" / "first.csv").write_text("")
    return folder


def environment(home: Path, cluster: Cluster) -> dict[str, str]:
    return {
        **os.environ,
        "HOME": str(home),
        "PATH": f"{home}:{os.environ['PATH']}",
        "TERM": "xterm",
        "MINISPARK_STATE_DIR": str(cluster.state_dir),
    }


def in_fish(home: Path, cluster: Cluster, line: str) -> str:
    """The whole words that it offers, one a line."""
    source = shlex.quote(str(home / "script.fish"))
    command = f"source {source}; complete -C {shlex.quote(line)}"
    done = subprocess.run(
        ["fish", "--no-config", "-c", command],
        cwd=home / "work",
        env=environment(home, cluster),
        capture_output=True,
        text=True,
        timeout=WAIT_S,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def in_zsh(home: Path, cluster: Cluster, line: str) -> str:
    """What its terminal shows after the line and the key for a list of what may follow."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(home / "work")
        os.execvpe("zsh", ["zsh", "-f", "-i"], environment(home, cluster))
    shown = ""

    def await_text(text: str) -> str:
        nonlocal shown
        deadline = time.monotonic() + WAIT_S
        while text not in shown:
            left_s = deadline - time.monotonic()
            assert left_s > 0 and select.select([terminal], [], [], left_s)[0], shown
            shown += CONTROL.sub("", os.read(terminal, READ_BYTES).decode(errors="replace"))
        before, _, shown = shown.partition(text)
        return before

    try:
        script = shlex.quote(str(home / "script.zsh"))
        setup = f"autoload -Uz compinit; compinit -u -d {home}/dump; . {script}; PS1='re''ady> '"
        # a key for the list, which is shown however long it is, and for a word behind it
        keys = "LISTMAX=0; bindkey -e; bindkey '^Y' listed"
        widget = "listed() { zle list-choices; zle -R; print -r en''d-of-it }; zle -N listed"
        os.write(terminal, f"{widget}; {setup}; {keys}\n".encode())
        await_text("ready> ")
        os.write(terminal, line.encode() + b"\x19")
        return await_text("end-of-it")
    finally:
        os.close(terminal)
        with suppress(ProcessLookupError):
            os.kill(pid, 9)
        os.waitpid(pid, 0)


@pytest.mark.parametrize("complete", [in_fish, in_zsh])
@pytest.mark.parametrize(
    ("line", "offered", "others"),
    [
        ("minispark sta", ("status",), ("submit",)),
        ("minispark submit --p", ("--plan", "--parallelism"), ("--input",)),
        ("minispark submit --plan ", ("naive", "fused"), ("first.csv",)),
        ("minispark submit -i fi", ("fifth/", "first.csv"), ("naive",)),
        ("minispark submit --input=fi", ("fifth/", "first.csv"), ("naive",)),
        ("minispark ps --state-dir fi", ("fifth/",), ("first.csv",)),
        ("minispark run ", ("wordcount", "join", "first.csv"), ("tale",)),
        ("minispark trace ", ("last", "tale"), ("first.csv", "worker-1")),
        ("minispark metrics job ", ("last", "tale"), ("system",)),
        ("minispark logs worker-1 ", ("master", "supervisor", "worker-2"), ("tale",)),
        ("minispark chaos kill-worker ", ("worker-1", "worker-3"), ("master",)),
        ("minispark completion ", ("bash", "fish", "zsh"), ("first.csv",)),
    ],
)
def test_a_shell_offers_what_may_stand_there(
    complete: Callable[[Path, Cluster, str], str],
    home: Path,
    cluster: Cluster,
    line: str,
    offered: tuple[str, ...],
    others: tuple[str, ...],
) -> None:
    shown = complete(home, cluster, line).replace(line, "")
    assert all(word in shown for word in offered), shown
    assert not any(word in shown for word in others), shown
