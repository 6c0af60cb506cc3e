"""Completion of the names that only a running cluster knows."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.cluster.harness import ROOT, Cluster
from tests.jobs import word_count
from tests.unit.test_completion import completed


def test_bash_offers_jobs_processes_and_workers_of_the_cluster(
    shared_cluster: Cluster, tmp_path: Path
) -> None:
    with shared_cluster.client() as client:
        named = client.submit({**word_count("data/input.csv", 2), "name": "my-words.2"})
        strange = client.submit({**word_count("data/input.csv", 2), "name": "$(touch x) `y`"})
    program = tmp_path / "minispark"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{ROOT}/minispark.py" "$@"\n')
    program.chmod(0o755)
    script = tmp_path / "script"
    script.write_text(shared_cluster.cli("completion", "bash").stdout)
    state = f"--state-dir {shared_cluster.state_dir}"
    ids = {named["id"], strange["id"]}

    def offered(rest: str) -> set[str]:
        return completed(script, f"{program} {rest}", tmp_path)

    assert offered(f"results {state} ") == {"last", "my-words.2", *ids}
    assert offered(f"{state} metrics job my") == {"my-words.2"}
    assert offered(f"status --state-dir={shared_cluster.state_dir} las") == {"last"}
    workers = {"worker-1", "worker-2", "worker-3"}
    assert offered(f"logs {state} ") == {"supervisor", "master", *workers}
    assert offered(f"logs {state} worker-1 wor") == workers
    assert offered(f"chaos {state} kill-worker ") == workers
    assert not (tmp_path / "x").exists()
