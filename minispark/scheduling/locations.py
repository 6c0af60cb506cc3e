"""Where the outputs lie that a task reads, as its worker is told: once in a session where all tasks
of a group read the same.

Must not know how tasks are placed.
"""

from __future__ import annotations

from minispark.model.plan import OutputLocation
from minispark.model.states import TaskState
from minispark.scheduling.job_run import JobRun
from minispark.scheduling.limits import FAIR_JOBS_MAX
from minispark.scheduling.reads import Reads
from minispark.scheduling.state import ClusterState
from minispark.scheduling.task_run import Attempt
from minispark.scheduling.worker_pool import WorkerPool

Tables = dict[str, tuple[OutputLocation, ...]]


class Locations:
    """Of the outputs of all jobs."""

    def __init__(self, state: ClusterState) -> None:
        self._state = state
        self._cached: dict[str, tuple[tuple[int, ...], tuple[OutputLocation, ...]]] = {}
        """Of the groups being launched: the outputs they read, and the versions they were read
        at.
        """

    def add(self, attempt: Attempt, outputs: Tables, tables: Tables) -> str | None:
        """Add to what is sent with its order where the outputs lie that it reads, unless its worker
        knows that already; returns the name under which it finds them.
        """
        stage, partition = attempt.stage, attempt.task.partition
        job, group = stage.job, stage.group_of(attempt.task)
        reads = group.reads
        if not reads.parts:
            return None
        if not reads.is_shared:
            name = f"{job.id}/{stage.stage.index}/{partition}"
            outputs[name] = tuple(self._collect(job, reads, partition))
            return name
        name = f"{job.id}/{stage.stage.index}/of-{group.number}"
        versions = (
            self._state.pool.version,
            *(job.stages[parent].outputs_version for parent, _ in reads.parts),
        )
        known = self._state.pool.workers[attempt.worker_id].tables.setdefault(job.id, {})
        if known.get(name) != versions:
            known[name] = versions
            job.readers[attempt.worker_id] = None
            tables[name] = self._table(name, job, reads, versions)
        return name

    def _table(
        self, name: str, job: JobRun, reads: Reads, versions: tuple[int, ...]
    ) -> tuple[OutputLocation, ...]:
        """All outputs that tasks of a group read, as many workers are sent them."""
        cached = self._cached.get(name)
        if cached is None or cached[0] != versions:
            if len(self._cached) > FAIR_JOBS_MAX:
                del self._cached[next(iter(self._cached))]
            locations = tuple(self._collect(job, reads, reads.first))
            cached = self._cached[name] = (versions, locations)
        return cached[1]

    def _collect(self, job: JobRun, reads: Reads, partition: int) -> list[OutputLocation]:
        """Those that can be read; an early attempt hears of the others when they are made."""
        locations: list[OutputLocation] = []
        own = reads.own_partition(partition)
        for index, is_every in reads.parts:
            parent = job.stages[index]
            for task in parent.tasks if is_every else (parent.tasks[own],):
                if task.state is TaskState.SUCCEEDED:
                    assert task.accepted is not None
                    if not task.accepted.is_empty:
                        locations.append(location_of(self._state.pool, task.accepted))
        return locations


def location_of(pool: WorkerPool, accepted: Attempt) -> OutputLocation:
    """Where an accepted output is read now: at its worker, or at another one on its disk."""
    owner = pool.workers[accepted.worker_id]
    server = pool.server(owner) or owner
    return OutputLocation(
        stage_index=accepted.stage.stage.index,
        partition=accepted.task.partition,
        attempt_id=accepted.id,
        worker_id=accepted.worker_id,
        host=server.identity.host,
        port=server.identity.port,
        host_id=owner.identity.host_id,
        state_dir=owner.identity.state_dir,
        is_foreign=not owner.is_pushed,
    )
