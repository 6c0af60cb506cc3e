"""A command's page of the manual, read off its parser: for `--help`, and for `docs/cli.md`.

What it says does not depend on how a version of argparse lays out its own help. Must not know which
commands there are.
"""

from __future__ import annotations

import argparse
import re
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from minispark.cli import COMMON

NAMES_CHARS = 28
LINE_CHARS = 98


@dataclass(frozen=True, slots=True)
class Entry:
    """An argument or option as it is written, and what it is for."""

    names: str
    text: str


@dataclass(frozen=True, slots=True)
class Page:
    """All that there is to say of a command."""

    command: str
    purpose: str
    examples: tuple[str, ...]
    synopsis: str
    arguments: tuple[Entry, ...]
    options: tuple[Entry, ...]
    common: tuple[Entry, ...]
    exits: tuple[Entry, ...]
    see_also: tuple[str, ...]


def page_of(
    parser: argparse.ArgumentParser,
    examples: str,
    see_also: tuple[str, ...],
    exits: Mapping[int, str],
) -> Page:
    """The page of a parser's command. `examples`: a title, then commands, each with a remark."""
    common = [
        action
        for group in parser._action_groups
        if group.title == COMMON
        for action in group._group_actions
    ]
    common += [action for action in parser._actions if isinstance(action, argparse._HelpAction)]
    own = [action for action in parser._actions if action not in common]
    arguments = [action for action in own if not action.option_strings]
    options = [action for action in own if action.option_strings]
    words = [f"[{_short(action)}]" for action in options]
    words += [_argument(action) for action in arguments]
    return Page(
        command=parser.prog,
        purpose=parser.description or "",
        examples=tuple(line.strip() for line in examples.strip().splitlines()[1:]),
        synopsis=" ".join([parser.prog, *words]),
        arguments=_entries(arguments),
        options=_entries(options),
        common=_entries(common),
        exits=tuple(Entry(str(code), text) for code, text in exits.items()),
        see_also=see_also,
    )


def _entries(actions: Iterable[argparse.Action]) -> tuple[Entry, ...]:
    return tuple(Entry(_names(action), _text(action)) for action in actions)


def _names(action: argparse.Action) -> str:
    if not action.option_strings:
        return value_of(action)
    value = "" if action.nargs == 0 else f" {value_of(action)}"
    return ", ".join(action.option_strings) + value


def _text(action: argparse.Action) -> str:
    text = "this page" if isinstance(action, argparse._HelpAction) else action.help or ""
    if action.choices is not None:
        choices = f"one of {', '.join(map(str, action.choices))}"
        text = f"{text}; {choices}" if text else choices
    return text


def value_of(action: argparse.Action) -> str:
    """What stands for the value of an argument or option."""
    if action.metavar is not None:
        return str(action.metavar)
    return action.dest.replace("_", "-").upper()


def _short(action: argparse.Action) -> str:
    value = "" if action.nargs == 0 else f" {value_of(action)}"
    return action.option_strings[0] + value


def _argument(action: argparse.Action) -> str:
    match action.nargs:
        case "?":
            return f"[{value_of(action)}]"
        case "*":
            return f"[{value_of(action)}...]"
        case "+":
            return f"{value_of(action)}..."
        case _:
            return value_of(action)


# --- as text -------------------------------------------------------------------------------------


def as_text(page: Page) -> str:
    """For a terminal: examples first."""
    parts = [f"{page.command}: {page.purpose[:1].lower()}{page.purpose[1:]}"]
    parts.append(_block("examples", page.examples))
    parts.append(_block("usage", _wrapped(page.synopsis)))
    for title, entries in _lists(page):
        if entries:
            parts.append(_block(title, _columns(entries)))
    if page.see_also:
        parts.append(f"see also: {', '.join(page.see_also)}")
    return "\n\n".join(parts) + "\n"


def _wrapped(synopsis: str) -> list[str]:
    """An option stays with its value."""
    lines = textwrap.wrap(
        re.sub(r"\[.*?\]", lambda found: found.group().replace(" ", "\0"), synopsis),
        LINE_CHARS - 2,
        subsequent_indent="    ",
        break_long_words=False,
        break_on_hyphens=False,
    )
    return [line.replace("\0", " ") for line in lines]


def _lists(page: Page) -> tuple[tuple[str, tuple[Entry, ...]], ...]:
    return (
        ("arguments", page.arguments),
        ("options", page.options),
        (COMMON, page.common),
        ("exit status", page.exits),
    )


def _block(title: str, lines: Sequence[str]) -> str:
    return "\n".join([f"{title}:", *(f"  {line}" for line in lines)])


def _columns(entries: Iterable[Entry]) -> list[str]:
    lines: list[str] = []
    for entry in entries:
        texts = textwrap.wrap(entry.text, LINE_CHARS - NAMES_CHARS - 2) or [""]
        if len(entry.names) >= NAMES_CHARS:
            lines.append(entry.names)
        else:
            lines.append(f"{entry.names:<{NAMES_CHARS}}{texts.pop(0)}".rstrip())
        lines += [f"{'':<{NAMES_CHARS}}{text}" for text in texts]
    return lines


# --- as Markdown ---------------------------------------------------------------------------------


def as_markdown(page: Page) -> str:
    """A section of a document; without the options that every command has."""
    lines = [f"## {page.command}", "", page.purpose, "", "```text", *page.examples, "```", ""]
    lines += [f"`{page.synopsis}`", ""]
    for entry in (*page.arguments, *page.options):
        lines.append(f"- `{entry.names}`: {_escaped(entry.text)}")
    if page.arguments or page.options:
        lines.append("")
    exits = "; ".join(f"{entry.names} {_escaped(entry.text)}" for entry in page.exits)
    lines += [f"Exit status: {exits}.", ""]
    if page.see_also:
        links = [f"[{name}](#minispark-{name})" for name in page.see_also]
        lines += [f"See also: {', '.join(links)}.", ""]
    return "\n".join(lines)


def _escaped(text: str) -> str:
    return text.replace("<", "&lt;").replace("*", r"\*").replace("_", r"\_")
