"""How one entry of a log looks: a line of text for people, or a JSON object for machines.

Must not know where entries go, nor what they are about.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping

from minispark.model.log_fields import FIELDS
from minispark.model.safe_text import escaped

PACKAGE = "minispark."
_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.:/+-")


def stamp(unix_s: float) -> str:
    """UTC with milliseconds: 2026-01-02T03:04:05.678Z."""
    whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(unix_s))
    return f"{whole}.{int(unix_s * 1000) % 1000:03d}Z"


def text_entry(
    unix_s: float, level: str, process: str, text: str, fields: Mapping[str, object]
) -> str:
    """`2026-… INFO  master job RUNNING job=…`; further lines are indented, so that no text passes
    for an entry.
    """
    first, newline, rest = escaped(text).partition("\n")
    named = "".join(f" {name}={_shown(value)}" for name, value in fields.items())
    lines = f"{first}{named}{newline}{rest}".replace("\n", "\n    ")
    return f"{stamp(unix_s)} {level:<5} {process} {lines}"


def json_entry(
    unix_s: float,
    level: str,
    process: str,
    component: str,
    text: str,
    fields: Mapping[str, object],
) -> str:
    """The documented fields, then those that say what the entry is about."""
    entry = {
        "ts": stamp(unix_s),
        "level": level,
        "component": component,
        "process": process,
        "msg": escaped(text),
        **fields,
    }
    return json.dumps(entry, ensure_ascii=False)


def _shown(value: object) -> str:
    """A field's value in text; in quotes where its end would not be seen."""
    text = escaped(f"{value:.6g}" if isinstance(value, float) else str(value))
    return text if text and _PLAIN.issuperset(text) else json.dumps(text, ensure_ascii=False)


class TextFormatter(logging.Formatter):
    """A line an entry."""

    def __init__(self, process: str) -> None:
        super().__init__()
        self._process = process

    def format(self, record: logging.LogRecord) -> str:
        level = "WARN" if record.levelname == "WARNING" else record.levelname
        fields = getattr(record, FIELDS, {})
        return text_entry(record.created, level, self._process, self._text(record), fields)

    def _text(self, record: logging.LogRecord) -> str:
        text = record.getMessage()
        if record.exc_info:
            text += "\n" + self.formatException(record.exc_info)
        return text


class JsonFormatter(TextFormatter):
    """A JSON object an entry. `fields` are in each: what all of this process is about."""

    def __init__(self, process: str, fields: Mapping[str, object]) -> None:
        super().__init__(process)
        self._fields = fields

    def format(self, record: logging.LogRecord) -> str:
        return json_entry(
            record.created,
            record.levelname.lower(),
            self._process,
            record.name.removeprefix(PACKAGE),
            self._text(record),
            {**self._fields, **getattr(record, FIELDS, {})},
        )
