"""The documented scripts from end to end, at small sizes: each checks what it shows, ends with 1
where that does not hold, and leaves nothing behind.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import psutil
import pytest

from tests.cluster.harness import PLAIN_ENVIRONMENT, ROOT

NEEDS_S = 240
"""A few seconds each on an idle machine."""
SCRIPTS = {
    "test_single_node": "the words of wc-single",
    "test_e2e_multinode_wordcount": "workers that ran its first stage: 3",
    "test_e2e_multinode_join": "the join, and as awk makes it: 1000 lines",
    "test_fault_tolerance": "which run again",
    "test_failure_retries": "attempts at its first task: 3",
    "test_cache": "files in spill/",
    "test_metrics": "/api/v1/jobs/ID/stages",
    "test_metrics_client": "those of /api/v1/metrics/scheduler",
    "test_round_robin": "[3, 3, 3]",
    "test_load_balancing": "[3, 9]",
    "test_parallel_tasks": "tasks that run at once: 4",
    "test_quick": "lines of the join",
}
"""And what each of them shows."""
OTHER_NAMES = {
    "test_e2e_multinode_wc": "test_e2e_multinode_wordcount",
    "test_failures": "test_failure_retries",
    "test_client_metrics": "test_metrics_client",
}


def run_script(
    name: str, tmp_path: Path, *words: str, **env: str
) -> subprocess.CompletedProcess[str]:
    """To its end; its processes and files are gone then."""
    temporary = tmp_path / "temporary"
    temporary.mkdir(exist_ok=True)
    done = subprocess.run(
        [str(ROOT / "scripts" / f"{name}.sh"), *words],
        env={**PLAIN_ENVIRONMENT, "TMPDIR": str(temporary), **env},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=NEEDS_S,
        check=False,
    )
    assert os.listdir(temporary) == [], done.stdout
    assert left_running(str(temporary)) == [], done.stdout
    return done


def left_running(words: str) -> list[psutil.Process]:
    """Processes with that in their command line; they are ended."""
    found = [
        p for p in psutil.process_iter(["cmdline"]) if words in " ".join(p.info["cmdline"] or ())
    ]
    _, left = psutil.wait_procs(found, timeout=5)
    for process in left:
        process.kill()
    return left


@pytest.mark.parametrize("name", SCRIPTS)
def test_what_a_script_shows_holds(name: str, tmp_path: Path) -> None:
    done = run_script(name, tmp_path)
    assert done.returncode == 0, done.stdout
    assert done.stdout.endswith("PASSED\n") and "WRONG" not in done.stdout
    assert SCRIPTS[name] in done.stdout


@pytest.mark.parametrize("name", OTHER_NAMES)
def test_the_other_documented_name_is_the_same_script(name: str) -> None:
    text = (ROOT / "scripts" / f"{name}.sh").read_text()
    assert f'exec "$(dirname "$0")/{OTHER_NAMES[name]}.sh" "$@"' in text
    assert os.access(ROOT / "scripts" / f"{name}.sh", os.X_OK)


@pytest.mark.parametrize(
    ("name", "variable", "value", "wrong"),
    [
        ("test_failure_retries", "FAIL_PROBABILITY", "0", "job_failures: 0"),
        ("test_cache", "CACHE_MAX_MB", "128", "files in spill/: 0"),
        ("test_parallel_tasks", "WORKER_THREADS", "1", "tasks that run at once: 1"),
        ("test_load_balancing", "THREADS", "1", "[3, 3]"),
        ("test_round_robin", "WORKERS", "2", "[3, 3]"),
        ("test_fault_tolerance", "VICTIM", "worker-3", "tasks that worker-2 held"),
    ],
)
def test_a_script_fails_where_what_it_shows_does_not_hold(
    name: str, variable: str, value: str, wrong: str, tmp_path: Path
) -> None:
    done = run_script(name, tmp_path, **{variable: value})
    assert done.returncode == 1, done.stdout
    assert any("WRONG" in line and wrong in line for line in done.stdout.splitlines()), done.stdout
    assert "PASSED" not in done.stdout


def test_a_result_that_is_not_what_awk_counts_fails_the_script(tmp_path: Path) -> None:
    awk = tmp_path / "awk"
    awk.write_text(f'#!/bin/sh\n{shutil.which("awk")} "$@" && echo "one more"\n')
    awk.chmod(0o755)
    path = f"{tmp_path}:{os.environ['PATH']}"
    done = run_script("test_single_node", tmp_path, PATH=path)
    assert done.returncode == 1
    assert "WRONG  the words of wc-single" in done.stdout


def test_the_benchmark_writes_its_report_and_figures(tmp_path: Path) -> None:
    out = tmp_path / "results"
    done = run_script("benchmark_1m", tmp_path, "--lines", "5000", "--out", str(out))
    assert done.returncode == 0, done.stdout
    names = ("benchmark_1m", "benchmark_1m_metrics", "benchmark_1m_stages", "system_metrics")
    figures = {name: json.loads((out / f"{name}.json").read_text()) for name in names}
    whole = figures["benchmark_1m"]
    assert (whole["lines"], whole["workers"], whole["parallelism"]) == (5000, 2, 6)
    assert whole["job_metrics"] == figures["benchmark_1m_metrics"]
    assert whole["stage_timeline"] == figures["benchmark_1m_stages"]
    assert whole["system_metrics"] == figures["system_metrics"]
    assert figures["benchmark_1m_metrics"]["completed_tasks"] == 12
    assert whole["duration_ms"] == figures["benchmark_1m_metrics"]["duration_ms"] > 0
    report = (out / "benchmark_1m_report.txt").read_text()
    assert "Word count of 5,000 lines: 2 workers" in report and report in done.stdout


def test_the_benchmark_knows_its_options(tmp_path: Path) -> None:
    done = run_script("benchmark_1m", tmp_path, "--workers", "3")
    assert done.returncode == 2 and "usage" in done.stdout


@pytest.mark.parametrize(
    ("body", "status", "failed"),
    [("assert 1", 0, 0), ("assert [n for n in (0, 1) if n > 1]", 1, 1), ("", 1, 0)],
    ids=["passes", "fails", "has no test"],
)
def test_run_tests_counts_what_passed_and_failed(
    body: str, status: int, failed: int, tmp_path: Path
) -> None:
    path = tmp_path / "test_own.py"
    path.write_text(f"def test_passes(): pass\ndef test_own(): {body}\n" if body else "")
    done = run_script("run_tests", tmp_path, str(path))
    assert done.returncode == status, done.stdout
    passed = 2 - failed if body else 0
    assert done.stdout.endswith(f"passed  {passed}\nfailed  {failed}\n")
