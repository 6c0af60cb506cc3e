"""Where Spark, or its Java, is not installed, whoever asks for it is told what to install."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from minispark.errors import InvalidRequest
from tests.cluster.harness import PLAIN_ENVIRONMENT, Cluster, run_cli
from tests.jobs import word_count

NO_JAVA = {"JAVA_HOME": "/nowhere"}
"""Also where pyspark is installed Spark cannot run so."""
NEEDS = "the engine spark needs "


def test_a_job_is_refused_and_others_go_on(
    make_cluster: Callable[..., Cluster], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(PLAIN_ENVIRONMENT, "JAVA_HOME", NO_JAVA["JAVA_HOME"])
    cluster = make_cluster(workers=1)
    done = cluster.cli("submit", "data/jobs/wordcount.json", "--engine", "spark")
    assert done.returncode == 2
    assert NEEDS in done.stderr and len(done.stderr.splitlines()) == 1, done.stderr
    with cluster.client() as client:
        with pytest.raises(InvalidRequest, match=NEEDS) as refused:
            client.submit({**word_count("data/input.csv", 2), "engine": "spark"})
        assert refused.value.field == "engine"
        assert client.jobs() == []
        info = client.wait(client.submit(word_count("data/input.csv", 2))["id"])
        assert info["state"] == "SUCCEEDED"
    assert "spark-driver" not in cluster.cli("ps").stdout


@pytest.mark.parametrize(
    "words",
    [
        ("run", "data/jobs/wordcount.json", "--engine", "spark"),
        ("up", "-d", "-c", "conf/spark.yaml", "--set", "master.http_port=0"),
    ],
    ids=("run", "up"),
)
def test_a_cluster_that_could_run_nothing_does_not_start(
    words: tuple[str, ...], tmp_path: object
) -> None:
    done = run_cli(*words, "--state-dir", f"{tmp_path}/state", env=NO_JAVA)
    assert done.returncode == 1
    assert NEEDS in done.stderr and len(done.stderr.splitlines()) == 1, done.stderr
