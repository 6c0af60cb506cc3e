"""The tasks of a stage that read the same stages: all of them, or one branch of a union's.

They wait together for the stages that each of them reads whole, and one by one for outputs that
only one of them reads. Must not know other stages, nor how tasks are placed.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

from minispark.model.states import TaskState
from minispark.scheduling.reads import Reads
from minispark.scheduling.task_run import TaskRun

if TYPE_CHECKING:
    from minispark.scheduling.stage_run import StageRun


class TaskGroup:
    """What of its tasks can be launched. Its counters are kept by `JobRun`."""

    __slots__ = ("missing", "number", "reads", "ready", "stage", "unmade")

    def __init__(self, stage: StageRun, number: int, reads: Reads) -> None:
        self.stage = stage
        self.number = number
        """Within its stage."""
        self.reads = reads
        self.missing = sum(is_every for _, is_every in reads.parts)
        """Stages that all its tasks read and that are neither complete nor skipped; nothing is
        launched until it is 0.
        """
        own = len(reads.parts) - self.missing
        tasks = stage.tasks[reads.first : reads.first + reads.partitions]
        for task in tasks:
            task.missing = own
        self.unmade: dict[int, None] = {}
        """Stages that all its tasks would read and that are skipped: a task goes to the worker
        whose cache has what it makes of them.
        """
        self.ready: OrderedDict[int, None] = OrderedDict()
        """Partitions of PENDING tasks that miss nothing of their own, in the order in which they
        will be launched.
        """
        if not own:
            self.ready.update((task.partition, None) for task in tasks)

    @property
    def is_runnable(self) -> bool:
        return self.missing == 0 and bool(self.ready) and not self.stage.is_skipped

    @property
    def place(self) -> tuple[int, int]:
        """Earlier stages are served first, and in a stage earlier branches."""
        return self.stage.stage.index, self.number

    @property
    def first_ready(self) -> TaskRun:
        return self.stage.tasks[next(iter(self.ready))]

    def reader_of(self, partition: int) -> TaskRun:
        """The task that reads that partition of a stage of which each reads only its own."""
        return self.stage.tasks[self.reads.first + partition]

    def can_be_ready(self, task: TaskRun) -> bool:
        """Whether it is the task's turn, but for what all of the group misses."""
        return task.state is TaskState.PENDING and not task.is_delayed and not task.missing
