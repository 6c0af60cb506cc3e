"""Part files of the user's: how records look in them, and what becomes of their directory."""

from __future__ import annotations

import csv
import io
import json
import os
import uuid
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minispark.cli.job_files import with_absolute_inputs
from minispark.compute import parts
from minispark.compute.batch import Record, batch_of, text_of
from minispark.errors import ClusterError, InputRefused, InvalidRequest, TaskError
from minispark.model.effects import PartFolder
from minispark.model.job import JobRequest
from minispark.model.plan import SavedParts
from minispark.plan.parsing import parse_request
from minispark.plan.validation import validate
from minispark.storage.fence import Fence
from minispark.storage.part_folders import (
    attempt_part,
    claim,
    discard,
    publish,
    with_real_folders,
)
from tests.jobs import job
from tests.unit.http_master import JOBS, HttpMaster

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=5) | st.text(
    ',"\r\n\t a', max_size=5
)
VALUE = TEXT | st.integers() | st.none() | st.lists(st.integers(), max_size=2)
ROWS = st.lists(st.tuples(st.none() | TEXT, VALUE), max_size=6)
ID = "0b0e3c70-0000-4000-8000-000000000000"
OTHER = "0b0e3c70-0000-4000-8000-000000000001"


def rendered(format: str, has_keys: bool, rows: list[Record]) -> str:
    saved = SavedParts("/out", format, has_keys)
    return parts.head(saved) + parts.lines(saved, batch_of(rows))


@settings(max_examples=300, deadline=None)
@given(ROWS)
def test_the_csv_module_reads_back_what_write_csv_wrote(rows: list[Record]) -> None:
    read = list(csv.reader(io.StringIO(rendered("csv", True, rows), newline="")))
    assert read == [["key", "value"], *([k or "", text_of(v)] for k, v in rows)]


@settings(max_examples=300, deadline=None)
@given(st.lists(VALUE, max_size=6))
def test_records_without_keys_are_one_column(values: list[object]) -> None:
    text = rendered("csv", False, [(None, value) for value in values])
    assert list(csv.reader(io.StringIO(text, newline=""))) == [
        ["value"],
        *([text_of(value)] for value in values),
    ]


@settings(max_examples=300, deadline=None)
@given(ROWS)
def test_json_reads_back_what_write_jsonl_wrote_with_its_types(rows: list[Record]) -> None:
    lines = rendered("jsonl", True, rows).split("\n")
    assert lines.pop() == ""
    assert [json.loads(line) for line in lines] == [{"key": k, "value": v} for k, v in rows]


def test_text_is_the_value_or_the_key_a_tab_and_the_value() -> None:
    assert rendered("txt", True, [(None, "a"), ("k", 3), ("", "b")]) == "a\nk\t3\n\tb\n"


def writer(path: str, op: str = "write_csv", more: list[list[str]] | None = None) -> JobRequest:
    nodes = [
        {"id": "read", "op": "read_text", "path": "/in"},
        {"id": "out", "op": op, "path": path},
        {"id": "up", "op": "map", "fn": "to_upper"},
    ]
    return parse_request(job(nodes, 2, edges=[["read", "out"], *(more or [["read", "up"]])]))


@pytest.mark.parametrize(
    ("request_", "field", "said"),
    [
        (writer(""), "dag.nodes[1].path", "needs a path"),
        (writer("/o", more=[["out", "up"]]), "dag.nodes[2]", "nothing reads a write_csv"),
        (writer("/o", more=[["read", "up"], ["up", "out"]]), "dag.nodes[1]", "takes one input"),
        (writer("/o", "write_cvs"), "dag.nodes[1].op", "did you mean write_csv"),
    ],
)
def test_what_a_writer_may_not_be(request_: JobRequest, field: str, said: str) -> None:
    with pytest.raises(InvalidRequest, match=said) as caught:
        validate(request_)
    assert caught.value.field == field


# --- the directory ---------------------------------------------------------------------------


def write(folder: Path, text: str) -> str:
    """What one attempt does; returns its id."""
    attempt = str(uuid.uuid4())
    attempt_part(str(folder), ID, attempt, "part-00000.csv").write_text(text)
    return attempt


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_only_the_accepted_attempt_is_published_whoever_else_goes_on(tmp_path: Path) -> None:
    out = tmp_path / "new" / "out"
    claim(writer(str(out)), ID)
    _, accepted = write(out, "loser"), write(out, "accepted")
    late = attempt_part(str(out), ID, str(uuid.uuid4()), "part-00000.csv").open("w")
    assert names(out) == ["_temporary"]
    folders = [PartFolder(str(out), "csv", (accepted,))]
    publish(folders, ID)
    with late:
        late.write("late")
    publish(folders, ID)  # a master that was killed does it again
    assert names(out) == ["_SUCCESS", "part-00000.csv"]
    assert (out / "part-00000.csv").read_text() == "accepted"
    with pytest.raises(TaskError, match="every worker must see"):
        write(out, "too late")
    assert names(out) == ["_SUCCESS", "part-00000.csv"]


def test_a_publication_that_broke_off_is_finished(tmp_path: Path) -> None:
    out = tmp_path / "out"
    claim(writer(str(out)), ID)
    first, second = write(out, "a"), str(uuid.uuid4())
    folders = [PartFolder(str(out), "csv", (first, second))]
    with pytest.raises(ClusterError, match="could not be given their names"):
        publish(folders, ID)
    assert names(out) == ["_temporary", "part-00000.csv"]
    attempt_part(str(out), ID, second, "part-00001.csv").write_text("b")
    publish(folders, ID)
    assert names(out) == ["_SUCCESS", "part-00000.csv", "part-00001.csv"]


def test_a_file_of_the_users_is_never_replaced(tmp_path: Path) -> None:
    claim(writer(str(tmp_path)), ID)
    accepted = write(tmp_path, "ours")
    (tmp_path / "part-00000.csv").write_text("theirs")
    with pytest.raises(ClusterError, match="File exists"):
        publish([PartFolder(str(tmp_path), "csv", (accepted,))], ID)
    discard([str(tmp_path)], ID)
    assert names(tmp_path) == ["part-00000.csv"]
    assert (tmp_path / "part-00000.csv").read_text() == "theirs"


def test_what_a_job_wrote_is_discarded_and_nothing_of_another(tmp_path: Path) -> None:
    claim(writer(str(tmp_path)), ID)
    half = write(tmp_path, "half")
    with pytest.raises(ClusterError):
        publish([PartFolder(str(tmp_path), "csv", (half, OTHER))], ID)
    discard([str(tmp_path)], OTHER)
    assert names(tmp_path) == ["_temporary", "part-00000.csv"]
    discard([str(tmp_path)], ID)
    discard([str(tmp_path)], ID)
    assert names(tmp_path) == []


def test_a_directory_is_claimed_once_and_only_when_empty(tmp_path: Path) -> None:
    claim(writer(str(tmp_path / "a")), ID)
    with pytest.raises(InputRefused, match="is not empty") as caught:
        claim(writer(str(tmp_path / "a")), OTHER)
    assert caught.value.field == "dag.nodes[1].path"
    assert (tmp_path / "a" / "_temporary" / ID).is_dir()
    (tmp_path / "file").write_text("")
    with pytest.raises(InputRefused, match="is no directory"):
        claim(writer(str(tmp_path / "file")), ID)
    both = writer(str(tmp_path / "b"), more=[["read", "up"]])
    again = replace(both.dag.nodes[1], id="again")
    twice = replace(both, dag=replace(both.dag, nodes=(*both.dag.nodes, again)))
    with pytest.raises(InputRefused, match="is not empty"):
        claim(twice, ID)
    assert names(tmp_path / "b") == []  # all or none


def test_of_two_jobs_that_find_a_directory_empty_one_gets_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim(writer(str(tmp_path)), ID)
    monkeypatch.setattr(os, "listdir", lambda path: [])  # it looked before the other one came
    with pytest.raises(InputRefused, match="is not empty"):
        claim(writer(str(tmp_path)), OTHER)


def test_the_command_line_makes_a_new_directory_absolute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    nodes = [{"id": "w", "op": "write_csv", "path": "new"}, {"id": "r", "op": [], "path": "new"}]
    made = with_absolute_inputs({"dag": {"nodes": nodes}})["dag"]["nodes"]
    assert [node["path"] for node in made] == [str(tmp_path / "new"), "new"]


def test_a_submitter_without_the_token_writes_below_the_input_roots_only(tmp_path: Path) -> None:
    root, state = tmp_path / "root", tmp_path / "root" / "state"
    state.mkdir(parents=True)
    (root / "way_out").symlink_to(tmp_path)
    fence = Fence.around((str(root),), str(state))
    for path in (tmp_path / "out", root / "way_out" / "out", state / "out", root / ".." / "out"):
        with pytest.raises(InputRefused, match="outside the input roots") as caught:
            with_real_folders(writer(str(path)), "/", fence)
        assert caught.value.field == "dag.nodes[1].path"
    real = with_real_folders(writer("out"), str(root), fence)
    assert real.saved_at == (str(root / "out"),)
    assert with_real_folders(writer("out"), str(tmp_path), None).saved_at == (
        str(tmp_path / "out"),
    )


def test_a_submission_whose_directory_is_not_empty_is_refused_with_its_field(
    tmp_path: Path,
) -> None:
    master = HttpMaster(tmp_path)
    try:
        out = master.inputs / "out"
        nodes = [
            {"id": "r", "op": "read_text", "path": "a.txt"},
            {"id": "w", "op": "write_text", "path": "out"},
        ]
        wanted = job(nodes, 2)
        assert master.call("POST", "/api/v1/explain", wanted)[0] == 200
        assert not out.exists()
        status, info = master.call("POST", JOBS, wanted)
        assert status in (200, 201)
        assert names(out / "_temporary") == [info["id"]]
        status, refused = master.call("POST", JOBS, wanted)
        assert (status, refused["error"]["field"]) == (400, "dag.nodes[1].path")
        assert "is not empty" in refused["error"]["message"]
        nodes[1]["path"] = str(tmp_path / "elsewhere")
        status, refused = master.call("POST", JOBS, job(nodes, 2))
        assert (status, refused["error"]["code"]) == (400, "input_refused")
        assert not (tmp_path / "elsewhere").exists()
        assert master.call("POST", JOBS, job(nodes, 2), token=True)[0] in (200, 201)
    finally:
        master.close()
