"""The stages of a job, put together from the orders that the master sent.

A driver that began anew gets only what is still to be done, and a task that waits for its next try
comes later: nothing runs before all is there that it reads. Must not know Spark.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from minispark.model.job import PlanKind
from minispark.model.plan import (
    PartitionFile,
    PhysicalPlan,
    Split,
    Stage,
    StageProgram,
    TaskOrder,
)
from minispark.spark.dependencies import read_stages


@dataclass(slots=True)
class KnownStage:
    """What orders said of one stage so far."""

    id: str
    partitions: int
    program: StageProgram
    splits: dict[int, tuple[Split, ...]] = field(default_factory=dict)
    """Of each partition that was ordered."""

    @property
    def is_final(self) -> bool:
        return isinstance(self.program.sink, PartitionFile)

    @property
    def is_whole(self) -> bool:
        """Whether every task of it was ordered. Of a final stage those count that are wanted."""
        return self.is_final or len(self.splits) == self.partitions

    def as_stage(self, index: int) -> Stage:
        """As plans have it, with what Spark needs to know."""
        has_splits = any(self.splits.values())
        splits = tuple(self.splits.get(p, ()) for p in range(self.partitions))
        return Stage(
            index=index,
            id=self.id,
            node_ids=(),
            op="pipeline",
            partitions=self.partitions,
            parents=(),
            program=self.program,
            splits=splits if has_splits else (),
            is_final=self.is_final,
        )


class KnownStages:
    """Of one job, by index."""

    def __init__(self) -> None:
        self._stages: dict[int, KnownStage] = {}

    def learn(self, orders: Iterable[TaskOrder], programs: dict[int, StageProgram]) -> bool:
        """Whether something is new."""
        is_new = False
        for order in orders:
            stage = self._stages.get(order.stage_index)
            if stage is None:
                program = programs[order.stage_index]
                stage = KnownStage(order.stage_id, order.total_partitions, program)
                self._stages[order.stage_index] = stage
            is_new |= order.partition not in stage.splits
            stage.splits[order.partition] = order.splits
        return is_new

    @property
    def is_whole(self) -> bool:
        """Whether nothing is missing that one of them reads."""
        return all(
            stage.is_whole and all(index in self._stages for index in read_stages(stage.program))
            for stage in self._stages.values()
        )

    def program(self, index: int) -> StageProgram:
        return self._stages[index].program

    def is_final(self, index: int) -> bool:
        return self._stages[index].is_final

    def plan(self) -> PhysicalPlan:
        """For `SparkJob`, once they are whole."""
        stages = sorted(self._stages.items())
        return PhysicalPlan(PlanKind.FUSED, tuple(stage.as_stage(i) for i, stage in stages))
