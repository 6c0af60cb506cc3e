"""What the master knows, as Prometheus families, made from the snapshot that everybody reads.

Labels are states and the names of this cluster's workers; foreign workers share one name, since
each brings an id of its own. Must not know HTTP or the core.
"""

from __future__ import annotations

from collections.abc import Iterable

from minispark import __version__
from minispark.metrics.process_metrics import HostFigures, host_families, process_families
from minispark.metrics.prometheus import Family, Labels, counter, gauge, info
from minispark.model.snapshot import JobView, Snapshot, WorkerView
from minispark.model.states import AttemptState, JobState, WorkerKind, WorkerState

WORKERS_LABELLED_MAX = 500
"""Workers beyond these, those whose names come last, are counted and not named."""
FOREIGN = "http"

STATE_NAMES = {
    JobState.PENDING: "accepted",
    JobState.RUNNING: "running",
    JobState.SUCCEEDED: "succeeded",
    JobState.FAILED: "failed",
    JobState.CANCELLED: "cancelled",
}
"""As the documented metrics call them."""
ATTEMPT_STATES = (
    AttemptState.ASSIGNED,
    AttemptState.RUNNING,
    AttemptState.SUCCEEDED,
    AttemptState.FAILED,
    AttemptState.LOST,
    AttemptState.CANCELLED,
)

Values = list[tuple[Labels, float]]


def cluster_families(snapshot: Snapshot, now_unix_s: float, max_load_diff: int) -> list[Family]:
    """Of workers, jobs, tasks and the scheduler."""
    totals = snapshot.totals
    ended = [
        ({"state": STATE_NAMES[state]}, totals.jobs_ended.get(state, 0))
        for state in JobState
        if state.is_terminal
    ]
    attempts = [
        ({"state": state.value.lower()}, totals.attempts.get(state, 0)) for state in ATTEMPT_STATES
    ]
    return [
        info("minispark_build", "The version that runs.", {"version": __version__}),
        gauge("minispark_workers", "Workers by state.", _workers(snapshot)),
        gauge("minispark_jobs", "Jobs that are remembered.", _jobs(snapshot)),
        gauge("minispark_tasks", "Tasks of those jobs.", _tasks(snapshot.jobs.values())),
        counter("minispark_jobs_submitted", "Jobs that were accepted.", totals.jobs_submitted),
        counter("minispark_jobs_ended", "Jobs that ended.", ended),
        gauge("minispark_tasks_queued", "Ready to run, not assigned.", snapshot.tasks_queued),
        gauge("minispark_tasks_running", "Attempts assigned or running.", snapshot.tasks_running),
        counter("minispark_attempts", "Attempts that entered the state.", attempts),
        counter("minispark_retries", "Failed or lost, and tried again.", snapshot.retries_total),
        counter("minispark_late_results", "Results dropped as too late.", snapshot.late_results),
        counter("minispark_records_processed", "Records out of accepted tasks.", totals.records),
        counter("minispark_written_bytes", "Bytes out of accepted tasks.", totals.bytes_written),
        gauge("minispark_scheduler_next_index", "Of the round robin.", snapshot.next_index),
        gauge("minispark_scheduler_max_load_diff", "As it is configured.", max_load_diff),
        *_worker_families(snapshot, now_unix_s),
    ]


def master_families(figures: HostFigures, uptime_s: float, is_blocked: bool) -> list[Family]:
    """Of the master's process and its host."""
    name = "minispark_master"
    return [
        gauge(f"{name}_uptime_seconds", "Since its start.", uptime_s),
        gauge(f"{name}_journal_blocked", "1 while nothing can be written.", int(is_blocked)),
        *host_families(f"{name}_host_", {}, figures),
        *process_families(f"{name}_process_", {}, figures),
    ]


def _workers(snapshot: Snapshot) -> Values:
    up = sum(worker.state is WorkerState.UP for worker in snapshot.workers.values())
    return [({"state": "up"}, up), ({"state": "down"}, len(snapshot.workers) - up)]


def _jobs(snapshot: Snapshot) -> Values:
    states = [job.state for job in snapshot.jobs.values()]
    return [({"state": name}, states.count(state)) for state, name in STATE_NAMES.items()]


def _tasks(jobs: Iterable[JobView]) -> Values:
    """The sums of the JobInfos' `tasks`."""
    pending = running = completed = failed = 0
    for job in jobs:
        pending += job.tasks_pending
        running += job.tasks_running
        completed += job.tasks_completed
        failed += job.tasks_failed
    sums = {"pending": pending, "running": running, "completed": completed, "failed": failed}
    return [({"state": name}, value) for name, value in sums.items()]


def _worker_families(snapshot: Snapshot, now_unix_s: float) -> list[Family]:
    """Of each worker, as the master sees it; of those that share a name together."""
    by_name: dict[str, list[WorkerView]] = {}
    driver = [] if snapshot.driver is None else [snapshot.driver]
    for worker in (*snapshot.workers.values(), *driver):
        is_foreign = worker.identity.kind is WorkerKind.HTTP
        name = FOREIGN if is_foreign else worker.identity.name
        if name in by_name or len(by_name) < WORKERS_LABELLED_MAX:
            by_name.setdefault(name, []).append(worker)
    up: Values = []
    load: Values = []
    silent: Values = []
    for name, workers in by_name.items():
        labels = {"worker": name}
        up.append((labels, sum(worker.state is WorkerState.UP for worker in workers)))
        load.append((labels, sum(worker.load for worker in workers)))
        heard_at = max(worker.last_heartbeat_unix_s for worker in workers)
        silent.append((labels, max(0.0, now_unix_s - heard_at)))
    return [
        gauge("minispark_worker_up", "1 for a worker that is Up.", up),
        gauge("minispark_worker_load", "Attempts assigned to it, as the master counts.", load),
        gauge("minispark_worker_heartbeat_age_seconds", "Since its last heartbeat.", silent),
    ]
