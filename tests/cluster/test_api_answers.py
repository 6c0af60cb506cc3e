"""What a cluster at work answers is what the OpenAPI document says of it, field by field."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st

from minispark.model.ids import NIL_ID
from minispark.transport.api_schema import JSON_TYPE
from tests.cluster.api_fuzzing import Api, Call, document_of
from tests.cluster.harness import Cluster, wait_until
from tests.jobs import word_count

UNSEEN = {"GET /api/v1/workers/task 200", "POST /api/v1/workers/{name}/restart 200"}
"""Our own workers are faster than a stranger would be: a test without them sees it. A worker that
was killed is restarted already.
"""


INPUT = "/api/v1/jobs/{id}/input"


def call(
    api: Api, method: str, target: str, body: Any = None, accept: str = "*/*", **more: str
) -> Any:
    """The answer, which is as documented."""
    path = target.partition("?")[0].replace("/worker-3/", "/{name}/")
    (operation,) = (
        operation
        for operation in api.operations
        if operation.method == method and operation.path == path.replace(job_of(path), "{id}")
    )
    headers = {
        "Accept": accept,
        "Authorization": f"Bearer {api.token}",
        "Content-Type": "application/json",
        **more,
    }
    data = None if body is None else json.dumps(body).encode()
    status, answer = api.check(Call(operation, target, headers, data, None))
    assert status < 400, answer
    is_document = "format=jsonl" not in target and answer[:1] in (b"{", b"[")
    return json.loads(answer) if is_document else answer


def job_of(path: str) -> str:
    """The id in a path; something else that is not there."""
    words = path.split("/")
    return words[4] if len(words) > 4 and words[3] == "jobs" else "no id"


def test_every_answer_of_a_cluster_at_work_is_as_documented(shared_cluster: Cluster) -> None:
    port = shared_cluster.process("master")["ports"]["http"]
    token = (shared_cluster.state_dir / "token").read_text().strip()
    api = Api(port, document_of(port), token, {"uuid": st.nothing()})
    request = word_count("data/input.csv", 2, "naive", op="read_csv")
    assert call(api, "POST", "/api/v1/explain", request)["kind"] == "naive"
    job_id = call(api, "POST", "/api/v1/jobs", request)["id"]
    jobs = "/api/v1/jobs"
    wait_until(
        lambda: call(api, "GET", f"{jobs}/{job_id}?wait_s=1")["state"] == "SUCCEEDED", "its end"
    )
    assert call(api, "DELETE", f"{jobs}/{job_id}?reason=x")["state"] == "SUCCEEDED"
    assert call(api, "GET", f"{jobs}/{job_id}/tasks?state=SUCCEEDED&limit=1")["total"] > 4
    for format in ("json", "csv", "tsv", "jsonl"):
        call(api, "GET", f"{jobs}/{job_id}/results?format={format}&limit=3")
    stranger = {"id": NIL_ID, "host": "h", "port": 1}
    worker_id = call(api, "POST", "/api/v1/workers/register", stranger)["id"]
    heartbeat = {"worker_id": worker_id, "active_tasks": 0}
    call(api, "POST", "/api/v1/workers/heartbeat", heartbeat)
    call(api, "GET", f"/api/v1/workers/task?worker_id={worker_id}")
    done = {"task_id": NIL_ID, "success": True, "records_processed": 0}
    call(api, "POST", "/api/v1/workers/task/complete", done)
    for operation in api.operations:
        if operation.method in ("GET", "HEAD") and "task" not in operation.path.split("/"):
            is_input = operation.path == INPUT
            query = f"?path={shared_cluster.cwd / 'data/input.csv'}" if is_input else ""
            target = operation.path.replace("{id}", job_id) + query
            call(api, operation.method, target, Range="bytes=0-9")
    assert len(call(api, "GET", "/api/v1/events?limit=3", accept=JSON_TYPE)["events"]) == 3
    assert call(api, "POST", "/api/v1/session", {"token": token})["is_open"]
    for action in ("pause", "resume", "kill"):
        call(api, "POST", f"/api/v1/workers/worker-3/{action}")
    assert promised(api) - {f"{name} {status}" for name, status in api.seen} == UNSEEN


def promised(api: Api) -> set[str]:
    """Every answer of the document that is no error."""
    return {
        f"{operation.name} {status}"
        for operation in api.operations
        for status in operation.what["responses"]
        if int(status) < 300  # 304 is of who was here before
    }


def test_every_answer_of_a_worker_is_as_documented(shared_cluster: Cluster) -> None:
    port = shared_cluster.process("worker-1")["ports"]["metrics"]
    api = Api(port, document_of(port), None, {})
    for operation in api.operations:
        for accept in ("application/json", "text/plain"):
            call = Call(operation, operation.path, {"Accept": accept}, None, None)
            assert api.check(call)[0] == 200
    assert promised(api) == {f"{name} {status}" for name, status in api.seen}
