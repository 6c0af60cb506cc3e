"""How a fused plan becomes RDDs, as text."""

from __future__ import annotations

from pathlib import Path

from minispark.spark.describe import describe
from tests.in_process import plan_of
from tests.jobs import job

GOLDEN = Path(__file__).parents[1] / "golden" / "plans" / "spark-rdds.txt"


def test_every_kind_of_input_is_told(tmp_path: Path) -> None:
    (tmp_path / "in").write_text("a,1\nb,2\n")
    read = {"op": "read_text", "path": str(tmp_path / "in")}
    pair = {"op": "map", "fn": "extract_key"}
    request = job(
        [
            {"id": "r0", **read},
            {"id": "k0", **pair},
            {"id": "r1", **read},
            {"id": "k1", **pair},
            {"id": "s", "op": "sort_by_key"},
            {"id": "u", "op": "union"},
            {"id": "j", "op": "full_outer_join", "join_with": "k1", "partitions": 3},
            {"id": "b", "op": "join", "join_with": "k1"},
        ],
        2,
        edges=[
            ["r0", "k0"], ["r1", "k1"], ["k0", "s"], ["s", "u"], ["k1", "u"], ["k0", "j"],
            ["k0", "b"],
        ],
    )  # fmt: skip
    assert describe(plan_of(request)) == GOLDEN.read_text()


def test_a_plan_without_a_shuffle_is_one_rdd(tmp_path: Path) -> None:
    (tmp_path / "in").write_text("a\n")
    request = job([{"id": "r", "op": "read_text", "path": str(tmp_path / "in")}], 1)
    assert describe(plan_of(request)) == (
        "fused plan on Spark: 1 RDD, 1 partition\n\n"
        "stage 0: r (1 partition, final)\n"
        "  parallelize: byte ranges for 1 partition\n"
        "  mapPartitionsWithIndex: the stage's program -> one result file\n"
    )
