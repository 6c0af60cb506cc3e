"""How records get the key that a reduce_by_key or a join needs. Source: API.md, "DagNode, in
detail".

Must not know stages.
"""

from __future__ import annotations

from minispark.errors import InvalidRequest
from minispark.model.job import ResolvedInput
from minispark.model.steps import (
    KeyByValue,
    RequireKey,
    SelectColumns,
    Step,
)
from minispark.plan.logical import Keyedness, LogicalNode


def keying_steps(
    consumer: LogicalNode, parent: LogicalNode, inputs: dict[str, ResolvedInput]
) -> tuple[Step, ...]:
    """The steps that give `parent`'s records the key for `consumer` (by key, or a join).

    Raises InvalidRequest when its records cannot have one, or `value` names no column. Only
    reduce_by_key makes up a key where there is none.
    """
    if consumer.op == "shuffle_write" or parent.keyedness is Keyedness.ALWAYS:
        return ()
    selection = _selection(consumer, parent, inputs)
    if selection is not None:
        return (selection,)
    if consumer.op == "reduce_by_key":
        return (KeyByValue(consumer.id, is_number=consumer.runs_user_code),)
    if parent.keyedness is Keyedness.NEVER:
        raise InvalidRequest(
            f"the records of {parent.id} have no key that {consumer.id} needs: "
            f"put a map with extract_key between {parent.id} and {consumer.id}",
            "dag.edges",
        )
    return (RequireKey(consumer.id),)


def _selection(
    consumer: LogicalNode, parent: LogicalNode, inputs: dict[str, ResolvedInput]
) -> SelectColumns | None:
    """A column selection, where `key` (and `value`) name columns of rows that arrive as they were
    read.
    """
    reader, key, value = parent.plain_reader, consumer.node.key, consumer.node.value
    if reader is None or key is None or reader.op == "read_text":
        return None
    header = inputs[reader.id].header or ()
    is_csv = reader.op == "read_csv"
    if is_csv and key not in header:
        return None  # a label, as in the documented jobs
    if is_csv and value is not None and value not in header:
        raise InvalidRequest(
            f"{reader.id} has no column {value!r}; it has {', '.join(header)}",
            f"dag.nodes[{consumer.id}].value",
        )
    return SelectColumns(
        node_id=consumer.id,
        format="csv" if is_csv else "jsonl",
        key_name=key,
        key_index=header.index(key) if is_csv else None,
        value_name=value,
        value_index=header.index(value) if is_csv and value is not None else None,
        default_value="one" if consumer.op == "reduce_by_key" else "row",
    )
