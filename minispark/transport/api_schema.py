"""What a route says of itself: parameters, body, answers and errors, with their types and limits.

Handlers read parameters through these declarations, and the OpenAPI document is made from them.
Must not know HTTP messages, nor how a description is rendered.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

JSON_TYPE = "application/json"

# --- types of JSON values ----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Text:
    """`pattern` and `format` as in JSON Schema."""

    chars_min: int = 0
    chars_max: int | None = None
    pattern: str | None = None
    format: str | None = None


@dataclass(frozen=True, slots=True)
class Whole:
    least: int | None = None
    most: int | None = None


@dataclass(frozen=True, slots=True)
class Real:
    """Whole numbers too."""

    least: float | None = None
    most: float | None = None


@dataclass(frozen=True, slots=True)
class Flag:
    """true or false."""


@dataclass(frozen=True, slots=True)
class Choice:
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Anything:
    """Any JSON value."""


@dataclass(frozen=True, slots=True)
class Nullable:
    of: Schema


@dataclass(frozen=True, slots=True)
class OneOf:
    of: tuple[Schema, ...]


@dataclass(frozen=True, slots=True)
class ListOf:
    of: Schema
    entries_min: int = 0
    entries_max: int | None = None


@dataclass(frozen=True, slots=True)
class MapOf:
    """An object with any names."""

    of: Schema
    entries_max: int | None = None


@dataclass(frozen=True, slots=True)
class Maybe:
    """Of a field that may be absent."""

    of: Schema


@dataclass(frozen=True, slots=True)
class Object:
    """A named object. Fields that are not listed may be there too."""

    name: str
    fields: Mapping[str, Schema | Maybe]
    example: Any = None


Schema = Text | Whole | Real | Flag | Choice | Anything | Nullable | OneOf | ListOf | MapOf | Object

UUID = Text(pattern="^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$", format="uuid")
COUNT = Whole(least=0)

# --- parameters --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class WholeQuery:
    """A whole number of the query string."""

    name: str
    text: str
    default: int
    least: int
    most: int


@dataclass(frozen=True, slots=True)
class OptionalWhole:
    """The same without default: None when it is absent."""

    name: str
    text: str
    least: int
    most: int


@dataclass(frozen=True, slots=True)
class ChoiceQuery:
    """One of some words; None when it is absent."""

    name: str
    text: str
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TextQuery:
    """`default` None: it must be there."""

    name: str
    text: str
    chars_max: int
    default: str | None


@dataclass(frozen=True, slots=True)
class Id:
    """A UUID; of the path, or one that the query string must have."""

    name: str
    text: str
    is_in_path: bool = True


@dataclass(frozen=True, slots=True)
class OptionalId:
    """A UUID of the query string; None when it is absent."""

    name: str
    text: str


@dataclass(frozen=True, slots=True)
class PathName:
    """A name in the path: any text."""

    name: str
    text: str


@dataclass(frozen=True, slots=True)
class Header:
    """`name` as it is written; None when it is absent."""

    name: str
    text: str
    chars_max: int | None = None


Parameter = (
    WholeQuery | OptionalWhole | ChoiceQuery | TextQuery | Id | OptionalId | PathName | Header
)

# --- answers -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Answer:
    """`contents`: by media type what the body is; none without a body."""

    status: int
    text: str
    contents: Mapping[str, Schema]


@dataclass(frozen=True, slots=True)
class Problem:
    """An answer that is an error: `{"error": {"code", "message", "field"}}`."""

    status: int
    code: str
    text: str


UNAVAILABLE = Problem(503, "unavailable", "It cannot be done now; `message` says why")
"""Of a handler that may raise ClusterError."""


def json_answer(of: Schema, text: str = "Done") -> Answer:
    return Answer(200, text, {JSON_TYPE: of})


def text_answer(text: str, *media_types: str) -> Answer:
    """A body that is text of one of these media types."""
    return Answer(200, text, dict.fromkeys(media_types, Text()))


def empty_answer(status: int, text: str) -> Answer:
    return Answer(status, text, {})


@dataclass(frozen=True, slots=True)
class Description:
    """What is known of a route besides what holds for every one of its kind (`openapi.py`)."""

    answers: tuple[Answer, ...] = ()
    parameters: tuple[Parameter, ...] = ()
    body: Schema | None = None
    problems: tuple[Problem, ...] = ()
