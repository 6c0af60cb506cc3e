"""`results`: the records of a job's final stage."""

from __future__ import annotations

import argparse
import sys

from minispark.cli.find import find_client
from minispark.cli.job_output import add_output_options, write_results
from minispark.cli.render import print_json, table
from minispark.model.safe_text import escaped

EXAMPLES = """\
examples:
  minispark results last --top 10
  minispark results wordcount --format csv -o counts.csv
"""
SEE_ALSO = ("jobs", "explain", "submit")
EXITS = {1: "the job has no results"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("job", metavar="JOB", help="an id, a prefix of one, a name, or last")
    add_output_options(parser)
    parser.add_argument("--limit", type=int, metavar="N", help="at most N records")
    parser.add_argument("--files", action="store_true", help="the documented list of files instead")


def run(args: argparse.Namespace) -> int:
    with find_client(args) as client:
        job = client.find_job(args.job)
        if args.files:
            files = client.result_files(job["id"])
            if args.json:
                print_json(files)
            else:
                rows = [
                    (path, result["records_processed"])
                    for result in files
                    for path in (result["output_path"], *result["shuffle_outputs"])
                    if path is not None
                ]
                print(table(rows, ("file", "records")))
            return 0
        if job["state"] != "SUCCEEDED":
            status = job["status"]
            why = status["Failed"] if isinstance(status, dict) else f"it is {job['state']}"
            print(f"minispark: job {job['id']} has no results: {escaped(why)}", file=sys.stderr)
            return 1
        format = "json" if args.json else args.format or "table"
        write_results(client, job["id"], format, args.top, args.limit, args.output)
    return 0
