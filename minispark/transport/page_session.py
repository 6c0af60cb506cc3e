"""Sessions of the page: a cookie that counts as the token, and a value that guards what changes.

Both follow from the token, so that they outlive the master, and nothing is kept here. A cookie
reaches every port of its host: one given to a user of this host is good for that user's processes
only, and neither of the two kinds changes anything without the guard, which no cookie carries.
Must not know sockets or routes.
"""

from __future__ import annotations

import hmac
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from http.cookies import CookieError, SimpleCookie

SESSION_S = 12 * 3600
GUARD_HEADER = "X-Minispark-Guard"
_SAME_SITES = ("same-origin", "none")
"""What `Sec-Fetch-Site` says of our own page, and of an address that its user typed."""


FindUid = Callable[[], int | None]
"""Finds out which user the peer runs as, if anybody knows."""


class Proof(Enum):
    """How somebody came to a session."""

    USER = "u"
    """The browser runs as the cluster's own user, which every request has to show again."""
    TOKEN = "t"
    """It sent the token."""


@dataclass(frozen=True, slots=True)
class Session:
    """One that the cookie of a request names, and that is valid."""

    cookie: str
    proof: Proof


class PageSessions:
    """Gives sessions out, and recognizes them."""

    def __init__(
        self,
        token: str,
        port: int,
        *,
        owner_uid: int | None,
        is_secure: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`port` is the server's: a browser keeps one cookie of a name for all ports of a host.

        Processes of `owner_uid` need not know the token; with None there is no such user.
        `is_secure`: the server speaks TLS, and a browser is to send the cookie only so.
        """
        self._token = token.encode()
        self._name = f"minispark_{port}"
        self._owner_uid = owner_uid
        self._attributes = "; Path=/; HttpOnly; SameSite=Strict"
        if is_secure:
            self._attributes += "; Secure"
        self._clock = clock

    def is_owner(self, find_uid: FindUid) -> bool:
        """Whether the peer runs as the user who needs no token."""
        return self._owner_uid is not None and find_uid() == self._owner_uid

    def is_token(self, text: str) -> bool:
        return bool(self._token) and hmac.compare_digest(text.strip().encode(), self._token)

    def give(self, proof: Proof) -> Session:
        ends_at = int(self._clock()) + SESSION_S
        body = f"{proof.value}.{ends_at}.{secrets.token_urlsafe(16)}"
        return Session(f"{body}.{self._sign('session', body)}", proof)

    def header(self, session: Session) -> str:
        """The value of Set-Cookie. It has no end there: it goes with the browser."""
        return f"{self._name}={session.cookie}{self._attributes}"

    def guard(self, session: Session) -> str:
        """What GUARD_HEADER has to say with every request that changes something."""
        return self._sign("guard", session.cookie)

    def find(self, headers: Mapping[str, str], find_uid: FindUid) -> Session | None:
        """The request's session, if it has one: not when another site's page sends its cookie."""
        cookies = headers.get("cookie")
        is_ours = headers.get("sec-fetch-site", _SAME_SITES[0]) in _SAME_SITES
        if cookies is None or not is_ours or not self._token:
            return None
        try:
            morsel = SimpleCookie(cookies).get(self._name)
        except CookieError:
            return None
        body, _, signature = (morsel.value if morsel is not None else "").rpartition(".")
        if not hmac.compare_digest(signature.encode(), self._sign("session", body).encode()):
            return None
        kind, ends_at, _ = body.split(".")
        if self._clock() > int(ends_at):
            return None
        session = Session(f"{body}.{signature}", Proof(kind))
        return session if session.proof is Proof.TOKEN or self.is_owner(find_uid) else None

    def is_guarded(self, session: Session, headers: Mapping[str, str]) -> bool:
        given = headers.get(GUARD_HEADER.lower(), "")
        return hmac.compare_digest(given.encode(), self.guard(session).encode())

    def _sign(self, purpose: str, text: str) -> str:
        message = f"minispark page {purpose} {text}".encode()
        return hmac.new(self._token, message, "sha256").hexdigest()
