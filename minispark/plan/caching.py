"""Which nodes of the fused plan have their records kept in the partition cache.

Those that the user marks, for later jobs; and those that several consumers read, for this job,
where to read what was kept costs less than to make it again. Must not know stages.
"""

from __future__ import annotations

from minispark.model.function_names import JOINS, WRITERS
from minispark.model.job import ResolvedInput
from minispark.model.steps import Cache
from minispark.plan.lineage import lineage
from minispark.plan.logical import LogicalDag, LogicalNode

_MERGING = ("reduce_by_key", "group_by_key", "sort_by_key", "distinct", "take", *JOINS)


class CachePlan:
    """The cached nodes of one job."""

    def __init__(
        self,
        dag: LogicalDag,
        inputs: dict[str, ResolvedInput],
        modules: tuple[tuple[str, str], ...],
    ) -> None:
        self._inputs = inputs
        self._modules = modules
        self._reads: dict[str, int] = {}
        """How often a node's records are read."""
        self._is_dear: dict[str, bool] = {}
        for node in dag.nodes:
            self._is_dear[node.id] = self._made_dearly(node)
            # a sort looks at the keys first, to find its ranges
            times = 2 if node.op == "sort_by_key" and node.partitions > 1 else 1
            for parent in node.parents:
                self._reads[parent.id] = self._reads.get(parent.id, 0) + times

    def step(self, node: LogicalNode, tasks: int) -> Cache | None:
        """What keeps the node's records, where they are kept. `tasks`: how many make them, which is
        not the node's own number where a reader has more.
        """
        if node.op in WRITERS or node.op in ("shuffle_write", "shuffle_read", "union"):
            return None  # it has its parent's records
        if node.node.cache:
            return Cache(node.id, lineage(node, tasks, self._inputs, self._modules))
        if self._reads.get(node.id, 0) > 1 and self._is_dear[node.id]:
            return Cache(node.id, None)
        return None

    def _made_dearly(self, node: LogicalNode) -> bool:
        """Whether its records take longer to make than to encode, keep and decode: not so what
        named functions make of plain text.
        """
        if node.is_reader:
            return any(file.compression for file in self._inputs[node.id].files)
        if node.op in _MERGING or node.runs_user_code:
            return True
        return any(self._is_dear[parent.id] for parent in node.parents)
