"""A job that Spark runs, as the master sees it: which attempts it waits for, and what is said of
each.

For the thread of the driver's loop. Must not know sockets, nor Spark's API.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from itertools import chain

from minispark.driver.result_files import ResultFiles
from minispark.driver.stages import KnownStages
from minispark.model.figures import Span
from minispark.model.plan import PartitionFile, PhysicalPlan, StageProgram, TaskOrder, TaskOutcome
from minispark.spark.failed_tasks import TaskOfStageFailed
from minispark.spark.job_thread import RunEnded, SparkRun
from minispark.spark.task_report import Place, RanAt, TaskReport
from minispark.transport.host import host_id
from minispark.transport.messages import ERROR_CHARS_MAX, Failed, Report, Started, Succeeded
from minispark.worker.task_log import TaskLogs


class DrivenJob:
    """Its tasks are named by their place: the stage's index, and the partition."""

    def __init__(
        self, run: SparkRun, files: ResultFiles, logs: TaskLogs, slot_of: Callable[[RanAt], int]
    ) -> None:
        """`slot_of`: a number for the process that ran a task, for who draws when it did."""
        self._run = run
        self._files = files
        self._logs = logs
        self._slot_of = slot_of
        self._host_id = host_id()
        self._stages = KnownStages()
        self._plan: PhysicalPlan | None = None
        self._waiting: dict[Place, TaskOrder] = {}
        """The attempts that nobody was told the end of."""
        self._kept: dict[Place, tuple[str, TaskOutcome]] = {}
        """What other tasks read, and Spark has: the attempts that were accepted for it, or none."""
        self._taken: dict[Place, str] = {}
        """Which run of a task was reported."""
        self._running: tuple[Place, ...] = ()
        """The final places that Spark makes now."""

    @property
    def held(self) -> list[str]:
        """The attempts that are this driver's: those that it works on, and what Spark has."""
        waiting = [order.attempt_id for order in self._waiting.values()]
        return [*waiting, *(attempt_id for attempt_id, _ in self._kept.values() if attempt_id)]

    @property
    def active(self) -> int:
        return len(self._waiting)

    @property
    def is_idle(self) -> bool:
        return not self._running

    # --- the master ------------------------------------------------------------------------

    def order(
        self, orders: tuple[TaskOrder, ...], programs: dict[int, StageProgram]
    ) -> list[Report]:
        """Take them on; what Spark has already is reported at once."""
        if self._stages.learn(orders, programs):
            self._plan = None
        reports: list[Report] = []
        for order in orders:
            place = (order.stage_index, order.partition)
            if place in self._kept:
                outcome = self._kept[place][1]
                self._kept[place] = (order.attempt_id, outcome)
                reports.append(Succeeded(order.attempt_id, outcome))
            else:
                self._waiting[place] = order
        self._start()
        return reports

    def give_up(self, attempt_ids: set[str]) -> None:
        """Nobody waits for these attempts, or reads what they made."""
        self._waiting = {p: o for p, o in self._waiting.items() if o.attempt_id not in attempt_ids}

    def end(self) -> SparkRun:
        """The job is over; returns what may still run."""
        self._run.stop()
        self._files.remove()
        return self._run

    def _start(self) -> None:
        """Have Spark make the final partitions that are waited for, unless it makes some now."""
        finals = tuple(place for place in self._waiting if self._stages.is_final(place[0]))
        if self._running or not finals or not self._stages.is_whole:
            return
        if self._plan is None:
            self._plan = self._stages.plan()
        self._running = tuple(sorted(finals))
        self._run.start(self._plan, self._running)

    # --- Spark -----------------------------------------------------------------------------

    def look(self) -> list[Report]:
        """What was done since the last look."""
        return [] if self.is_idle else self._reported(self._run.reports)

    def ended(self, ended: RunEnded) -> list[Report]:
        """Spark made what it was asked for, or failed."""
        self._running = ()
        reports = self._reported(ended.reports)
        for written in ended.written:
            place = (written.stage_index, written.partition)
            report = ended.reports.get(place)
            if report is None or report.written_as != written.attempt_id:
                # which Spark forgot to report, or of which it reported another run
                now = time.monotonic()
                ran = RanAt(self._host_id, 0, now, now)
                report = TaskReport(written.attempt_id, True, written.outcome, ran)
            reports += self._finished(place, report)
        if ended.error is not None:
            reports += self._failed(ended.error)
        else:
            self._start()
        return reports

    def _reported(self, found: dict[Place, TaskReport]) -> list[Report]:
        """Those that are new. What a task handed over is in its place when its run ends."""
        reports: list[Report] = []
        for place, report in found.items():
            if self._taken.get(place) != report.written_as:
                if report.is_in_place or not self._stages.is_final(place[0]):
                    reports += self._finished(place, report)
        return reports

    def _finished(self, place: Place, report: TaskReport) -> list[Report]:
        """Once for each run of a task, and only while somebody waits for it."""
        if self._taken.get(place) == report.written_as:
            return []
        self._taken[place] = report.written_as
        order = self._waiting.pop(place, None)
        if not self._stages.is_final(place[0]):
            self._kept[place] = (order.attempt_id if order is not None else "", report.outcome)
        if order is None:
            return []
        span = self._span(report.ran)
        started = Started(order.attempt_id, replace(span, ended_s=None))
        self._log(order, report.prints)
        if not self._stages.is_final(place[0]):
            return [started, Succeeded(order.attempt_id, report.outcome, span)]
        try:
            self._adopt(place[0], order.attempt_id, report)
        except OSError as error:
            failed = f"its results could not be put in place: {error}"
            return [started, self._failure(order, "error", failed, span)]
        return [started, Succeeded(order.attempt_id, report.outcome, span)]

    def _adopt(self, stage_index: int, attempt_id: str, report: TaskReport) -> None:
        sink = self._stages.program(stage_index).sink
        assert isinstance(sink, PartitionFile)
        ((name, _),) = report.outcome.files
        self._files.adopt(name, sink, report.written_as, attempt_id)

    def _failed(self, error: Exception) -> list[Report]:
        """One attempt failed: that of the task, or the first that is waited for where Spark itself
        did. The others go on with its next try.
        """
        kind, place, prints = "error", None, ""
        if isinstance(error, TaskOfStageFailed):
            kind, place, prints = error.reason, (error.stage_index, error.partition), error.prints
        finals = [p for p in self._waiting if self._stages.is_final(p[0])]
        for candidate in chain([place] if place is not None else [], sorted(finals)):
            order = self._waiting.pop(candidate, None)
            if order is not None:
                self._log(order, prints)
                return [self._failure(order, kind, str(error), None)]
        return []  # nobody waits for anything

    def _failure(self, order: TaskOrder, kind: str, error: str, span: Span | None) -> Failed:
        self._logs.failed(order, error)
        return Failed(order.attempt_id, kind, error[:ERROR_CHARS_MAX], span)

    def _log(self, order: TaskOrder, prints: str) -> None:
        if prints:
            with self._logs.of(order) as log:
                log.write(prints)

    def _span(self, ran: RanAt) -> Span:
        """By this host's clock. Of another host's only how long it took is of use: it ended now."""
        ended_s = ran.ended_s
        if ran.host_id != self._host_id:
            ended_s = time.monotonic()
        return Span(self._slot_of(ran), ended_s - (ran.ended_s - ran.begun_s), ended_s)
