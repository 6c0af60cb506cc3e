"""How many tasks read an input: as many as the job says, and where it says nothing enough that none
reads too much.

Only where nobody sees the number: a node that names its partitions, and a job's results, have as
many as the documents say. Must not know splits or stages.
"""

from __future__ import annotations

from collections.abc import Callable

from minispark.model.function_names import JOINS, NARROW, WRITERS
from minispark.plan.logical import LogicalDag, LogicalNode

_THROUGH = (*NARROW, "union")
"""They have their input's partitions; what else reads records deals them out anew, or ends."""


class ReaderTasks:
    """Which readers of a DAG may have more tasks than partitions."""

    def __init__(self, dag: LogicalDag, streams_left: Callable[[LogicalNode], bool]) -> None:
        """`streams_left`: whether a join is done where its left side is read."""
        self._streams_left = streams_left
        self._consumers: dict[str, list[LogicalNode]] = {node.id: [] for node in dag.nodes}
        for node in dag.nodes:
            for parent in node.parents:
                self._consumers[parent.id].append(node)

    def is_free(self, reader: LogicalNode) -> bool:
        """Whether nobody sees the reader's number of tasks."""
        waiting, seen = [reader], {reader.id: None}
        while waiting:
            node = waiting.pop()
            if node.node.partitions is not None or not self._consumers[node.id]:
                return False
            for consumer in self._consumers[node.id]:
                if consumer.op in WRITERS or consumer.op == "sample":
                    return False  # which records a sample takes depends on the number
                if self._shares_tasks(node, consumer) and consumer.id not in seen:
                    seen[consumer.id] = None
                    waiting.append(consumer)
        return True

    def _shares_tasks(self, node: LogicalNode, consumer: LogicalNode) -> bool:
        if consumer.op in JOINS:
            return consumer.parents[0] is node and self._streams_left(consumer)
        return consumer.op in _THROUGH
