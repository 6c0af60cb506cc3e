"""Jobs that Spark runs: all their tasks go to its driver at once, whatever they read of each other.

From then on they are tasks like others: started, accepted, failed, lost, tried again. Must not know
what Spark does with them.
"""

from __future__ import annotations

from minispark.model.effects import DriveTasks, Effect, WantDriver
from minispark.scheduling.dispatch import Dispatcher, order_of
from minispark.scheduling.job_run import JobRun
from minispark.scheduling.limits import DRIVER_ASKED_S
from minispark.scheduling.state import ClusterState
from minispark.scheduling.task_run import Attempt
from minispark.scheduling.worker_pool import Worker


class DrivenJobs:
    """Gives their ready tasks to the driver; where none is Up, asks for one."""

    def __init__(self, state: ClusterState, dispatcher: Dispatcher) -> None:
        self._state = state
        self._dispatcher = dispatcher
        self._asked_at: float | None = None

    def dispatch(self, now: float, at_unix_s: float, effects: list[Effect]) -> None:
        """One DriveTasks for each job with ready tasks."""
        if not self._state.driven_jobs:
            return
        driver = self._state.pool.driver()
        if driver is None:
            if self._asked_at is None or now - self._asked_at >= DRIVER_ASKED_S:
                self._asked_at = now
                effects.append(WantDriver())
            return
        for job_id in list(self._state.driven_jobs):
            job = self._state.jobs[job_id]
            orders = [
                order_of(attempt, None)
                for attempt in self._assign_all(job, driver, now, at_unix_s, effects)
            ]
            stages = dict.fromkeys(order.stage_index for order in orders)
            programs = {index: job.stages[index].stage.program for index in stages}
            driver_id, name = driver.identity.worker_id, job.request.name
            effects.append(DriveTasks(driver_id, job.id, name, tuple(orders), programs))
        self._state.touch_worker(driver)

    def _assign_all(
        self, job: JobRun, driver: Worker, now: float, at_unix_s: float, effects: list[Effect]
    ) -> list[Attempt]:
        attempts: list[Attempt] = []
        while job.open_groups:
            group = job.open_groups[0]
            task = job.take_first(group)
            place = self._dispatcher.place
            attempts.append(place(job, group.stage, task, driver, now, at_unix_s, effects))
        return attempts
