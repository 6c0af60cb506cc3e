"""Who may call the HTTP API: a request's Host, Origin and token, or the page's session; and the log
of who may not.

Must not know sockets or routes.
"""

from __future__ import annotations

import hmac
import logging
import threading
import time
from collections.abc import Callable, Mapping
from urllib.parse import urlsplit

from minispark.transport.host import is_loopback, may_be_a_sites
from minispark.transport.page_session import GUARD_HEADER, FindUid, PageSessions
from minispark.transport.router import Access, HttpError

REFUSED = (
    "wrong_token",
    "token_needed",
    "guard_needed",
    "foreign_host",
    "foreign_origin",
    "tls_needed",
    "tls_failed",
)
"""Codes of what an owner wants to know of: somebody tried what is not theirs to do."""
REFUSAL_INTERVAL_S = 1.0

CHALLENGE = {"WWW-Authenticate": "Bearer"}
READING = ("GET", "HEAD")

logger = logging.getLogger("minispark.http")


class Gate:
    """Who may do what: Host, Origin and token of a request."""

    def __init__(
        self,
        token: str | None,
        http_auth: str,
        is_local: bool,
        address: str,
        sessions: PageSessions | None = None,
        is_secure: bool = False,
    ) -> None:
        """`is_local`: the server listens on a loopback address, `address`. `is_secure`: it speaks
        TLS, so that no page that came in plain text is ours; without, a proxy may.
        """
        self._token = token or ""
        self._is_open = http_auth == "never"
        self._is_documented_open = self._is_open or (http_auth == "auto" and is_local)
        self._is_local = is_local
        self._address = address
        self._sessions = sessions
        self._is_secure = is_secure

    def check_origin(self, headers: Mapping[str, str]) -> None:
        """No web page of another site may drive the cluster. Raises HttpError 400 or 403."""
        host = headers.get("host")
        if host is None:
            raise HttpError(400, "no_host", "send a Host header")
        name = _name_of(host)
        if self._is_local:
            is_ours = name == self._address or is_loopback(name)
        else:  # a token keeps other sites out; where none is asked for, only their name tells them
            is_ours = not self._is_open or not may_be_a_sites(name)
        if not is_ours:
            raise HttpError(403, "foreign_host", f"this server is not {host[:100]}")
        origin = headers.get("origin")
        if origin is not None and not self._is_own(origin, host):
            raise HttpError(
                403, "foreign_origin", f"pages of {origin[:100]} may not call this server"
            )

    def _is_own(self, origin: str, host: str) -> bool:
        scheme, _, site = origin.partition("://")
        return site == host and (scheme == "https" or not self._is_secure)

    def knows_token(self, headers: Mapping[str, str]) -> bool:
        """Whether the caller sent the token. Raises HttpError 401 for a wrong one."""
        given = headers.get("authorization")
        if given is None:
            return False
        scheme, _, value = given.partition(" ")
        # nobody knows a token that is none, not even who sends an empty one
        is_right = bool(self._token) and hmac.compare_digest(
            value.strip().encode(), self._token.encode()
        )
        if scheme.lower() != "bearer" or not is_right:
            raise HttpError(401, "wrong_token", "the token is wrong", headers=CHALLENGE)
        return True

    def authenticate(
        self, headers: Mapping[str, str], access: Access, method: str, find_uid: FindUid
    ) -> bool:
        """Whether the caller proved to know the token, or is the page of who did. Raises HttpError
        401, 403.
        """
        if self.knows_token(headers):
            return True
        session = self._sessions.find(headers, find_uid) if self._sessions is not None else None
        if self._sessions is not None and session is not None:
            if method in READING or self._sessions.is_guarded(session, headers):
                return True
            if access is Access.TOKEN and not self._is_open:
                message = f"a page sends {GUARD_HEADER} with what changes something; load it again"
                raise HttpError(403, "guard_needed", message)
        if access is Access.OPEN or self._is_open:
            return False
        if access is Access.DOCUMENTED and self._is_documented_open:
            return False
        raise HttpError(
            401,
            "token_needed",
            "send the cluster's token: Authorization: Bearer <token>",
            headers=CHALLENGE,
        )


def _name_of(host: str) -> str:
    """A Host header's value without its port. Raises HttpError 400."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError as error:
        raise HttpError(400, "bad_host", f"Host is no host name: {error}") from error


class RefusalLog:
    """Says who was refused: one line for each kind and REFUSAL_INTERVAL_S, so that nobody can fill
    the log.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        # Protected by self._lock:
        self._quiet_until: dict[str, float] = {}
        self._unsaid: dict[str, int] = {}

    def note(self, peer: str, error: HttpError) -> None:
        """An answer that is an error; most are of no interest here."""
        code = error.code
        if code not in REFUSED:
            return
        with self._lock:
            now = self._clock()
            if now < self._quiet_until.get(code, now):
                self._unsaid[code] = self._unsaid.get(code, 0) + 1
                return
            self._quiet_until[code] = now + REFUSAL_INTERVAL_S
            unsaid = self._unsaid.pop(code, 0)
        others = f", and {unsaid} more since it was said last" if unsaid else ""
        logger.warning("refused a request of %s: %s (%s)%s", peer, code, error.message, others)
