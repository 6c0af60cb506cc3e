"""`jobs`: all jobs."""

from __future__ import annotations

import argparse
import time
from typing import Any

from minispark.cli.find import find_client
from minispark.cli.render import age, print_json, table

EXAMPLES = """\
examples:
  minispark jobs                      newest last
  minispark jobs --json               as a list of JobInfo
"""
SEE_ALSO = ("status", "cancel", "results")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    pass


def run(args: argparse.Namespace) -> int:
    with find_client(args) as client:
        jobs = client.jobs()
    if args.json:
        print_json(jobs)
    elif jobs:
        print(jobs_table(jobs))
    else:
        print("No jobs yet; `submit` one.")
    return 0


def jobs_table(jobs: list[dict[str, Any]]) -> str:
    rows = []
    for job in jobs:
        tasks = job["tasks"]
        rows.append(
            (
                job["id"][:8],
                job["request"]["name"],
                job["state"],
                f"{job['progress']:.0f}%",
                f"{tasks['completed']}/{sum(tasks.values())}",
                _plan(job),
                job["retries"],
                age(time.time() - job["created_at"]),
            )
        )
    return table(rows, ("id", "name", "state", "done", "tasks", "plan", "retries", "age"))


def is_on_spark(job: dict[str, Any]) -> bool:
    return bool(job["request"].get("engine") == "spark")


def _plan(job: dict[str, Any]) -> str:
    plan = job["plan"] or "-"
    return f"{plan}, on Spark" if is_on_spark(job) else plan
