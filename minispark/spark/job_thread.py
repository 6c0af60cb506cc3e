"""One job's thread: runs it on Spark as often as it is asked to, and says how that ended.

Must not know attempts, nor the master.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, TypeAlias

from minispark.errors import ClusterError, MiniSparkError
from minispark.model.log_fields import about
from minispark.model.plan import PhysicalPlan
from minispark.spark.application import Application
from minispark.spark.stage_run import Written
from minispark.spark.task_report import Place, Reports

if TYPE_CHECKING:
    from pyspark import SparkContext

    from minispark.spark.translate import SparkJob

logger = logging.getLogger("minispark.driver")


@dataclass(frozen=True, slots=True)
class RunEnded:
    """How one run ended. Without an error every place that was wanted is in `written`."""

    job_id: str
    written: tuple[Written, ...] = ()
    error: MiniSparkError | OSError | None = None
    reports: Reports = field(default_factory=dict)


Wanted: TypeAlias = tuple[PhysicalPlan, tuple[Place, ...]]


class SparkRun:
    """Of one job; `start`, `reports` and `stop` are for another thread than its own."""

    def __init__(
        self,
        application: Application,
        job_id: str,
        name: str,
        folder: Path,
        task_max_mb: int,
        task_timeout_s: float,
        on_end: Callable[[RunEnded], None],
    ) -> None:
        """`on_end` is called in this job's thread."""
        self._application = application
        self._job_id = job_id
        self._name = name
        self._folder = folder
        self._task_max_mb = task_max_mb
        self._task_timeout_s = task_timeout_s
        self._on_end = on_end
        self._wanted: SimpleQueue[Wanted | None] = SimpleQueue()
        self._is_over = threading.Event()
        self._cancelling = threading.Event()
        self.is_running = False
        """On Spark. Written by its own thread, read by any."""
        self._context: SparkContext | None = None
        self._job: SparkJob | None = None
        self._plan: PhysicalPlan | None = None
        threading.Thread(target=self._serve, name=f"job {job_id}", daemon=True).start()

    # --- another thread ---------------------------------------------------------------------

    def start(self, plan: PhysicalPlan, finals: tuple[Place, ...]) -> None:
        """Make these final partitions; `on_end` is called once."""
        self._wanted.put((plan, finals))

    @property
    def reports(self) -> Reports:
        """Of all tasks that ended well so far, since the application began."""
        job = self._job
        return job.reports if job is not None else {}

    def stop(self) -> None:
        """Nobody wants it any more. To be repeated while it runs: Spark forgets a cancellation that
        comes just before what it would cancel.
        """
        if not self._is_over.is_set():
            self._is_over.set()
            self._wanted.put(None)
        if self.is_running and self._context is not None and not self._cancelling.is_set():
            self._cancelling.set()
            # a Java that does not answer must not hold who asks
            threading.Thread(
                target=self._cancel, name=f"cancel {self._job_id}", daemon=True
            ).start()

    def _cancel(self) -> None:
        context = self._context
        try:
            if context is not None:
                context.cancelJobGroup(self._job_id)
        except Exception as error:  # whatever Java's end makes of it
            logger.warning("Spark did not cancel it: %s", error, extra=self._about)
        finally:
            self._cancelling.clear()

    # --- its own thread -----------------------------------------------------------------------

    @property
    def _about(self) -> dict[str, object]:
        return dict(about(job=self._job_id))

    def _serve(self) -> None:
        while (wanted := self._wanted.get()) is not None:
            self.is_running = True
            if self._is_over.is_set():
                break
            try:
                written = self._run(*wanted)
                ended = RunEnded(self._job_id, tuple(written), None, self.reports)
            except (MiniSparkError, OSError) as error:
                ended = RunEnded(self._job_id, (), error, self.reports)
            except Exception as error:
                logger.exception("a defect of the driver", extra=self._about)
                failed = ClusterError(f"the driver failed: {type(error).__name__}: {error}")
                ended = RunEnded(self._job_id, (), failed, self.reports)
            self.is_running = False
            if not self._is_over.is_set():
                self._on_end(ended)
        if self._job is not None:
            self._job.close()
            self._job = None
        self.is_running = False

    def _run(self, plan: PhysicalPlan, finals: tuple[Place, ...]) -> list[Written]:
        from minispark.spark.translate import SparkJob

        context = self._application.context()
        if context is not self._context or plan is not self._plan:
            if self._job is not None:
                self._job.close()
            self._context, self._plan = context, plan
            self._job = SparkJob(
                context, plan, self._job_id, self._task_max_mb, self._task_timeout_s
            )
        assert self._job is not None
        context.setJobGroup(self._job_id, self._name, interruptOnCancel=True)
        context.setLocalProperty("spark.scheduler.pool", self._job_id)
        numbers = {place: number for number, place in enumerate(self._job.final_partitions)}
        return self._job.run(self._folder, [numbers[place] for place in finals])
