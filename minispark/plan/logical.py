"""The validated DAG: nodes that know their parents, their function and their number of partitions.

Must not know requests or stages.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from minispark.model.function_names import BY_KEY, JOINS, KEYING, READERS, is_user_function
from minispark.model.job import DagNode


class Keyedness(Enum):
    """Whether the records of a node have keys."""

    ALWAYS = "always"
    NEVER = "never"
    SOME = "some"


@dataclass(frozen=True, slots=True)
class LogicalNode:
    """`parents`: none for a reader, (left, right) for a join, several for a union, else one."""

    node: DagNode
    fn: str | None
    parents: tuple[LogicalNode, ...]
    partitions: int

    @property
    def id(self) -> str:
        return self.node.id

    @property
    def op(self) -> str:
        return self.node.op

    @property
    def is_reader(self) -> bool:
        return self.op in READERS

    @property
    def runs_user_code(self) -> bool:
        return self.fn is not None and is_user_function(self.fn)

    @property
    def keyedness(self) -> Keyedness:
        return keyedness_of(self, lambda parent: parent.keyedness)

    @property
    def plain_reader(self) -> LogicalNode | None:
        """The reader whose rows reach this node through nothing but filters, if it is so."""
        if self.is_reader:
            return self
        return self.parents[0].plain_reader if self.op == "filter" else None

    @property
    def has_integer_values(self) -> bool:
        """Whether every value is known to be a whole number."""
        if self.fn == "pair_with_one" or (self.op == "reduce_by_key" and self.fn == "count"):
            return True
        return self.op == "filter" and self.parents[0].has_integer_values


def keyedness_of(node: LogicalNode, known: Callable[[LogicalNode], Keyedness]) -> Keyedness:
    """Whether the node's records have keys; `known`: whether a parent's have, asked only if that
    matters.
    """
    if node.op == "read_jsonl":
        return Keyedness.SOME
    if node.is_reader:
        return Keyedness.NEVER
    if node.op in (*BY_KEY, *JOINS, "sort_by_key") or node.fn in (*KEYING, "has_key"):
        return Keyedness.ALWAYS
    if node.op == "union":
        kinds = {known(parent) for parent in node.parents}
        return kinds.pop() if len(kinds) == 1 else Keyedness.SOME
    if node.runs_user_code and node.op != "filter":
        return Keyedness.SOME
    return known(node.parents[0])


@dataclass(frozen=True, slots=True)
class LogicalDag:
    """Parents stand before their children."""

    nodes: tuple[LogicalNode, ...]

    @property
    def leaves(self) -> tuple[LogicalNode, ...]:
        """Nodes that nobody reads: their records are the job's results."""
        read = {parent.id for node in self.nodes for parent in node.parents}
        return tuple(node for node in self.nodes if node.id not in read)
