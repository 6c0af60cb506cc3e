"""Which text encodings exist, and in which of them a newline is one byte that can be searched for.

Must not know files or readers.
"""

from __future__ import annotations

import codecs
from functools import lru_cache

_ASCII = bytes(range(128))
_STATEFUL_PREFIXES = ("iso2022", "hz", "utf_7", "unicode_escape", "raw_unicode_escape")
"""Their bytes below 128 mean other characters after an escape; `is_line_searchable` is false."""


def is_text_encoding(name: str) -> bool:
    """Whether Python can decode text in the encoding `name` (`hex` or `zlib` are no text)."""
    try:
        codecs.lookup(name)
        b"a".decode(name)
    except UnicodeError:  # `a` alone is no valid text there (utf-16): an encoding all the same
        return True
    except (LookupError, ValueError):  # ValueError: NUL in the name
        return False
    return True


@lru_cache(maxsize=64)
def is_line_searchable(name: str) -> bool:
    """Whether byte 10 is a newline wherever it stands, so that bytes can be cut before decoding."""
    normal = codecs.lookup(name).name.replace("-", "_")
    if normal.startswith(_STATEFUL_PREFIXES):
        return False
    try:
        return _ASCII.decode(name) == _ASCII.decode("ascii")
    except ValueError:
        return False


def is_utf8(name: str) -> bool:
    """Whether `name` is a spelling of UTF-8, where a byte order mark is dropped."""
    return codecs.lookup(name).name in ("utf-8", "utf-8-sig")
