"""The manual: every command has a whole page, and `docs/cli.md` is what the parsers say."""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Iterator

import pytest

from minispark.cli import main as command_line
from minispark.cli.main import COMMANDS, EXITS, Parser, parser_of
from minispark.cli.manual import manual
from minispark.cli.pages import as_markdown, as_text, page_of
from tests.cluster.harness import ROOT


def test_docs_cli_md_is_what_the_parsers_say() -> None:
    written = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    assert written == manual(), "run scripts/docs"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_page_is_whole(name: str) -> None:
    page = parser_of(name).page()
    assert page.examples
    for example in page.examples:
        assert f"minispark {name}" in example
    assert page.see_also
    assert set(page.see_also) < set(COMMANDS) - {name}
    for entry in (*page.arguments, *page.options, *page.common, *page.exits):
        assert entry.text, f"{name} {entry.names} says nothing"
    assert {"0", "2"} <= {entry.names for entry in page.exits}


@pytest.mark.parametrize(
    ("line", "nearest"),
    [
        ("stauts", "status"),
        ("--jsn jobs", "--json"),
        ("submit --paln fused", "--plan"),
        ("submit --plan fusd", "fused"),
        ("metrics sytem", "system"),
        ("chaos kill-wroker", "kill-worker"),
        ("chaos --singal KILL kill-worker", "--signal"),
        ("help stauts", "status"),
    ],
)
def test_a_mistyped_word_is_told_the_nearest_one(line: str, nearest: str) -> None:
    words = [sys.executable, str(ROOT / "minispark.py"), *line.split()]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    said, see = done.stderr.splitlines()
    assert (done.returncode, done.stdout) == (2, "")
    assert said.endswith(f"; did you mean {nearest}?") and see.endswith("--help.")


def some_parser() -> Parser:
    parser = Parser(
        prog="minispark show",
        description="Show things.",
        epilog="examples:\n  minispark show 3\n",
        parents=[command_line.common_options()],
    )
    parser.add_argument("--plan", choices=("naive", "fused"), help="how")
    parser.add_argument("-o", "--output", metavar="FILE", help="where " + "very far " * 12)
    parser.add_argument("--wait", action="store_true", help="until it ended")
    parser.add_argument("what", metavar="N", help="which")
    parser.add_argument("names", nargs="*", metavar="NAME", help="of these")
    parser.see_also = ("jobs",)
    return parser


TEXT = """\
minispark show: show things.

examples:
  minispark show 3

usage:
  minispark show [--plan PLAN] [-o FILE] [--wait] N [NAME...]

arguments:
  N                           which
  NAME                        of these

options:
  --plan PLAN                 how; one of naive, fused
  -o, --output FILE           where very far very far very far very far very far very far very far
                              very far very far very far very far very far
  --wait                      until it ended

options of every command:
  --state-dir DIR             the cluster's state directory
  -m, --master URL            the master's address
  --json                      one JSON document on stdout
  -q, --quiet                 only results
  -v, --verbose               of which cluster, and why not
  --version                   print the version
  -h, --help                  this page

exit status:
  0                           done
  1                           it failed
  2                           the usage, the configuration or the job description is wrong
  3                           no cluster runs here
  130                         interrupted

see also: jobs
"""


def test_a_page_has_examples_first_and_does_not_depend_on_the_terminal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for columns in ("20", "200"):
        monkeypatch.setenv("COLUMNS", columns)
        assert some_parser().format_help() == as_text(some_parser().page()) == TEXT


def test_a_page_as_markdown_has_its_own_options_only() -> None:
    text = as_markdown(some_parser().page())
    assert text.startswith("## minispark show\n\nShow things.\n\n```text\nminispark show 3\n```\n")
    assert "- `--plan PLAN`: how; one of naive, fused\n" in text
    assert "--state-dir" not in text
    assert f"Exit status: 0 {EXITS[0]}; 1 {EXITS[1]};" in text
    assert "See also: [jobs](#minispark-jobs)." in text


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Iterator[list[tuple[int, str, str]]]:
    """What each of some command lines returns and says."""
    lines = (["help", "chaos"], ["chaos", "x", "-h"], ["help", "chaso"], ["help"], ["--help"])
    found = []
    for words in lines:
        code = command_line.main(words)
        found.append((code, *capsys.readouterr()))
    yield found


def test_help_of_a_command_is_its_page(said: list[tuple[int, str, str]]) -> None:
    page = as_text(parser_of("chaos").page())
    assert "ACTION [WORKER]" in page
    assert said[0] == said[1] == (0, page, "")
    assert said[2][0] == 2
    assert "did you mean chaos?" in said[2][2]
    assert said[3] == said[4]
    assert all(name in said[3][1] for name in COMMANDS)


def test_an_option_without_words_for_its_value_names_it_after_itself() -> None:
    parser = argparse.ArgumentParser(prog="x")
    parser.add_argument("--seed-of-it", type=int, help="h")
    assert "--seed-of-it SEED-OF-IT" in as_text(page_of(parser, "", (), {}))
