"""The page's files, read from the package once, and the headers that a browser gets them with.

Must not know routes, nor what the page shows.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files

INDEX = "index.html"
KINDS = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "connect-src 'self'",
        "img-src 'self' data:",
        "frame-ancestors 'none'",
        "base-uri 'none'",
        "form-action 'self'",
    )
)
"""Nothing that a job says can run in the page, even where it came to stand as markup."""
_HEADERS = {
    "Content-Security-Policy": POLICY,
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-cache",  # asked for again, and not sent again: see `is_known_to`
}


@dataclass(frozen=True, slots=True)
class StaticFile:
    """One file as it is sent."""

    body: bytes
    content_type: str
    tag: str
    """Its ETag: another content, another tag."""

    @property
    def headers(self) -> dict[str, str]:
        return {**_HEADERS, "ETag": self.tag}

    def is_known_to(self, headers: Mapping[str, str]) -> bool:
        """Whether the browser that asks has it as it is now."""
        tags = headers.get("if-none-match", "").split(",")
        return self.tag in (tag.strip().removeprefix("W/") for tag in tags)


def load_files() -> dict[str, StaticFile]:
    """Every file of the page by its name; from a wheel as from the source tree."""
    found = {}
    for entry in files(__package__).joinpath("static").iterdir():
        kind = KINDS.get(entry.name[entry.name.rfind(".") :])
        if kind is not None:
            body = entry.read_bytes()
            tag = f'"{hashlib.sha256(body).hexdigest()[:24]}"'
            found[entry.name] = StaticFile(body, kind, tag)
    return dict(sorted(found.items()))
