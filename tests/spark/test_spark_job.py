"""What a job on Spark leaves behind, and how it fails."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from py4j.protocol import Py4JError

from minispark.compute import documented
from minispark.errors import ClusterError, TaskError
from minispark.model.effects import PartFolder
from minispark.model.file_names import partition_file
from minispark.model.job import PlanKind
from minispark.plan.parsing import parse_request
from minispark.plan.planner import plan
from minispark.spark import translate
from minispark.spark.failed_tasks import TaskOfStageFailed
from minispark.spark.stage_run import Destination, Written
from minispark.spark.translate import SparkJob
from minispark.storage.inputs import resolve_inputs
from minispark.storage.part_folders import claim, publish
from tests.in_process import JOB_ID, plan_of, run_plan
from tests.jobs import job, word_count
from tests.spark.both_engines import TASK_MAX_MB, read_partition, run_both

if TYPE_CHECKING:
    from pyspark import SparkContext

WORDS = "one two two\nthree three three\n" * 20


@pytest.fixture
def words(tmp_path: Path) -> str:
    path = tmp_path / "words.txt"
    path.write_text(WORDS)
    return str(path)


@pytest.fixture(params=["near", "far", "unseen"])
def place(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Whether tasks run on the driver's host, or believe that they do not, or do not see there what
    the driver sees.
    """
    if request.param == "far":
        monkeypatch.setattr(translate, "host_id", lambda: "another host")
    elif request.param == "unseen":
        monkeypatch.setattr(translate, "Destination", lambda host, _: Destination(host, "/none"))
    return str(request.param)


def test_a_task_that_does_not_reach_the_folder_hands_its_files_over(
    sc: SparkContext, place: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    received, sizes = SparkJob._received, []

    def receive(job: SparkJob, written: Written, folder: Path | None) -> Written:
        sizes.append(len(written.data or b""))
        return received(job, written, folder)

    monkeypatch.setattr(SparkJob, "_received", receive)
    SparkJob(sc, plan_of(word_count(words, 2)), JOB_ID, TASK_MAX_MB).run(tmp_path)
    files = [tmp_path / partition_file(JOB_ID, "reduce", p) for p in range(2)]
    assert sizes == ([path.stat().st_size for path in files] if place != "near" else [0, 0])


@pytest.mark.usefixtures("place")
def test_only_the_partitions_that_are_asked_for_are_made(
    sc: SparkContext, words: str, tmp_path: Path
) -> None:
    made = plan_of(word_count(words, 3))
    once, again = tmp_path / "once", tmp_path / "again"
    once.mkdir()
    again.mkdir()
    spark = SparkJob(sc, made, JOB_ID, TASK_MAX_MB)
    assert spark.final_partitions == [(1, 0), (1, 1), (1, 2)]
    written = spark.run(once)
    assert [(w.stage_index, w.partition) for w in written] == spark.final_partitions
    (second,) = spark.run(again, [1])
    name = partition_file(JOB_ID, "reduce", 1)
    assert [path.name for path in again.iterdir()] == [name]
    assert (again / name).read_bytes() == (once / name).read_bytes()
    assert second.outcome.files == ((name, name),) and second.data is None
    names = sorted(partition_file(JOB_ID, "reduce", p) for p in range(3))
    assert sorted(path.name for path in once.iterdir()) == names
    rows = [row for p in range(3) for row in read_partition(once, "reduce", p)]
    assert sorted(rows) == [("one", "20"), ("three", "60"), ("two", "40")]


def test_partitions_that_are_made_again_need_no_maps_again(
    sc: SparkContext, words: str, tmp_path: Path
) -> None:
    calls = tmp_path / "calls"
    source = f"def f(value):\n    open({str(calls)!r}, 'a').write('x')\n    return value, 1\n"
    nodes = [
        {"id": "r", "op": "read_text", "path": words},
        {"id": "m", "op": "map", "fn": "own:f"},
        {"id": "s", "op": "sort_by_key"},
    ]
    made = plan_of({**job(nodes, 2), "modules": {"own": source}})
    spark = SparkJob(sc, made, JOB_ID, TASK_MAX_MB)
    spark.run(tmp_path)
    called = calls.read_text()
    assert len(called) == 2 * 40, "for the samples, and for the shuffle"
    spark.run(tmp_path, [0])
    spark.run(tmp_path, [1])
    assert calls.read_text() == called


def test_without_a_folder_the_bytes_come_back(sc: SparkContext, words: str) -> None:
    found = SparkJob(sc, plan_of(word_count(words, 1)), JOB_ID, TASK_MAX_MB).run(None)
    assert found[0].data is not None
    assert len(documented.parse(found[0].data)) == 3


@pytest.mark.usefixtures("place")
def test_parts_of_the_users_are_published(sc: SparkContext, words: str, tmp_path: Path) -> None:
    request = word_count(words, 2)
    out = tmp_path / "out"
    request["dag"]["nodes"].append({"id": "w", "op": "write_csv", "path": str(out)})
    request["dag"]["edges"].append(["reduce", "w"])
    claim(parse_request(request), JOB_ID)
    results = tmp_path / "results"
    results.mkdir()
    written = SparkJob(sc, plan_of(request), JOB_ID, TASK_MAX_MB).run(results)
    assert all(w.part is None for w in written)
    publish([PartFolder(str(out), "csv", tuple(w.attempt_id for w in written))], JOB_ID)
    names = ["_SUCCESS", "part-00000.csv", "part-00001.csv"]
    assert sorted(path.name for path in out.iterdir()) == names
    for p in range(2):
        with (out / f"part-0000{p}.csv").open() as file:
            rows = [(row["key"], row["value"]) for row in csv.DictReader(file)]
        assert rows == read_partition(results, "w", p)


def test_what_outgrows_the_memory_is_spilled_and_gives_the_same(
    sc: SparkContext, tmp_path: Path
) -> None:
    path = tmp_path / "rows.csv"
    rows = [f"{i * 7919 % 1009},{'x' * (i % 97)}" for i in range(20_000)]
    path.write_text("k,v\n" + "".join(f"{row}\n" for row in rows))
    read = {"op": "read_csv", "path": str(path)}
    nodes = [
        {"id": "r", **read},
        {"id": "s", "op": "sort_by_key", "key": "k", "partitions": 2},
        {"id": "g", "op": "group_by_key", "partitions": 2},
    ]
    request = job(nodes, 2, edges=[["r", "s"], ["r", "g"]])
    request["dag"]["nodes"][2]["key"] = "k"
    made = plan_of(request)
    local = run_plan(made, tmp_path, task_max_mb=1)
    results = tmp_path / "results"
    results.mkdir()
    spark = SparkJob(sc, made, JOB_ID, task_max_mb=1)
    spark.run(results)
    for leaf, partitions in local.results.items():
        assert [read_partition(results, leaf, p) for p in range(2)] == partitions
    spilled = [outcome.bytes_spilled for outcome in spark.outcomes.values()]
    assert sum(spilled) > len(path.read_bytes())


def test_every_task_of_every_stage_is_told_of(sc: SparkContext, words: str) -> None:
    spark = SparkJob(sc, plan_of(word_count(words, 2)), JOB_ID, TASK_MAX_MB)
    assert spark.outcomes == {}
    spark.run(None)
    outcomes = spark.outcomes
    assert sorted(outcomes) == [(0, 0), (0, 1), (1, 0), (1, 1)]
    maps, reduces = ([outcomes[stage, p] for p in range(2)] for stage in (0, 1))
    assert sum(o.bytes_read for o in maps) == len(WORDS)
    assert sum(o.bytes_written for o in maps) == sum(o.bytes_read for o in reduces) > 0
    assert sum(o.records for o in reduces) == 3
    split = [c.records for o in maps for c in o.operators if c.node_id == "flatmap"]
    assert sum(split) == 120


# --- failures -------------------------------------------------------------------------------


def own_map(words: str, source: str) -> dict[str, Any]:
    nodes = [
        {"id": "r", "op": "read_text", "path": words},
        {"id": "m", "op": "map", "fn": "own:f"},
        {"id": "n", "op": "reduce_by_key", "fn": "count"},
    ]
    return {**job(nodes, 2), "modules": {"own": source}}


def test_an_error_of_the_users_comes_as_the_local_engine_tells_it(
    sc: SparkContext, words: str, tmp_path: Path
) -> None:
    source = "def f(value):\n    if 'three' in value:\n        raise ValueError('ü: ' + value)\n"
    made = plan_of(own_map(words, source + "    return value\n"))
    with pytest.raises(TaskError) as local:
        run_plan(made, tmp_path)
    with pytest.raises(TaskOfStageFailed) as spark:
        SparkJob(sc, made, JOB_ID, TASK_MAX_MB).run(tmp_path)
    assert str(spark.value) == str(local.value)
    assert str(spark.value).startswith("own.py, line 3, in f: ValueError: ü: three")
    assert (spark.value.stage_index, spark.value.reason) == (0, "error")


def test_an_error_in_what_is_broadcast_is_told_too(sc: SparkContext, words: str) -> None:
    nodes = [
        {"id": "r", "op": "read_text", "path": words},
        {"id": "m", "op": "map", "fn": "own:f"},
        {"id": "s", "op": "sort_by_key", "partitions": 2},
    ]
    request = {**job(nodes, 2), "modules": {"own": "def f(value):\n    return value, 1 // 0\n"}}
    with pytest.raises(TaskOfStageFailed, match=r"^own.py, line 2, in f: ZeroDivisionError"):
        SparkJob(sc, plan_of(request), JOB_ID, TASK_MAX_MB).run(None)


def test_modules_of_one_name_do_not_mix(sc: SparkContext, words: str, tmp_path: Path) -> None:
    for answer in ("first", "second"):
        request = own_map(words, f"def f(value):\n    return {answer!r}\n")
        assert run_both(sc, request).spark.rows() == [(answer, "40")]


def test_a_worker_of_sparks_that_dies_fails_the_job(sc: SparkContext, words: str) -> None:
    source = "import os\n\ndef f(value):\n    os._exit(3)\n"
    with pytest.raises(ClusterError, match=r"^Spark failed: .*exited unexpectedly"):
        SparkJob(sc, plan_of(own_map(words, source)), JOB_ID, TASK_MAX_MB).run(None)


def test_a_spark_that_stopped_before_it_was_asked_is_no_defect_of_ours(
    sc: SparkContext, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def parallelize(*_: object) -> None:
        raise Py4JError("Cannot call methods on a stopped SparkContext.")

    monkeypatch.setattr(sc, "parallelize", parallelize)
    with pytest.raises(ClusterError, match=r"Spark failed: .*stopped.*; .*`logs spark-driver`"):
        SparkJob(sc, plan_of(word_count(words, 2)), JOB_ID, TASK_MAX_MB).run(None)


def test_a_naive_plan_is_refused(sc: SparkContext, words: str) -> None:
    request = parse_request(word_count(words, 2))
    naive = plan(request, resolve_inputs(request, base_dir="/", input_roots=None), PlanKind.NAIVE)
    with pytest.raises(ClusterError, match="fused plans only"):
        SparkJob(sc, naive, JOB_ID, TASK_MAX_MB)


def test_a_long_plan_is_no_deep_recursion(sc: SparkContext, words: str) -> None:
    chain = [{"id": f"d{i}", "op": "distinct", "partitions": 1} for i in range(250)]
    made = plan_of(job([{"id": "r", "op": "read_text", "path": words}, *chain], 1))
    assert SparkJob(sc, made, JOB_ID, TASK_MAX_MB).lineage().count("PairwiseRDD") == 250


# --- for people -----------------------------------------------------------------------------


def test_the_lineage_is_shown_without_running_anything(
    sc: SparkContext, words: str, tmp_path: Path
) -> None:
    calls = tmp_path / "calls"
    source = f"def f(value):\n    open({str(calls)!r}, 'a').write('x')\n    return value, '1'\n"
    request = own_map(words, source)
    request["dag"]["nodes"][2] = {"id": "n", "op": "sort_by_key", "partitions": 2}
    spark = SparkJob(sc, plan_of(request), JOB_ID, TASK_MAX_MB)
    shown = spark.lineage()
    assert shown.startswith("broadcast stage 0:\n(2) ") and "\nfinal stage 2:\n(2) " in shown
    assert shown.count("PairwiseRDD") == 1
    assert "blocks of 1 " in shown and "stage 2: " in shown
    assert not calls.exists() and spark.outcomes == {}
    assert json.dumps(spark.describe()) == json.dumps(translate.describe(plan_of(request)))


def test_a_job_that_is_over_leaves_nothing_in_this_process(sc: SparkContext, words: str) -> None:
    from pyspark import accumulators

    request = word_count(words, 2)
    request["dag"]["nodes"][3] = {"id": "n", "op": "sort_by_key", "partitions": 2}  # by a broadcast
    request["dag"]["edges"][2] = ["map", "n"]
    made, before = plan_of(request), len(accumulators._accumulatorRegistry)
    spark = SparkJob(sc, made, JOB_ID, TASK_MAX_MB)
    spark.run(None)
    reports = spark.reports
    assert len(accumulators._accumulatorRegistry) == before + 1 and len(reports) > 4
    spark.close()
    assert len(accumulators._accumulatorRegistry) == before
    assert spark.reports == reports
