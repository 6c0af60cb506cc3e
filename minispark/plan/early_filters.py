"""Which filters may ask sooner than the job says, so that what they drop travels no further.

A filter moves along the edges of the DAG, from behind an operator to before it, where the table
says that no record could tell the difference. It never moves unless it is known not to fail: one
that would fail on a record still does. Must not know stages.
"""

from __future__ import annotations

from collections import Counter

from minispark.model.filter_facts import never_fails, reads
from minispark.model.function_names import JOINS, is_user_function
from minispark.model.steps import Narrow
from minispark.plan.logical import Keyedness, LogicalDag, LogicalNode, keyedness_of

Edge = tuple[str, str]
"""The ids of a node and of one that reads it."""

_KEY, _BOTH = ("key",), ("key", "value")
_PASSES: dict[str, tuple[str, ...]] = {
    "sort_by_key": _BOTH,
    "distinct": _BOTH,
    "union": _BOTH,
    "shuffle_write": _BOTH,
    "shuffle_read": _BOTH,
    **dict.fromkeys(("group_by_key", *JOINS), _KEY),
    "flat_map": _KEY,
}
"""By operator: what a filter behind it may read, and mean the same before it.

All records of a key share its fate, so one that reads the key alone passes what is done by key. It
could pass reduce_by_key too: but combined records are few, and to ask all of them before cost 1.6
times as much. `take` and `sample` count records, so nothing passes them.
"""
_PASSES_MAP = {"identity": _BOTH, "to_lower": _KEY, "to_upper": _KEY}
"""The same of the named functions of `map`. `extract_key` and `pair_with_one` make keys."""
_NEVER_EMPTIES = ("to_lower", "to_upper")
"""Functions of `map` whose value is empty where it was empty before, and nowhere else."""
_KEYING = ("sort_by_key", "group_by_key", *JOINS)
"""Operators that may give records their key first: a filter that passes stands behind that."""


class EarlyFilters:
    """What became of each filter of a DAG."""

    def __init__(self, dag: LogicalDag) -> None:
        self._readers = Counter(parent.id for node in dag.nodes for parent in node.parents)
        self._text = _text_values(dag)
        self._has_keys: dict[str, bool] = _always_keyed(dag)
        self._on: dict[Edge, tuple[Narrow, ...]] = {}
        self._moved: dict[str, None] = {}
        for node in dag.nodes:
            if node.op == "filter":
                self._place(node)

    def on(self, parent: LogicalNode, consumer: LogicalNode) -> tuple[Narrow, ...]:
        """The filters to apply to `parent`'s records on their way to `consumer`."""
        return self._on.get((parent.id, consumer.id), ())

    def has_moved(self, node: LogicalNode) -> bool:
        """Whether the node's own place has nothing left to do."""
        return node.id in self._moved

    def _place(self, node: LogicalNode) -> None:
        fn, parent = node.fn or "", node.parents[0]
        if not self._is_safe(fn, parent, self._has_keys[parent.id]):
            return
        step = Narrow(node.id, node.op, fn)
        for edge in self._edges_before(fn, parent) or ():
            self._on[edge] = (*self._on.get(edge, ()), step)
            self._moved[node.id] = None

    def _edges_before(self, fn: str, node: LogicalNode) -> list[Edge] | None:
        """The edges above `node` where the filter may stand that stands behind it; None: none that
        is worth while.
        """
        is_kept = node.node.cache  # with all of its records
        if is_kept or self._readers[node.id] != 1 or not self._passes(fn, node):
            return None
        found: list[Edge] = []
        is_worthwhile = node.op not in ("filter", "union", "shuffle_read")
        for parent in node.parents:
            may_go_on = node.op not in _KEYING or self._has_keys[parent.id]
            further = self._edges_before(fn, parent) if may_go_on else None
            is_worthwhile = is_worthwhile or further is not None
            found += [(parent.id, node.id)] if further is None else further
        return found if is_worthwhile else None

    def _passes(self, fn: str, node: LogicalNode) -> bool:
        allowed = _PASSES.get(node.op, ())
        match node.op:
            case "map":
                allowed = _PASSES_MAP.get(node.fn or "", ())
                if fn == "not_empty" and node.fn in _NEVER_EMPTIES:
                    allowed = _BOTH
            case "filter":  # whichever of two comes first, if neither can fail
                parent = node.parents[0]
                keyed = self._has_keys[parent.id]
                both = (node.fn or "", fn)
                return all(self._is_safe(one, parent, keyed) for one in both)
            case "flat_map" if is_user_function(node.fn or ""):
                allowed = ()
        if not set(reads(fn)) <= set(allowed):
            return False
        return all(
            self._is_safe(fn, p, node.op in _KEYING or self._has_keys[p.id]) for p in node.parents
        )

    def _is_safe(self, fn: str, parent: LogicalNode, has_keys: bool) -> bool:
        return never_fails(fn, has_keys, self._text[parent.id])


def _always_keyed(dag: LogicalDag) -> dict[str, bool]:
    """By node: whether every record has a key."""
    found: dict[str, Keyedness] = {}
    for node in dag.nodes:
        found[node.id] = keyedness_of(node, lambda parent: found[parent.id])
    return {node_id: kind is Keyedness.ALWAYS for node_id, kind in found.items()}


def _text_values(dag: LogicalDag) -> dict[str, bool]:
    """By node: whether every value is known to be text."""
    found: dict[str, bool] = {}
    for node in dag.nodes:
        match node.op:
            case "map" | "flat_map" | "reduce_by_key" if node.fn != "identity":
                found[node.id] = not node.runs_user_code
            case "group_by_key":
                found[node.id] = False
            case op if op in JOINS:
                found[node.id] = True
            case _:  # a reader has no parents: its values are text
                found[node.id] = all(found[parent.id] for parent in node.parents)
    return found
