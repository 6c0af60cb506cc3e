"""The OpenAPI document says what the table of routes says, and the table says everything."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st
from openapi_spec_validator import OpenAPIV31SpecValidator

from minispark.errors import InputRefused, InvalidRequest
from minispark.master.api_field_texts import FIELD_TEXTS as MASTER_TEXTS
from minispark.model.ids import NIL_ID
from minispark.transport.api_schema import (
    COUNT,
    Description,
    Maybe,
    Object,
    Problem,
    Text,
    WholeQuery,
    json_answer,
)
from minispark.transport.openapi import EVERYWHERE, NO_ROUTE, document, problems_of
from minispark.transport.router import Request, Response, Router
from minispark.worker.metrics_http import FIELD_TEXTS as WORKER_TEXTS
from minispark.worker.metrics_http import build_router
from tests.cluster.api_fuzzing import Api, Call
from tests.unit.http_master import JOBS, WORKERS, HttpMaster, one_reader

PACKAGE = Path(__file__).parents[2] / "minispark"
NEVER_ANSWERED = {(500, "internal")}
"""A defect of ours is no part of the description: whoever sees one has found it."""


@pytest.fixture
def master(tmp_path: Path) -> Iterator[HttpMaster]:
    made = HttpMaster(tmp_path)
    yield made
    made.close()


def test_the_documents_are_valid_openapi_3_1(master: HttpMaster) -> None:
    for router in (master.router, build_router(dict, list)):
        made = document(router, "x", {})
        assert made["openapi"].startswith("3.1")
        OpenAPIV31SpecValidator(made).validate()


def test_every_field_says_what_it_means(master: HttpMaster) -> None:
    for router, texts in ((master.router, MASTER_TEXTS), (build_router(dict, list), WORKER_TEXTS)):
        handlers = {route.template: route.handler for route in router.routes}
        request = Request("GET", "/openapi.json", {}, {}, {}, b"", "here", False)
        schemas = json.loads(bytes(handlers["/openapi.json"](request).body))["components"][
            "schemas"
        ]
        fields = {
            (name, field): said.get("description")
            for name, schema in schemas.items()
            for field, said in schema["properties"].items()
        }
        assert [names for names, text in fields.items() if not text] == []
        used = {field for _, field in fields} | {".".join(names) for names in fields}
        assert texts.keys() <= used  # and nothing is said of what is not there


def test_every_route_is_in_the_document_with_its_parameters_and_says_what_it_answers(
    master: HttpMaster,
) -> None:
    status, served = master.call("GET", "/openapi.json")
    assert status == 200
    for route in master.router.routes:
        name = f"{route.method} {route.template}"
        assert route.description.answers, f"{name} has no description"
        operation = served["paths"][route.template][route.method.lower()]
        in_path = {p["name"] for p in operation["parameters"] if p["in"] == "path"}
        assert in_path == set(re.findall(r"{(\w+)}", route.template)), name
        has_head = "head" in served["paths"][route.template]
        assert has_head == (master.call("HEAD", route.template)[0] != 405), name
    assert sum(len(path) for path in served["paths"].values()) > len(master.router.routes) > 20


def raised_problems() -> set[tuple[int, str]]:
    """Status and code of every `HttpError(...)` of the package."""
    found: set[tuple[int, str]] = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "HttpError":
                status, code = node.args[:2]
                if isinstance(status, ast.Constant) and isinstance(code, ast.Constant):
                    found.add((status.value, code.value))
    return found


def test_every_error_that_is_raised_anywhere_is_documented(master: HttpMaster) -> None:
    raised = raised_problems()
    raised |= {(400, InvalidRequest("").code), (400, InputRefused("").code)}
    assert len(raised) > 25
    routes = [*master.router.routes, *build_router(dict, list).routes]
    problems = [problem for route in routes for problem in problems_of(route)]
    documented = {(p.status, p.code) for p in (*problems, *EVERYWHERE, *NO_ROUTE)}
    assert raised - documented - NEVER_ANSWERED == set()


def test_a_parameter_that_is_not_declared_cannot_be_read() -> None:
    limit = WholeQuery("limit", "at most so many", 1, 0, 9)
    router = Router()
    read: list[int] = []

    def handle(request: Request) -> Response:
        read.append(request.number(limit))
        return Response()

    def call(description: Description) -> None:
        router.add("GET", "/x", handle, summary="x", description=description)
        route = router.routes.pop()
        query, declared = {"limit": "7"}, route.description.parameters
        route.handler(Request("GET", "/x", {}, query, {}, b"", "here", False, declared=declared))

    call(Description(parameters=(limit,)))
    with pytest.raises(Exception, match="reads limit, and does not say so"):
        call(Description())
    assert read == [7]


def test_limits_of_the_document_are_those_of_the_handlers(master: HttpMaster) -> None:
    job_id = master.submit()[1]["id"]
    _, served = master.call("GET", "/openapi.json")
    tried = 0
    for template, path in served["paths"].items():
        for method, operation in path.items():
            queried = [p for p in operation["parameters"] if p["in"] == "query"]
            for parameter in queried if method in ("get", "delete") else ():
                for value, is_right in at_the_limits(parameter["schema"]):
                    target = f"{template.replace('{id}', job_id)}?{parameter['name']}={value}"
                    # a partition is one of a stage, which is one of a job
                    target += f"&job={job_id}" if parameter["name"] != "job" else ""
                    target += "&stage=r" if parameter["name"] == "partition" else ""
                    status, answer = master.call(
                        method.upper(), target, token=True, Accept="application/json"
                    )
                    assert (status != 400) == is_right, (target, answer)
                    assert is_right or answer["error"]["field"] == parameter["name"]
                    tried += 1
    assert tried > 20


def at_the_limits(schema: dict[str, Any]) -> Iterator[tuple[Any, bool]]:
    if schema["type"] == "integer":
        # the longest wait is another test's
        most = schema["maximum"] if schema["maximum"] > 30 else 0
        yield from ((schema["minimum"], True), (most, True), (schema["maximum"] + 1, False))
        yield from ((schema["minimum"] - 1, False), ("x", False), ("", False))
    elif "enum" in schema:
        yield from (*((value, True) for value in schema["enum"]), ("x", False), ("", False))
    elif "maxLength" in schema:
        yield from (("x" * schema["maxLength"], True), ("x" * (schema["maxLength"] + 1), False))


def test_a_task_of_a_foreign_worker_is_as_documented(master: HttpMaster) -> None:
    api = Api(master.port, master.call("GET", "/openapi.json")[1], None, {"uuid": st.nothing()})
    stranger = {"id": NIL_ID, "host": "h", "port": 1}
    worker_id = master.call("POST", f"{WORKERS}/register", stranger)[1]["id"]
    (master.inputs / "one.csv").write_text("h\na\n")
    node = {"op": "read_csv", "path": "one.csv"}
    assert master.call("POST", JOBS, one_reader(plan="naive", node=node))[0] == 200
    (operation,) = (one for one in api.operations if one.name == f"GET {WORKERS}/task")
    target = f"{WORKERS}/task?worker_id={worker_id}"
    status, task = api.check(Call(operation, target, {}, None, None))
    assert (status, json.loads(task)["assigned_worker"]) == (200, worker_id)


def test_a_bad_id_and_a_long_key_are_refused_as_documented(master: HttpMaster) -> None:
    for path in (f"{JOBS}/x", "/api/v1/workers/task?worker_id=x", "/api/v1/workers/task"):
        status, answer = master.call("GET", path)
        assert (status, answer["error"]["code"]) == (400, "bad_id")
    for key, code in (("x" * 201, "bad_header"), ("", "bad_header")):
        status, answer = master.submit(Idempotency_Key=key)
        assert (status, answer["error"]["code"]) == (400, code)


# --- the renderer --------------------------------------------------------------------------------


def route_with(**said: Any) -> Router:
    router = Router()
    router.add("POST", "/x", lambda _: Response(), summary="x", description=Description(**said))
    return router


def test_an_object_is_a_component_and_optional_fields_are_not_required() -> None:
    inner = Object("Inner", {"a": COUNT, "b": Maybe(Text(1, 3))})
    made = document(route_with(answers=(json_answer(inner),)), "x", {})
    assert made["components"]["schemas"]["Inner"] == {
        "type": "object",
        "properties": {
            "a": {"type": "integer", "minimum": 0},
            "b": {"type": "string", "minLength": 1, "maxLength": 3},
        },
        "required": ["a"],
    }
    content = made["paths"]["/x"]["post"]["responses"]["200"]["content"]
    assert content["application/json"]["schema"] == {"$ref": "#/components/schemas/Inner"}


def test_errors_of_one_status_are_one_response_with_their_codes() -> None:
    problems = (Problem(409, "b", "B"), Problem(409, "a", "A"))
    answers = (json_answer(COUNT),)
    made = document(route_with(answers=answers, problems=problems), "x", {})
    response = made["paths"]["/x"]["post"]["responses"]["409"]
    assert response["description"] == "Conflict\n\n- `b`: B\n- `a`: A"
    assert "'enum': ['a', 'b']" in str(response["content"])


@pytest.mark.parametrize(
    "said",
    [
        {"answers": (json_answer(Object("X", {"a": Object("X", {"b": COUNT})})),)},
        {"answers": (json_answer(COUNT),), "problems": (Problem(200, "a", "A"),)},
    ],
    ids=["two objects of one name", "an error with the status of an answer"],
)
def test_a_description_that_contradicts_itself_is_a_defect(said: dict[str, Any]) -> None:
    with pytest.raises(AssertionError):
        document(route_with(**said), "x", {})
