"""README and the lab stay true, in both languages: commands parse, files exist, and the changes
that students make apply to the present code and do what the text says.

Must not know what the exercises teach.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from minispark.cli.main import COMMANDS, parser_of

ROOT = Path(__file__).parents[2]
HANDOUTS = {"README.md": "README.es.md", "docs/lab.md": "docs/lab.es.md"}
"""By the English one, the same in Spanish."""
ALL = [*HANDOUTS, *HANDOUTS.values()]
PARTS = {
    "docs/lab.md": ("## Exercise ", ("Goal", "What should be seen", "Questions", "In the code")),
    "docs/lab.es.md": (
        "## Ejercicio ",
        ("Objetivo", "Qué debe verse", "Preguntas", "En el código"),
    ),
}
"""How an exercise begins, and what each has."""
EXERCISES = 5
CHANGES_MIN = {3: 3, 4: 2}
"""Exercises that change the code, and how many patches each has."""
MADE = ("data/large",)
"""What a handout's own commands make."""
NEEDS_S = 300.0
"""A few seconds for a block, on an idle machine."""

FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`([^`\n]+)`")
COMMAND = re.compile(r"(?:^|[|;&(`] *|\bdo )minispark +([^|;&)<>\n]*)", re.MULTILINE)
PATH = re.compile(r"(?:minispark|docs|scripts|tests|conf|data|bench)/[\w./-]*[\w/]")
CHECKED = re.compile(r"FAILED |AssertionError: |\d+ (?:passed|failed|seeds)")
"""Lines of shown output that must be said again; what stands around them varies."""


def text_of(handout: str) -> str:
    return (ROOT / handout).read_text(encoding="utf-8")


def without_remarks(block: str) -> str:
    return re.sub(r" +# .*$", "", block, flags=re.MULTILINE)


def exercises(handout: str) -> list[str]:
    """The text of each."""
    begin = re.escape(PARTS[handout][0])
    found = re.split(rf"^{begin}(\d+): ", text_of(handout), flags=re.MULTILINE)
    numbers, texts = found[1::2], found[2::2]
    assert numbers == [str(n) for n in range(1, EXERCISES + 1)]
    return texts


def commands(text: str) -> list[list[str]]:
    """The words behind every `minispark`."""
    return [shlex.split(words) for words in COMMAND.findall(without_remarks(text))]


def check_parses(name: str, *words: str) -> None:
    """Raises SystemExit, as the command would, and says why."""
    assert name in COMMANDS, f"minispark {name}"
    parser_of(name).parse_intermixed_args(words)


@pytest.mark.parametrize("handout", ALL)
def test_every_command_of_a_handout_parses(handout: str) -> None:
    text = text_of(handout)
    shell = [body for language, body in FENCE.findall(text) if language in ("sh", "console")]
    typed = commands("\n".join(shell).replace("\n$ ", "\n").removeprefix("$ "))
    assert len(typed) >= 10, "they were not found"
    for words in typed:
        check_parses(*words)
    for name, *words in commands("\n".join(INLINE.findall(FENCE.sub("", text)))):
        if name == "help":
            assert words == ["COMMAND"]
        elif words and name != "COMMAND":
            check_parses(name, *words)
        else:  # named only
            assert name in (*COMMANDS, "COMMAND", "--help")


@pytest.mark.parametrize("handout", ALL)
def test_every_file_that_a_handout_names_exists(handout: str) -> None:
    text = text_of(handout)
    code = [*INLINE.findall(FENCE.sub("", text)), *(body for _, body in FENCE.findall(text))]
    named = {
        path
        for part in code
        for word in re.split(r"[\s'\"=(){},:]+", part)
        if (path := re.sub(r"^[ab]/", "", word)) and PATH.fullmatch(path)
    }
    linked = re.findall(r"\]\((?!https?:|#)([^)#]+)", text)
    assert len(named) > 5 and linked, "they were not found"
    missing = [path for path in sorted(named) if not (ROOT / path).exists()]
    assert [path for path in missing if not path.startswith(MADE)] == []
    here = (ROOT / handout).parent
    assert [path for path in linked if not (here / path).exists()] == []


@pytest.mark.parametrize("english", HANDOUTS)
def test_both_languages_have_the_same_blocks_and_sections(english: str) -> None:
    texts = [text_of(english), text_of(HANDOUTS[english])]
    blocks = [FENCE.findall(without_remarks(text)) for text in texts]
    assert blocks[0] == blocks[1]
    outlines = [re.findall(r"^#+(?= )", FENCE.sub("", text), re.MULTILINE) for text in texts]
    assert outlines[0] == outlines[1]
    rows = [re.findall(r"^\|", text, re.MULTILINE) for text in texts]
    assert rows[0] == rows[1]
    assert f"]({Path(HANDOUTS[english]).name})" in texts[0], "each names the other one"
    assert f"]({Path(english).name})" in texts[1]


def test_every_exercise_has_all_its_parts_in_both_languages() -> None:
    questions = []
    for handout, (_, parts) in PARTS.items():
        for number, text in enumerate(exercises(handout), 1):
            assert re.findall(r"^\*\*([^*.]+)\.\*\*", text, re.MULTILINE) == list(parts), number
            questions.append(len(re.findall(r"^\d+\. ", text, re.MULTILINE)))
    assert questions[:EXERCISES] == questions[EXERCISES:] and min(questions) >= 3


# --- what students change ---------------------------------------------------------------------


def workplace(folder: Path) -> Path:
    """A clone as far as these commands see it, whose `.venv` is this Python."""
    copy = folder / "clone"
    copy.mkdir()
    for name in ("minispark", "tests", "scripts", "conf", "data"):
        ignored = shutil.ignore_patterns("__pycache__", "large")
        shutil.copytree(ROOT / name, copy / name, ignore=ignored)
    for name in ("pyproject.toml", "setup.py", "README.md"):
        shutil.copy(ROOT / name, copy / name)
    python = copy / ".venv/bin/python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} "$@"\n')
    python.chmod(0o755)
    made = 'echo "$(cksum pyproject.toml) test" >.venv/installed; git init -q .; git add minispark'
    subprocess.run(made, shell=True, check=True, cwd=copy, env=environment(folder))
    return copy


def environment(folder: Path) -> dict[str, str]:
    """Of a student's shell: nothing of the pytest that runs this. One process is enough for a
    test or two.
    """
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST_", "GIT_"))}
    return {**kept, "TMPDIR": str(folder), "COLUMNS": "200", "TEST_PROCESSES": "1"}


def steps(exercise: str) -> list[tuple[str, list[str]]]:
    """Its blocks that change or test the code, without what needs a cluster; and of the output that
    follows each, the lines that are checked.
    """
    found = []
    fences = [*FENCE.findall(exercise), ("", "")]
    for (language, body), (after, shown) in pairwise(fences):
        if language == "sh" and re.search(r"^git |scripts/(test|simulate) ", body, re.MULTILINE):
            run = re.sub(r"^(minispark|sleep) .*\n", "", body, flags=re.MULTILINE)
            lines = shown.splitlines() if after == "text" else []
            found.append((run, [line for line in lines if CHECKED.match(line)]))
    return found


def said(line: str) -> str:
    """A line without the numbers that differ from run to run; how many passed and failed stays."""
    return re.sub(r"\d+(\.\d+)?(?! (passed|failed))", "N", line)


@pytest.mark.parametrize("number", CHANGES_MIN)
def test_the_changes_of_an_exercise_do_what_it_says(number: int, tmp_path: Path) -> None:
    copy = workplace(tmp_path)
    patches = 0
    for body, shown in steps(exercises("docs/lab.md")[number - 1]):
        done = subprocess.run(
            ["bash"],
            input=body,
            cwd=copy,
            env=environment(tmp_path),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=NEEDS_S,
            check=False,
        )
        errors = re.findall(r"^error: .*", done.stdout, re.MULTILINE)
        assert not errors, f"a patch does not apply: {errors}"
        patches += body.count("git apply")
        output = [said(line) for line in done.stdout.splitlines()]
        if not any(line.startswith("AssertionError") for line in shown):
            assert not re.search(r"^AssertionError", done.stdout, re.MULTILINE), done.stdout
        for line in shown:
            is_said = any(line_said.startswith(said(line)) for line_said in output)
            assert is_said, f"{line!r} is shown, and this was said:\n{done.stdout}"
    assert patches == CHANGES_MIN[number]
