"""How large a plan may be: what the master keeps, journals and names for it has limits.

Must not know how plans are made.
"""

from __future__ import annotations

from minispark.errors import InvalidRequest
from minispark.model.plan import DocumentedShuffle, PhysicalPlan

TASKS_MAX = 1_000_000
SHUFFLE_FILES_MAX = 1_000_000
"""Of one naive shuffle, which writes one file for each pair of tasks."""
SPLITS_MAX = 1_000_000
"""Of one stage. Naive rows are numbered through all files, so every task gets every file."""


class PlanTooLarge(InvalidRequest):
    """The plan asks for more than a master should hold. Another plan of the job may do."""


def check_size(plan: PhysicalPlan) -> None:
    """Raises PlanTooLarge."""
    if plan.tasks_total > TASKS_MAX:
        raise _too_large(f"the job has {plan.tasks_total} tasks; the limit is {TASKS_MAX}")
    for stage in plan.stages:
        sink = stage.program.sink
        targets = sink.partitions if isinstance(sink, DocumentedShuffle) else 0
        if stage.partitions * targets > SHUFFLE_FILES_MAX:
            raise _too_large(
                f"{stage.id} writes {stage.partitions} x {targets} files in the naive plan; "
                f"the limit is {SHUFFLE_FILES_MAX}"
            )
        splits = sum(map(len, stage.splits))
        if splits > SPLITS_MAX:
            raise _too_large(
                f"{stage.id} gives {splits} pieces of files to {stage.partitions} tasks; "
                f"the limit is {SPLITS_MAX}"
            )


def _too_large(what: str) -> PlanTooLarge:
    return PlanTooLarge(f"{what}: lower parallelism, or partitions of nodes", "parallelism")
