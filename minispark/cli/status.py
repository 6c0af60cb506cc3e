"""`status`: workers and jobs; of one job its stages with bars, why it waits, and why it retried."""

from __future__ import annotations

import argparse
import sys
import time
from typing import Any

from minispark.cli.find import find_client
from minispark.cli.jobs import is_on_spark, jobs_table
from minispark.cli.render import age, bar, colour, print_json, print_json_line, table
from minispark.client import ENDED, Client
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
RETRIES_SHOWN = 10
"""Tasks, those that failed last."""
RETRIES_LOOKED_AT = 200
"""Failed and lost attempts among which these tasks are found."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("job", nargs="?", metavar="JOB", help="an id, a prefix, a name, or last")
    parser.add_argument(
        "--watch", action="store_true", help="draw it again every second, until the job ends"
    )


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
            if not args.watch or document.get("state") in ENDED:
                return 0
            time.sleep(WATCH_S)  # how often it is drawn


def _cluster(client: Client) -> dict[str, Any]:
    cluster = client.cluster()
    return {"workers": cluster["workers"], "driver": cluster["driver"], "jobs": client.jobs()}


def _cluster_text(document: dict[str, Any]) -> str:
    driver = document["driver"]
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
        for worker in [*document["workers"], *([driver] if driver is not None else [])]
    ]
    headers = ("worker", "state", "tasks", "slots", "kind", "pid", "heartbeat")
    text = table(rows, headers) if rows else "No workers."
    jobs = document["jobs"][-JOBS_SHOWN:]
    return f"{text}\n\n{jobs_table(jobs) if jobs else 'No jobs yet.'}"


def _state(status: str) -> str:
    return colour(status, "green" if status == "Up" else "red")


def _job(client: Client, text: str) -> dict[str, Any]:
    from minispark.cli.job_reasons import why_retried, why_waiting

    job = client.find_job(text)
    job_id = job["id"]
    job["stages"] = client.stages(job_id)
    job["attempts"] = client.tasks(job_id, limit=ATTEMPTS_SHOWN)["tasks"]
    retried, more = retried_tasks(client, job_id)
    limits = client.cluster()
    job["retried"] = {"tasks": why_retried(retried, limits), "more": more}
    job["waits"] = []
    if job["state"] in ("PENDING", "RUNNING"):
        planned = client.profile(job_id)["stages"] if job["stages"] else []
        stages = [s | stats for s, stats in zip(planned, job["stages"], strict=False)]
        workers, jobs = client.workers(), client.jobs()
        job["waits"] = why_waiting(job, stages, workers, jobs, retried, time.time())
    return job


def _tasks(stage: dict[str, Any]) -> str:
    """How many are complete; what would be made of the others is cached."""
    if stage["tasks_skipped"] and not stage["tasks_total"]:
        return "skipped"
    return f"{stage['tasks_completed']}/{stage['tasks_total']}"


def retried_tasks(client: Client, job_id: str) -> tuple[dict[str, list[dict[str, Any]]], int]:
    """All attempts of the tasks that failed or were lost last, the newest last; and how many more
    attempts failed or were lost. What succeeded in between is not asked for.
    """
    failed: list[dict[str, Any]] = []
    total = 0
    for state in ("FAILED", "LOST"):
        page = client.tasks(job_id, RETRIES_LOOKED_AT, state=state, order="newest")
        failed += page["tasks"]
        total += page["total"]
    failed.sort(key=lambda attempt: attempt["ended_at"] or 0.0, reverse=True)
    places = dict.fromkeys((one["node_id"], one["partition_id"]) for one in failed)
    newest = list(places)[:RETRIES_SHOWN]
    shown = {
        f"{stage}/{partition}": list(client.attempts(job_id, stage=stage, partition=partition))
        for stage, partition in reversed(newest)
    }
    told = sum(a["state"] in ("FAILED", "LOST") for tries in shown.values() for a in tries)
    return shown, max(0, total - told)


def _job_text(job: dict[str, Any]) -> str:
    lines = [f"{job['request']['name']}  {job['id']}  {job['state']}  {job['progress']:.0f}%"]
    if job["duration_ms"] is not None:
        lines[0] += f"  {job['duration_ms'] / 1000:.2f} s"
    if is_on_spark(job):
        lines[0] += "  on Apache Spark"
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
    if job["waits"]:
        lines += ["", "Why it waits:", *(f"  {escaped(line)}" for line in job["waits"])]
    lines += _retried_lines(job["retried"])
    return "\n".join(lines)


def _retried_lines(retried: dict[str, Any]) -> list[str]:
    if not retried["tasks"]:
        return []
    lines = ["", "Why tasks were tried again, the newest last (`story TASK` tells more):"]
    if retried["more"]:
        lines.append(f"  ({retried['more']} attempts of other tasks failed or were lost before)")
    for name, attempts in retried["tasks"].items():
        lines += [f"  {name}", *(f"    {escaped(line)}" for line in attempts)]
    return lines
