"""Why a job waits, and why its tasks were tried again, as lines for people.

Made from documents of the API. Must not know where they come from, nor how they are laid out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from minispark.cli.task_story import clause, counted, first_line
from minispark.model.states import Cause
from minispark.scheduling.limits import retry_delay_s

OTHERS_SHOWN = 5

Document = dict[str, Any]


def why_waiting(
    job: Document,
    stages: Sequence[Document],
    workers: Iterable[Document],
    jobs: Iterable[Document],
    retried: Mapping[str, Sequence[Document]],
    now: float,
) -> list[str]:
    """`stages`: of the job's profile, with their StageStats. `retried`: the attempts of tasks of
    which some failed, by the task's name. `now`: UNIX seconds.
    """
    if job["state"] not in ("PENDING", "RUNNING"):
        return []
    if job["note"]:
        return [job["note"]]
    slots = _slots(list(workers), job, list(jobs))
    lines: list[str] = []
    by_index = {stage["index"]: stage for stage in stages}
    for stage in stages:
        left = stage["tasks_total"] - stage["tasks_completed"] - stage["tasks_running"]
        if not left:
            continue
        parents = [by_index[index] for index in stage["parents"]]
        missing = [p for p in parents if p["tasks_completed"] < p["tasks_total"]]
        if missing:
            lines.append(f"{stage['id']} waits for {' and '.join(map(_how_far, missing))}")
            continue
        delayed = [
            line for name, tries in retried.items() if (line := _delay(stage, name, tries, now))
        ]
        lines += delayed
        if left > len(delayed):
            lines.append(f"{stage['id']}: {_tasks(left - len(delayed))} for a slot ({slots})")
    return lines


def why_retried(
    retried: Mapping[str, Sequence[Document]], limits: Mapping[str, int]
) -> dict[str, list[str]]:
    """By task one line for each attempt that failed or was lost, and one for what follows it."""
    found: dict[str, list[str]] = {}
    for name, attempts in retried.items():
        used: dict[Cause, int] = {}
        lines = found.setdefault(name, [])
        for attempt in attempts:
            number, state = attempt["attempt"], attempt["state"]
            if state in ("FAILED", "LOST") and attempt["cause"] is not None:
                cause = Cause(attempt["cause"])
                used[cause] = used.get(cause, 0) + 1
                budget = counted(cause, used[cause], limits, attempt["worker"])
                lines.append(f"attempt {number} {clause(attempt)}{_why(attempt)}; {budget}")
            else:
                lines.append(f"attempt {number} {_state_of(attempt)}")
    return found


def _why(attempt: Document) -> str:
    """Its error, without what its clause says already: that its worker was lost."""
    error = first_line(attempt["error"] or "").removeprefix("lost: ")  # of an output
    error = error.removeprefix(f"{attempt['worker']} was lost")
    return f": {error.removeprefix(': ')}" if error else ""


def _state_of(attempt: Document) -> str:
    match attempt["state"]:
        case "RUNNING":
            return f"is RUNNING on {attempt['worker']}"
        case "ASSIGNED":
            return f"is queued at {attempt['worker']}"
        case "CANCELLED":
            return clause(attempt)
        case state:
            return f"{state} on {attempt['worker']}"


def _how_far(stage: Document) -> str:
    return f"{stage['id']} ({stage['tasks_completed']} of {stage['tasks_total']} tasks are done)"


def _tasks(count: int) -> str:
    return "1 task waits" if count == 1 else f"{count} tasks wait"


def _slots(workers: list[Document], job: Document, jobs: list[Document]) -> str:
    """How many there are, and who has them."""
    total = sum(worker["slots"] or 0 for worker in workers if worker["status"] == "Up")
    others = [
        (other["tasks"]["running"], other["request"]["name"], other["id"])
        for other in jobs
        if other["id"] != job["id"] and other["tasks"]["running"]
    ]
    others.sort(key=lambda other: -int(other[0]))
    named = [f"{job['tasks']['running']} of this job"]
    named += [f"{count} of {name} ({job_id[:8]})" for count, name, job_id in others[:OTHERS_SHOWN]]
    if len(others) > OTHERS_SHOWN:
        named.append(f"others of {len(others) - OTHERS_SHOWN} jobs more")
    return f"{total} slots; tasks at workers: {', '.join(named)}"


def _delay(stage: Document, name: str, attempts: Sequence[Document], now: float) -> str | None:
    """Of a task that failed and waits before it is tried again."""
    if not attempts or attempts[0]["node_id"] != stage["id"]:
        return None
    if any(attempt["state"] in ("ASSIGNED", "RUNNING", "SUCCEEDED") for attempt in attempts):
        return None
    failed = [attempt for attempt in attempts if attempt["cause"] == Cause.TASK.value]
    last = attempts[-1]
    if not failed or failed[-1] is not last or last["ended_at"] is None:
        return None
    delay_s = retry_delay_s(len(failed))
    left_s = last["ended_at"] + delay_s - now
    if left_s <= 0:
        return None  # now it waits for a slot, as others do
    return f"{name} waits {delay_s:g} s after its failure {len(failed)}, for {left_s:.2f} s more"
