"""Which stages need not run, because what their readers make of their outputs is cached; and where
these readers go.

What is known of the caches is a guess, so nothing is final: the first reader that has nowhere to
go, or misses, has the stage run after all. Must not know how attempts end, nor other placement.
"""

from __future__ import annotations

from collections.abc import Iterable

from minispark.model.cache_keys import saved_reads
from minispark.scheduling.cache_sites import SCAN_MAX
from minispark.scheduling.job_run import JobRun
from minispark.scheduling.stage_run import StageRun
from minispark.scheduling.state import ClusterState
from minispark.scheduling.task_group import TaskGroup
from minispark.scheduling.worker_pool import Worker


class Skipping:
    """Skips stages of jobs in the state, and opens them again."""

    def __init__(self, state: ClusterState) -> None:
        self._state = state

    def skip(self, job: JobRun) -> None:
        """The job's plan was chosen: of its stages those are skipped that only such tasks would
        read as find in their workers' caches what they would make of them.
        """
        if self._state.cache_sites.is_empty or not any(run.uses_cache for run in job.stages):
            return
        finals = [run for run in job.stages if run.stage.is_final]
        for run in job.stages:
            if not run.stage.is_final:
                job.skip(run)
        self.open(job, [index for run in finals for index in self._needs(run)])

    def open(self, job: JobRun, stages: Iterable[int]) -> None:
        """These stages are needed, and so are some that they read."""
        waiting = list(stages)
        while waiting:
            run = job.stages[waiting.pop()]
            if run.is_skipped:
                job.unskip(run)
                waiting += self._needs(run)
        self._state.touch(job)

    def place(self, group: TaskGroup) -> Worker | None:
        """Where a ready task of the group goes, which reads skipped stages: to the worker that has
        in its cache what it would make of them. It is the group's first one then. None: there is no
        room, or no such worker, and the group waits for these stages now.
        """
        pool = self._state.pool
        for _ in range(min(SCAN_MAX, len(group.ready))):
            task = group.first_ready
            # where it failed, another worker may do better, and has nothing in its cache
            homes = [
                worker_id
                for worker_id in self._homes(group, task.partition, group.unmade)
                if worker_id != task.avoided_worker
            ]
            if not homes:
                self.open(group.stage.job, tuple(group.unmade))
                return None
            for worker_id in filter(pool.has_room, homes):
                return pool.workers[worker_id]
            group.ready.move_to_end(task.partition)  # its worker will have room, and say so
        return None

    def _needs(self, run: StageRun) -> list[int]:
        """The stages that its tasks read, whatever is cached."""
        needed: list[int] = []
        for group in run.groups:
            saved = self._saved(group)
            needed += [index for index, _ in group.reads.parts if index not in saved]
        return needed

    def _saved(self, group: TaskGroup) -> tuple[int, ...]:
        """The stages that no task of the group needs to read, as far as is known."""
        run, reads = group.stage, group.reads
        if not run.uses_cache:
            return ()
        whole = [index for index, is_every in reads.parts if is_every]
        places = saved_reads(run.stage.program, run.job.id, reads.first)
        tasks = range(reads.first, reads.first + reads.partitions)
        for stages in dict.fromkeys(stages for _, stages in places):
            can_skip = bool(stages) and all(index in whole for index in stages)
            if can_skip and all(self._homes(group, task, stages) for task in tasks):
                return stages
        return ()

    def _homes(self, group: TaskGroup, partition: int, stages: Iterable[int]) -> list[str]:
        """The workers that may get tasks and have what saves the task from reading these stages."""
        run, wanted, homes = group.stage, list(stages), list[str]()
        for key, saved in saved_reads(run.stage.program, run.job.id, partition):
            worker_id = self._state.cache_sites.of(key)
            if worker_id is not None and all(index in saved for index in wanted):
                if self._state.pool.may_get(worker_id):
                    homes.append(worker_id)
        return homes
