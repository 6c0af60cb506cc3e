"""The completion scripts: bash completes for real, the others have the right lines."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from minispark.cli.completion_bash import bash_script
from minispark.cli.completion_others import fish_script, zsh_script
from minispark.cli.completion_words import Command, Kind, Option, Value, commands, common
from minispark.cli.main import COMMANDS

COMPLETE = """
source "$1"
complete -p minispark >/dev/null || exit 1
COMP_LINE="$2" COMP_POINT=${#2}
_minispark
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("completion") / "minispark.bash"
    path.write_text(bash_script(commands(), common()))
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "fi le.csv").write_text("")
    (tmp_path / "first.csv").write_text("")
    (tmp_path / "fifth").mkdir()
    (tmp_path / "other").write_text("")
    return tmp_path


def completed(script: Path, line: str, cwd: Path) -> set[str]:
    """What bash offers for the last word of the line."""
    words = ["bash", "--norc", "--noprofile", "-c", COMPLETE, "bash", str(script), line]
    done = subprocess.run(words, cwd=cwd, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return set(done.stdout.split("\n")) - {""}


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("minispark", set()),
        ("minispark st", {"status", "story"}),
        ("minispark subm", {"submit", "submit-join"}),
        ("minispark --state-dir /nowhere -q sca", {"scale"}),
        ("minispark help sca", {"scale"}),
        ("minispark nonsense ", set()),
        ("minispark up --de", {"--detach"}),
        ("minispark up -c x --tim", {"--timeout"}),
        ("minispark --js", {"--json"}),
        ("minispark submit --plan ", {"naive", "fused"}),
        ("minispark submit --plan n", {"naive"}),
        ("minispark submit --plan=f", {"fused"}),
        ("minispark up --timeout ", set()),
        ("minispark scale ", set()),
        ("minispark chaos kill-", {"kill-worker", "kill-executor", "kill-master", "kill-driver"}),
        ("minispark chaos --signal KILL --watch mon", {"monkey"}),
        ("minispark chaos --signal T", {"TERM"}),
        ("minispark metrics sta", {"stages"}),
        ("minispark completion ", {"bash", "zsh", "fish"}),
        ("minispark submit -i fi", {"fi le.csv", "first.csv", "fifth"}),
        ("minispark submit --input=fir", {"first.csv"}),
        ("minispark ps --state-dir fi", {"fifth"}),
        ("minispark run ", {"wordcount", "join", "fi le.csv", "first.csv", "fifth", "other"}),
        ("minispark run wordcount a b oth", {"other"}),
        ("minispark down ", set()),
    ],
)
def test_bash_offers_what_may_stand_there(
    script: Path, folder: Path, line: str, offered: set[str]
) -> None:
    assert completed(script, line, folder) == offered


def test_bash_is_quiet_where_no_cluster_runs(script: Path, folder: Path) -> None:
    assert completed(script, "/no/such/program results ", folder) == {"last"}
    assert completed(script, "/no/such/program logs ", folder) == set()


SOME = (
    Command(
        "show",
        "shows: it's [all]",
        (
            Option(("-o", "--output"), "where: [there]", Value("FILE", (), (Kind.FILE,))),
            Option(("--plan",), "how", Value("PLAN", ("naive", "fused"), ())),
            Option(("--wait",), "until then", None),
        ),
        (Value("all|JOB", ("all",), (Kind.JOB,)), Value("NAME", (), (Kind.PROCESS,), True)),
    ),
)
EVERY = (Option(("-m", "--master"), "the master's", Value("URL", (), ())),)


def test_zsh_has_a_line_for_each_option_and_argument() -> None:
    lines = [line.strip(" \\") for line in zsh_script(SOME, EVERY).splitlines()]
    assert lines[0] == "#compdef minispark minispark.py"
    for expected in (
        r"'show:shows: it'\''s [all]'",
        r"'*-m[the master'\''s]:URL: '",
        r"'*--output=[where\: (there)]:FILE:_files'",
        r"'*-o[where\: (there)]:FILE:_files'",
        "'*--plan=[how]:PLAN:(naive fused)'",
        "'*--wait[until then]'",
        r"""'1:all|JOB: _alternative "all|JOB\:all|JOB\:(all)" """
        r""""all|JOB\:all|JOB\:_minispark_jobs"'""",
        "'*:NAME:_minispark_processes'",
        "show)",
    ):
        assert expected in lines


def test_fish_has_a_line_for_each_option_and_argument() -> None:
    lines = fish_script(SOME, EVERY).splitlines()
    here = "complete -c minispark -n '__minispark_at show"
    for expected in (
        "    printf '%s\\t%s\\n' show 'shows: it\\'s [all]'",
        "set -g __minispark_with_value ' -m' ' --master' 'show -o' 'show --output' 'show --plan'",
        "complete -c minispark -s m -l master -r -f -d 'the master\\'s'",
        f"{here}' -s o -l output -r -F -d 'where: [there]'",
        f"{here}' -l plan -r -a 'naive fused' -f -d 'how'",
        f"{here}' -l wait -d 'until then'",
        f"{here} 1' -a 'all (__minispark_jobs)' -f",
        f"{here}' -a '(__minispark_processes)' -f",
    ):
        assert expected in lines


def test_every_command_and_option_is_in_every_script() -> None:
    known = commands()
    assert [command.name for command in known] == [*COMMANDS, "help"]
    for text in (make(known, common()) for make in (bash_script, zsh_script, fish_script)):
        for command in known:
            assert command.name in text
            for option in command.options:
                for name in option.names:
                    assert name in text or f"-l {name[2:]} " in text or f"-s {name[1:]} " in text
