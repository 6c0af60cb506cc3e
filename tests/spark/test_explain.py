"""`explain --engine spark`: the translation of a job file, and Spark's own plan of it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests import jobs
from tests.cluster.harness import PLAIN_ENVIRONMENT, ROOT


def explain(*words: str) -> Any:
    """In a process of its own: it may have one Spark application."""
    return subprocess.run(
        [sys.executable, str(ROOT / "minispark.py"), "explain", *words],
        capture_output=True, text=True, env=PLAIN_ENVIRONMENT, timeout=120, check=False,
    )  # fmt: skip


def test_both_plans_are_printed(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("some words\n")
    file = tmp_path / "job.json"
    file.write_text(json.dumps(jobs.word_count(str(tmp_path / "text"), 3)))
    done = explain(str(file), "--engine", "spark")
    assert done.returncode == 0, done.stderr
    translation, _, lineage = done.stdout.partition("\nfinal stage 1:\n")
    assert translation.startswith("fused plan on Spark: 2 RDDs, 6 partitions\n")
    assert "partitionBy(3) of stage 0" in translation
    assert lineage.startswith("(3) stage 1: reduce PythonRDD")
    assert "ShuffledRDD" in lineage and "ParallelCollectionRDD" in lineage
    document = json.loads(explain(str(file), "--engine", "spark", "--json").stdout)
    assert document["kind"] == "fused" and document["text"] == translation
    assert "ShuffledRDD" in document["lineage"]
