"""Whether a JobRequest makes sense; if so, its DAG in an order in which parents come first.

Every error names the field and says what to change. Must not know inputs or stages.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import get_close_matches

from minispark.errors import InvalidRequest
from minispark.model.function_names import (
    DEFAULTS,
    FUNCTION_NAMES,
    JOINS,
    NARROW,
    OPERATORS,
    READERS,
    WRITERS,
)
from minispark.model.job import DagNode, JobRequest
from minispark.model.safe_text import has_control
from minispark.plan.logical import LogicalDag, LogicalNode
from minispark.plan.size import TASKS_MAX, PlanTooLarge
from minispark.plan.user_code import Modules

ID_CHARS_MAX = 64
_ID = re.compile(r"[A-Za-z0-9_.-]+", re.ASCII)
_WRITER_SUFFIX = "_shuffle_write"


def validate(request: JobRequest) -> LogicalDag:
    """The logical DAG. Raises InvalidRequest."""
    if has_control(request.name):
        raise InvalidRequest("a name has no control characters, such as newlines", "name")
    nodes = request.dag.nodes
    if not nodes:
        raise InvalidRequest("a job needs at least one node: a reader", "dag.nodes")
    modules = Modules(request)
    own: dict[str, str | None] = {}
    index: dict[str, int] = {}
    for i, node in enumerate(nodes):
        _check_id(node, f"dag.nodes[{i}].id")
        if node.id in index:
            raise InvalidRequest(f"two nodes have the id {node.id!r}", f"dag.nodes[{i}].id")
        index[node.id] = i
        _check_operator(node, f"dag.nodes[{i}]")
        own[node.id] = modules.check(node, f"dag.nodes[{i}]")
        if own[node.id] is None:
            _check_named_function(node, f"dag.nodes[{i}].fn")
    parents = _parents(request, index)
    logical: dict[str, LogicalNode] = {}
    for i in _order(nodes, parents):
        node = nodes[i]
        left = [p for p in parents[node.id] if p != node.join_with]
        _check_inputs(node, left, parents[node.id], f"dag.nodes[{i}]")
        if node.join_with is not None and node.op in JOINS:
            left = [*left, node.join_with]
        logical[node.id] = LogicalNode(
            node=node,
            fn=own[node.id] or node.fn_name or DEFAULTS.get(node.op),
            parents=tuple(logical[parent] for parent in left),
            partitions=_partitions(request, node, left, logical, f"dag.nodes[{i}]"),
        )
    dag = LogicalDag(tuple(logical.values()))
    _check_shuffles(dag, index)
    return dag


def _check_id(node: DagNode, at: str) -> None:
    if not _ID.fullmatch(node.id) or len(node.id) > ID_CHARS_MAX:
        raise InvalidRequest(
            f"a node id has 1 to {ID_CHARS_MAX} of A-Z a-z 0-9 _ . -, not {node.id[:100]!r}", at
        )
    if node.id.endswith(_WRITER_SUFFIX):
        raise InvalidRequest(
            f"{node.id!r} ends in {_WRITER_SUFFIX}, which is kept for automatic shuffles", at
        )


def _check_operator(node: DagNode, at: str) -> None:
    if node.op not in OPERATORS:
        raise InvalidRequest(
            f"unknown operator {node.op[:100]!r}{_nearest(node.op, OPERATORS)}", f"{at}.op"
        )
    if node.op in READERS and not node.path:
        raise InvalidRequest(f"{node.op} needs a path", f"{at}.path")
    if node.op in WRITERS and not node.path:
        raise InvalidRequest(f"{node.op} needs a path: a directory for its parts", f"{at}.path")
    if node.op in JOINS and node.join_with is None:
        raise InvalidRequest(
            f"{node.op} needs join_with: the id of its right side", f"{at}.join_with"
        )
    if node.op not in JOINS and node.join_with is not None:
        raise InvalidRequest(f"{node.op} takes no join_with", f"{at}.join_with")
    if node.op == "take" and node.n is None:
        raise InvalidRequest("take needs n: how many records", f"{at}.n")
    if node.op == "sample" and node.fraction is None:
        raise InvalidRequest("sample needs fraction: a number from 0 to 1", f"{at}.fraction")


def _check_named_function(node: DagNode, at: str) -> None:
    functions = FUNCTION_NAMES.get(node.op)
    if node.fn_name is not None and functions is None:
        raise InvalidRequest(f"{node.op} takes no function", at)
    if node.fn_name is not None and functions is not None and node.fn_name not in functions:
        names = f"unknown function {node.fn_name[:100]!r} for {node.op}"
        raise InvalidRequest(f"{names}{_nearest(node.fn_name, functions)}", at)


def _nearest(name: str, known: Iterable[str]) -> str:
    names = list(known)
    near = get_close_matches(name, names, 1)
    return f"; did you mean {near[0]}?" if near else f"; known are {', '.join(names)}"


def _parents(request: JobRequest, index: dict[str, int]) -> dict[str, list[str]]:
    parents: dict[str, list[str]] = {node.id: [] for node in request.dag.nodes}
    for i, edge in enumerate(request.dag.edges):
        for end in edge:
            if end not in index:
                raise InvalidRequest(
                    f"there is no node {end[:100]!r}{_nearest(end, index)}", f"dag.edges[{i}]"
                )
        source, target = edge
        if source == target:
            raise InvalidRequest(f"{source!r} cannot be its own input", f"dag.edges[{i}]")
        if source in parents[target]:
            raise InvalidRequest(f"this edge stands twice: {source} -> {target}", f"dag.edges[{i}]")
        parents[target].append(source)
    for i, node in enumerate(request.dag.nodes):
        if node.join_with is None:
            continue
        if node.join_with not in index:
            near = _nearest(node.join_with, index)
            raise InvalidRequest(
                f"there is no node {node.join_with[:100]!r}{near}", f"dag.nodes[{i}].join_with"
            )
        if node.join_with == node.id:
            raise InvalidRequest("a node cannot join itself", f"dag.nodes[{i}].join_with")
        if node.join_with not in parents[node.id]:
            parents[node.id].append(node.join_with)
    return parents


def _order(nodes: tuple[DagNode, ...], parents: dict[str, list[str]]) -> list[int]:
    """Indices with parents first, otherwise as they stand. Raises InvalidRequest for a cycle."""
    order: list[int] = []
    done: dict[str, None] = {}
    waiting = list(range(len(nodes)))
    while waiting:
        ready = [i for i in waiting if all(parent in done for parent in parents[nodes[i].id])]
        if not ready:
            names = ", ".join(nodes[i].id for i in waiting[:10])
            raise InvalidRequest(f"these nodes are, or wait for, a cycle: {names}", "dag.edges")
        first = ready[0]
        waiting.remove(first)
        order.append(first)
        done[nodes[first].id] = None
    return order


def _check_inputs(node: DagNode, left: list[str], parents: list[str], at: str) -> None:
    if node.op in READERS:
        if parents:
            raise InvalidRequest(
                f"{node.op} reads files; it cannot have the input {parents[0]!r}", at
            )
        return
    if not left:
        other = " besides join_with" if node.op in JOINS else ""
        raise InvalidRequest(f"{node.id} ({node.op}) needs an input{other}: add an edge to it", at)
    if node.op == "union":
        if len(left) < 2:
            raise InvalidRequest(f"{node.id} (union) needs a second input: add an edge to it", at)
        return
    if len(left) > 1:
        names = ", ".join(left)
        raise InvalidRequest(f"{node.id} ({node.op}) takes one input, not {names}", at)


def _partitions(
    request: JobRequest,
    node: DagNode,
    left: list[str],
    logical: dict[str, LogicalNode],
    at: str,
) -> int:
    """The node's number of partitions; a narrow one has its parent's."""
    if node.op == "take":
        if node.partitions not in (None, 1):
            raise InvalidRequest("take makes one partition; leave it out", f"{at}.partitions")
        return 1
    if node.op == "union":
        total = sum(logical[parent].partitions for parent in left)
        if node.partitions not in (None, total):
            raise InvalidRequest(
                f"{node.id} has the {total} partitions of its inputs; leave it out",
                f"{at}.partitions",
            )
        if total > TASKS_MAX:  # nested ones double: no plan of them is ever made
            raise PlanTooLarge(
                f"{node.id} has the {total} partitions of its inputs; the limit is {TASKS_MAX}",
                f"{at}",
            )
        return total
    if node.op not in (*NARROW, *WRITERS, "sample", "shuffle_read"):
        return node.partitions or request.parallelism
    parent = logical[left[0]]
    if node.partitions not in (None, parent.partitions):
        raise InvalidRequest(
            f"{node.id} has the {parent.partitions} partitions of {parent.id}; leave it out, "
            "or put a shuffle_write between them",
            f"{at}.partitions",
        )
    return parent.partitions


def _check_shuffles(dag: LogicalDag, index: dict[str, int]) -> None:
    read: dict[str, None] = {}
    for node in dag.nodes:
        at = f"dag.nodes[{index[node.id]}]"
        for parent in node.parents:
            read[parent.id] = None
            if parent.op in WRITERS:
                raise InvalidRequest(
                    f"nothing reads a {parent.op}: give {node.id} the input of {parent.id}", at
                )
            if node.op in (*JOINS, "union") and parent.op == "shuffle_write":
                raise InvalidRequest(
                    f"a {node.op} reads no shuffle_write: put a shuffle_read after {parent.id}", at
                )
        if node.op == "shuffle_read" and node.parents[0].op != "shuffle_write":
            raise InvalidRequest("shuffle_read reads what a shuffle_write wrote", at)
    for node in dag.nodes:
        if node.op == "shuffle_write" and node.id not in read:
            raise InvalidRequest(
                f"nothing reads what {node.id} writes: add a shuffle_read or a reduce_by_key",
                f"dag.nodes[{index[node.id]}]",
            )
