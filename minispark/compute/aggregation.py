"""reduce_by_key over any number of records in bounded memory.

While it fits, an aggregation is its reducer. What outgrows the budget is written as a run: partial
aggregates in the order of their keys. In the end the runs are merged, one range of keys after the
other, so that no more than a batch of each run is held. Many runs are merged to few before, those
of one age with each other, so that a record is written as often as there are ages. Must not know
files.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from minispark.compute.batch import Batch, Constant, Integers, Keyed, value_list
from minispark.compute.blocks import read_blocks
from minispark.compute.reducers import Column, Reducer
from minispark.compute.runs import FAN_IN_MAX, RUN_RECORDS, block_records, run_blocks
from minispark.compute.spill import Extent, Memory


class Aggregation:
    """One aggregation. Results come in the order of first occurrence; by key where it spilled."""

    def __init__(self, new_reducer: Callable[[], Reducer], memory: Memory | None) -> None:
        """`memory`: None never spills."""
        self._new_reducer = new_reducer
        self._reducer = new_reducer()
        self._memory = memory
        self._ages: list[list[Extent]] = []
        """Runs by how often they were merged; of one age in the order in which they were made."""
        self._block_records = RUN_RECORDS

    def add(self, keys: list[str], values: list[Any] | Constant) -> None:
        """Take in records. Raises TaskError, OSError."""
        self._reducer.add(keys, values)
        self._spill_if_full()

    def merge(self, keys: list[str], partials: Column) -> None:
        """Take in partial aggregates. Raises TaskError, OSError."""
        self._reducer.merge(keys, partials)
        self._spill_if_full()

    def results(self) -> Iterator[Keyed]:
        """One record a key. Raises OSError, CorruptBlock."""
        if self._memory is None or not self._ages:
            yield self._reducer.finish()
            return
        self._write_run(self._memory)
        oldest_first = [run for age in reversed(self._ages) for run in age]
        for reducer in self._merged(self._memory, oldest_first):
            yield _sorted(reducer.finish())

    def _spill_if_full(self) -> None:
        if self._memory is not None and self._reducer.bytes_held() > self._memory.bytes_max:
            self._write_run(self._memory)

    def _write_run(self, memory: Memory) -> None:
        keys, partials = self._reducer.partials()
        if not keys:
            return
        fitting = block_records(memory.bytes_max, len(keys), self._reducer.bytes_held())
        self._block_records = min(self._block_records, fitting)
        self._keep(memory, 0, run_blocks(keys, partials, self._block_records))
        self._reducer.clear()

    def _keep(self, memory: Memory, age: int, blocks: Iterable[bytes]) -> None:
        """Write a run; when that makes FAN_IN_MAX of its age, merge them."""
        if age == len(self._ages):
            self._ages.append([])
        runs = self._ages[age]
        runs.append(memory.spill.write(blocks))
        if len(runs) == FAN_IN_MAX:
            self._keep(memory, age + 1, self._merged_blocks(memory, runs))
            runs.clear()

    def _merged_blocks(self, memory: Memory, extents: list[Extent]) -> Iterator[bytes]:
        for reducer in self._merged(memory, extents):
            yield from run_blocks(*reducer.partials(), self._block_records)

    def _merged(self, memory: Memory, extents: list[Extent]) -> Iterator[Reducer]:
        """What the runs have of one range of keys after the other."""
        runs = [_Run(read_blocks(memory.spill.reader(extent))) for extent in extents]
        for parts in _ranges(runs):
            reducer = self._new_reducer()
            for keys, partials in parts:
                reducer.merge(keys, partials)
            yield reducer


@dataclass(slots=True)
class _Run:
    """A run that is being read: the batch it is at, and where in that."""

    batches: Iterator[Batch]
    keys: list[str]
    partials: Column
    at: int

    def __init__(self, batches: Iterator[Batch]) -> None:
        self.batches = batches
        self.keys, self.partials, self.at = [], [], 0

    def fill(self) -> bool:
        """Have something at hand; False at the end."""
        while self.at == len(self.keys):
            batch = next(self.batches, None)
            if batch is None:
                return False
            assert isinstance(batch, Keyed)
            self.keys, self.partials, self.at = batch.keys, value_list(batch), 0  # type: ignore[assignment]
        return True

    def take(self, last: str) -> tuple[list[str], Column]:
        """What is at hand of keys up to `last`."""
        start, self.at = self.at, bisect_right(self.keys, last, self.at)
        return self.keys[start : self.at], self.partials[start : self.at]


def _ranges(runs: Iterable[_Run]) -> Iterator[list[tuple[list[str], Column]]]:
    """For one range of keys after the other what each run has of it, in the order of the runs."""
    while live := [run for run in runs if run.fill()]:
        last = min(run.keys[-1] for run in live)
        yield [part for run in live if (part := run.take(last))[0]]
        runs = live


def _sorted(batch: Keyed) -> Keyed:
    order = sorted(range(len(batch.keys)), key=batch.keys.__getitem__)  # type: ignore[arg-type]
    keys: list[Any] = [batch.keys[i] for i in order]
    match batch.values:
        case Constant() as values:
            return Keyed(keys, values, batch.is_complete, batch.is_json)
        case Integers(numbers):
            return Keyed(keys, Integers([numbers[i] for i in order]), batch.is_complete)
        case column:
            return Keyed(keys, [column[i] for i in order], batch.is_complete, batch.is_json)
