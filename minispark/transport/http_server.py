"""The standard library's threading HTTP server over a socket that is bound already, with limits.

One thread a connection, keep-alive, at most CONNECTIONS_MAX of them. It reads a request within its
limits, passes it through the gate, then calls the router's handler. Must not know what handlers do.
"""

from __future__ import annotations

import io
import logging
import selectors
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from email.errors import (
    FirstHeaderLineIsContinuationDefect,
    InvalidHeaderDefect,
    MisplacedEnvelopeHeaderDefect,
    MissingHeaderBodySeparatorDefect,
)
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from minispark import __version__
from minispark.errors import ClusterError, InvalidRequest, NotFound, ProtocolError, TokenNeeded
from minispark.transport.accepting import ACCEPT_PAUSE_S, Acceptor
from minispark.transport.connection_slots import ConnectionSlots
from minispark.transport.gate import CHALLENGE, Gate, RefusalLog
from minispark.transport.page_session import PageSessions
from minispark.transport.peer_uid import uid_of_peer
from minispark.transport.request_limits import REQUEST_S_MAX, BodyRoom, RequestReader
from minispark.transport.router import (
    HttpError,
    Request,
    Response,
    Router,
    error_response,
)
from minispark.transport.tls import TLS_NEEDED, TlsSocket, serve_tls

BODY_BYTES_MAX = 16 * 2**20
CONNECTIONS_MAX = 256
IDLE_TIMEOUT_S = 60.0
"""A connection that sends nothing for so long is closed; so is one that reads nothing."""
QUERY_FIELDS_MAX = 32
LINE_BYTES_MAX = 65536
LENGTH_DIGITS_MAX = 18

_BROKEN_HEADERS = (
    FirstHeaderLineIsContinuationDefect,
    InvalidHeaderDefect,
    MisplacedEnvelopeHeaderDefect,
    MissingHeaderBodySeparatorDefect,
)
"""What the standard library thinks of lines that are no header; it drops them, and others too."""
PLAIN_BYTES_MAX = 65536
"""Read of who speaks plain HTTP to a TLS port, so that the answer is not lost to a reset."""
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
        sessions: PageSessions | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """`http_auth`: `auto` opens documented routes on loopback, `required` none, `never` all.
        With `tls` it serves https only.
        """
        address = sock.getsockname()[0]
        gate = Gate(token, http_auth, is_loopback, address, sessions, is_secure=tls is not None)
        self._server = _Server(sock, router, gate, idle_timeout_s, connections_max, tls)
        self._thread = threading.Thread(
            target=self._server.serve_until_woken, name="http", daemon=True
        )

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Accept no more, and close every connection that is open."""
        if self._thread.is_alive():
            self._server.wake()
            self._thread.join()
        self._server.server_close()
        self._server.slots.shut_all()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    allow_reuse_address = False
    timeout = 0  # of `handle_request`: whoever was there may be gone

    def __init__(
        self,
        sock: socket.socket,
        router: Router,
        gate: Gate,
        idle_timeout_s: float,
        connections_max: int,
        tls: ssl.SSLContext | None,
    ) -> None:
        super().__init__(sock.getsockname()[:2], _Handler, bind_and_activate=False)
        self.socket.close()  # the one that the base class made; ours is bound already
        sock.setblocking(True)
        self.socket = sock
        self._acceptor = Acceptor(sock, "http", logger)
        self.router = router
        self.gate = gate
        self.refusals = RefusalLog()
        self.body_room = BodyRoom()
        self.idle_timeout_s = idle_timeout_s
        self.slots = ConnectionSlots(connections_max)
        self._tls = tls
        self._wake_read, self._wake_write = socket.socketpair()

    def serve_until_woken(self) -> None:
        """`serve_forever` looks now and then whether it is to end: who stops it would wait."""
        with selectors.DefaultSelector() as selector:
            selector.register(self.socket, selectors.EVENT_READ)
            selector.register(self._wake_read, selectors.EVENT_READ)
            while self._wake_read not in [key.fileobj for key, _ in selector.select()]:
                self.handle_request()

    def wake(self) -> None:
        self._wake_write.send(b"w")

    def server_close(self) -> None:
        super().server_close()
        self._wake_read.close()
        self._wake_write.close()

    def get_request(self) -> tuple[socket.socket, Any]:
        taken = self._acceptor.accept()
        if taken is not None and self._tls is not None:
            return serve_tls(taken[0], self._tls), taken[1]
        if taken is not None:
            return taken
        if self._acceptor.is_exhausted:
            time.sleep(ACCEPT_PAUSE_S)
        raise OSError("nobody was taken in")  # for the base class, which then tries again

    def process_request(self, request: Any, client_address: Any) -> None:
        if self.slots.enter(request):
            super().process_request(request, client_address)
        else:
            self._turn_away(request)

    def _turn_away(self, request: socket.socket) -> None:
        try:
            request.settimeout(0.2)
            if not isinstance(request, TlsSocket):  # shaking hands takes what the peer likes
                request.sendall(_whole_answer("503 Service Unavailable", _FULL, "Retry-After: 1"))
        except OSError:
            pass  # it was to be closed anyway
        super().shutdown_request(request)

    def shutdown_request(self, request: Any) -> None:
        self.slots.leave(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        logger.debug("the connection of %s broke", client_address)


def _whole_answer(status: str, body: bytes, header: str) -> bytes:
    """For who cannot be served. `body`: JSON."""
    head = f"HTTP/1.1 {status}\r\nConnection: close\r\n{header}\r\n"
    head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


class _PeerGone(Exception):
    """There is nobody left to answer."""


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
        if isinstance(self.request, TlsSocket):
            self._begin_tls(self.request)
        super().setup()
        self.rfile.close()
        self._reader = RequestReader(self.connection, self.server.idle_timeout_s)
        self.rfile = io.BufferedReader(self._reader)
        self._uid: int | None = None

    def _begin_tls(self, sock: TlsSocket) -> None:
        """Raises what ends the connection; who is not to be served gives way meanwhile."""
        self.server.slots.wait(sock)
        try:
            sock.shake_hands("the client", min(REQUEST_S_MAX, self.server.idle_timeout_s))
        except ProtocolError as error:
            refused = HttpError(400, error.code, str(error))
            self.server.refusals.note(self.client_address[0], refused)
            if error.code == TLS_NEEDED:
                body = error_response(refused).body
                sock.send_plain(_whole_answer("400 Bad Request", body, "Cache-Control: no-store"))
                sock.shutdown(socket.SHUT_WR)
                sock.settimeout(1.0)
                sock.read_plain(PLAIN_BYTES_MAX)
            raise

    def finish(self) -> None:
        try:
            self.wfile.flush()
            self._reader.linger()
        except OSError:
            pass  # nobody reads the last answer
        super().finish()

    def handle_one_request(self) -> None:
        """Read one request and answer it, whatever its method: the router knows which there are."""
        self.command = self.requestline = ""
        self._reader.await_request()
        self.server.slots.wait(self.connection)
        try:
            self.raw_requestline = self.rfile.readline(LINE_BYTES_MAX + 1)
            if not self.raw_requestline:
                self.close_connection = True
            elif len(self.raw_requestline) > LINE_BYTES_MAX:
                self.send_error(414)
            elif self.parse_request():
                self._serve()
            self.wfile.flush()
        except HttpError as error:  # of a head that does not end
            self.send_error(error.status, error.message)
        except (TimeoutError, ConnectionError):
            self.close_connection = True

    def _serve(self) -> None:
        self._body_left = 0
        try:
            response = self._answer()
        except HttpError as error:
            self.server.refusals.note(self.client_address[0], error)
            response = error_response(error)
        except InvalidRequest as error:
            response = error_response(HttpError(400, error.code, str(error), error.field))
        except TokenNeeded as error:
            response = error_response(HttpError(401, "token_needed", str(error), headers=CHALLENGE))
        except NotFound as error:
            response = error_response(HttpError(404, "not_found", str(error)))
        except ClusterError as error:
            headers = {"Retry-After": "1"}
            response = error_response(HttpError(503, "unavailable", str(error), headers=headers))
        except _PeerGone:
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

    def _answer(self) -> Response:
        headers = self._checked_headers()
        self.server.gate.check_origin(headers)
        try:
            target = urlsplit(self.path)
        except ValueError as error:
            raise HttpError(400, "bad_target", f"this is no path: {error}") from error
        # a wrong token is wrong everywhere, whatever the path
        self.server.gate.knows_token(headers)
        route, params = self.server.router.resolve(self.command, target.path)
        is_authenticated = self.server.gate.authenticate(
            headers, route.access, self.command, self._find_uid
        )
        try:
            query = dict(
                parse_qsl(target.query, keep_blank_values=True, max_num_fields=QUERY_FIELDS_MAX)
            )
        except ValueError as error:
            raise HttpError(400, "invalid_query", str(error)) from error
        with self.server.body_room.take(self._body_left):
            request = Request(
                method=self.command,
                path=target.path,
                params=params,
                query=query,
                headers=headers,
                body=self._read_body(),
                peer=str(self.client_address[0]),
                is_authenticated=is_authenticated,
                find_uid=self._find_uid,
                declared=route.description.parameters,
            )
            self.server.slots.serve(self.connection)
            return route.handler(request)

    def _find_uid(self) -> int | None:
        """Of the peer's user, once for a connection: it stays the same socket."""
        if self._uid is None:
            self._uid = uid_of_peer(self.connection)
        return self._uid

    def _checked_headers(self) -> dict[str, str]:
        """By name in lower case. Raises HttpError for what makes it unclear where the body ends."""
        self._body_left = 1  # or nobody knows how many
        if any(isinstance(defect, _BROKEN_HEADERS) for defect in self.headers.defects):
            raise HttpError(400, "bad_header", "a header line is no `name: value`")
        for name in ("Host", "Content-Length"):
            if len(set(self.headers.get_all(name, []))) > 1:
                raise HttpError(400, "bad_header", f"there are several {name} headers")
        headers = {name.lower(): value for name, value in self.headers.items()}
        if "transfer-encoding" in headers:
            raise HttpError(411, "length_required", "send a body with Content-Length")
        text = headers.get("content-length", "0")
        if not (text.isascii() and text.isdigit()) or len(text) > LENGTH_DIGITS_MAX:
            raise HttpError(400, "bad_content_length", "Content-Length is no whole number")
        self._body_left = int(text)
        if self._body_left > BODY_BYTES_MAX:
            raise HttpError(413, "body_too_large", f"a body has at most {BODY_BYTES_MAX} bytes")
        return headers

    def _read_body(self) -> bytes:
        self._reader.await_body(self._body_left)
        try:
            body = self.rfile.read(self._body_left)
        except TimeoutError as error:
            raise HttpError(408, "too_slow", "the body did not arrive in time") from error
        except ConnectionError as error:
            raise _PeerGone from error
        if len(body) < self._body_left:
            raise _PeerGone
        self._body_left = 0
        return body

    def _send(self, response: Response) -> None:
        self.send_response(response.status)
        for name, value in response.headers.items():
            self.send_header(name, value)
        if response.content_type is not None:
            self.send_header("Content-Type", response.content_type)
            self.send_header("X-Content-Type-Options", "nosniff")
        is_sized = response.stream_bytes is not None
        is_chunked = (
            response.stream is not None and not is_sized and self.request_version != "HTTP/1.0"
        )
        if is_chunked:
            self.send_header("Transfer-Encoding", "chunked")
        elif is_sized:
            self.send_header("Content-Length", str(response.stream_bytes))
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
            chunked = b"%x\r\n%b\r\n" if is_chunked else None
            self._send_stream(response.stream, chunked, response.is_live)
        else:
            self.wfile.write(response.body)

    def _send_stream(self, stream: Iterator[bytes], chunked: bytes | None, is_live: bool) -> None:
        try:
            for chunk in stream:
                if chunk:
                    self.wfile.write(chunk if chunked is None else chunked % (len(chunk), chunk))
                if is_live:
                    self.wfile.flush()
                if is_live and not chunk and self._reader.has_ended():
                    # without news there is nothing to fail with
                    raise ConnectionAbortedError("nobody follows any more")
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
