"""TLS for every port: the one place that makes contexts, and sockets that speak it and block.

A client believes a server whose certificate the cluster's own CA signed for the address that it
connects to, and nobody else. Servers do not ask clients for certificates: the token says who they
are (ADR 22). Must not know what is said.
"""

from __future__ import annotations

import errno
import socket
import ssl
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from minispark.errors import ConfigError, ProtocolError
from minispark.model.settings import TlsSection

TLS_NEEDED = "tls_needed"
NOT_TLS = "not_tls"
BAD_CERTIFICATE = "bad_certificate"
TLS_FAILED = "tls_failed"
"""Codes of errors of this module."""
HANDSHAKE_RECORD = 0x16
"""The first byte of whoever begins TLS. Source: RFC 8446, 5.1."""
RECORD_BYTES = 16 * 1024
"""The most that is enciphered in one piece. Source: RFC 8446, 5.1."""
_PLAIN_REASONS = (
    "WRONG_VERSION_NUMBER",
    "HTTP_REQUEST",
    "RECORD_LAYER_FAILURE",
    "PACKET_LENGTH_TOO_LONG",
)
"""What OpenSSL's versions say of an answer that is no TLS."""


@dataclass(frozen=True, slots=True)
class Tls:
    """What a process of the cluster needs: it serves, and it connects to others. Both are None
    where TLS is off.
    """

    server: ssl.SSLContext | None
    client: ssl.SSLContext | None


def tls_of(section: TlsSection) -> Tls:
    """Raises ConfigError for a file that cannot be read, or is not what it has to be."""
    if not section.is_on:
        return Tls(None, None)
    return Tls(_server_context(section.cert, section.key), client_context(section.ca))


def _server_context(cert: str, key: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _prepare(context)
    _check_readable("security.tls.cert", cert)
    _check_readable("security.tls.key", key)
    try:
        context.load_cert_chain(cert, key, _no_password)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise ConfigError(
                f"security.tls.key {key} is not the key of security.tls.cert {cert}"
            ) from error
        raise ConfigError(
            f"security.tls.cert {cert} and security.tls.key {key} must hold a certificate and its "
            f"key in PEM: {error.reason or error}"
        ) from error
    # nobody resumes a session; and what is sent after a handshake is then always an answer
    context.num_tickets = 0
    return context


def _no_password() -> str:
    raise ConfigError("security.tls.key is encrypted: nobody is there to type its password")


def client_context(ca: str, key: str = "security.tls.ca") -> ssl.SSLContext:
    """Believes only what the CA in that file signed. Raises ConfigError; `key`: who named it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    _prepare(context)
    context.hostname_checks_common_name = False
    _check_readable(key, ca)
    try:
        context.load_verify_locations(ca)
    except ssl.SSLError as error:
        raise ConfigError(f"{key} {ca} holds no certificate in PEM") from error
    return context


def _prepare(context: ssl.SSLContext) -> None:
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_TICKET
    context.sslsocket_class = TlsSocket


def _check_readable(key: str, path: str) -> None:
    try:
        Path(path).read_bytes()
    except OSError as error:
        raise ConfigError(f"{key} {path} cannot be read: {error.strerror}") from error


# --- errors ---------------------------------------------------------------------------------------


def tls_needed() -> ProtocolError:
    """For a peer that speaks to a TLS port as if it were none."""
    return ProtocolError(
        "this port speaks TLS only: use https://, or set security.tls (MINISPARK_TLS_CERT, _KEY "
        "and _CA)",
        TLS_NEEDED,
    )


def explained(error: ssl.SSLError, peer: str) -> Exception:
    """What it means that a handshake failed: ProtocolError where trying again would not help,
    EOFError where the peer only went away. `peer`: whose it was, for people.
    """
    if isinstance(error, ssl.SSLCertVerificationError):
        why = error.verify_message.rstrip(".")
        return ProtocolError(f"the certificate of {peer} is not valid here: {why}", BAD_CERTIFICATE)
    if isinstance(error, (ssl.SSLEOFError, ssl.SSLZeroReturnError)):
        return EOFError(f"{peer} closed the connection within the TLS handshake")
    if error.reason in _PLAIN_REASONS:
        return ProtocolError(f"{peer} does not speak TLS", NOT_TLS)
    reason = (error.reason or str(error)).lower().replace("_", " ")
    return ProtocolError(f"no TLS with {peer}: {reason}", TLS_FAILED)


# --- sockets that block ---------------------------------------------------------------------------


class TlsSocket(ssl.SSLSocket):
    """Ends in order, and is never used in plain text again by whoever still holds it.

    What breaks within a session is a ConnectionError, as it is without TLS.
    """

    def shake_hands(self, peer: str, timeout_s: float) -> None:
        """Raises TimeoutError, EOFError, OSError, ProtocolError; of a server's side with TLS_NEEDED
        for a client that speaks none, whose bytes are unread then.
        """
        deadline = time.monotonic() + timeout_s
        self.settimeout(timeout_s)
        if self.server_side:
            first = peek(self)
            if not first:
                raise EOFError("the connection closed")
            if first[0] != HANDSHAKE_RECORD:
                raise tls_needed()
        self.settimeout(max(0.001, deadline - time.monotonic()))
        try:
            self.do_handshake()
        except ssl.SSLError as error:
            raise explained(error, peer) from error

    def send_plain(self, data: bytes) -> None:
        """Before any handshake: the answer to a peer that speaks no TLS. Raises OSError."""
        socket.socket.sendall(self, data)

    def read_plain(self, size: int) -> bytes:
        """As `send_plain`."""
        return socket.socket.recv(self, size)

    def read(self, len: int = 1024, buffer: Any = None) -> Any:
        try:
            return super().read(len, buffer)
        except ssl.SSLWantReadError as error:
            raise BlockingIOError(errno.EAGAIN, "nothing is here") from error
        except ssl.SSLError as error:
            raise ConnectionAbortedError(errno.ECONNABORTED, f"TLS: {error.reason}") from error

    def send(self, data: Any, flags: int = 0) -> int:
        """At most RECORD_BYTES: the socket's timeout is for all of a write, and whoever reads
        slowly, but reads, is not to be given up.
        """
        try:
            with memoryview(data) as view:
                return super().send(view[:RECORD_BYTES], flags)
        except ssl.SSLWantWriteError as error:
            raise BlockingIOError(errno.EAGAIN, "there is no room") from error
        except ssl.SSLError as error:
            raise ConnectionAbortedError(errno.ECONNABORTED, f"TLS: {error.reason}") from error

    def shutdown(self, how: int) -> None:
        """The base class would go on in plain text."""
        if how == socket.SHUT_WR:
            self._say_end()
        socket.socket.shutdown(self, how)

    def _say_end(self) -> None:
        """Without waiting for the peer to say so too."""
        timeout_s = self.gettimeout()
        self.settimeout(0.0)
        try:
            self.unwrap()
        except (OSError, ValueError):
            pass  # said, or there was no session, or nobody is there
        self.settimeout(timeout_s)


def serve_tls(sock: socket.socket, context: ssl.SSLContext) -> TlsSocket:
    """The accepted socket as one that is to shake hands, which nobody here waits for.

    Raises OSError; the connection is closed then.
    """
    try:
        return cast(
            TlsSocket, context.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
        )
    except BaseException:
        sock.close()
        raise


def connect_tls(sock: socket.socket, context: ssl.SSLContext, host: str) -> TlsSocket:
    """The connected socket as one that is to shake hands with `host`. Raises as `serve_tls`."""
    try:
        return cast(
            TlsSocket,
            context.wrap_socket(sock, server_hostname=host, do_handshake_on_connect=False),
        )
    except BaseException:
        sock.close()
        raise


def peek(sock: socket.socket) -> bytes:
    """The next byte on the wire, enciphered or not, which stays there; b"" at the end. Waits as
    the socket's timeout says. Raises OSError.
    """
    return socket.socket.recv(sock, 1, socket.MSG_PEEK)
