"""`trace`: a job as Chrome trace events, which Perfetto opens. Must not know their format."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from minispark.cli.find import find_client
from minispark.errors import ClusterError

EXAMPLES = """\
examples:
  minispark trace last -o trace.json     then open the file at https://ui.perfetto.dev
  minispark trace last | gzip > trace.json.gz
"""
SEE_ALSO = ("status", "explain", "metrics")
EXITS = {1: "there is no such job, or the file cannot be written"}
VIEWER = "https://ui.perfetto.dev"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("job", metavar="JOB", help="an id, a prefix of one, a name, or last")
    parser.add_argument("-o", "--output", metavar="FILE", help="write there instead of stdout")


def run(args: argparse.Namespace) -> int:
    with find_client(args) as client:
        pieces = client.timeline(client.find_job(args.job)["id"])
        if args.output is None:
            sys.stdout.flush()
            sys.stdout.buffer.writelines(pieces)
            sys.stdout.buffer.flush()
        else:
            try:
                with Path(args.output).open("wb") as file:
                    file.writelines(pieces)
            except OSError as error:
                raise ClusterError(f"{args.output} cannot be written: {error}") from error
    if not args.quiet:
        what = args.output or "what was written"
        print(f"open {what} at {VIEWER} (it stays in the browser)", file=sys.stderr)
    return 0
