"""`story`: every event of one task in order, each with its reason, and how it came to its state."""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict

from minispark.cli.journal import open_journal
from minispark.cli.render import print_json, table
from minispark.cli.task_names import TASK_HELP, find_task
from minispark.cli.task_story import TaskStory, tell
from minispark.model.safe_text import escaped

EXAMPLES = """\
examples:
  minispark story last/reduce/0                        a task of the newest job
  minispark story wordcount/read+flatmap+map/3         of the newest job of that name
  minispark story 5d0c2f9e                             the task of an attempt
"""
SEE_ALSO = ("status", "replay", "trace")
EXITS = {1: "there is no such job or task", 3: "no cluster runs here, and none has run"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("task", metavar="TASK", help=TASK_HELP)


def run(args: argparse.Namespace) -> int:
    with open_journal(args) as journal:
        task = find_task(journal, args.task)
        told = tell(
            journal.job(task.job_id),
            task,
            journal.attempts(task.job_id, task.stage, task.partition),
            journal.events(task.job_id, task.stage, task.partition),
            journal.limits(),
        )
    if args.json:
        print_json(_document(told))
    else:
        print(_text(told), flush=True)
        if told.is_own_fault and not args.quiet:
            name = f"{told.job.id[:8]}/{told.task}"
            print(f"`replay {name} --pdb` runs it again on this terminal", file=sys.stderr)
    return 0


def _document(told: TaskStory) -> dict[str, object]:
    events = [
        {**one.event, "since_submission_s": round(one.since_s, 6), "why": one.why}
        for one in told.happenings
    ]
    return {
        "job": asdict(told.job),
        "stage": told.task.stage,
        "partition": told.task.partition,
        "state": told.state,
        "events": events,
        "is_cut": told.is_cut,
        "ending": told.ending,
    }


def _text(told: TaskStory) -> str:
    job = told.job
    lines = [escaped(f"{told.task} of job {job.name}  {job.id}"), ""]
    rows = [
        (
            f"{one.since_s:+.3f} s",
            one.event["attempt"],
            one.event["kind"].removeprefix("attempt "),
            one.event["worker"] or "",
            one.why,
        )
        for one in told.happenings
    ]
    headers = ("since submission", "attempt", "event", "worker", "why")
    lines.append(table(rows, headers) if rows else "No event of this task is kept.")
    if told.is_cut:
        lines.append("(The journal keeps the newest events; earlier ones of this task are gone.)")
    for numbers, error in told.errors:
        named = ", ".join(map(str, numbers))
        lines += ["", f"attempt{'s' if len(numbers) > 1 else ''} {named} ended with:"]
        lines += [f"  {line}" for line in escaped(error).split("\n")]
    return "\n".join([*lines, "", escaped(told.ending)])
