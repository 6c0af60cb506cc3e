"""`explain --engine spark` where it cannot be: what is said, before any Spark is started."""

from __future__ import annotations

import importlib.util
import tomllib
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest

from minispark.cli.main import main

FILE = "data/jobs/wordcount.json"


def test_without_the_package_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = importlib.util.find_spec

    def find_spec(name: str, package: str | None = None) -> ModuleSpec | None:
        return None if name == "pyspark" else found(name, package)

    monkeypatch.setattr(importlib.util, "find_spec", find_spec)
    assert main(["explain", FILE, "--engine", "spark"]) == 1
    project = tomllib.loads(Path("pyproject.toml").read_text())["project"]
    (package,) = project["optional-dependencies"]["spark"]
    assert f"pip install '{package}'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((FILE, "--plan", "naive"), "--plan fused"),
        (("last",), "is of a job file"),
    ],
)
def test_what_makes_no_sense_is_refused(
    words: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["explain", *words, "--engine", "spark"]) == 2
    assert said in capsys.readouterr().err
