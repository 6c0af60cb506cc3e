"""The sink of an operator that writes to a directory of the user's. Must not know stages."""

from __future__ import annotations

from minispark.model.function_names import WRITERS
from minispark.model.plan import PartitionFile, SavedParts
from minispark.plan.logical import Keyedness, LogicalNode


def final_sink(node: LogicalNode) -> PartitionFile:
    """Where a leaf's records go: to the job's results, and of a writer to its directory too."""
    if node.op not in WRITERS:
        return PartitionFile(node.id)
    assert node.node.path is not None
    has_keys = node.keyedness is not Keyedness.NEVER
    return PartitionFile(node.id, saved=SavedParts(node.node.path, WRITERS[node.op], has_keys))
