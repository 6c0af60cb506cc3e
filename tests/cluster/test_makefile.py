"""The Makefile's documented targets: every one says what it would run, and some are run."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.harness import PLAIN_ENVIRONMENT, ROOT, Cluster
from tests.cluster.test_by_hand import free_ports

TARGETS = {
    "build": ". scripts/_env run",
    "run": "minispark.py up",
    "run-master": "minispark.py master",
    "run-worker": "minispark.py worker",
    "run-client-submit": "minispark.py submit --parallelism 4",
    "run-client-join": "minispark.py submit-join",
    "run-client-status": "minispark.py status last",
    "run-client-results": "minispark.py results last",
    "data": "scripts/make_data 1m --out data/large",
    "create-test-data": "scripts/make_data 100 ",
    "create-large-data": "scripts/make_data 10000 ",
    "create-1m-data": "scripts/make_data 1m ",
    "create-join-data": "scripts/make_data join ",
    "test": "scripts/test",
    "test-unit": "scripts/run_tests.sh",
    "test-metrics": "scripts/test_metrics.sh",
    "test-fault-tolerance": "scripts/test_fault_tolerance.sh",
    "test-cache": "scripts/test_cache.sh",
    "test-load-balancing": "scripts/test_load_balancing.sh",
    "test-parallel-tasks": "scripts/test_parallel_tasks.sh",
    "test-round-robin": "scripts/test_round_robin.sh",
    "test-failures": "scripts/test_failures.sh",
    "test-client-metrics": "scripts/test_client_metrics.sh",
    "metrics": "metrics scheduler",
    "metrics-failures": "metrics failures",
    "metrics-job": "metrics job last",
    "metrics-stages": "metrics stages last",
    "docker": "docker compose up -d master worker1 worker2",
    "docker-up-full": "docker compose --profile full up -d",
    "docker-demo": "scripts/docker-demo.sh",
    "docker-test": "scripts/docker-fault-test.sh",
    "docker-down": "docker compose --profile full --profile test down",
    "docker-logs": "docker compose --profile full --profile test logs -f",
    "docker-clean": "docker image prune --force --filter label=org.opencontainers.image.title=",
}


def make(*words: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["make", *words],
        cwd=ROOT,
        env={**PLAIN_ENVIRONMENT, **env},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("target", TARGETS)
def test_a_target_runs_what_is_documented(target: str) -> None:
    done = make("--dry-run", target)
    assert done.returncode == 0, done.stderr
    assert TARGETS[target] in done.stdout
    for line in done.stdout.splitlines():
        if line.startswith("scripts/"):
            assert os.access(ROOT / line, os.X_OK), line


def test_help_lists_every_target() -> None:
    listed = {line.split()[0] for line in make("help").stdout.splitlines()}
    rules = re.findall(r"^([a-z0-9% -]+):(?!=)", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert listed == {target for rule in rules for target in rule.split()}
    assert listed >= {name for name in TARGETS if not name.startswith("test-")}
    done = make("--dry-run", *sorted(listed - {"test-%"}))
    assert done.returncode == 0, done.stderr


def test_data_metrics_and_state_of_a_cluster(shared_cluster: Cluster, tmp_path: Path) -> None:
    done = make("create-test-data", "create-join-data", f"OUT={tmp_path}")
    assert done.returncode == 0, done.stderr
    assert {path.name for path in tmp_path.iterdir()} == {
        *("lines_100.csv", "sales.csv", "products.csv")
    }
    assert shared_cluster.cli("submit", "--wait", "-n", "made").returncode == 0
    env = {"MINISPARK_STATE_DIR": str(shared_cluster.state_dir)}
    done = make("--silent", "run-client-results", "metrics-system", "metrics-job", **env)
    assert done.returncode == 0, done.stderr
    assert "jobs_succeeded" in done.stdout and "stages_completed" in done.stdout
    url = shared_cluster.document()["master_url"]
    state: dict[str, Any] = json.loads(make("state", f"MASTER_URL={url}").stdout)
    assert [job["name"] for job in state["jobs"].values()] == ["made"]
    port = shared_cluster.process("worker-1")["ports"]["metrics"]
    assert "cache_hits" in json.loads(make("metrics-worker", f"PORT={port}").stdout)


@pytest.mark.parametrize("words", [("state", "MASTER_URL={}"), ("metrics-worker", "PORT={}")])
def test_where_nobody_answers_one_line_says_so(words: tuple[str, str]) -> None:
    (port,) = free_ports(1)
    target, variable = words
    where = port if variable.startswith("PORT") else f"http://127.0.0.1:{port}"
    done = make(target, variable.format(where))
    assert done.returncode != 0
    first, made = done.stderr.splitlines()
    assert first.startswith(f"http://127.0.0.1:{port}/") and "Connection refused" in first
    assert made.startswith("make: ***")
