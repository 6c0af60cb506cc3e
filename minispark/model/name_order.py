"""The order in which people expect names: worker-2 before worker-10.

Must not know what is named.
"""

from __future__ import annotations

import re

_NUMBER = re.compile("([0-9]+)")


def in_order(name: str) -> tuple[tuple[str | int, ...], str]:
    """A key to sort by: runs of digits count as numbers, case only where nothing else differs."""
    parts = _NUMBER.split(name.casefold())
    # text and numbers alternate, so that each is compared with its like
    return tuple(int(p) if i % 2 else p for i, p in enumerate(parts)), name
