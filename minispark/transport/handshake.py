"""The first exchange of a session: both sides prove that they know the cluster's token. Sans-IO.

client Hello(nonce) -> server Challenge(nonce, proof) -> client Proof(proof) -> server Welcome.
A proof is HMAC-SHA-256 under the token over the role and both nonces, so that neither a recorded
answer nor the peer's own can be used again. Must not know sockets.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import sys

from minispark import __version__
from minispark.errors import AuthenticationFailed, ProtocolError
from minispark.transport.messages import (
    PROTOCOL_VERSION,
    Challenge,
    Hello,
    Message,
    Proof,
    Refused,
    Welcome,
)

NONCE_BYTES = 16
REFUSAL_CHARS_MAX = 500
"""A reason fits into a stranger's frame, whatever it quotes."""
_NONCE = re.compile(r"[0-9a-f]{32,128}")
PYTHON_VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"


def _proof(token: str, role: str, client_nonce: str, server_nonce: str) -> str:
    for nonce in (client_nonce, server_nonce):
        if _NONCE.fullmatch(nonce) is None:
            raise ProtocolError("a nonce is 16 to 64 bytes in hexadecimal", "bad_message")
    text = f"minispark/{role}/{client_nonce}/{server_nonce}"
    return hmac.new(token.encode(), text.encode(), hashlib.sha256).hexdigest()


def _is_equal(expected: str, given: str) -> bool:
    # bytes, because compare_digest takes no other text than ASCII
    return hmac.compare_digest(expected.encode(), given.encode("utf-8", "replace"))


def refusal(error: ProtocolError) -> Refused:
    """What to tell a peer whose session ends because of `error`."""
    return Refused(error.code, str(error)[:REFUSAL_CHARS_MAX])


def _check_versions(message: Hello | Challenge) -> None:
    if message.protocol != PROTOCOL_VERSION:
        raise ProtocolError(
            f"the peer speaks protocol version {message.protocol}, this side {PROTOCOL_VERSION}",
            "version_mismatch",
        )
    if message.version != __version__:
        raise ProtocolError(
            f"the peer runs Mini-Spark {message.version[:40]!r}, this side {__version__!r}: "
            "install the same version on both",
            "version_mismatch",
        )


class ClientHandshake:
    """The side that connected."""

    def __init__(self, token: str) -> None:
        self._token = token
        self._nonce = secrets.token_hex(NONCE_BYTES)
        self._is_proved = False
        self.is_done = False

    def begin(self) -> tuple[Message, ...]:
        return (Hello(PROTOCOL_VERSION, __version__, PYTHON_VERSION, self._nonce),)

    def receive(self, message: Message) -> tuple[Message, ...]:
        """What to answer. Raises ProtocolError, AuthenticationFailed."""
        match message:
            case Challenge() if not self._is_proved:
                _check_versions(message)
                expected = _proof(self._token, "server", self._nonce, message.nonce)
                if not _is_equal(expected, message.proof):
                    raise AuthenticationFailed("the server does not know this cluster's token")
                self._is_proved = True
                return (Proof(_proof(self._token, "client", self._nonce, message.nonce)),)
            case Welcome() if self._is_proved:
                self.is_done = True
                return ()
            case Refused(code, text):
                if code == "authentication_failed":
                    raise AuthenticationFailed(text)
                raise ProtocolError(text, code)
            case _:
                raise ProtocolError(f"{type(message).__name__} does not belong in a handshake")


class ServerHandshake:
    """The side that accepted."""

    def __init__(self, token: str) -> None:
        self._token = token
        self._nonce = secrets.token_hex(NONCE_BYTES)
        self._client_nonce: str | None = None
        self.is_done = False

    def begin(self) -> tuple[Message, ...]:
        return ()

    def receive(self, message: Message) -> tuple[Message, ...]:
        """What to answer. Raises ProtocolError, AuthenticationFailed."""
        match message:
            case Hello() if self._client_nonce is None:
                _check_versions(message)
                self._client_nonce = message.nonce
                proof = _proof(self._token, "server", message.nonce, self._nonce)
                return (
                    Challenge(PROTOCOL_VERSION, __version__, PYTHON_VERSION, self._nonce, proof),
                )
            case Proof() if self._client_nonce is not None:
                expected = _proof(self._token, "client", self._client_nonce, self._nonce)
                if not _is_equal(expected, message.proof):
                    raise AuthenticationFailed("the peer does not know this cluster's token")
                self.is_done = True
                return (Welcome(),)
            case _:
                raise ProtocolError(
                    f"{type(message).__name__} came before the handshake was done",
                    "not_authenticated",
                )
