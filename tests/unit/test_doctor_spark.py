"""`doctor` of a cluster whose engine is Spark: what Spark needs is looked for."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from minispark.cli.main import main
from minispark.errors import ClusterError
from minispark.spark import installed

MISSING = "the engine spark needs Java 17"


def refuse() -> None:
    raise ClusterError(MISSING)


@pytest.mark.parametrize(
    ("engine", "is_there", "found"),
    [("spark", False, [False]), ("spark", True, [True]), ("local", False, [])],
)
def test_it_looks_for_spark_where_the_cluster_wants_it(
    engine: str,
    is_there: bool,
    found: list[bool],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    monkeypatch.setattr(installed, "require_spark", (lambda: None) if is_there else refuse)
    ports = ("--set", "master.http_port=0", "--set", "master.socket_port=0")
    own = ("--state-dir", str(tmp_path), "--set", f"engine.name={engine}", *ports)
    status = main(["doctor", "--json", *own, "--set", "workers.count=0"])
    checks = {check["check"]: check for check in json.loads(capsys.readouterr().out)}
    assert [check["ok"] for name, check in checks.items() if name == "spark"] == found
    if False in found:
        assert (status, checks["spark"]["message"]) == (1, MISSING)
