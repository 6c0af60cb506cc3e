"""Calls drawn from an OpenAPI document, made, and held against what the document promises.

Must not know which endpoints there are: only what some parameters and fields are good for.
"""

from __future__ import annotations

import http.client
import json
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlencode

from hypothesis import strategies as st
from jsonschema import Draft202012Validator

CALL_S_MAX = 10.0
"""No call of these may take longer: none of them has a reason to."""
MAPS_MAX = 3
LISTS_MAX = 4
WHOLE_SMALL = 4
CHARS_LONG_MAX = 20_000
CONTENT_TYPES = ["application/json"] * 8 + ["application/json; charset=utf-8", "text/plain"]

Json = Any
Drawn = st.SearchStrategy[Any]
ABSENT = object()

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 12),
    st.sampled_from([2**31, 2**53, 2**63, -(2**63) - 1, 10**30, 1e308, 0.5, -0.0]),
    st.text(max_size=12),
    st.sampled_from(["", "\0", "a\nb", "\ud800", "x" * CHARS_LONG_MAX, "../x", "%00", "{}"]),
)
anything: Drawn = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=LISTS_MAX),
        st.dictionaries(st.text(max_size=6), inner, max_size=MAPS_MAX),
    ),
    max_leaves=8,
)


@dataclass(frozen=True)
class Operation:
    """One method of one path."""

    method: str
    path: str
    what: Mapping[str, Any] = field(repr=False)

    @property
    def name(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def accepts(self) -> list[dict[str, str]]:
        """No Accept header, and each that asks for one of the documented media types."""
        answers = self.what["responses"].values()
        kinds = {kind: None for one in answers for kind in one.get("content", ())}
        return [{}, *({"Accept": kind} for kind in kinds)]


@dataclass(frozen=True)
class Call:
    """A request, and whether the document says that it is wrong."""

    operation: Operation
    target: str
    headers: Mapping[str, str]
    body: bytes | None
    wrong: str | None

    def __str__(self) -> str:
        return f"{self.operation.method} {self.target} {dict(self.headers)} {self.body!r:.2000}"


@dataclass
class Api:
    """A server and its document. `hints`: by name of a parameter or field, values that matter."""

    port: int
    document: Mapping[str, Any]
    token: str | None
    hints: Mapping[str, Drawn]
    expected_503: tuple[str, ...] = ()
    """Codes: what the calls themselves may bring about."""
    seen: Counter[tuple[str, int]] = field(default_factory=Counter)
    slowest_s: float = 0.0

    def __post_init__(self) -> None:
        self._checks: dict[str, Draft202012Validator] = {}
        schemas = self.document["components"]["schemas"]
        # an answer's field that the document does not name is found, too
        self._closed = {
            "schemas": {
                name: {**schema, "additionalProperties": False} for name, schema in schemas.items()
            }
        }

    @property
    def operations(self) -> list[Operation]:
        return [
            Operation(method.upper(), path, what)
            for path, methods in self.document["paths"].items()
            for method, what in methods.items()
        ]

    # --- drawing -------------------------------------------------------------------------------

    def values(self, schema: Mapping[str, Any], name: str = "") -> Drawn:
        """Values that the schema allows; mostly such that mean something."""
        right = self._right(schema)
        return st.one_of(self.hints[name], right) if name in self.hints else right

    def _right(self, schema: Mapping[str, Any]) -> Drawn:
        if "$ref" in schema:
            name = schema["$ref"].rpartition("/")[2]
            named = self.document["components"]["schemas"][name]
            return st.deferred(lambda: self.values(named, name))
        if "enum" in schema:
            return st.sampled_from(schema["enum"])
        if "anyOf" in schema:
            return st.one_of(*(self.values(one) for one in schema["anyOf"]))
        match schema.get("type"):
            case "object":
                return self._objects(schema)
            case "array":
                most = min(LISTS_MAX, schema.get("maxItems", LISTS_MAX))
                least = schema.get("minItems", 0)
                return st.lists(self.values(schema["items"]), min_size=least, max_size=most)
            case "integer" | "number":
                least = schema.get("minimum", -WHOLE_SMALL)
                most = schema.get("maximum", WHOLE_SMALL)
                small = st.integers(int(least), min(int(most), int(least) + WHOLE_SMALL))
                return st.one_of(small, small, st.sampled_from([least, most]))
            case "string":
                return self._texts(schema)
            case "boolean":
                return st.booleans()
            case "null":
                return st.none()
            case _:
                return anything

    def _texts(self, schema: Mapping[str, Any]) -> Drawn:
        if schema.get("format") == "uuid":
            return st.one_of(st.uuids().map(str), self.hints["uuid"])
        if "pattern" in schema:
            return st.from_regex(schema["pattern"], fullmatch=True)
        least, most = schema.get("minLength", 0), schema.get("maxLength", CHARS_LONG_MAX)
        short = st.text(min_size=least, max_size=min(most, least + 12))
        return st.one_of(short, short, st.just("x" * min(most, CHARS_LONG_MAX)))

    def _objects(self, schema: Mapping[str, Any]) -> Drawn:
        if "properties" not in schema:
            of = self.values(schema.get("additionalProperties", {}))
            return st.dictionaries(st.text(max_size=6), of, max_size=MAPS_MAX)
        required = schema["required"]
        each = {name: self.values(one, name) for name, one in schema["properties"].items()}
        made = st.fixed_dictionaries(
            {name: each[name] for name in required},
            optional={name: of for name, of in each.items() if name not in required},
        )
        return st.one_of(made, *(st.just(one) for one in schema.get("examples", ())))

    def calls(self) -> Drawn:
        """Any call of any operation."""
        return st.sampled_from(self.operations).flatmap(self.calls_of)

    def calls_of(self, operation: Operation) -> Drawn:
        @st.composite
        def draw_call(draw: Callable[[Drawn], Any]) -> Call:
            wrong: list[str] = []
            path, query, headers = operation.path, [], {}
            for parameter in operation.what["parameters"]:
                text = draw(self._parameter(parameter))
                name = parameter["name"]
                if text is ABSENT:
                    wrong += [f"{name} is missing"] if parameter["required"] else []
                    continue
                if parameter["in"] != "header" and self._is_wrong(parameter["schema"], text):
                    wrong.append(f"{name} is {text[:100]!r}")
                match parameter["in"]:
                    case "path":
                        path = path.replace(f"{{{name}}}", quote(text, safe=""))
                    case "query":
                        query.append((name, text))
                    case _:
                        headers[name] = text.encode("latin-1", "replace").decode("latin-1")
            headers |= draw(st.sampled_from(operation.accepts))
            query += draw(st.lists(st.tuples(st.text(max_size=5), st.text(max_size=5)), max_size=1))
            if self.token is not None:
                headers |= draw(self._credentials(operation, wrong))
            body = None
            if "requestBody" in operation.what:
                body = draw(self._body(operation, wrong))
                kind = headers["Content-Type"] = draw(st.sampled_from(CONTENT_TYPES))
                if not kind.startswith("application/json"):
                    wrong.append("the content type")
            target = path + (f"?{urlencode(query)}" if query else "")
            if "Idempotency-Key" in headers:
                wrong.clear()  # a repetition is answered as the first one, whatever it asks
            return Call(operation, target, headers, body, "; ".join(wrong) or None)

        return draw_call()

    def _parameter(self, parameter: Mapping[str, Any]) -> Drawn:
        right = self.values(parameter["schema"], parameter["name"]).map(str)
        if parameter["in"] == "path":
            return st.one_of(right, right, right, st.text(min_size=1, max_size=12))
        if parameter["in"] == "header":
            printable = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=12)
            known = self.hints.get(parameter["name"], st.nothing())
            return st.one_of(st.just(ABSENT), printable, known, known)
        wild = scalars.map(lambda value: str(value).encode(errors="replace").decode())
        return st.one_of(right, right, right, wild, st.just(ABSENT))

    def _credentials(self, operation: Operation, wrong: list[str]) -> Drawn:
        right = {"Authorization": f"Bearer {self.token}"}
        bad = {"Authorization": "Bearer wrong-token-of-nobody"}
        is_needed = operation.what["security"] == [{"token": []}]

        def note(headers: dict[str, str]) -> dict[str, str]:
            if headers == bad or (is_needed and not headers):
                wrong.append("the token")
            return headers

        return st.sampled_from([right] * 6 + [{}] * 3 + [bad]).map(note)

    def _body(self, operation: Operation, wrong: list[str]) -> Drawn:
        (schema,) = (c["schema"] for c in operation.what["requestBody"]["content"].values())
        right = self.values(schema)
        changed = right.flatmap(mutations)
        bodies = st.one_of(right, right, changed, changed, anything)

        def encode(value: Json) -> bytes:
            if self._is_wrong(schema, value):
                wrong.append("the body")
            return json.dumps(value).encode()

        def take(raw: bytes) -> bytes:
            wrong.append("the body is no JSON")
            return b"\xff" + raw

        return st.one_of(*[bodies.map(encode)] * 7, st.binary(max_size=20).map(take))

    def _is_wrong(self, schema: Mapping[str, Any], value: Json) -> bool:
        """Of a value; numbers of the query string are text there."""
        if isinstance(value, str) and schema.get("type") == "integer":
            if not (value.isascii() and value.isdigit()):
                return True
            value = int(value)
        return not self._check(schema, self.document["components"]).is_valid(value)

    def _check(self, schema: Mapping[str, Any], components: Json) -> Draft202012Validator:
        key = json.dumps([schema, components is self._closed])
        if key not in self._checks:
            self._checks[key] = Draft202012Validator({**schema, "components": components})
        return self._checks[key]

    # --- calling -------------------------------------------------------------------------------

    def check(self, call: Call) -> tuple[int, bytes]:
        """Make the call. Raises AssertionError for what the document does not promise."""
        began = time.monotonic()
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=CALL_S_MAX)
        try:
            connection.request(call.operation.method, call.target, call.body, dict(call.headers))
            answer = connection.getresponse()
            kind = answer.headers.get("Content-Type", "")
            is_endless = kind.startswith("text/event-stream")
            body = answer.read1() if is_endless else answer.read()
        except TimeoutError as error:
            raise AssertionError(f"no answer within {CALL_S_MAX:g} s: {call}") from error
        finally:
            connection.close()
        took_s = time.monotonic() - began
        self.slowest_s = max(self.slowest_s, took_s)
        said = f"{answer.status} {kind} {body[:2000]!r} for {call}"
        assert took_s <= CALL_S_MAX, f"{took_s:.1f} s: {said}"
        is_expected = any(f'"{code}"'.encode() in body for code in self.expected_503)
        assert answer.status < 500 or (answer.status == 503 and is_expected), said
        responses = call.operation.what["responses"]
        assert str(answer.status) in responses, f"not documented: {said}"
        assert call.wrong is None or answer.status >= 400, f"{call.wrong} is wrong: {said}"
        if body:
            self._check_body(responses[str(answer.status)].get("content", {}), kind, body, said)
        self.seen[call.operation.name, answer.status] += 1
        return answer.status, body

    def _check_body(self, content: Mapping[str, Any], kind: str, body: bytes, said: str) -> None:
        assert kind in content, f"this media type is not documented: {said}"
        if kind == "application/json":
            schema = content[kind]["schema"]
            for error in self._check(schema, self._closed).iter_errors(json.loads(body)):
                raise AssertionError(f"{error.json_path}: {error.message[:500]}: {said}")


def document_of(port: int) -> dict[str, Any]:
    """What the server says of itself."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=CALL_S_MAX)
    try:
        connection.request("GET", "/openapi.json")
        document: dict[str, Any] = json.loads(connection.getresponse().read())
        return document
    finally:
        connection.close()


@st.composite
def mutations(draw: Callable[[Drawn], Any], value: Json) -> Json:
    """The value with one thing in it replaced, or gone."""
    if isinstance(value, dict) and value:
        name = draw(st.sampled_from(sorted(value)))
        rest = {other: one for other, one in value.items() if other != name}
        match draw(st.integers(0, 4)):
            case 0:
                return rest
            case 1:
                return {**value, name: draw(anything)}
            case _:
                return {**rest, name: draw(mutations(value[name]))}
    if isinstance(value, list) and value:
        index = draw(st.integers(0, len(value) - 1))
        changed = draw(st.one_of(st.just([]), mutations(value[index]).map(lambda one: [one])))
        return [*value[:index], *changed, *value[index + 1 :]]
    return draw(anything)
