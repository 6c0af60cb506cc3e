"""The page's files as the package ships them."""

from __future__ import annotations

import re
from importlib.resources import files

import pytest

from minispark.web.static_files import INDEX, KINDS, POLICY, load_files

FILES = load_files()
SCRIPTS = [name for name in FILES if name.endswith(".js")]
LINES_MAX = 440


def text_of(name: str) -> str:
    return FILES[name].body.decode()


def test_every_file_of_the_directory_is_served() -> None:
    there = {entry.name for entry in files("minispark.web").joinpath("static").iterdir()}
    assert set(FILES) == there
    assert INDEX in FILES


def test_the_policy_lets_nothing_in_from_outside_or_inline() -> None:
    rules = dict(rule.split(" ", 1) for rule in POLICY.split("; "))
    assert rules["default-src"] == "'none'"
    assert rules["script-src"] == rules["style-src"] == rules["connect-src"] == "'self'"
    assert "unsafe" not in POLICY


def test_the_index_holds_no_script_or_style_of_its_own() -> None:
    text = text_of(INDEX)
    assert re.findall(r"<script(?![^>]*src=)", text) == []
    assert re.findall(r"<style|style=|\son\w+=", text) == []
    assert re.findall(r"(?:src|href)=\"(?!/static/|#)", text) == []


@pytest.mark.parametrize("name", SCRIPTS)
def test_no_script_reads_markup_or_makes_code(name: str) -> None:
    forbidden = (
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|DOMParser|\beval\b|Function\("
    )
    assert re.findall(forbidden, text_of(name)) == []


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_imports_only_what_is_there(name: str) -> None:
    imported = re.findall(r"from \"\./([\w.]+)\"", text_of(name))
    assert set(imported) <= set(FILES)


@pytest.mark.parametrize("name", list(FILES))
def test_no_file_asks_another_host(name: str) -> None:
    allowed = "http://www.w3.org/2000/svg"
    found = [url for url in re.findall(r"https?://[^\s\"')]+", text_of(name)) if url != allowed]
    assert found == []


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_opens_with_its_job_and_fits_a_reader(name: str) -> None:
    lines = text_of(name).splitlines()
    assert lines[0].startswith("// ")
    assert len(lines) <= LINES_MAX


def words(name: str) -> dict[str, str]:
    return dict(re.findall(r"^  \"?([\w.]+)\"?: \"(.*)\",$", text_of(name), re.MULTILINE))


def test_both_languages_say_the_same_things() -> None:
    english, spanish = words("words_en.js"), words("words_es.js")
    assert len(english) > 150
    assert english.keys() == spanish.keys()
    for key, text in english.items():
        assert set(re.findall(r"\{\w+\}", text)) == set(re.findall(r"\{\w+\}", spanish[key])), key


def test_every_word_that_a_script_asks_for_is_there() -> None:
    english = words("words_en.js")
    asked = {key for name in SCRIPTS for key in re.findall(r"\bt\(\"([\w.]+)\"", text_of(name))}
    assert len(asked) > 80
    assert asked <= english.keys()


def test_every_word_is_asked_for() -> None:
    scripts = "".join(text_of(name) for name in SCRIPTS if not name.startswith("words_"))
    prefixes = set(re.findall(r"`([a-z]+)\.\$\{", scripts))
    unused = {
        key
        for key in words("words_en.js")
        if f'"{key}"' not in scripts and key.partition(".")[0] not in prefixes
    }
    assert unused == set()


def test_a_file_is_not_sent_again_while_it_is_the_same() -> None:
    file = FILES[INDEX]
    assert file.is_known_to({"if-none-match": file.tag})
    assert file.is_known_to({"if-none-match": f'"other", W/{file.tag}'})
    assert not file.is_known_to({"if-none-match": '"other"'})
    assert not file.is_known_to({})
    assert file.content_type == KINDS[".html"]
