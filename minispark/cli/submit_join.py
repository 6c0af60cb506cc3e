"""`submit-join`: the documented join."""

from __future__ import annotations

import argparse

from minispark.cli.find import find_client
from minispark.cli.job_files import join, with_engine
from minispark.cli.submit import add_common, submit

EXAMPLES = """\
examples:
  minispark submit-join --wait        the documented join of data/sales.csv and data/products.csv
  minispark submit-join --sales my/sales.csv --products my/products.csv
"""
SEE_ALSO = ("submit", "results")
EXITS = {1: "with --wait: the job failed"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--name", default="join-job", help="default: join-job")
    parser.add_argument("--parallelism", type=int, default=4, help="default: 4")
    parser.add_argument(
        "--sales", metavar="FILE", default="data/sales.csv", help="default: data/sales.csv"
    )
    parser.add_argument(
        "--products", metavar="FILE", default="data/products.csv", help="default: data/products.csv"
    )
    add_common(parser)


def run(args: argparse.Namespace) -> int:
    job = join(args.name, args.parallelism, args.sales, args.products, args.plan)
    job = with_engine(job, args.engine)
    with find_client(args) as client:
        return submit(client, job, args)
