"""`metrics`: the documented metrics, as tables or JSON."""

from __future__ import annotations

import argparse
import json

from minispark.cli.find import find_client
from minispark.cli.render import print_json, table
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
    elif isinstance(document, list):
        headers = list(document[0]) if document else ["no entries"]
        print(table([[_cell(v) for v in row.values()] for row in document], headers))
    else:
        print(
            table([(name, _cell(value)) for name, value in document.items()], ("metric", "value"))
        )
    return 0


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.2f}"
    return json.dumps(value) if isinstance(value, (dict, list)) else str(value)
