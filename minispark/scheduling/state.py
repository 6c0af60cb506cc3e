"""What the scheduling core knows, and the pictures of it that readers get.

Must not know events or effects.
"""

from __future__ import annotations

import heapq
from collections import OrderedDict
from collections.abc import Iterable, Mapping

from minispark.model.name_order import in_order
from minispark.model.snapshot import JobView, Snapshot, Totals, WorkerView
from minispark.model.states import WorkerState
from minispark.scheduling.cache_sites import CacheSites
from minispark.scheduling.job_run import JobRun
from minispark.scheduling.limits import Limits
from minispark.scheduling.stage_run import StageRun
from minispark.scheduling.task_run import TaskRun
from minispark.scheduling.totals import RunningTotals
from minispark.scheduling.worker_pool import Presence, Worker, WorkerPool


class ClusterState:
    """Jobs that run, jobs that ended (as pictures only), workers, and totals."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.pool = WorkerPool(limits.max_load_diff, limits.prefetch)
        self.cache_sites = CacheSites()
        self.jobs: dict[str, JobRun] = {}
        """Jobs that have not ended, oldest first."""
        self.undecided: dict[str, None] = {}
        """Jobs whose plan is chosen when a worker is Up."""
        self.ready_jobs: OrderedDict[str, None] = OrderedDict()
        """Jobs with ready tasks of runnable groups, in the order in which they became so; without
        those that Spark runs.
        """
        self.driven_jobs: OrderedDict[str, None] = OrderedDict()
        """The same, of those that Spark runs."""
        self.finished: dict[str, JobView] = {}
        """Jobs that ended, oldest end first; at most `limits.jobs_kept_max`, and, but for the last
        one, at most `limits.result_bytes_max` of results.
        """
        self._result_bytes = 0
        self._ended: list[JobRun] = []
        """Jobs that ended in this turn: who ended one may look at it until the turn is over."""
        self.ready_count = 0
        """Ready tasks of `ready_jobs`."""
        self.driven_count = 0
        """The same, of `driven_jobs`."""
        self.live_count = 0
        """Attempts assigned or running, of all jobs."""
        self.now = 0.0
        """Of the event that is being handled (monotonic seconds)."""
        self.retries_total = 0
        self.late_results = 0
        self.totals = RunningTotals()
        self._delayed: list[tuple[float, int, StageRun, TaskRun]] = []
        """A heap: failed tasks that wait for their retry delay, by when it ends."""
        self._delays = 0
        self._ready_by_job: dict[str, tuple[int, int]] = {}
        self._changed_jobs: dict[str, None] = {}
        self._published = Snapshot()
        self._driver_problem: str | None = None
        """Why no Spark driver is going to run."""
        self._present = Presence()
        """As the notes of the published jobs have it."""

    # --- bookkeeping -----------------------------------------------------------------------

    def touch(self, job: JobRun) -> None:
        """The job changed: refresh the totals that depend on it, and its picture later."""
        if job.id not in self.jobs:
            return  # it ended, and its picture was taken then
        self._changed_jobs[job.id] = None
        before = self._ready_by_job.get(job.id, (0, 0))
        counts = (job.ready_count, job.live_count)
        if counts == before and job.id in self._ready_by_job:
            return
        ready, live = before
        self._ready_by_job[job.id] = counts
        self._count_ready(job, job.ready_count - ready)
        self.live_count += job.live_count - live
        jobs = self.driven_jobs if job.is_driven else self.ready_jobs
        if job.ready_count:
            jobs.setdefault(job.id, None)
        else:
            jobs.pop(job.id, None)

    def _count_ready(self, job: JobRun, more: int) -> None:
        if job.is_driven:
            self.driven_count += more
        else:
            self.ready_count += more

    def delay(self, stage: StageRun, task: TaskRun, due: float) -> None:
        """The task becomes ready again at `due` (monotonic seconds)."""
        self._delays += 1
        heapq.heappush(self._delayed, (due, self._delays, stage, task))

    def end_delays(self, now: float) -> None:
        """Make the tasks ready whose delay has passed."""
        while self._delayed and self._delayed[0][0] <= now:
            _, _, stage, task = heapq.heappop(self._delayed)
            if task.is_delayed and stage.job.id in self.jobs:
                stage.job.end_delay(stage, task)
                self.touch(stage.job)

    @property
    def next_due(self) -> float | None:
        """When the next retry delay ends (monotonic seconds)."""
        return self._delayed[0][0] if self._delayed else None

    def is_accepted(self, attempt_id: str) -> bool:
        """Whether a running job reads, or will read, that attempt's output."""
        return any(attempt_id in job.accepted for job in self.jobs.values())

    def is_needed(self, attempt_id: str) -> bool:
        """Whether the attempt is live, or something reads what it wrote, or tries to."""
        return attempt_id in self.pool.live or any(
            attempt_id in job.accepted or attempt_id in job.unreadable for job in self.jobs.values()
        )

    @property
    def counted_jobs(self) -> int:
        """Of how many jobs the totals hold something."""
        return len(self._ready_by_job)

    def note_driver_problem(self, reason: str | None) -> None:
        """Why no Spark driver is going to run; None: there is one."""
        if reason != self._driver_problem:
            self._driver_problem = reason
            self._changed_jobs.update(dict.fromkeys(i for i, j in self.jobs.items() if j.is_driven))

    def touch_worker(self, worker: Worker) -> None:
        self.pool.changed[worker.identity.worker_id] = None

    def retire(self, job: JobRun) -> list[str]:
        """Keep only the ended job's picture; return the ids of jobs that leave the history."""
        self._ended.append(self.jobs.pop(job.id))
        self.undecided.pop(job.id, None)
        self.ready_jobs.pop(job.id, None)
        self.driven_jobs.pop(job.id, None)
        ready, live = self._ready_by_job.pop(job.id, (0, 0))
        self._count_ready(job, -ready)
        self.live_count -= live
        self._changed_jobs[job.id] = None
        self.finished[job.id] = job.view(self._published.jobs.get(job.id), None)
        self._result_bytes += job.result_bytes
        return self._evict()

    def let_ended_go(self) -> None:
        """At the end of a turn: free all of the jobs that ended in it but their pictures."""
        while self._ended:
            self._ended.pop().let_go()

    def restore(self, views: Iterable[JobView], totals: Totals) -> list[str]:
        """Jobs that ended before this master started, oldest end first; return the ids of those
        that leave the history at once: the limits may be narrower than they were.
        """
        self.totals.restore(totals)
        for view in views:
            self.finished[view.job_id] = view
            self._result_bytes += view.result_bytes
            self.retries_total += view.retries
            self._changed_jobs[view.job_id] = None
        return self._evict()

    def order_restored(self) -> None:
        """After every job is restored: readers list them by when they were created, as before,
        and not by when they ended.
        """
        created = {i: view.created_at for i, view in self.finished.items()}
        created.update((job.id, job.created_at) for job in self.jobs.values())
        known = sorted((i for i in self._changed_jobs if i in created), key=lambda i: created[i])
        self._changed_jobs = dict.fromkeys(known)

    def _evict(self) -> list[str]:
        evicted: list[str] = []
        while len(self.finished) > self.limits.jobs_kept_max or (
            self._result_bytes > self.limits.result_bytes_max and len(self.finished) > 1
        ):
            job_id = next(iter(self.finished))
            self._result_bytes -= self.finished.pop(job_id).result_bytes
            self._changed_jobs[job_id] = None
            evicted.append(job_id)
        return evicted

    # --- pictures ----------------------------------------------------------------------------

    @property
    def is_changed(self) -> bool:
        return bool(self._changed_jobs or self.pool.changed)

    def snapshot(self) -> Snapshot:
        """The picture as it is now. Costs as much as what changed, and one copy of two mappings."""
        old = self._published
        jobs = dict(old.jobs)
        present = self.pool.presence()
        if present != self._present:
            self._present = present
            self._changed_jobs.update(dict.fromkeys(self.jobs))
        for job_id in self._changed_jobs:
            run, ended = self.jobs.get(job_id), self.finished.get(job_id)
            if run is not None:
                jobs[job_id] = run.view(jobs.get(job_id), self._note(run))
            elif ended is not None:
                jobs[job_id] = ended
            else:
                jobs.pop(job_id, None)
        workers = self._workers(old.workers)
        driver = self._driver(old.driver)
        self._changed_jobs, self.pool.changed = {}, {}
        self._published = Snapshot(
            jobs=jobs,
            workers=workers,
            driver=driver,
            tasks_queued=self.ready_count + self.driven_count,
            tasks_running=self.live_count,
            next_index=self.pool.placed % max(1, len(self.pool.workers)),
            retries_total=self.retries_total,
            late_results=self.late_results,
            totals=self.totals.view(),
        )
        return self._published

    def _workers(self, old: Mapping[str, WorkerView]) -> dict[str, WorkerView]:
        """With what changed; sorted again where somebody came, or has another name."""
        workers, is_sorted = dict(old), True
        for worker_id in self.pool.changed:
            worker = self.pool.workers[worker_id]
            if worker.is_driver:
                continue
            view = workers[worker_id] = worker.view()
            before = old.get(worker_id)
            is_sorted &= before is not None and before.identity.name == view.identity.name
        if is_sorted:
            return workers
        return dict(sorted(workers.items(), key=lambda item: in_order(item[1].identity.name)))

    def _driver(self, old: WorkerView | None) -> WorkerView | None:
        """The Spark driver that came or went last, as it is now."""
        for worker_id in self.pool.changed:
            worker = self.pool.workers[worker_id]
            is_same = old is not None and worker_id == old.identity.worker_id
            if worker.is_driver and (is_same or old is None or worker.state is WorkerState.UP):
                old = worker.view()
        return old

    def _note(self, job: JobRun) -> str | None:
        """What the job waits for, where somebody could do something about it."""
        present = self._present
        if job.is_driven:
            why = self._driver_problem or "the Spark driver starts"
            return None if present.has_driver else f"waits: {why}"
        if present.has_ours:
            return None
        if not present.has_foreign:
            if present.has_refused:
                return "waits: the HTTP workers that are Up were refused; the log says why"
            return "waits: no worker is Up"
        if not job.ready_count:
            return None
        stages = [group.stage.stage for group in job.open_groups]
        if any(stage.is_documented for stage in stages):
            return None
        return (
            f"waits: {stages[0].id} means something else to the HTTP workers that are Up; "
            "start a worker of this package"
        )
