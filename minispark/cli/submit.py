"""`submit`: a job file, or the documented word count."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from minispark.cli.find import find_client
from minispark.cli.job_files import (
    add_engine_option,
    add_module_option,
    read_job,
    with_engine,
    with_modules,
    word_count,
)
from minispark.cli.job_output import show_end
from minispark.cli.render import Progress, print_json
from minispark.client import Client
from minispark.model.safe_text import escaped

EXAMPLES = """\
examples:
  minispark submit -i data/input.csv --wait       a word count
  minispark submit data/jobs/wordcount.json       a job file
  minispark submit data/jobs/stems.yaml --module data/jobs/mytext.py    with functions of your own
"""
SEE_ALSO = ("run", "status", "results", "explain")
EXITS = {1: "with --wait: the job failed"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "job", nargs="?", metavar="FILE", help="a job, JSON or YAML; default: a word count"
    )
    parser.add_argument("-n", "--name", help="default: wordcount, or the file's")
    parser.add_argument("-p", "--parallelism", type=int, help="default: 4, or the file's")
    parser.add_argument("-i", "--input", metavar="FILE", help="default: data/input.csv")
    add_module_option(parser)
    add_common(parser)


def add_common(parser: argparse.ArgumentParser) -> None:
    """`--plan`, `--engine` and `--wait`."""
    parser.add_argument("--plan", choices=("naive", "fused"), help="default: the cluster's")
    add_engine_option(parser)
    parser.add_argument(
        "--wait", action="store_true", help="until it ended; then its result's head"
    )


def run(args: argparse.Namespace) -> int:
    if args.job is None:
        job = word_count(
            args.name or "wordcount",
            4 if args.parallelism is None else args.parallelism,
            args.input or "data/input.csv",
            args.plan,
        )
    else:
        job = override(read_job(args.job), args)
    job = with_engine(with_modules(job, args.module), args.engine)
    with find_client(args) as client:
        return submit(client, job, args)


def override(job: dict[str, Any], args: argparse.Namespace) -> dict[str, Any]:
    """The file's job with what the command line says."""
    for name in ("name", "parallelism", "plan"):
        value = getattr(args, name)
        if value is not None:
            job[name] = value
    return job


def submit(client: Client, job: dict[str, Any], args: argparse.Namespace) -> int:
    """Submit, say the id, and with `--wait` see it to its end; returns the exit status."""
    info = client.submit(job)
    for warning in info.get("warnings", []):
        if not args.quiet:
            print(f"minispark: {escaped(warning)}", file=sys.stderr)
    if not args.wait:
        if args.json:
            print_json(info)
        else:
            print(f"ID: {info['id']}")
        return 0
    progress = Progress(args.quiet)
    try:
        info = client.wait(info["id"], on_progress=progress.show)
    finally:
        progress.end()
    if args.json:
        print_json(info)
        return 0 if info["state"] == "SUCCEEDED" else 1
    code = show_end(client, info, None, None, None, args.quiet)
    print(f"ID: {info['id']}")
    return code
