"""What the job store keeps of a request is the request."""

from __future__ import annotations

from dataclasses import fields

import pytest

from minispark.master.documents import request_document
from minispark.master.job_codec import dump_plan, dump_request, load_plan, load_request
from minispark.model.job import DagNode, InputFile, PlanKind, ReaderOptions, ResolvedInput
from minispark.plan.parsing import parse_request
from minispark.plan.planner import plan
from tests.jobs import job

READER = {"encoding": "latin-1", "errors": "replace", "on_error": "skip", "multiline": True}
OTHERS = {"partitions": 3, "n": 10, "fraction": 0.25, "seed": 3}
"""Values of fields that are no text; those of a bool are the opposite of its default."""
PLAIN = DagNode("", "")


def other_value(name: str) -> object:
    default = getattr(PLAIN, name)
    return not default if isinstance(default, bool) else OTHERS.get(name, f"some {name}")


@pytest.mark.parametrize(
    "given",
    [
        *({f.name: other_value(f.name)} for f in fields(DagNode) if f.name != "reader"),
        *({f.name: READER[f.name]} for f in fields(ReaderOptions)),
        {"n": 0, "fraction": 0.0},
    ],
    ids=str,
)
def test_a_stored_request_keeps_every_field(given: dict[str, object]) -> None:
    node = {"id": "a", "op": "map"} | given
    request = parse_request(job([node], 2))
    assert request.warnings == ()
    assert request.dag.nodes[0] != DagNode("a", "map")
    assert load_request(dump_request(request).encode()) == request


def test_fields_of_ours_are_shown_only_where_they_say_something() -> None:
    nodes = request_document(parse_request(job([{"id": "a", "op": "map"}], 2)))["dag"]["nodes"]
    absent = ("path", "partitions", "fn_name", "key", "join_with")
    assert nodes == [{"id": "a", "op": "map"} | dict.fromkeys(absent)]


def test_a_plan_of_a_version_that_noted_no_sizes_and_times_is_read() -> None:
    request = parse_request(job([{"id": "a", "op": "read_text", "path": "/x"}], 1))
    inputs = {"a": ResolvedInput("a", (InputFile("/x", 9, 7),))}
    made = plan(request, inputs, PlanKind.FUSED)
    assert load_plan(dump_plan(made).encode()) == made
    older = dump_plan(made).replace(',"size":9,"mtime_ns":7', "")
    assert len(older) < len(dump_plan(made))
    split = load_plan(older.encode()).stages[0].splits[0][0]
    assert (split.path, split.end, split.size, split.mtime_ns) == ("/x", 9, None, None)
