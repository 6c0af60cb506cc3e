"""`cancel`: stops a job."""

from __future__ import annotations

import argparse

from minispark.cli.find import find_client
from minispark.cli.render import print_json

EXAMPLES = """\
examples:
  minispark cancel last               the newest job
  minispark cancel wordcount          the newest job of that name
"""
SEE_ALSO = ("jobs", "status")
EXITS = {1: "there is no such job, or it had ended already"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("job", metavar="JOB", help="an id, a prefix of one, a name, or last")


def run(args: argparse.Namespace) -> int:
    with find_client(args) as client:
        job = client.cancel(client.find_job(args.job)["id"])
    if args.json:
        print_json(job)
    else:
        print(f"{job['id']} {job['state']}")
    return 0 if job["state"] == "CANCELLED" else 1
