"""`metrics`: the documented metrics, as tables or JSON."""

from __future__ import annotations

import argparse
from typing import Any

from minispark.cli.find import find_client
from minispark.cli.metrics_tables import figures_text, jobs_text, stages_text
from minispark.cli.render import print_json
from minispark.client import Client
from minispark.errors import InvalidRequest

EXAMPLES = """\
examples:
  minispark metrics system            workers, jobs and tasks
  minispark metrics job last          one job
  minispark metrics stages last --json             its stages, as JSON
"""
SEE_ALSO = ("status", "ps")
EXITS = {1: "there is no such job"}
OF_CLUSTER = ("system", "jobs", "failures", "scheduler")
OF_JOB = {"job": "metrics", "stages": "stages"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "what", choices=(*OF_CLUSTER, *OF_JOB), metavar="WHAT", help="which metrics"
    )
    parser.add_argument("job", nargs="?", metavar="JOB", help="for job and stages")


def run(args: argparse.Namespace) -> int:
    if args.what in OF_JOB and args.job is None:
        raise InvalidRequest(f"metrics {args.what} needs a JOB: an id, a name, or last")
    with find_client(args) as client:
        if args.what in OF_JOB:
            job_id = client.find_job(args.job)["id"]
            document = client.metrics(f"jobs/{job_id}/{OF_JOB[args.what]}")
        else:
            document = client.metrics(f"metrics/{args.what}")
        if args.json:
            print_json(document)
        else:
            print(_text(client, args.what, document))
    return 0


def _text(client: Client, what: str, document: Any) -> str:
    match what:
        case "jobs":
            return jobs_text(document, {job["id"]: job["state"] for job in client.jobs()})
        case "stages":
            return stages_text(document)
    workers = {worker["id"]: worker["name"] for worker in client.workers()}
    jobs = {job["id"]: job["request"]["name"] for job in client.jobs()}
    return figures_text(document, workers, jobs)
