"""The standard library's threading HTTP server over a socket that is bound already, with limits.

One thread a connection, keep-alive, at most CONNECTIONS_MAX of them. It checks Host, Origin, the
token and sizes, then calls the router's handler. Must not know what handlers do.
"""

from __future__ import annotations

import hmac
import ipaddress
import logging
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from minispark import __version__
from minispark.errors import ClusterError, InvalidRequest, NotFound
from minispark.transport.accepting import ACCEPT_PAUSE_S, Acceptor
from minispark.transport.router import (
    Access,
    HttpError,
    Request,
    Response,
    Router,
    error_response,
)

BODY_BYTES_MAX = 16 * 2**20
CONNECTIONS_MAX = 256
IDLE_TIMEOUT_S = 60.0
"""A connection that sends nothing for so long is closed; so is one that reads nothing."""
QUERY_FIELDS_MAX = 32
BACKLOG = 128

_FULL = b'{"error":{"code":"too_many_connections","message":"try again in a second"}}'

logger = logging.getLogger("minispark.http")


class HttpServer:
    """Serves `router` on a listening socket from a background thread."""

    def __init__(
        self,
        sock: socket.socket,
        router: Router,
        *,
        token: str | None,
        http_auth: str = "auto",
        is_loopback: bool = True,
        idle_timeout_s: float = IDLE_TIMEOUT_S,
        connections_max: int = CONNECTIONS_MAX,
    ) -> None:
        """`http_auth`: `auto` opens documented routes on loopback, `required` none, `never` all."""
        self._gate = Gate(token, http_auth, is_loopback, sock.getsockname()[0])
        self._server = _Server(sock, router, self._gate, idle_timeout_s, connections_max)
        self._thread = threading.Thread(
            target=self._server.serve_forever,
            kwargs={"poll_interval": 0.1},
            name="http",
            daemon=True,
        )

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Accept no more, and close every connection that is open."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()
        self._server.close_connections()


class Gate:
    """Who may do what: Host, Origin and token of a request."""

    def __init__(self, token: str | None, http_auth: str, is_loopback: bool, address: str) -> None:
        self._token = token or ""
        self._is_open = http_auth == "never"
        self._is_documented_open = self._is_open or (http_auth == "auto" and is_loopback)
        self._is_loopback = is_loopback
        self._address = address

    def check_origin(self, headers: dict[str, str]) -> None:
        """No web page of another site may drive the cluster. Raises HttpError 400 or 403."""
        host = headers.get("host")
        if host is None:
            raise HttpError(400, "no_host", "send a Host header")
        if self._is_loopback and not _is_own_name(host, self._address):
            raise HttpError(403, "foreign_host", f"this server is not {host[:100]}")
        origin = headers.get("origin")
        if origin is not None and origin.partition("://")[2] != host:
            raise HttpError(
                403, "foreign_origin", f"pages of {origin[:100]} may not call this server"
            )

    def authenticate(self, headers: dict[str, str], access: Access) -> bool:
        """Whether the caller proved to know the token. Raises HttpError 401."""
        given = headers.get("authorization")
        challenge = {"WWW-Authenticate": "Bearer"}
        if given is not None:
            scheme, _, value = given.partition(" ")
            # nobody knows a token that is none, not even who sends an empty one
            is_right = bool(self._token) and hmac.compare_digest(
                value.strip().encode(), self._token.encode()
            )
            if scheme.lower() != "bearer" or not is_right:
                raise HttpError(401, "wrong_token", "the token is wrong", headers=challenge)
            return True
        if access is Access.OPEN or self._is_open:
            return False
        if access is Access.DOCUMENTED and self._is_documented_open:
            return False
        raise HttpError(
            401,
            "token_needed",
            "send the cluster's token: Authorization: Bearer <token>",
            headers=challenge,
        )


def _is_own_name(host: str, address: str) -> bool:
    name = urlsplit(f"//{host}").hostname or ""
    if name in ("localhost", address):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    allow_reuse_address = False

    def __init__(
        self,
        sock: socket.socket,
        router: Router,
        gate: Gate,
        idle_timeout_s: float,
        connections_max: int,
    ) -> None:
        super().__init__(sock.getsockname()[:2], _Handler, bind_and_activate=False)
        self.socket.close()  # the one that the base class made; ours is bound already
        sock.setblocking(True)
        self.socket = sock
        self._acceptor = Acceptor(sock, "http", logger)
        self.router = router
        self.gate = gate
        self.idle_timeout_s = idle_timeout_s
        self._connections_max = connections_max
        self._lock = threading.Lock()
        # Protected by self._lock:
        self._open: dict[socket.socket, None] = {}

    def get_request(self) -> tuple[socket.socket, Any]:
        taken = self._acceptor.accept()
        if taken is not None:
            return taken
        if self._acceptor.is_exhausted:
            time.sleep(ACCEPT_PAUSE_S)
        raise OSError("nobody was taken in")  # for the base class, which then tries again

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._lock:
            is_full = len(self._open) >= self._connections_max
            if not is_full:
                self._open[request] = None
        if is_full:
            self._turn_away(request)
            return
        super().process_request(request, client_address)

    def _turn_away(self, request: socket.socket) -> None:
        try:
            request.settimeout(0.2)
            request.sendall(
                b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nRetry-After: 1\r\n"
                b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
                % (len(_FULL), _FULL)
            )
        except OSError:
            pass  # it was to be closed anyway
        super().shutdown_request(request)

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._open.pop(request, None)
        super().shutdown_request(request)

    def close_connections(self) -> None:
        with self._lock:
            connections = list(self._open)
        for connection in connections:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # closed in the meantime

    def handle_error(self, request: Any, client_address: Any) -> None:
        logger.debug("the connection of %s broke", client_address)


class _Handler(BaseHTTPRequestHandler):
    """One connection: requests one after the other."""

    server: _Server
    protocol_version = "HTTP/1.1"
    server_version = f"minispark/{__version__}"
    sys_version = ""
    # one segment an answer: with Nagle's algorithm and delayed ACKs it would take 44 ms
    wbufsize = -1
    disable_nagle_algorithm = True

    def setup(self) -> None:
        self.request.settimeout(self.server.idle_timeout_s)
        super().setup()

    def _serve(self) -> None:
        self._body_left = 0
        try:
            response = self._answer()
        except HttpError as error:
            response = error_response(error)
        except InvalidRequest as error:
            response = error_response(HttpError(400, error.code, str(error), error.field))
        except NotFound as error:
            response = error_response(HttpError(404, "not_found", str(error)))
        except ClusterError as error:
            headers = {"Retry-After": "1"}
            response = error_response(HttpError(503, "unavailable", str(error), headers=headers))
        except (TimeoutError, ConnectionError):
            self.close_connection = True
            return
        except Exception:
            logger.exception("%s %s failed", self.command, self.path)
            response = error_response(
                HttpError(500, "internal", "the server failed; its log says why")
            )
        if self._body_left:
            self.close_connection = True  # what was not read cannot be told from the next request
        self._send(response)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_PATCH = do_OPTIONS = _serve

    def _answer(self) -> Response:
        headers = {name.lower(): value for name, value in self.headers.items()}
        self._body_left = self._body_length(headers)
        if self._body_left > BODY_BYTES_MAX:
            raise HttpError(413, "body_too_large", f"a body has at most {BODY_BYTES_MAX} bytes")
        self.server.gate.check_origin(headers)
        target = urlsplit(self.path)
        # a wrong token is wrong everywhere, whatever the path
        self.server.gate.authenticate(headers, Access.OPEN)
        route, params = self.server.router.resolve(self.command, target.path)
        is_authenticated = self.server.gate.authenticate(headers, route.access)
        try:
            query = dict(
                parse_qsl(target.query, keep_blank_values=True, max_num_fields=QUERY_FIELDS_MAX)
            )
        except ValueError as error:
            raise HttpError(400, "invalid_query", str(error)) from error
        body = self._read_body()
        request = Request(
            method=self.command,
            path=target.path,
            params=params,
            query=query,
            headers=headers,
            body=body,
            peer=str(self.client_address[0]),
            is_authenticated=is_authenticated,
        )
        return route.handler(request)

    def _body_length(self, headers: dict[str, str]) -> int:
        if "transfer-encoding" in headers:
            self._body_left = 1
            raise HttpError(411, "length_required", "send a body with Content-Length")
        text = headers.get("content-length", "0")
        if len(set(self.headers.get_all("Content-Length", ["0"]))) > 1:
            text = "several"
        if not (text.isascii() and text.isdigit()):
            self._body_left = 1
            raise HttpError(400, "bad_content_length", "Content-Length is no whole number")
        return int(text[:18])

    def _read_body(self) -> bytes:
        body = self.rfile.read(self._body_left)
        if len(body) < self._body_left:
            raise ConnectionError("the body ended early")
        self._body_left = 0
        return body

    def _send(self, response: Response) -> None:
        self.send_response(response.status)
        for name, value in response.headers.items():
            self.send_header(name, value)
        if response.content_type is not None:
            self.send_header("Content-Type", response.content_type)
        is_chunked = response.stream is not None and self.request_version != "HTTP/1.0"
        if is_chunked:
            self.send_header("Transfer-Encoding", "chunked")
        elif response.stream is not None:
            self.close_connection = True  # the end of the connection is the end of the body
        elif response.status != 204:
            self.send_header("Content-Length", str(len(response.body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command == "HEAD":
            return
        if response.stream is not None:
            self._send_stream(response.stream, b"%x\r\n%b\r\n" if is_chunked else None)
        else:
            self.wfile.write(response.body)

    def _send_stream(self, stream: Iterator[bytes], chunked: bytes | None) -> None:
        try:
            for chunk in stream:
                if chunk:
                    self.wfile.write(chunk if chunked is None else chunked % (len(chunk), chunk))
        except OSError:
            self.close_connection = True
        except Exception:
            # the status is out already: a missing last chunk is how the client learns of it
            logger.exception("%s %s failed while it was streamed", self.command, self.path)
            self.close_connection = True
        else:
            if chunked is not None:
                self.wfile.write(b"0\r\n\r\n")

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """A request that the standard library could not parse."""
        self.close_connection = True
        self.request_version = "HTTP/1.1"  # answered with a status line, whatever came
        self._send(error_response(HttpError(code, "bad_request", message or "bad request")))

    def log_message(self, format: str, *args: Any) -> None:
        logger.debug("%s %s", self.client_address[0], format % args)
