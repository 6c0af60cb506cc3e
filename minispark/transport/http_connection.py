"""Connections to an HTTP server of a cluster: http, or https where the cluster uses TLS.

Must not know what is asked.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable
from http.client import HTTPConnection
from urllib.parse import urlsplit

from minispark.errors import ConfigError, NoCluster
from minispark.transport.tls import TlsSocket, client_context, connect_tls

CA_VARIABLE = "MINISPARK_TLS_CA"


def http_connection(
    url: str,
    tls: ssl.SSLContext | None,
    timeout_s: float,
    shake_hands: Callable[[TlsSocket], None] | None = None,
) -> HTTPConnection:
    """As `connection_to`, to the server of the URL, whose path does not count.

    `tls`: without it https:// looks for the CA in `MINISPARK_TLS_CA`. Raises NoCluster for another
    address, ConfigError where no CA is known.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise NoCluster(f"{url} is no address of a master: {error}") from error
    if parts.scheme not in ("http", "https") or not host:
        raise NoCluster(f"{url} is no http:// or https:// address of a master")
    if parts.scheme == "http":
        return connection_to(host, port or 80, None, timeout_s)
    context = tls or _context_of_environment(url)
    return connection_to(host, port or 443, context, timeout_s, shake_hands)


def connection_to(
    host: str,
    port: int,
    tls: ssl.SSLContext | None,
    timeout_s: float,
    shake_hands: Callable[[TlsSocket], None] | None = None,
) -> HTTPConnection:
    """One that connects at its first request. `tls`: whom to believe; None: it is plain http.

    `shake_hands` does so with a patience of its own. What the connection raises is that of
    `http.client`, and of `TlsSocket.shake_hands`.
    """
    if tls is None:
        return HTTPConnection(host, port, timeout=timeout_s)
    shake_hands = shake_hands or (lambda sock: sock.shake_hands(f"{host}:{port}", timeout_s))
    return _HttpsConnection(host, port, timeout_s, tls, shake_hands)


class _HttpsConnection(HTTPConnection):
    default_port = 443

    def __init__(
        self,
        host: str,
        port: int,
        timeout_s: float,
        context: ssl.SSLContext,
        shake_hands: Callable[[TlsSocket], None],
    ) -> None:
        super().__init__(host, port, timeout=timeout_s)
        self._timeout_s = timeout_s
        self._context = context
        self._shake_hands = shake_hands

    def connect(self) -> None:
        super().connect()
        sock = self.sock = connect_tls(self.sock, self._context, self.host)
        try:
            self._shake_hands(sock)
        except BaseException:
            self.close()
            raise
        sock.settimeout(self._timeout_s)


def _context_of_environment(url: str) -> ssl.SSLContext:
    path = os.environ.get(CA_VARIABLE)
    if not path:
        raise ConfigError(
            f"{url} needs the certificate of the cluster's CA: set {CA_VARIABLE} to its file "
            "(ca.pem of `minispark certs`), or name the cluster by --state-dir"
        )
    return client_context(path, CA_VARIABLE)
