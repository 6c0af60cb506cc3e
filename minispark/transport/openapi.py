"""Makes the OpenAPI 3.1 document of a router's table: every route, parameter, answer and error.

Must not know which routes there are, nor what handlers do. Source: OpenAPI Specification 3.1.
"""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, assert_never

from minispark import __version__
from minispark.transport.api_schema import (
    JSON_TYPE,
    UUID,
    Answer,
    Anything,
    Choice,
    ChoiceQuery,
    Description,
    Flag,
    Header,
    Id,
    ListOf,
    MapOf,
    Maybe,
    Nullable,
    Object,
    OneOf,
    OptionalId,
    OptionalWhole,
    Parameter,
    PathName,
    Problem,
    Real,
    Schema,
    Text,
    TextQuery,
    Whole,
    WholeQuery,
    json_answer,
)
from minispark.transport.gate import READING
from minispark.transport.page_session import GUARD_HEADER
from minispark.transport.router import Access, Response, Route, Router, json_response

ERROR = Object(
    "Error",
    {
        "error": Object(
            "ErrorBody",
            {"code": Text(), "message": Text(chars_min=1), "field": Maybe(Text())},
        )
    },
)
EVERYWHERE = (
    Problem(400, "bad_request", "The request line or a header is no HTTP"),
    Problem(400, "bad_header", "A header is malformed, contradicts another, or is too long"),
    Problem(400, "bad_content_length", "Content-Length is no whole number"),
    Problem(400, "bad_target", "The path is none"),
    Problem(400, "no_host", "There is no Host header"),
    Problem(400, "bad_host", "Host is no host name"),
    Problem(400, "invalid_query", "A parameter of the query string has a wrong value"),
    Problem(401, "wrong_token", "The token is wrong"),
    Problem(403, "foreign_host", "Host is not this server"),
    Problem(403, "foreign_origin", "A page of another site may not call this server"),
    Problem(408, "too_slow", "The request did not arrive in time"),
    Problem(411, "length_required", "A body needs a Content-Length"),
    Problem(413, "body_too_large", "The body is too large"),
    Problem(414, "bad_request", "The request line is too long"),
    Problem(431, "headers_too_large", "The head is too large"),
    Problem(431, "bad_request", "A header line is too long, or there are too many"),
    Problem(503, "too_many_connections", "Try again in a second"),
    Problem(503, "too_many_bodies", "Too many large requests at one time; try again in a second"),
    Problem(505, "bad_request", "HTTP/1.0 and HTTP/1.1 are served"),
)
"""What the server answers before a handler is called."""
WITHOUT_TOKEN = Problem(401, "token_needed", "Send the cluster's token: `Authorization: Bearer …`")
WITHOUT_GUARD = Problem(
    403, "guard_needed", "A page's session is not enough to change something: send its guard too"
)
BAD_ID = Problem(400, "bad_id", "An id is no UUID")
OF_BODIES = (
    Problem(400, "malformed_json", "The body is no JSON"),
    Problem(400, "invalid_json", "A string of the body holds half of a surrogate pair"),
    Problem(400, "invalid_request", "The body's JSON is not what is asked for; `field` says where"),
    Problem(415, "not_json", f"Content-Type is not {JSON_TYPE}"),
)
NO_ROUTE = (
    Problem(404, "not_found", "There is nothing at this path"),
    Problem(405, "method_not_allowed", "The path has other methods: `Allow` names them"),
)
"""Of paths and methods that are not in the document."""


_ERROR_TEXTS = {
    "Error.error": "What went wrong",
    "ErrorBody.code": "For programs",
    "ErrorBody.message": "What is wrong, and what to do",
    "ErrorBody.field": "Where in the request it is wrong",
}


def add_openapi(router: Router, title: str, texts: Mapping[str, str]) -> None:
    """`GET /openapi.json` of all routes that the router has when it is asked for. `texts`: as
    `document` has them.
    """
    made: list[Response] = []

    def openapi(_: object) -> Response:
        if not made:
            made.append(json_response(document(router, title, texts)))
        return made[0]

    router.add(
        "GET",
        "/openapi.json",
        openapi,
        access=Access.OPEN,
        summary="This document",
        description=Description((json_answer(MapOf(Anything()), "OpenAPI 3.1"),)),
    )


def document(router: Router, title: str, texts: Mapping[str, str]) -> dict[str, Any]:
    """The OpenAPI 3.1 document. Two objects of one name must be the same: AssertionError.

    `texts`: what fields mean, by `Object.field`, or by the field's name alone.
    """
    texts = {**texts, **_ERROR_TEXTS}
    objects: dict[str, Object] = {}
    paths: dict[str, dict[str, Any]] = {}
    for route in router.routes:
        operations = paths.setdefault(route.template, {})
        operations[route.method.lower()] = _operation(route, route.method, objects)
        if route.method == "GET" and not route.has_effects:
            operations["head"] = _operation(route, "HEAD", objects)
    schemas: dict[str, Any] = {}
    while waiting := [name for name in objects if name not in schemas]:
        for name in waiting:
            schemas[name] = _object_schema(objects[name], objects, texts)
    others = "\n".join(
        f"- {problem.status} `{problem.code}`: {problem.text}" for problem in NO_ROUTE
    )
    return {
        "openapi": "3.1.0",
        "info": {
            "title": title,
            "version": __version__,
            "description": "Objects may have more fields than are named here. What needs the token "
            f"is open to the page's session, too, with its guard in `{GUARD_HEADER}` where it "
            "changes something; what is open to everybody is so unless `security.http_auth` is "
            "`required`. "
            f"Any other path or method is an error too:\n\n{others}",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {
            "schemas": dict(sorted(schemas.items())),
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _operation(route: Route, method: str, objects: dict[str, Object]) -> dict[str, Any]:
    description = route.description
    words = [word for word in route.template.replace("{", "").replace("}", "").split("/") if word]
    operation: dict[str, Any] = {
        "operationId": "_".join([method.lower(), *words]).replace(".", "_"),
        "tags": [words[2] if words[:2] == ["api", "v1"] else "server"],
        "summary": route.summary,
        "security": _SECURITY[route.access],
        "parameters": [_parameter(parameter) for parameter in description.parameters],
    }
    if description.body is not None:
        content = {JSON_TYPE: {"schema": schema_of(description.body, objects)}}
        operation["requestBody"] = {"required": True, "content": content}
    has_content = method != "HEAD"
    responses = {
        str(answer.status): _answer(answer, objects, has_content) for answer in description.answers
    }
    problems = problems_of(route)
    for status in sorted({problem.status for problem in problems}):
        same = [problem for problem in problems if problem.status == status]
        assert str(status) not in responses, f"{route.template}: {status} is an answer and an error"
        responses[str(status)] = _error(same, objects, has_content)
    operation["responses"] = responses
    return operation


_SECURITY: dict[Access, list[dict[str, list[str]]]] = {
    Access.OPEN: [],
    Access.DOCUMENTED: [{}, {"token": []}],
    Access.TOKEN: [{"token": []}],
}


def problems_of(route: Route) -> list[Problem]:
    """Every error that a call of the route may be answered with."""
    description = route.description
    problems = [*EVERYWHERE, *description.problems]
    if route.access is not Access.OPEN and WITHOUT_TOKEN.code not in {p.code for p in problems}:
        problems.append(WITHOUT_TOKEN)
    if route.access is Access.TOKEN and route.method not in READING:
        problems.append(WITHOUT_GUARD)
    if any(isinstance(parameter, Id | OptionalId) for parameter in description.parameters):
        problems.append(BAD_ID)
    if description.body is not None:
        problems += OF_BODIES
    return problems


def _answer(answer: Answer, objects: dict[str, Object], has_content: bool) -> dict[str, Any]:
    response: dict[str, Any] = {"description": answer.text}
    if answer.contents and has_content:
        response["content"] = {
            media_type: {"schema": schema_of(of, objects)}
            for media_type, of in answer.contents.items()
        }
    return response


def _error(
    problems: list[Problem], objects: dict[str, Object], has_content: bool
) -> dict[str, Any]:
    lines = "\n".join(f"- `{problem.code}`: {problem.text}" for problem in problems)
    status = HTTPStatus(problems[0].status)
    response: dict[str, Any] = {"description": f"{status.phrase}\n\n{lines}"}
    if has_content:
        codes = {"enum": sorted({problem.code for problem in problems})}
        of_code = {"properties": {"error": {"properties": {"code": codes}}}}
        schema = {"allOf": [schema_of(ERROR, objects), of_code]}
        response["content"] = {JSON_TYPE: {"schema": schema}}
    if status == HTTPStatus.UNAUTHORIZED:
        response["headers"] = {"WWW-Authenticate": {"schema": {"const": "Bearer"}}}
    return response


def _parameter(parameter: Parameter) -> dict[str, Any]:
    place, is_required = "query", False
    of: Schema
    default: int | str | None = None
    match parameter:
        case WholeQuery():
            of, default = Whole(parameter.least, parameter.most), parameter.default
        case OptionalWhole():
            of = Whole(parameter.least, parameter.most)
        case ChoiceQuery():
            of = Choice(parameter.values)
        case TextQuery():
            of, default = Text(chars_max=parameter.chars_max), parameter.default
            is_required = default is None
        case Id():
            of, is_required = UUID, True
            place = "path" if parameter.is_in_path else "query"
        case OptionalId():
            of = UUID
        case PathName():
            of, place, is_required = Text(), "path", True
        case Header():
            of, place = Text(int(parameter.chars_max is not None), parameter.chars_max), "header"
        case _:
            assert_never(parameter)
    schema = schema_of(of, {})
    if default is not None:
        schema["default"] = default
    return {
        "name": parameter.name,
        "in": place,
        "required": is_required,
        "description": parameter.text,
        "schema": schema,
    }


def schema_of(of: Schema, objects: dict[str, Object]) -> dict[str, Any]:
    """The JSON Schema; objects by reference, and they are put into `objects`."""
    match of:
        case Text():
            return _given(
                type="string",
                minLength=of.chars_min or None,
                maxLength=of.chars_max,
                pattern=of.pattern,
                format=of.format,
            )
        case Whole():
            return _given(type="integer", minimum=of.least, maximum=of.most)
        case Real():
            return _given(type="number", minimum=of.least, maximum=of.most)
        case Flag():
            return {"type": "boolean"}
        case Choice():
            return {"type": "string", "enum": list(of.values)}
        case Anything():
            return {}
        case Nullable():
            return {"anyOf": [schema_of(of.of, objects), {"type": "null"}]}
        case OneOf():
            return {"anyOf": [schema_of(one, objects) for one in of.of]}
        case ListOf():
            return _given(
                type="array",
                items=schema_of(of.of, objects),
                minItems=of.entries_min or None,
                maxItems=of.entries_max,
            )
        case MapOf():
            return _given(
                type="object",
                additionalProperties=schema_of(of.of, objects),
                maxProperties=of.entries_max,
            )
        case Object():
            known = objects.setdefault(of.name, of)
            assert known == of, f"two objects are called {of.name}"
            return {"$ref": f"#/components/schemas/{of.name}"}
        case _:
            assert_never(of)


def _given(**keywords: Any) -> dict[str, Any]:
    return {name: value for name, value in keywords.items() if value is not None}


def _object_schema(
    of: Object, objects: dict[str, Object], texts: Mapping[str, str]
) -> dict[str, Any]:
    properties: dict[str, Any] = {}
    required: list[str] = []
    for name, field in of.fields.items():
        if isinstance(field, Maybe):
            properties[name] = schema_of(field.of, objects)
        else:
            properties[name] = schema_of(field, objects)
            required.append(name)
        text = texts.get(f"{of.name}.{name}", texts.get(name))
        if text is not None:
            properties[name] = {**properties[name], "description": text}
    schema = {"type": "object", "properties": properties, "required": required}
    return schema if of.example is None else {**schema, "examples": [of.example]}
