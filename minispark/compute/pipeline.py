"""A stage's steps as one function from batches to batches, with a count of records after each step.

Must not know where batches come from, nor where they go.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, assert_never

from minispark.compute.aggregation import Aggregation
from minispark.compute.batch import (
    Batch,
    Constant,
    Keyed,
    record_count,
    slices,
    text_list,
    text_of,
    value_list,
)
from minispark.compute.chunk_filters import filter_kernel
from minispark.compute.columns import select_columns
from minispark.compute.fused_loop import FusedLoop, LoopStep
from minispark.compute.join import require_keys
from minispark.compute.kernels import KERNELS, Kernel
from minispark.compute.reducers import Column, Reducer, new_reducer
from minispark.compute.rows import (
    first_records,
    records_of_keys,
    sampled,
    sampled_keys,
    whole_record_keys,
)
from minispark.compute.sorting import sorted_rows
from minispark.compute.spill import Memory
from minispark.compute.user_functions import UserFunctions
from minispark.compute.user_kernels import Fold, user_kernel
from minispark.model.function_names import is_user_function
from minispark.model.steps import (
    Aggregate,
    Cache,
    KeyByValue,
    Limit,
    Narrow,
    RecordOfKey,
    RequireKey,
    Sample,
    SampleKeys,
    SelectColumns,
    SortByKey,
    Step,
    WholeRecordKey,
)

Keep = Callable[[Cache, Iterator[Batch]], Iterator[Batch]]
"""Passes batches on, and keeps them as the step says."""
Watch = Callable[[str, Iterator[Batch]], Iterator[Batch]]
"""Passes a node's batches on; may take the time that each of them takes."""
BATCH_RECORDS = 65536
"""An aggregate's result leaves in batches of at most so many records."""


class Pipeline:
    """The steps of one task. `counts` holds, by node id, the records that left its step so far."""

    def __init__(
        self,
        steps: tuple[Step, ...],
        functions: UserFunctions | None = None,
        watch: Watch = lambda _, batches: batches,
        memory: Memory | None = None,
        held: list[object] | None = None,
        partition: int = 0,
        keep: Keep = lambda _, batches: batches,
    ) -> None:
        """`functions`: where steps name functions of the user's. `memory`: of each aggregation.
        `held` gets the aggregations: to free one takes time, which its owner may have later.
        """
        self._steps = steps
        self._functions = functions or UserFunctions()
        self._watch = watch
        self._memory = memory
        self._partition = partition
        self._keep = keep
        self._held = held if held is not None else []
        self.counts: dict[str, int] = {step.node_id: 0 for step in steps}

    def run(self, batches: Iterable[Batch]) -> Iterator[Batch]:
        """Pull the batches through all steps. Raises TaskError."""
        return self._flow(self._steps, batches)

    def combine(self, name: str, batches: Iterable[Batch]) -> Iterator[tuple[list[str], Column]]:
        """Partial aggregates of what leaves the steps, by the function `name`: all at the end, or
        sooner what outgrows the memory, so that a key may come again. Raises TaskError.

        Where it is the user's own, the functions of theirs that lead to it run as one loop with it.
        """
        reducer = reducer_of(name, self._functions)
        self._held.append(reducer)
        for _ in self._combined(name, reducer, batches):
            if self._memory is not None and reducer.bytes_held() > self._memory.bytes_max:
                yield reducer.partials()
                reducer.clear()
        yield reducer.partials()

    def _combined(self, name: str, reducer: Reducer, batches: Iterable[Batch]) -> Iterator[None]:
        """Aggregate batch by batch."""
        tail = _own_tail(self._steps) if isinstance(reducer, Fold) else []
        if isinstance(reducer, Fold) and tail:
            steps = [LoopStep(s.node_id, s.op, self._functions.function(s.op, s.fn)) for s in tail]
            loop = FusedLoop(steps, reducer)
            start = self._steps.index(tail[0])
            for batch in self._flow(self._steps[:start], batches):
                loop.take(batch)
                yield
            self.counts.update(loop.counts)
            return
        for batch in self._flow(self._steps, batches):
            assert isinstance(batch, Keyed)
            reducer.add(batch.keys, reducer_input(name, batch))  # type: ignore[arg-type]
            del batch
            yield

    def _flow(self, steps: tuple[Step, ...], batches: Iterable[Batch]) -> Iterator[Batch]:
        flow: Iterable[Batch] = batches
        for step in steps:
            match step:
                case Aggregate():
                    made = self._aggregate(step, flow)
                case Limit(node_id, n):
                    made = self._counted(node_id, first_records(flow, n))
                case Sample(node_id):
                    place = self._partition + step.first_partition
                    made = self._counted(node_id, sampled(flow, step, place))
                case SampleKeys():
                    made = sampled_keys(flow, self._partition)
                case SortByKey(node_id, is_descending):
                    rows = sorted_rows(flow, self._memory, is_descending)
                    made = self._counted(node_id, rows)
                case Cache():
                    made = self._keep(step, iter(flow))
                case _:
                    made = self._each(step, flow)
            flow = self._watch(step.node_id, made)
        return iter(flow)

    def _each(self, step: Step, batches: Iterable[Batch]) -> Iterator[Batch]:
        node_id, is_counted = step.node_id, isinstance(step, Narrow)
        kernel = kernel_of(step, self._functions)
        for batch in batches:
            result = kernel(batch)
            if is_counted:
                self.counts[node_id] += record_count(result)
            del batch
            yield result
            del result

    def _counted(self, node_id: str, batches: Iterable[Batch]) -> Iterator[Batch]:
        for batch in batches:
            self.counts[node_id] += record_count(batch)
            yield batch

    def _aggregate(self, step: Aggregate, batches: Iterable[Batch]) -> Iterator[Batch]:
        aggregation = Aggregation(lambda: reducer_of(step.fn, self._functions), self._memory)
        self._held.append(aggregation)
        for batch in batches:
            keyed = require_keys(step.node_id, batch)
            if step.partial_in:
                aggregation.merge(keyed.keys, value_list(keyed))  # type: ignore[arg-type]
            else:
                aggregation.add(keyed.keys, reducer_input(step.fn, keyed))  # type: ignore[arg-type]
        for result in aggregation.results():
            self.counts[step.node_id] += len(result.keys)
            yield from slices(result, BATCH_RECORDS)


def _own_tail(steps: tuple[Step, ...]) -> list[Narrow]:
    """The functions of the user's at the end of the steps, with nothing else between them."""
    tail: list[Narrow] = []
    for step in reversed(steps):
        if isinstance(step, Narrow) and is_user_function(step.fn):
            tail.insert(0, step)
        elif tail or not isinstance(step, KeyByValue):
            break
    return tail


def reducer_of(name: str, functions: UserFunctions) -> Reducer:
    """A fresh aggregation by a named function, or by one of the user's."""
    if is_user_function(name):
        return Fold(functions.function("reduce_by_key", name))
    return new_reducer(name)


def reducer_input(name: str, batch: Keyed) -> list[Any] | Constant:
    """The values as that reducer takes them: named ones see text."""
    if isinstance(batch.values, Constant):
        return batch.values
    keeps_type = is_user_function(name) or name == "collect"
    return value_list(batch) if keeps_type else text_list(batch)


def kernel_of(step: Step, functions: UserFunctions) -> Kernel:
    """The step as a function of batches, where it needs no more than one batch at a time."""
    match step:
        case Narrow(_, "filter", fn) if is_user_function(fn):
            return filter_kernel(fn, functions.function("filter", fn))
        case Narrow(_, op, fn) if is_user_function(fn):
            return user_kernel(op, functions.function(op, fn))
        case Narrow(_, op, fn):
            return KERNELS[op][fn]
        case SelectColumns():
            return lambda batch: select_columns(step, batch)
        case KeyByValue(_, is_number):
            return lambda batch: key_by_value(batch, is_number)
        case RequireKey(node_id):
            return lambda batch: require_keys(node_id, batch)
        case WholeRecordKey():
            return whole_record_keys
        case RecordOfKey():
            return records_of_keys
        case Aggregate() | Cache() | Limit() | Sample() | SampleKeys() | SortByKey():
            raise AssertionError(f"{step} needs more than one batch")
        case _:
            assert_never(step)


def key_by_value(batch: Batch, is_number: bool = False) -> Keyed:
    """Unkeyed records count as (their value, "1"); records with a key stay as they are.

    `is_number`: as (their value, 1).
    """
    one: Any = 1 if is_number else "1"
    if not isinstance(batch, Keyed):
        keys = text_list(batch)
        ones: list[Any] | Constant = [1] * len(keys) if is_number else Constant("1")
        return Keyed(keys, ones, is_complete=True, is_json=is_number)
    if batch.has_all_keys:
        return batch
    pairs = list(zip(batch.keys, value_list(batch), strict=True))
    keys = [text_of(value) if key is None else key for key, value in pairs]
    values = [one if key is None else value for key, value in pairs]
    return Keyed(keys, values, is_json=batch.is_json or is_number)
