"""The lineage of a node: a fingerprint of everything that its records depend on.

Two nodes of any two jobs that have the same one have the same records in the same partitions. It
covers the operators before the node, their partitions, the user's source, and of every input file
its path, size and time, so that a changed file is another lineage. Must not know stages.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from typing import Any

from minispark.model.job import ResolvedInput
from minispark.plan.logical import LogicalNode

FORMAT = 1
"""Grows when the same request gives other records, or the same ones in other partitions."""
_NOT_OF_THE_RECORDS = ("id", "cache", "join_with", "path")
"""Fields of a node that say nothing about its records, or say it as the files and parents do."""


def lineage(
    node: LogicalNode,
    tasks: int,
    inputs: dict[str, ResolvedInput],
    modules: tuple[tuple[str, str], ...],
) -> str:
    """The fingerprint, in hexadecimal, of the node's records in so many partitions. `inputs`: by
    reader's node id.
    """
    order: dict[str, int] = {}
    described: list[dict[str, Any]] = []
    _describe(node, inputs, order, described)
    runs_user_code = any(entry["runs_user_code"] for entry in described)
    text = json.dumps([FORMAT, tasks, described, modules if runs_user_code else ()])
    return hashlib.sha256(text.encode()).hexdigest()[:40]


def _describe(
    node: LogicalNode,
    inputs: dict[str, ResolvedInput],
    order: dict[str, int],
    described: list[dict[str, Any]],
) -> None:
    """Append the node, its parents first; each stands there once, others name it by its place."""
    if node.id in order:
        return
    for parent in node.parents:
        _describe(parent, inputs, order, described)
    fields = asdict(node.node)
    for name in _NOT_OF_THE_RECORDS:
        del fields[name]
    found = inputs.get(node.id)
    described.append(
        fields
        | {
            "fn": node.fn,
            "partitions": node.partitions,
            "parents": [order[parent.id] for parent in node.parents],
            "files": [asdict(file) for file in found.files] if found is not None else [],
            "header": found.header if found is not None else None,
            "runs_user_code": node.runs_user_code,
        }
    )
    order[node.id] = len(described) - 1
