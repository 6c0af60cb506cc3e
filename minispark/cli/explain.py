"""`explain`: the plan of a job file, or of a job; `--analyze`: with what each operator took."""

from __future__ import annotations

import argparse
import os

from minispark.cli.find import find_client
from minispark.cli.job_files import add_module_option, read_job, with_modules
from minispark.cli.render import print_json
from minispark.errors import InvalidRequest
from minispark.model.safe_text import escaped

EXAMPLES = """\
examples:
  minispark explain data/jobs/wordcount.json --plan naive    of a job file, without a cluster
  minispark explain last                           of the newest job
  minispark explain last --analyze                 where its time went
  minispark explain data/jobs/wordcount.json --engine spark  as Apache Spark would run it
"""
SEE_ALSO = ("metrics", "results", "submit")
EXITS = {1: "there is no such job, or it has no plan yet"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("job", metavar="FILE|JOB", help="a job file, or a job")
    add_module_option(parser)
    parser.add_argument(
        "--analyze", action="store_true", help="of a job that ran: rows, bytes, time, spill"
    )
    parser.add_argument("--plan", choices=("naive", "fused"), help="of a job file; default: fused")
    parser.add_argument(
        "--engine",
        choices=("local", "spark"),
        default="local",
        help="of a job file: spark adds what Apache Spark makes of the plan; default: local",
    )


def run(args: argparse.Namespace) -> int:
    is_file = args.job.endswith((".json", ".yaml", ".yml"))
    if args.analyze:
        if is_file:
            raise InvalidRequest(
                "--analyze is of a job that ran: submit the file, then name its job"
            )
        return _analyze(args)
    if args.engine == "spark" and not is_file:
        raise InvalidRequest("--engine spark is of a job file: name the file")
    if is_file:
        document = _plan_here(args)
    else:
        with find_client(args) as client:
            document = client.plan(client.find_job(args.job)["id"])
    if args.json:
        print_json(document)
    else:
        parts = [str(document[part]) for part in ("text", "lineage") if part in document]
        print(escaped("\n".join(parts)), end="")
    return 0


def _analyze(args: argparse.Namespace) -> int:
    from minispark.cli.explain_analyze import analyzed

    with find_client(args) as client:
        profile = client.profile(client.find_job(args.job)["id"])
    if args.json:
        print_json(profile)
    else:
        print(analyzed(profile))
    return 0


def _plan_here(args: argparse.Namespace) -> dict[str, object]:
    """A job file is planned without a cluster."""
    from minispark.model.job import PlanKind
    from minispark.model.settings import MemorySection
    from minispark.plan.explain import explain
    from minispark.plan.parsing import parse_request
    from minispark.plan.planner import plan
    from minispark.plan.validation import validate
    from minispark.storage.inputs import resolve_inputs

    request = parse_request(with_modules(read_job(args.job), args.module))
    validate(request)
    inputs = resolve_inputs(request, base_dir=os.getcwd(), input_roots=None)
    kind = PlanKind(args.plan) if args.plan else request.plan or PlanKind.FUSED
    if args.engine == "spark" and kind is not PlanKind.FUSED:
        raise InvalidRequest("the engine spark runs fused plans only: say --plan fused", "plan")
    made = plan(request, inputs, kind)
    if args.engine == "spark":
        from minispark.cli.explain_spark import explained_on_spark

        return {"kind": kind.value, **explained_on_spark(made, MemorySection().task_max_mb)}
    return {"kind": kind.value, "text": explain(made)}
