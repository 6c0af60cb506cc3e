"""What became of one task, in words: each event with its reason, and how it came to its state.

Made from documents of the API. Must not know where they come from, nor how they are laid out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, assert_never

from minispark.cli.explain_analyze import duration, size
from minispark.cli.journal import KnownJob
from minispark.cli.task_names import TaskName
from minispark.model.places import DRIVER
from minispark.model.states import Cause
from minispark.scheduling.limits import FETCH_FAILURES_MAX, RECOMPUTES_MAX, retry_delay_s

LINE_CHARS_MAX = 100
_LIVE = ("ASSIGNED", "RUNNING")
_COMPLETE = ("SUCCEEDED", "COMMITTED")

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Happening:
    """One event of the task."""

    event: Document
    since_s: float
    """Since the job's submission."""
    why: str


@dataclass(frozen=True, slots=True)
class TaskStory:
    job: KnownJob
    task: TaskName
    state: str
    happenings: list[Happening]
    errors: list[tuple[list[int], str]]
    """Whole errors, of more than one line, and the attempts that ended with each."""
    is_own_fault: bool
    """Some attempt failed by what the task itself did."""
    is_cut: bool
    """Earlier events are no longer kept."""
    ending: str
    """One sentence: how the task came to its state."""


def tell(
    job: KnownJob,
    task: TaskName,
    attempts: Iterable[Document],
    events: Iterable[Document],
    limits: Mapping[str, int],
) -> TaskStory:
    """`attempts` and `events`: all of the task, in order. `limits`: the cluster's, where known."""
    known = {attempt["attempt"]: attempt for attempt in attempts}
    teller = _Teller(job, known, limits)
    happenings = [
        Happening(event, _at(event, known) - job.submitted_at, teller.why(event))
        for event in events
    ]
    state = _state(job, task, list(known.values()))
    return TaskStory(
        job=job,
        task=task,
        state=state,
        happenings=happenings,
        errors=_errors(known.values()),
        is_own_fault=any(attempt["cause"] == Cause.TASK.value for attempt in known.values()),
        is_cut=not known.keys() <= teller.assigned.keys(),
        ending=_ending(job, task, state, list(known.values()), limits),
    )


@dataclass(slots=True)
class _Teller:
    """Goes through a task's events, and counts what its budgets allow."""

    job: KnownJob
    attempts: dict[int, Document]
    limits: Mapping[str, int]
    live: dict[int, None] = field(default_factory=dict)
    assigned: dict[int, None] = field(default_factory=dict)
    ended: dict[int, str] = field(default_factory=dict)
    """Attempts and how each ended, in order."""
    used: dict[Cause, int] = field(default_factory=dict)

    def why(self, event: Document) -> str:
        number = event["attempt"]
        attempt = self.attempts.get(number, {})
        match event["kind"].removeprefix("attempt "):
            case "ASSIGNED":
                others = list(self.live)
                self.live[number] = self.assigned[number] = None
                return self._why_assigned(others)
            case "RUNNING":
                return _where(attempt)
            case "SUCCEEDED":
                self.live.pop(number, None)
                return _figures(attempt)
            case "COMMITTED":
                return "its files have their names"
            case ended:
                self.live.pop(number, None)
                self.ended[number] = ended
                return self._why_ended(ended, attempt, event)

    def _why_assigned(self, others: list[int]) -> str:
        if others:
            return f"a copy: attempt {others[-1]} takes long (speculation)"
        if not self.ended:
            return "the first attempt" if len(self.assigned) == 1 else "again"
        number = list(self.ended)[-1]
        return f"again, after attempt {number} {clause(self.attempts.get(number, {}))}"

    def _why_ended(self, state: str, attempt: Document, event: Document) -> str:
        if attempt.get("cause") is None or attempt["state"] != state:
            return first_line(event["text"]) if event["text"] else self._why_stopped(event)
        cause = Cause(attempt["cause"])
        self.used[cause] = self.used.get(cause, 0) + 1
        said = first_line(event["text"] or "").removeprefix("lost: ")  # of an output
        text = f"{said}; " if said else ""
        budget = counted(cause, self.used[cause], self.limits, attempt.get("worker"))
        return f"{whose(cause)}: {text}{budget}{self._next(event['attempt'], cause)}"

    def _why_stopped(self, event: Document) -> str:
        ended_at = self.job.ended_at
        if ended_at is not None and event["at"] >= ended_at - 0.001:
            return f"its job {self.job.state}: nobody needs it any more"
        return "its worker was to be emptied; counts against nothing"

    def _next(self, number: int, cause: Cause) -> str:
        """What follows the end of an attempt."""
        if self.live:
            return f"; attempt {next(iter(self.live))} goes on"
        retries = self.limits.get("task_retries_max", -1)
        is_retried = self.used[cause] <= retries or number < max(self.attempts)
        if cause is Cause.TASK and is_retried:
            return f", after {retry_delay_s(self.used[cause]):g} s"
        return ""


def whose(cause: Cause) -> str:
    """Whose fault the end of an attempt was."""
    match cause:
        case Cause.TASK:
            return "the task's own fault"
        case Cause.WORKER:
            return "its worker's fault"
        case Cause.FETCH:
            return "its input could not be read"
        case Cause.OUTPUT:
            return "its output could not be read"
        case Cause.RACE:
            return "its copy was first"
        case Cause.ROOM:
            return "it had begun early, and gave its slot to a task that could run"
        case Cause.PEER:
            return "its foreign worker reported files that nobody asked for"
        case Cause.CACHE:
            return "what it was expected to find in the cache was not there"
        case _:
            assert_never(cause)


def counted(cause: Cause, used: int, limits: Mapping[str, int], worker: str | None) -> str:
    """What it counted against, when it is the `used`-th of its kind. `worker`: the name of its."""
    match cause:
        case Cause.TASK:
            return _retries(used, limits.get("task_retries_max"))
        case Cause.WORKER if worker == DRIVER:
            return _budget("lost driver", used, limits.get("task_retries_max"))
        case Cause.WORKER:
            return _budget("lost worker", used, limits.get("worker_losses_max"))
        case Cause.FETCH:
            return _budget("failed fetch", used, FETCH_FAILURES_MAX)
        case Cause.OUTPUT:
            return _budget("lost output", used, RECOMPUTES_MAX)
        case Cause.RACE | Cause.ROOM | Cause.PEER | Cause.CACHE:
            return "counts against nothing"
        case _:
            assert_never(cause)


def _retries(used: int, most: int | None) -> str:
    if most is None:
        return f"failure {used} of the task"
    if used > most:
        return f"no retry is left of {most}"
    return f"retry {used} of {most} follows"


def _budget(what: str, used: int, most: int | None) -> str:
    of = "" if most is None else f" of {most}"
    return f"counts as {what} {used}{of}, not against its retries"


def clause(attempt: Document) -> str:
    """How an attempt ended, after its number."""
    if attempt.get("cause") is None:
        return {"CANCELLED": "was stopped"}.get(attempt.get("state", ""), "ended")
    worker = attempt["worker"] or "its worker"
    cause = Cause(attempt["cause"])
    match cause:
        case Cause.TASK:
            return f"failed on {worker}"
        case Cause.WORKER:
            return f"was lost with {worker}"
        case Cause.FETCH:
            return "could not read its input"
        case Cause.OUTPUT:
            return "was done and its output could not be read"
        case Cause.RACE:
            return "was overtaken by its copy"
        case Cause.ROOM:
            return "gave its slot away"
        case Cause.PEER:
            return f"was refused, with what {worker} reported"
        case Cause.CACHE:
            return "found nothing in the cache"
        case _:
            assert_never(cause)


def counted_records(count: int) -> str:
    return "1 record" if count == 1 else f"{count} records"


def first_line(text: str) -> str:
    line = text.partition("\n")[0]
    return line if len(line) <= LINE_CHARS_MAX else f"{line[: LINE_CHARS_MAX - 1]}…"


def _at(event: Document, attempts: Mapping[int, Document]) -> float:
    """When it happened; an attempt began when its executor says, not when the master heard."""
    begun = attempts.get(event["attempt"], {}).get("started_at")
    at = event["at"] if begun is None or event["kind"] != "attempt RUNNING" else begun
    return float(at)


def _where(attempt: Document) -> str:
    slot, begun = attempt.get("slot"), attempt.get("started_at")
    if slot is None or begun is None:
        return "an executor took it up"
    queued_us = round(max(0.0, begun - attempt["assigned_at"]) * 1e6)
    return f"slot {slot} took it up, after {duration(queued_us)} in the queue"


def _figures(attempt: Document) -> str:
    if not attempt:
        return "accepted"
    phases = sorted(attempt["phases_ms"].items(), key=lambda phase: -float(phase[1]))
    took = ", ".join(f"{name} {duration(round(1000 * ms))}" for name, ms in phases[:3])
    made = f"{counted_records(attempt['records_processed'])}, {size(attempt['bytes_written'])}"
    return f"accepted: {made}{f' ({took})' if took else ''}"


def _errors(attempts: Iterable[Document]) -> list[tuple[list[int], str]]:
    found: dict[str, list[int]] = {}
    for attempt in attempts:
        error = attempt["error"]
        if error and (len(error) > LINE_CHARS_MAX or "\n" in error):
            found.setdefault(error, []).append(attempt["attempt"])
    return [(numbers, error) for error, numbers in found.items()]


def _state(job: KnownJob, task: TaskName, attempts: list[Document]) -> str:
    states = [attempt["state"] for attempt in attempts]
    if "SUCCEEDED" in states:
        return "SUCCEEDED"
    if not states and job.state == "SUCCEEDED":
        return "SKIPPED"
    if job.ended_at is not None:
        was_its_fault = bool(attempts) and f"{task.stage} partition {task.partition}" in (
            job.message or ""
        )
        return "FAILED" if was_its_fault else "CANCELLED"
    return next((state for state in ("RUNNING", "ASSIGNED") if state in states), "PENDING")


def _ending(
    job: KnownJob,
    task: TaskName,
    state: str,
    attempts: list[Document],
    limits: Mapping[str, int],
) -> str:
    ended = [a for a in attempts if a["state"] not in (*_LIVE, "SUCCEEDED")]
    before = _listed(ended)
    after = f", after {before}" if before else ""
    last = next((a for a in reversed(attempts) if a["state"] == state), None)
    match state:
        case "SUCCEEDED":
            assert last is not None
            how = "at its first attempt" if not ended else f"with attempt {last['attempt']}"
            return f"{task} SUCCEEDED {how}, on {last['worker']}{after}."
        case "FAILED":
            most = limits.get("task_retries_max")
            failures = sum(attempt["cause"] == Cause.TASK.value for attempt in ended)
            is_out = most is not None and failures > most
            allowed = f"; no more than {most} retries are allowed" if is_out else ""
            return f"{task} FAILED, and its job with it: {before}{allowed}."
        case "CANCELLED":
            why = f": {first_line(job.message)}" if job.message else ""
            return f"{task} was not finished, because its job {job.state}{why}."
        case "SKIPPED":
            return f"{task} was skipped: what would have been made of it was in the cache."
        case "RUNNING":
            assert last is not None
            slot = "" if last["slot"] is None else f", slot {last['slot']}"
            return f"{task} is RUNNING: attempt {last['attempt']} on {last['worker']}{slot}{after}."
        case "ASSIGNED":
            assert last is not None
            return f"{task} is queued at {last['worker']} as attempt {last['attempt']}{after}."
        case _:
            return f"{task} is PENDING{after or ': it was never assigned'}; `status` says why."


def _listed(ended: list[Document]) -> str:
    """How attempts ended; those that ended alike together."""
    alike: dict[str, list[str]] = {}
    for attempt in ended:
        alike.setdefault(clause(attempt), []).append(str(attempt["attempt"]))
    return _and([_together(numbers, how) for how, numbers in alike.items()])


def _together(numbers: list[str], how: str) -> str:
    if len(numbers) == 1:
        return f"attempt {numbers[0]} {how}"
    plural = f"were {how.removeprefix('was ')}" if how.startswith("was ") else how
    return f"attempts {_and(numbers)} {plural}"


def _and(parts: list[str]) -> str:
    if len(parts) < 2:
        return "".join(parts)
    return f"{', '.join(parts[:-1])} and {parts[-1]}"
