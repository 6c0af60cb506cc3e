"""`run`: a private cluster on free ports, one job, its result, everything stopped again."""

from __future__ import annotations

import argparse
import os
from typing import Any

from minispark.cli.job_files import (
    absolute_input,
    add_engine_option,
    add_module_option,
    join,
    read_job,
    with_engine,
    with_modules,
    word_count,
)
from minispark.cli.job_output import add_output_options, show_end
from minispark.cli.render import Progress
from minispark.errors import InvalidRequest

EXAMPLES = """\
examples:
  minispark run wordcount data/input.csv --top 10
  minispark run join data/sales.csv data/products.csv --format csv -o joined.csv
  minispark run data/jobs/wordcount.json
"""
SEE_ALSO = ("up", "submit", "results")
EXITS = {1: "the job failed", 3: ""}
THREADS_MAX_DEFAULT = 8


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("what", metavar="wordcount|join|FILE", help="what to run")
    parser.add_argument("inputs", nargs="*", metavar="INPUT", help="files, directories or globs")
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="default: 1")
    parser.add_argument("--threads", type=int, metavar="N", help="default: this machine's cores")
    parser.add_argument("--parallelism", type=int, metavar="P", help="default: all slots")
    parser.add_argument("--plan", choices=("naive", "fused"), help="default: fused")
    add_engine_option(parser)
    add_module_option(parser)
    add_output_options(parser)


def run(args: argparse.Namespace) -> int:
    # a server that many share has more cores than one job should take
    threads = args.threads or min(THREADS_MAX_DEFAULT, os.cpu_count() or 1)
    job = with_engine(_job(args, args.parallelism or args.workers * threads), args.engine)
    from minispark.client import Client
    from minispark.cluster import private_cluster
    from minispark.config import load

    overrides = [f"workers.count={args.workers}", f"workers.threads={threads}"]
    if job.get("engine") == "spark":
        slots = max(1, args.workers * threads)
        overrides = ["workers.count=0", "engine.name=spark", f"engine.master=local[{slots}]"]
    config = load(None, {}, overrides).config
    with (
        private_cluster(config, os.getcwd()) as cluster,
        Client.of_state_dir(cluster.state_dir) as client,
    ):
        info = client.submit(job)
        progress = Progress(args.quiet)
        try:
            info = client.wait(info["id"], on_progress=progress.show)
        finally:
            progress.end()
        if args.json and args.format is None:
            args.format = "json"
        rest = "`-o FILE` or `--format` has all"  # its cluster ends with it
        return show_end(client, info, args.format, args.top, args.output, args.quiet, rest)


def _job(args: argparse.Namespace, parallelism: int) -> dict[str, Any]:
    inputs = [absolute_input(path) for path in args.inputs]
    if args.what == "wordcount":
        if not inputs:
            raise InvalidRequest("run wordcount needs an input: a file, a directory or a glob")
        return word_count("wordcount", parallelism, os.pathsep.join(inputs), args.plan)
    if args.what == "join":
        if len(inputs) != 2:
            raise InvalidRequest("run join needs two inputs: sales and products")
        return join("join", parallelism, inputs[0], inputs[1], args.plan)
    if inputs:
        raise InvalidRequest(f"unknown job {args.what!r}: wordcount, join, or one job file alone")
    job = with_modules(read_job(args.what), args.module)
    if args.parallelism is not None:
        job["parallelism"] = args.parallelism
    if args.plan is not None:
        job["plan"] = args.plan
    return job
