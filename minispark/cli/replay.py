"""`replay`: one task of a job runs again on this terminal, with its inputs, also under a debugger.

Must not know how a task runs, nor touch a file of the cluster.
"""

from __future__ import annotations

import argparse
import bdb
import pdb
import sys
import tempfile
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from minispark.cli.explain_analyze import duration, size
from minispark.cli.find import state_dir_of
from minispark.cli.journal import open_disk_journal
from minispark.cli.render import print_json, table
from minispark.cli.task_names import TASK_HELP, TaskName, find_task
from minispark.cli.task_story import counted_records
from minispark.compute.user_functions import is_users_file
from minispark.errors import ClusterError, InvalidRequest, MiniSparkError, NotFound, TaskError
from minispark.master.job_codec import load_plan
from minispark.model.plan import PhysicalPlan, TaskOutcome
from minispark.model.safe_text import escaped
from minispark.model.settings import MemorySection
from minispark.worker.raw_prints import descriptors
from minispark.worker.replay import Place, Replay, Settings, Shown, changed_inputs

EXAMPLES = """\
examples:
  minispark replay last/read+words/3            run it again, and see what it prints and writes
  minispark replay last/read+words/3 --pdb      stop where its function fails, or at breakpoint()
"""
SEE_ALSO = ("story", "logs", "status")
EXITS = {1: "the task failed again, or there is none", 3: "no cluster has run here"}
HEAD_RECORDS = 10


@dataclass(frozen=True, slots=True)
class _Task:
    """What is to run."""

    name: TaskName
    place: Place
    plan: PhysicalPlan
    submitted_at: float


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("task", metavar="TASK", help=TASK_HELP)
    parser.add_argument(
        "--pdb", action="store_true", help="stop at breakpoint(), and where a function fails"
    )
    parser.add_argument(
        "--head",
        type=int,
        default=HEAD_RECORDS,
        metavar="N",
        help=f"show so many records of its output; default: {HEAD_RECORDS}",
    )


def run(args: argparse.Namespace) -> int:
    if args.pdb and args.json:
        raise InvalidRequest("--json shows no debugger; leave out one of --pdb and --json")
    task = _find(args)
    with tempfile.TemporaryDirectory(prefix="minispark-replay-") as folder:
        settings = Settings(Path(folder), MemorySection().task_max_mb, is_watched=args.pdb)
        replay = Replay(task.name.job_id, task.plan, settings)
        needed = replay.needed(task.place)
        changed = changed_inputs(task.plan, [*needed, task.place], task.submitted_at)
        for line in changed:
            _say(f"its input changed since the job ran: {escaped(line)}")
        _run_needed(task, replay, needed, args.quiet)
        if not args.quiet:
            _say(f"{task.name} runs here:")
        # prints of the user's must not mix with a document
        with _kept_apart() if args.json else nullcontext():
            outcome, error = _run_here(task, replay, args.pdb)
        head = replay.head(task.place, args.head) if outcome is not None else []
    if args.json:
        print_json(_document(task, outcome, error, head, changed))
    elif outcome is not None:
        print(_text(task, outcome, head))
    return 0 if outcome is not None else 1


@contextmanager
def _kept_apart() -> Iterator[None]:
    """Within the block what goes to stdout, also of subprocesses, goes to stderr."""
    with redirect_stdout(sys.stderr), descriptors({1: 2}):
        yield


def _say(line: str) -> None:
    sys.stdout.flush()
    print(line, file=sys.stderr, flush=True)


def _find(args: argparse.Namespace) -> _Task:
    """Raises NoCluster, NotFound, ClusterError."""
    with open_disk_journal(state_dir_of(args)) as journal:
        name = find_task(journal, args.task)
        row = journal.row(name.job_id)
    if row.plan is None:
        raise NotFound(f"job {row.name} has no plan: it never ran")
    plan = load_plan(row.plan)
    index = next(stage.index for stage in plan.stages if stage.id == name.stage)
    return _Task(name, (index, name.partition), plan, row.created_at)


def _run_needed(task: _Task, replay: Replay, needed: list[Place], is_quiet: bool) -> None:
    """Make again what the task reads: it was deleted with its job, or will be."""
    is_terminal = sys.stderr.isatty()
    for number, place in enumerate(needed, 1):
        if not is_quiet and (is_terminal or number == 1):
            line = f"makes its input again: task {number} of {len(needed)}"
            sys.stderr.write(f"\r\x1b[K{line}" if is_terminal else f"{line}\n")
            sys.stderr.flush()
        try:
            replay.run_quietly(place)
        except (MiniSparkError, OSError) as error:
            parent = f"{task.plan.stages[place[0]].id}/{place[1]}"
            raise ClusterError(f"{parent}, whose output it reads, fails here: {error}") from error
    if needed and is_terminal and not is_quiet:
        sys.stderr.write("\n")


def _run_here(
    task: _Task, replay: Replay, is_debugged: bool
) -> tuple[TaskOutcome | None, str | None]:
    """What came of it, or why it failed; the debugger has been and gone by then."""
    hook = sys.breakpointhook
    if not is_debugged:
        sys.breakpointhook = _pass_over
    try:
        with replay.modules_of(task.place):
            try:
                return replay.run(task.place), None
            except Exception as error:
                return None, _failed(error, is_debugged)
    finally:
        sys.breakpointhook = hook


def _pass_over(*_: object, **__: object) -> None:
    where = sys._getframe(1)
    name = f"{where.f_code.co_filename}, line {where.f_lineno}"
    _say(f"{name}: breakpoint() is passed over; --pdb stops there")


def _failed(error: Exception, is_debugged: bool) -> str:
    """The whole error, which is also shown. Where somebody looks on, the debugger stops in the
    frame that failed.
    """
    cause = error.__cause__ or error
    if isinstance(cause, bdb.BdbQuit):
        _say("the debugger was left; the task did not end")
        return "the debugger was left"
    if isinstance(error, (MiniSparkError, OSError)):
        text = str(error) if isinstance(error, MiniSparkError) else f"OSError: {error}"
    else:
        text = "".join(traceback.format_exception(error)).rstrip()
    _say(f"it failed: {escaped(text)}")
    if is_debugged:
        trace = _users_part(cause.__traceback__) if isinstance(error, TaskError) else None
        _say("the debugger: `help` lists commands, `w` shows where, `p NAME` a value, `q` ends it")
        pdb.post_mortem(trace or cause.__traceback__)
    return text


def _users_part(trace: TracebackType | None) -> TracebackType | None:
    """From the first frame of the user's own; None where there is none."""
    while trace is not None and not is_users_file(trace.tb_frame.f_code.co_filename):
        trace = trace.tb_next
    return trace


def _text(task: _Task, outcome: TaskOutcome, head: list[Shown]) -> str:
    lines = [
        f"{task.name} SUCCEEDED: {counted_records(outcome.records)}, "
        f"{size(outcome.bytes_read)} read, "
        f"{size(outcome.bytes_written)} written"
    ]
    if outcome.bytes_spilled:
        lines[0] += f", {size(outcome.bytes_spilled)} spilled"
    if outcome.records_skipped:
        lines[0] += f", {outcome.records_skipped} malformed lines skipped"
    phases = sorted(outcome.phases_us.items(), key=lambda phase: -phase[1])
    if phases:
        lines.append("time: " + ", ".join(f"{name} {duration(us)}" for name, us in phases))
    if head:
        lines += ["", _head(head)]
        if outcome.records > len(head):
            lines.append(f"({counted_records(outcome.records - len(head))} more)")
    return "\n".join(lines)


def _head(head: list[Shown]) -> str:
    rows = [("" if key is None else key, value) for _, key, value in head]
    if all(target is None for target, _, _ in head):
        return table(rows, ("key", "value"))
    for_partition = [(target, *row) for (target, _, _), row in zip(head, rows, strict=True)]
    return table(for_partition, ("for partition", "key", "value"))


def _document(
    task: _Task,
    outcome: TaskOutcome | None,
    error: str | None,
    head: list[Shown],
    changed: list[str],
) -> dict[str, Any]:
    document: dict[str, Any] = {
        "job_id": task.name.job_id,
        "stage": task.name.stage,
        "partition": task.name.partition,
        "state": "FAILED" if outcome is None else "SUCCEEDED",
        "error": error,
        "changed_inputs": changed,
    }
    if outcome is not None:
        document |= {
            "records": outcome.records,
            "bytes_read": outcome.bytes_read,
            "bytes_written": outcome.bytes_written,
            "phases_ms": {name: us / 1000 for name, us in outcome.phases_us.items()},
            "head": [{"for": target, "key": key, "value": text} for target, key, text in head],
        }
    return document
