"""Text that came from strangers, before people or logs see it.

Must not know who shows it.
"""

from __future__ import annotations

import re

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_UNSAFE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""What a terminal acts on, what ends a line, turns the direction of writing, or is no text."""


def is_text(text: str) -> bool:
    """Whether UTF-8 can write it. JSON can escape half of a surrogate pair, which it cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def has_control(text: str) -> bool:
    """Whether the text holds a control character, which no name needs; a newline is one."""
    return _CONTROL.search(text) is not None


def escaped(text: str) -> str:
    """The text with control characters written as `\\x1b`; newlines and tabs stay."""
    return _UNSAFE.sub(lambda match: match[0].encode("unicode_escape").decode(), text)
