"""`status`: workers and jobs; of one job its stages with bars, its attempts and errors."""

from __future__ import annotations

import argparse
import sys
import time
from typing import Any

from minispark.cli.find import find_client
from minispark.cli.jobs import jobs_table
from minispark.cli.render import age, bar, colour, print_json, print_json_line, table
from minispark.client import Client
from minispark.model.safe_text import escaped

EXAMPLES = """\
examples:
  minispark status                    workers and jobs
  minispark status last --watch       the newest job, drawn again every second
"""
SEE_ALSO = ("jobs", "explain", "logs")
EXITS = {1: "there is no such job"}
WATCH_S = 1.0
JOBS_SHOWN = 10
ATTEMPTS_SHOWN = 100


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("job", nargs="?", metavar="JOB", help="an id, a prefix, a name, or last")
    parser.add_argument("--watch", action="store_true", help="draw it again every second")


def run(args: argparse.Namespace) -> int:
    with find_client(args) as client:
        while True:
            document = _job(client, args.job) if args.job else _cluster(client)
            if args.json:
                show = print_json_line if args.watch else print_json
                show(document)
            else:
                text = _job_text(document) if args.job else _cluster_text(document)
                clear = "\x1b[H\x1b[2J" if args.watch and sys.stdout.isatty() else ""
                print(clear + text, flush=True)
            if not args.watch:
                return 0
            time.sleep(WATCH_S)  # how often it is drawn


def _cluster(client: Client) -> dict[str, Any]:
    return {"workers": client.workers(), "jobs": client.jobs()}


def _cluster_text(document: dict[str, Any]) -> str:
    rows = [
        (
            worker["name"],
            _state(worker["status"]),
            worker["active_tasks"],
            worker["slots"] or "-",
            worker["kind"],
            worker["pid"] or "-",
            f"{age(time.time() - worker['last_heartbeat'])} ago",
        )
        for worker in document["workers"]
    ]
    headers = ("worker", "state", "tasks", "slots", "kind", "pid", "heartbeat")
    text = table(rows, headers) if rows else "No workers."
    jobs = document["jobs"][-JOBS_SHOWN:]
    return f"{text}\n\n{jobs_table(jobs) if jobs else 'No jobs yet.'}"


def _state(status: str) -> str:
    return colour(status, "green" if status == "Up" else "red")


def _job(client: Client, text: str) -> dict[str, Any]:
    job = client.find_job(text)
    job["stages"] = client.stages(job["id"])
    job["attempts"] = client.tasks(job["id"], limit=ATTEMPTS_SHOWN)["tasks"]
    return job


def _tasks(stage: dict[str, Any]) -> str:
    """How many are complete; what would be made of the others is cached."""
    if stage["tasks_skipped"] and not stage["tasks_total"]:
        return "skipped"
    return f"{stage['tasks_completed']}/{stage['tasks_total']}"


def _job_text(job: dict[str, Any]) -> str:
    lines = [f"{job['request']['name']}  {job['id']}  {job['state']}  {job['progress']:.0f}%"]
    if job["duration_ms"] is not None:
        lines[0] += f"  {job['duration_ms'] / 1000:.2f} s"
    if job["note"]:
        lines.append(job["note"])
    if isinstance(job["status"], dict):
        lines.append(job["status"]["Failed"])
    lines = [escaped(line) for line in lines]
    rows = [
        (
            stage["node_id"],
            bar(stage["tasks_completed"], stage["tasks_total"]),
            _tasks(stage),
            stage["records_processed"],
            stage["failed_attempts"] or "",
        )
        for stage in job["stages"]
    ]
    lines += ["", table(rows, ("stage", "progress", "tasks", "records", "failed"))]
    failed = [attempt for attempt in job["attempts"] if attempt["error"]]
    if failed:
        rows = [
            (
                f"{a['node_id']}/{a['partition_id']}",
                a["attempt"],
                a["worker"],
                a["state"],
                a["error"].splitlines()[0][:80],
            )
            for a in failed
        ]
        lines += ["", table(rows, ("task", "attempt", "worker", "state", "error"))]
    return "\n".join(lines)
