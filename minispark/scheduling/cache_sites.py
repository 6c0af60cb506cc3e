"""Which worker has which records in its cache, as far as the core knows: where a task that wants
them is best placed.

It is a guess that costs a miss where it is wrong, so it is neither journaled nor reported: an
accepted attempt's worker had them a moment ago. Must not know how workers are chosen.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

from minispark.model.cache_keys import chain_keys, kept_keys, wanted_keys
from minispark.scheduling.stage_run import StageRun
from minispark.scheduling.task_group import TaskGroup
from minispark.scheduling.task_run import Attempt

SITES_MAX = 100_000
"""Known at a time; the one that was learned first is forgotten."""
SCAN_MAX = 16
"""Among how many ready tasks of a group one is looked for that its worker has something for."""


class CacheSites:
    """Workers by key."""

    def __init__(self) -> None:
        self._sites: dict[str, str] = {}

    def learn(self, attempt: Attempt) -> None:
        """The attempt was accepted."""
        stage = attempt.stage
        if not stage.uses_cache:
            return
        for key in kept_keys(stage.stage.program, stage.job.id, attempt.task.partition):
            self._sites.pop(key, None)
            self._sites[key] = attempt.worker_id
        while len(self._sites) > SITES_MAX:
            del self._sites[next(iter(self._sites))]

    def forget(self, attempt: Attempt) -> None:
        """What the attempt was expected to find is not there."""
        stage = attempt.stage
        for key in chain_keys(stage.stage.program, stage.job.id, attempt.task.partition):
            if self._sites.get(key) == attempt.worker_id:
                del self._sites[key]

    def of(self, key: str) -> str | None:
        """The worker that has what is kept under the key."""
        return self._sites.get(key)

    @property
    def is_empty(self) -> bool:
        return not self._sites

    def choose(self, group: TaskGroup, worker_id: str) -> int | None:
        """The partition of the group's ready task that is for that worker: the first whose records
        it has; else the first whose records nobody has. None: any is as good.
        """
        stage = group.stage
        if not stage.uses_cache or not self._sites:
            return None
        homeless: int | None = None
        for partition in islice(group.ready, SCAN_MAX):
            site = self._site(stage, partition)
            if site == worker_id:
                return partition
            if site is None and homeless is None:
                homeless = partition
        return homeless

    def home(self, group: TaskGroup) -> str | None:
        """The worker that has what the group's first ready task would make otherwise. What it would
        only fetch otherwise is no reason to wait for anybody.
        """
        stage = group.stage
        if not stage.uses_cache:
            return None
        partition = group.first_ready.partition
        return self._first(chain_keys(stage.stage.program, stage.job.id, partition))

    def _site(self, stage: StageRun, partition: int) -> str | None:
        return self._first(wanted_keys(stage.stage.program, stage.job.id, partition))

    def _first(self, keys: Iterable[str]) -> str | None:
        return next((self._sites[key] for key in keys if key in self._sites), None)
