"""What may stand where on the command line, read off the parsers: the matter of completion scripts.

Must not know shells.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from minispark.cli.main import COMMANDS, common_options, parser_of
from minispark.cli.pages import value_of
from minispark.errors import ClusterError


class Kind(Enum):
    """What a shell must look up when it completes."""

    FILE = "file"
    DIRECTORY = "directory"
    JOB = "job"
    """An id or name that `jobs` lists, or `last`."""
    PROCESS = "process"
    """A name that `ps` lists."""
    WORKER = "worker"
    """One of them that is no supervisor and no master."""
    COMMAND = "command"


KINDS = {
    "FILE": Kind.FILE,
    "INPUT": Kind.FILE,
    "DIR": Kind.DIRECTORY,
    "JOB": Kind.JOB,
    "NAME": Kind.PROCESS,
    "PROCESS": Kind.PROCESS,
    "WORKER": Kind.WORKER,
    "COMMAND": Kind.COMMAND,
}
"""By what stands for a value in the help."""


@dataclass(frozen=True, slots=True)
class Value:
    """What may be said: these words, and things of these kinds. `label` is its name in the help."""

    label: str
    words: tuple[str, ...]
    kinds: tuple[Kind, ...]
    is_repeated: bool = False


@dataclass(frozen=True, slots=True)
class Option:
    """`value` is None for one that takes none."""

    names: tuple[str, ...]
    text: str
    value: Value | None


@dataclass(frozen=True, slots=True)
class Command:
    name: str
    purpose: str
    options: tuple[Option, ...]
    arguments: tuple[Value, ...]


def common() -> tuple[Option, ...]:
    """The options of every command, which may stand before it too."""
    return _options(common_options()._actions)


def commands() -> tuple[Command, ...]:
    """All that can be run here, and `help`."""
    found: list[Command] = []
    for name, (_, purpose) in COMMANDS.items():
        try:
            actions = parser_of(name)._actions
        except ClusterError:
            continue  # `bench`, where there is no checkout
        options = _options(actions)
        arguments = tuple(_value(action) for action in actions if not action.option_strings)
        found.append(Command(name, purpose, options, arguments))
    about = Value("COMMAND", (), (Kind.COMMAND,))
    return (*found, Command("help", "what a command does", (), (about,)))


def _options(actions: Iterable[argparse.Action]) -> tuple[Option, ...]:
    return tuple(
        Option(
            tuple(action.option_strings),
            action.help or "",
            None if action.nargs == 0 else _value(action),
        )
        for action in actions
        if action.option_strings
    )


def _value(action: argparse.Action) -> Value:
    """Choices are words. `wordcount|FILE` is a word, or a file: what stands for a value tells."""
    label = value_of(action)
    is_repeated = action.nargs in ("*", "+")
    if action.choices is not None:
        return Value(label, tuple(map(str, action.choices)), (), is_repeated)
    if action.option_strings and action.metavar is None:
        return Value(label, (), ())  # named after the option, not after what it takes
    parts = label.split("|")
    words = tuple(part for part in parts if part.islower())
    kinds = tuple(KINDS[part] for part in parts if part in KINDS)
    return Value(label, words, kinds, is_repeated)
