"""What a worker reports, checked and clipped, as events.

Must not know sessions, nor what the core makes of the events.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sized
from dataclasses import asdict

from minispark.errors import ProtocolError
from minispark.metrics.worker_load import WorkerLoad
from minispark.model import events as ev
from minispark.model.figures import Span
from minispark.model.plan import TaskOutcome
from minispark.transport import messages as msg

COUNT_MAX = 2**40
"""Records or bytes of one task: added up over all tasks of a job they still fit into 64 bits."""
ENTRIES_MAX = 65_536
"""Of a list in one report. A task has at most 10,000 files, and 256 operators."""
KIND_CHARS_MAX = 40
OFFSETS_KEPT = 64
"""Pages after which a clock that was set is believed."""
OWN_CLOCK_ERROR_S = 0.01
WAY_S_MAX = 10.0
"""A page that seems to come before it was sent, or so long after, means that a clock was set."""


class WorkerClock:
    """What leads from a worker's clock to UNIX time: of a worker on this host, whose clock is ours,
    exactly; of another one the least that its last pages said. One that waited on its way says
    more.
    """

    def __init__(self, own_offset_s: float | None = None) -> None:
        """`own_offset_s`: from the clock of this host, where the worker reads that one."""
        self._own_offset_s = own_offset_s
        self._offsets_s: deque[float] = deque(maxlen=OFFSETS_KEPT)

    def offset_s(self, page: msg.Reports, at_unix_s: float) -> float:
        """As of this page, which comes now."""
        told_s = at_unix_s - page.sent_s
        if self._own_offset_s is not None:
            took_s = told_s - self._own_offset_s
            if -OWN_CLOCK_ERROR_S <= took_s <= WAY_S_MAX:
                return self._own_offset_s
        self._offsets_s.append(told_s)
        return min(self._offsets_s)


def events_of(
    worker_id: str, page: msg.Reports, at_unix_s: float, clock: WorkerClock
) -> list[ev.Event]:
    """The events that a page of reports is. Raises ProtocolError."""
    if len(page.reports) > msg.REPORTS_MAX:
        raise ProtocolError(f"a page has at most {msg.REPORTS_MAX} reports", "bad_message")
    offset_s = clock.offset_s(page, at_unix_s)
    return [event_of(worker_id, report, at_unix_s, offset_s) for report in page.reports]


def event_of(worker_id: str, report: msg.Report, at_unix_s: float, offset_s: float) -> ev.Event:
    """The event that one report is. `offset_s`: from its worker's clock to UNIX time. Raises
    ProtocolError.
    """
    match report:
        case msg.Started(attempt_id, span):
            return ev.AttemptStarted(worker_id, attempt_id, at_unix_s, _unix(span, offset_s))
        case msg.Succeeded(attempt_id, outcome, span):
            _check_outcome(outcome)
            ran = _unix(span, offset_s)
            return ev.AttemptSucceeded(worker_id, attempt_id, outcome, at_unix_s, ran)
        case msg.Failed(attempt_id, kind, error, span):
            kind, ran = kind[:KIND_CHARS_MAX], _unix(span, offset_s)
            return ev.AttemptFailed(worker_id, attempt_id, kind, _clip(error), at_unix_s, ran)
        case msg.FetchFailed(attempt_id, lost, error, span):
            _check_length("lost", lost)
            ran = _unix(span, offset_s)
            return ev.OutputsUnreadable(worker_id, attempt_id, lost, _clip(error), at_unix_s, ran)
        case msg.CacheMissed(attempt_id, span):
            return ev.CacheMissed(worker_id, attempt_id, at_unix_s, _unix(span, offset_s))
        case msg.Committed(attempt_id):
            return ev.OutputCommitted(worker_id, attempt_id, at_unix_s)
        case msg.CommitFailed(attempt_id, error):
            return ev.CommitRefused(worker_id, attempt_id, _clip(error), at_unix_s)


def check_count(name: str, value: int) -> None:
    """Raises ProtocolError for a count that cannot be one."""
    if not 0 <= value <= COUNT_MAX:
        raise ProtocolError(f"{name} cannot be {value}", "bad_message")


def check_load(load: WorkerLoad) -> None:
    """Raises ProtocolError for figures that nobody can show."""
    for name, value in asdict(load).items():
        if not 0 <= value <= COUNT_MAX:  # no NaN is
            raise ProtocolError(f"{name} cannot be {value}", "bad_message")


def _check_outcome(outcome: TaskOutcome) -> None:
    check_count("records", outcome.records)
    check_count("bytes_written", outcome.bytes_written)
    check_count("records_skipped", outcome.records_skipped)
    check_count("bytes_read", outcome.bytes_read)
    check_count("bytes_spilled", outcome.bytes_spilled)
    for us in outcome.phases_us.values():
        check_count("phases_us", us)
    _check_length("operators", outcome.operators)
    _check_length("phases_us", outcome.phases_us)
    _check_length("files", outcome.files)
    for operator in outcome.operators:
        check_count("records", operator.records)
        check_count("us", operator.us)


def _unix(span: Span | None, offset_s: float) -> Span | None:
    """Raises ProtocolError for a span that cannot be one."""
    if span is None:
        return None
    check_count("slot", span.slot)
    ended_s = None if span.ended_s is None else span.ended_s + offset_s
    begun_s = span.begun_s + offset_s
    if not all(math.isfinite(s) for s in (begun_s, ended_s or 0.0)):
        raise ProtocolError("the times of a span are numbers", "bad_message")
    return Span(span.slot, begun_s, ended_s)


def _check_length(name: str, entries: Sized) -> None:
    if len(entries) > ENTRIES_MAX:
        raise ProtocolError(f"{name} has at most {ENTRIES_MAX} entries", "bad_message")


def _clip(error: str) -> str:
    return error[: msg.ERROR_CHARS_MAX]
