"""docs/specification.md names what is there: tests, scripts, modules, endpoints and variables."""

from __future__ import annotations

import re
from pathlib import Path

from minispark.config import ENVIRONMENT

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "specification.md").read_text()
PACKAGES = "cli|compute|master|metrics|model|plan|scheduling|storage|worker"


def test_every_test_and_script_that_it_names_is_there() -> None:
    tests = set(re.findall(r"`((?:unit|cluster|simulation)/[\w.]*)`", TEXT))
    scripts = set(re.findall(r"`(scripts/[\w.-]+)", TEXT))
    assert len(tests) > 20 and len(scripts) > 15
    assert [name for name in tests if not (ROOT / "tests" / name).exists()] == []
    assert [name for name in scripts if not (ROOT / name).exists()] == []


def test_every_module_that_it_names_is_there() -> None:
    modules = re.findall(rf"`(?:minispark/)?((?:{PACKAGES})/\w+\.py)`", TEXT)
    assert len(modules) > 20
    assert [name for name in modules if not (ROOT / "minispark" / name).exists()] == []


def test_every_documented_script_is_listed() -> None:
    listed = set(re.findall(r"`scripts/([\w-]+\.sh)`", TEXT))
    assert listed == {path.name for path in (ROOT / "scripts").glob("*.sh")}


def test_every_variable_that_it_lists_sets_a_key() -> None:
    section = TEXT.partition("## 13. Variables")[2]
    names = set(re.findall(r"`([A-Z][A-Z_]+)`", section.replace("`ENVIRONMENT`", "")))
    assert len(names) == 12
    assert names - set(ENVIRONMENT) == {"MASTER_URL"}
    keys = dict(re.findall(r"\| `([A-Z_]+)` \|[^|]*\| `([a-z_.]+)`", section))
    assert {name: ENVIRONMENT[name] for name in keys} == keys
