"""What happens to records inside a task: the steps between its source and its sink. Data only.

Must not know stages.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Narrow:
    """A map, filter or flat_map function, record by record."""

    node_id: str
    op: str
    """`map`, `filter` or `flat_map`."""
    fn: str
    """A named function, or the user's own (`function_names.is_user_function`)."""


@dataclass(frozen=True, slots=True)
class SelectColumns:
    """Unkeyed CSV or JSONL rows become (key column, value column or the count "1" or the row's
    text).

    `format` is `csv` or `jsonl`; `key_index` is the column's position (csv), `key_name` its name.
    """

    node_id: str
    format: str
    key_name: str
    key_index: int | None
    value_name: str | None
    value_index: int | None
    default_value: str
    """Used where value_name is None: `one` (the constant "1") or `row` (the row's text)."""


@dataclass(frozen=True, slots=True)
class KeyByValue:
    """Unkeyed records that reach reduce_by_key count as (value, "1"); keyed ones stay as they
    are.
    """

    node_id: str
    is_number: bool = False
    """Count as (value, 1) instead: for a reducer of the user's own."""


@dataclass(frozen=True, slots=True)
class RequireKey:
    """A record without a key that reaches a join is an error that proposes `extract_key`."""

    node_id: str


@dataclass(frozen=True, slots=True)
class Aggregate:
    """reduce_by_key over all records of this task: one record per key, in first-occurrence order.

    `partial_in`: values are partial aggregates (the output of a combining sink).
    """

    node_id: str
    fn: str
    partial_in: bool


@dataclass(frozen=True, slots=True)
class WholeRecordKey:
    """A record becomes (the JSON text of [key, value], "1"): equal records have equal keys."""

    node_id: str


@dataclass(frozen=True, slots=True)
class RecordOfKey:
    """What WholeRecordKey made a key of; the value is dropped."""

    node_id: str


@dataclass(frozen=True, slots=True)
class Sample:
    """About that part of the records; which ones follows from seed, partition and position."""

    node_id: str
    fraction: float
    seed: int
    first_partition: int = 0
    """The node's partition that partition 0 of a union's branch is."""


@dataclass(frozen=True, slots=True)
class SampleKeys:
    """Some of the task's keys, each with how many records it stands for."""

    node_id: str


@dataclass(frozen=True, slots=True)
class SortByKey:
    """The task's records in the order of their keys."""

    node_id: str
    is_descending: bool


@dataclass(frozen=True, slots=True)
class Limit:
    """The first `n` records of the task."""

    node_id: str
    n: int


@dataclass(frozen=True, slots=True)
class Cache:
    """The records at this place of a chain are kept in the partition cache, and read from there
    instead of made again.
    """

    node_id: str
    lineage: str | None
    """Names everything that the records depend on, so that another job finds them; None: they are
    kept for this job.
    """
    first_partition: int = 0
    """As in Sample."""


Step: TypeAlias = (
    Narrow
    | SelectColumns
    | KeyByValue
    | RequireKey
    | Aggregate
    | WholeRecordKey
    | RecordOfKey
    | Sample
    | Limit
    | SampleKeys
    | SortByKey
    | Cache
)
