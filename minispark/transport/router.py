"""Requests, responses and routes of the HTTP API. Must not know sockets, nor what handlers do."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, NoReturn
from urllib.parse import unquote

from minispark.errors import InvariantViolation
from minispark.model.ids import is_uuid
from minispark.transport.api_schema import (
    JSON_TYPE,
    ChoiceQuery,
    Description,
    Header,
    Id,
    OptionalId,
    OptionalWhole,
    Parameter,
    PathName,
    TextQuery,
    WholeQuery,
)

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
    declared: tuple[Parameter, ...] = ()
    """What the route's description says that it reads."""

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

    def number(self, parameter: WholeQuery) -> int:
        """Raises HttpError 400 that names it."""
        self._check_declared(parameter)
        text = self.query.get(parameter.name)
        if text is None:
            return parameter.default
        return self._whole(parameter, text)

    def optional_number(self, parameter: OptionalWhole) -> int | None:
        """Raises HttpError 400 that names it."""
        self._check_declared(parameter)
        text = self.query.get(parameter.name)
        return None if text is None else self._whole(parameter, text)

    @staticmethod
    def _whole(parameter: WholeQuery | OptionalWhole, text: str) -> int:
        least, most = parameter.least, parameter.most
        is_number = text.isascii() and text.isdigit() and len(text) <= DIGITS_MAX
        if not is_number or not least <= int(text) <= most:
            raise _invalid_query(parameter.name, f"must be a whole number from {least} to {most}")
        return int(text)

    def choice(self, parameter: ChoiceQuery) -> str | None:
        """Raises HttpError 400 that names it."""
        self._check_declared(parameter)
        value = self.query.get(parameter.name)
        if value is not None and value not in parameter.values:
            raise _invalid_query(parameter.name, f"is one of {', '.join(parameter.values)}")
        return value

    def text(self, parameter: TextQuery) -> str:
        """Raises HttpError 400 that names it."""
        self._check_declared(parameter)
        value = self.query.get(parameter.name, parameter.default)
        if value is None:
            raise _invalid_query(parameter.name, "is missing")
        if len(value) > parameter.chars_max:
            raise _invalid_query(parameter.name, f"has at most {parameter.chars_max} characters")
        return value

    def id(self, parameter: Id) -> str:
        """In lower case. Raises HttpError 400 that names it."""
        self._check_declared(parameter)
        values = self.params if parameter.is_in_path else self.query
        return _uuid(parameter, values.get(parameter.name, ""))

    def optional_id(self, parameter: OptionalId) -> str | None:
        """In lower case. Raises HttpError 400 that names it."""
        self._check_declared(parameter)
        value = self.query.get(parameter.name)
        return None if value is None else _uuid(parameter, value)

    def path_name(self, parameter: PathName) -> str:
        self._check_declared(parameter)
        return self.params[parameter.name]

    def header(self, parameter: Header) -> str | None:
        """Raises HttpError 400 that names it."""
        self._check_declared(parameter)
        name, most = parameter.name, parameter.chars_max
        value = self.headers.get(name.lower())
        if value is not None and most is not None and not 0 < len(value) <= most:
            raise HttpError(400, "bad_header", f"{name} has 1 to {most} characters")
        return value

    def _check_declared(self, parameter: Parameter) -> None:
        if parameter not in self.declared:
            raise InvariantViolation(f"{self.path} reads {parameter.name}, and does not say so")


def _uuid(parameter: Id | OptionalId, value: str) -> str:
    if not is_uuid(value):
        name = parameter.name
        message = f"{name} must be {parameter.text} (a UUID), not {value[:100]!r}"
        raise HttpError(400, "bad_id", message, name)
    return value.lower()


def _invalid_query(name: str, what: str) -> HttpError:
    return HttpError(400, "invalid_query", f"{name} {what}", name)


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
    """`stream`, when given, replaces `body` and is sent in chunks; each at once if `is_live`:
    there an empty one is a moment to look whether anybody reads. `stream_bytes`: how many bytes it
    has, where that is known: it is sent as it is then, not in chunks.
    """

    status: int = 200
    body: bytes = b""
    content_type: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    stream: Iterator[bytes] | None = None
    is_live: bool = False
    stream_bytes: int | None = None


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
    description: Description

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


UNDESCRIBED = Description()


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
        description: Description = UNDESCRIBED,
    ) -> None:
        """`has_effects`: of a GET after which something is not as before; HEAD is none of it."""
        route = Route(method, template, handler, access, summary, has_effects, description)
        self.routes.append(route)

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
