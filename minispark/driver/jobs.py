"""All jobs that the driver knows, from their first order until the master says that they ended.

For the thread of the driver's loop. Must not know sockets.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from minispark.driver.driven_job import DrivenJob
from minispark.driver.result_files import ResultFiles
from minispark.model.plan import StageProgram, TaskOrder
from minispark.spark.application import Application
from minispark.spark.job_thread import RunEnded, SparkRun
from minispark.spark.task_report import RanAt
from minispark.transport.messages import Drive, Report
from minispark.worker.task_log import TaskLogs


class Jobs:
    """By id."""

    def __init__(
        self,
        application: Application,
        state_dir: str,
        scratch: Path,
        task_max_mb: int,
        logs: TaskLogs,
        on_end: Callable[[RunEnded], None],
    ) -> None:
        """`scratch`: where results lie until an attempt takes them over. `on_end` is called in
        another thread; what it gets is for `ended`.
        """
        self._application = application
        self._state_dir = state_dir
        self._scratch = scratch
        self._task_max_mb = task_max_mb
        self._logs = logs
        self._on_end = on_end
        self.task_timeout_s = 0.0
        """As the master said."""
        self._jobs: dict[str, DrivenJob] = {}
        self._pages: dict[str, tuple[list[TaskOrder], dict[int, StageProgram]]] = {}
        """Of jobs whose last page is still to come."""
        self._stopping: list[SparkRun] = []
        """Of jobs that ended, and that Spark may still run."""
        self._slots: dict[tuple[str, int], int] = {}

    @property
    def held(self) -> tuple[str, ...]:
        """The attempts that are this driver's."""
        return tuple(attempt for job in self._jobs.values() for attempt in job.held)

    @property
    def active(self) -> int:
        return sum(job.active for job in self._jobs.values())

    @property
    def is_idle(self) -> bool:
        """Whether nothing is to be looked at."""
        return not self._stopping and all(job.is_idle for job in self._jobs.values())

    # --- the master ------------------------------------------------------------------------

    def begin_session(self, job_ids: tuple[str, ...]) -> None:
        """What an earlier session did not say to its end is said again. Jobs that are not among
        these ended meanwhile.
        """
        self._pages.clear()
        for job_id in [job_id for job_id in self._jobs if job_id not in job_ids]:
            self.end(job_id)

    def drive(self, page: Drive) -> list[Report]:
        """Orders for one job; they are taken on once all have come. Raises OSError."""
        orders, programs = self._pages.setdefault(page.job_id, ([], {}))
        orders += page.orders
        programs.update({int(index): program for index, program in page.programs.items()})
        if not page.is_last:
            return []
        del self._pages[page.job_id]
        job = self._jobs.get(page.job_id)
        if job is None:
            job = self._jobs[page.job_id] = self._begin(page.job_id, page.job_name)
        return job.order(tuple(orders), programs)

    def _begin(self, job_id: str, name: str) -> DrivenJob:
        files = ResultFiles(self._state_dir, self._scratch, job_id)
        limits = self._task_max_mb, self.task_timeout_s
        run = SparkRun(self._application, job_id, name, files.folder, *limits, self._on_end)
        return DrivenJob(run, files, self._logs, self._slot_of)

    def _slot_of(self, ran: RanAt) -> int:
        """In the order in which Spark's Python workers were heard of."""
        return self._slots.setdefault((ran.host_id, ran.pid), len(self._slots))

    def give_up(self, attempt_ids: tuple[str, ...]) -> None:
        unwanted = set(attempt_ids)
        for job in self._jobs.values():
            job.give_up(unwanted)

    def end(self, job_id: str) -> None:
        """The job ended, however."""
        self._pages.pop(job_id, None)
        job = self._jobs.pop(job_id, None)
        if job is not None:
            self._stopping.append(job.end())

    # --- Spark -----------------------------------------------------------------------------

    def look(self) -> list[Report]:
        """What tasks did since the last look."""
        for run in self._stopping:
            run.stop()
        self._stopping = [run for run in self._stopping if run.is_running]
        return [report for job in self._jobs.values() for report in job.look()]

    def ended(self, ended: RunEnded) -> list[Report]:
        job = self._jobs.get(ended.job_id)
        return job.ended(ended) if job is not None else []
