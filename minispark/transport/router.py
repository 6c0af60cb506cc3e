"""Requests, responses and routes of the HTTP API. Must not know sockets, nor what handlers do."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, NoReturn
from urllib.parse import unquote

JSON_TYPE = "application/json"
TEXT_TYPE = "text/plain; charset=utf-8"
DIGITS_MAX = 18
"""Of a number in a query string."""


class HttpError(Exception):
    """An answer that is an error: `{"error": {"code", "message", "field"}}`."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        field: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.field = field
        self.headers = dict(headers or {})


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request, its path matched and its peer's right checked."""

    method: str
    path: str
    params: Mapping[str, str]
    """From the route's template."""
    query: Mapping[str, str]
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes
    peer: str
    is_authenticated: bool
    find_uid: Callable[[], int | None] = lambda: None
    """Which user of this host the peer runs as, if anybody knows."""

    def json(self) -> Any:
        """The body's JSON. Raises HttpError 415 or 400."""
        content_type = self.headers.get("content-type", JSON_TYPE).partition(";")[0].strip().lower()
        if content_type != JSON_TYPE:
            raise HttpError(
                415, "not_json", f"send {JSON_TYPE} as Content-Type, not {content_type}"
            )
        try:
            value = json.loads(self.body.decode("utf-8-sig"), parse_constant=_no_constant)
        except (ValueError, RecursionError) as error:
            raise HttpError(400, "malformed_json", f"the body is no JSON: {error}") from error
        _refuse_half_pairs(value)
        return value

    def number(self, name: str, default: int, least: int, most: int) -> int:
        """A whole number of the query string. Raises HttpError 400 that names it."""
        text = self.query.get(name)
        if text is None:
            return default
        is_number = text.isascii() and text.isdigit() and len(text) <= DIGITS_MAX
        if not is_number or not least <= int(text) <= most:
            raise HttpError(
                400, "invalid_query", f"{name} must be a whole number from {least} to {most}", name
            )
        return int(text)


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


def _refuse_half_pairs(value: Any) -> None:
    """JSON can escape half of a surrogate pair, which no file, database or answer can hold."""
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, str):
            try:
                one.encode()
            except UnicodeEncodeError as error:
                near = one[max(0, error.start - 20) : error.start + 20]
                raise HttpError(
                    400,
                    "invalid_json",
                    f"the string {near!a} holds half of a surrogate pair, which is no text",
                ) from error
        elif isinstance(one, list):
            waiting += one
        elif isinstance(one, dict):
            waiting += one
            waiting += one.values()


@dataclass(frozen=True, slots=True)
class Response:
    """`stream`, when given, replaces `body` and is sent in chunks; each at once if `is_live`."""

    status: int = 200
    body: bytes = b""
    content_type: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    stream: Iterator[bytes] | None = None
    is_live: bool = False


def json_response(value: Any, status: int = 200) -> Response:
    body = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
    return Response(status, body, JSON_TYPE)


def text_response(text: str, status: int = 200) -> Response:
    return Response(status, text.encode(), TEXT_TYPE)


def error_response(error: HttpError) -> Response:
    """Never fails: what is no text (a file's name need not be UTF-8) is written as an escape."""
    document: dict[str, str] = {"code": error.code, "message": error.message}
    if error.field is not None:
        document["field"] = error.field
    document = {
        name: text.encode("utf-8", "backslashreplace").decode() for name, text in document.items()
    }
    answer = json_response({"error": document}, error.status)
    return Response(answer.status, answer.body, answer.content_type, error.headers)


class Access(Enum):
    """Who may call a route."""

    OPEN = "open"
    """Everybody."""
    DOCUMENTED = "documented"
    """As in the reference system: everybody on loopback, unless `http_auth` is `required`."""
    TOKEN = "token"
    """Holders of the token."""


Handler = Callable[[Request], Response]


@dataclass(frozen=True, slots=True)
class Route:
    """`template` is a path whose segments in braces are parameters: `/api/v1/jobs/{id}`."""

    method: str
    template: str
    handler: Handler
    access: Access
    summary: str
    has_effects: bool

    def match(self, segments: list[str]) -> dict[str, str] | None:
        mine = self.template.split("/")
        if len(mine) != len(segments):
            return None
        params: dict[str, str] = {}
        for name, segment in zip(mine, segments, strict=True):
            if name.startswith("{"):
                params[name[1:-1]] = unquote(segment)
            elif name != segment:
                return None
        return params


class Router:
    """Routes in order; a literal route goes before one with parameters that would match it too."""

    def __init__(self) -> None:
        self.routes: list[Route] = []

    def add(
        self,
        method: str,
        template: str,
        handler: Handler,
        *,
        access: Access = Access.DOCUMENTED,
        summary: str,
        has_effects: bool = False,
    ) -> None:
        """`has_effects`: of a GET after which something is not as before; HEAD is none of it."""
        self.routes.append(Route(method, template, handler, access, summary, has_effects))

    def resolve(self, method: str, path: str) -> tuple[Route, dict[str, str]]:
        """The route and its parameters; HEAD finds GET's that have no effects. Raises HttpError
        404, or 405 with Allow.
        """
        segments = path.split("/")
        allowed: list[str] = []
        for route in self.routes:
            params = route.match(segments)
            if params is None:
                continue
            is_head = method == "HEAD" and route.method == "GET" and not route.has_effects
            if route.method == method or is_head:
                return route, params
            allowed.append(route.method)
        if allowed:
            names = ", ".join(allowed)
            raise HttpError(
                405, "method_not_allowed", f"{path} takes {names}", headers={"Allow": names}
            )
        raise HttpError(404, "not_found", f"there is nothing at {path[:200]}")
