"""The fused plan: chains of narrow operators become one task, and only a shuffle ends a stage.

A narrow chain with several consumers is computed again for each of them, but for what is cached
(`caching.py`). Must not know the naive plan.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from minispark.model.function_names import JOINS
from minispark.model.job import PlanKind, ResolvedInput
from minispark.model.plan import (
    Branch,
    FetchShuffle,
    Join,
    PhysicalPlan,
    Ranges,
    ReadSplits,
    ShuffleBlocks,
    Sink,
    Source,
    Split,
    Stage,
    StageProgram,
    UnionAll,
)
from minispark.model.steps import (
    Aggregate,
    Cache,
    Narrow,
    RecordOfKey,
    RequireKey,
    Sample,
    SampleKeys,
    SortByKey,
    Step,
    WholeRecordKey,
)
from minispark.plan.algebra import rewritten
from minispark.plan.caching import CachePlan
from minispark.plan.early_filters import EarlyFilters
from minispark.plan.keying import keying_steps
from minispark.plan.logical import LogicalDag, LogicalNode
from minispark.plan.reader_tasks import ReaderTasks
from minispark.plan.row_steps import limit_step, sample_step
from minispark.plan.saving import final_sink
from minispark.plan.splits import byte_splits, tasks_by_size

BROADCAST_BYTES_MAX = 8 * 2**20
"""A right side whose inputs are smaller goes whole to every task of a join, without a shuffle."""

FORMATS = {"read_csv": "csv", "read_jsonl": "jsonl", "read_text": "text"}


@dataclass(frozen=True, slots=True)
class Pipe:
    """A chain of operators that no shuffle interrupts: what one task of a stage would do."""

    source: Source
    steps: tuple[Step, ...]
    node_ids: tuple[str, ...]
    partitions: int
    parents: tuple[int, ...]
    splits: tuple[tuple[Split, ...], ...] = ()

    def then(self, node_id: str, *steps: Step) -> Pipe:
        ids = self.node_ids if node_id in self.node_ids else (*self.node_ids, node_id)
        return replace(self, steps=(*self.steps, *steps), node_ids=ids)


def plan_fused(
    dag: LogicalDag,
    inputs: dict[str, ResolvedInput],
    modules: tuple[tuple[str, str], ...] = (),
) -> PhysicalPlan:
    """The stages, parents first, those of the leaves last."""
    return _Fuser(dag, inputs, CachePlan(dag, inputs, modules)).plan()


class _Fuser:
    def __init__(
        self, dag: LogicalDag, inputs: dict[str, ResolvedInput], caches: CachePlan
    ) -> None:
        self._dag = dag
        self._inputs = inputs
        self._caches = caches
        self._filters = EarlyFilters(dag)
        self._readers = ReaderTasks(dag, self._may_broadcast)
        self._stages: list[Stage] = []
        self._shuffles: dict[tuple[str, ...], int] = {}
        """Stages that write a shuffle, by (parent, consumer, side)."""
        self._pipes: dict[str, Pipe] = {}
        """By the node that they end with."""

    def plan(self) -> PhysicalPlan:
        pipes = [(leaf, self._pipe(leaf)) for leaf in self._dag.leaves]
        for leaf, pipe in pipes:
            self._add(pipe, final_sink(leaf), is_final=True)
        return PhysicalPlan(PlanKind.FUSED, tuple(self._stages))

    # --- pipes -----------------------------------------------------------------------------

    def _pipe(self, node: LogicalNode) -> Pipe:
        """The node's pipe, made once: with nested diamonds its consumers are very many."""
        if node.id in self._pipes:
            return self._pipes[node.id]
        match node.op:
            case "read_csv" | "read_jsonl" | "read_text":
                pipe = self._reader(node)
            case "map" | "filter" | "flat_map":
                pipe = self._narrow(node, node.parents[0])
            case "sample":
                pipe = self._pipe(node.parents[0]).then(node.id, sample_step(node))
            case "reduce_by_key" | "group_by_key":
                pipe = self._reduce(node, node.parents[0])
            case "sort_by_key":
                pipe = self._sort(node, node.parents[0])
            case "distinct":
                pipe = self._distinct(node, node.parents[0])
            case "take":
                pipe = self._take(node, node.parents[0])
            case "shuffle_write":
                filters = self._filters.on(node.parents[0], node)
                stage = self._shuffle(node.parents[0], node, node.partitions, None, filters)
                pipe = self._fetch(node, stage)
            case "shuffle_read" | "write_csv" | "write_jsonl" | "write_text":
                filters = self._filters.on(node.parents[0], node)
                pipe = self._pipe(node.parents[0]).then(node.id, *filters)
            case "union":
                pipe = self._union(node)
            case op if op in JOINS:
                pipe = self._join(node, *node.parents)
            case op:
                raise AssertionError(op)
        kept = self._caches.step(node, pipe.partitions)
        if kept is not None:
            pipe = pipe.then(node.id, kept)
        self._pipes[node.id] = pipe
        return pipe

    def _reader(self, node: LogicalNode) -> Pipe:
        found, options = self._inputs[node.id], node.node.reader
        source = ReadSplits(node.id, FORMATS[node.op], options, found.header)
        tasks = node.partitions
        if self._readers.is_free(node):
            tasks = tasks_by_size(found.files, options, tasks)
        return Pipe(source, (), (node.id,), tasks, (), byte_splits(found.files, options, tasks))

    def _narrow(self, node: LogicalNode, parent: LogicalNode) -> Pipe:
        assert node.fn is not None
        steps: tuple[Step, ...] = self._filters.on(parent, node)
        if not self._filters.has_moved(node):
            steps = (*steps, Narrow(node.id, node.op, node.fn))
        return self._pipe(parent).then(node.id, *steps)

    def _reduce(self, node: LogicalNode, parent: LogicalNode) -> Pipe:
        assert node.fn is not None
        keying = self._keying(node, parent)
        if parent.op in ("shuffle_write", "shuffle_read") and parent.partitions == node.partitions:
            aggregate = Aggregate(node.id, node.fn, partial_in=False)
            return self._pipe(parent).then(node.id, *keying, aggregate)
        stage = self._shuffle(parent, node, node.partitions, node.fn, keying)
        pipe = self._fetch(node, stage, combined=True)
        return pipe.then(node.id, Aggregate(node.id, node.fn, partial_in=True))

    def _distinct(self, node: LogicalNode, parent: LogicalNode) -> Pipe:
        keying: tuple[Step, ...] = (*self._filters.on(parent, node), WholeRecordKey(node.id))
        stage = self._shuffle(parent, node, node.partitions, "count", keying)
        merge = Aggregate(node.id, "count", partial_in=True)
        return self._fetch(node, stage, combined=True).then(node.id, merge, RecordOfKey(node.id))

    def _sort(self, node: LogicalNode, parent: LogicalNode) -> Pipe:
        keying = self._keying(node, parent)
        is_descending, ranges = not node.node.ascending, None
        if node.partitions > 1:
            sampling = (*keying, SampleKeys(node.id))
            samples = self._shuffle(parent, node, 1, None, sampling, side="samples")
            ranges = Ranges(FetchShuffle(samples, broadcast=True), is_descending)
        stage = self._shuffle(parent, node, node.partitions, None, keying, "", ranges)
        return self._fetch(node, stage).then(node.id, SortByKey(node.id, is_descending))

    def _take(self, node: LogicalNode, parent: LogicalNode) -> Pipe:
        limit = limit_step(node)
        stage = self._shuffle(parent, node, 1, None, (limit,))
        return self._fetch(node, stage).then(node.id, limit)

    def _union(self, node: LogicalNode) -> Pipe:
        pipes = [
            replace(pipe, steps=(*pipe.steps, *self._filters.on(parent, node)))
            for parent, pipe in ((parent, self._pipe(parent)) for parent in node.parents)
        ]
        branches: list[Branch] = []
        for pipe in pipes:
            match pipe.source:
                case UnionAll(branches=inner):
                    first = 0
                    for branch in inner:
                        steps = (*branch.steps, *_counted_from(first, pipe.steps))
                        branches.append(replace(branch, steps=steps))
                        first += branch.partitions
                case source:
                    branches.append(Branch(source, pipe.steps, pipe.partitions))
        node_ids = dict.fromkeys(node_id for pipe in pipes for node_id in pipe.node_ids)
        has_splits = any(pipe.splits for pipe in pipes)
        splits = [split for p in pipes for split in p.splits or ((),) * p.partitions]
        return Pipe(
            source=UnionAll(node.id, tuple(branches)),
            steps=(),
            node_ids=(*node_ids, node.id),
            partitions=sum(pipe.partitions for pipe in pipes),
            parents=tuple(sorted({parent for pipe in pipes for parent in pipe.parents})),
            splits=tuple(splits) if has_splits else (),
        )

    def _join(self, node: LogicalNode, left: LogicalNode, right: LogicalNode) -> Pipe:
        left_keys = self._keying(node, left, RequireKey(node.id))
        right_keys = self._keying(node, right, RequireKey(node.id))
        kind = JOINS[node.op]
        if self._may_broadcast(node):
            pipe = self._pipe(left)
            if not isinstance(pipe.source, (Join, UnionAll)):
                stage = self._shuffle(right, node, 1, None, right_keys, side="broadcast")
                fetch = FetchShuffle(stage, broadcast=True)
                source = Join(node.id, pipe.source, fetch, (*pipe.steps, *left_keys), kind)
                ids = (*pipe.node_ids, node.id)
                parents = tuple(sorted({*pipe.parents, stage}))
                return Pipe(source, (), ids, pipe.partitions, parents, pipe.splits)
        first = self._shuffle(left, node, node.partitions, None, left_keys, side="left")
        second = self._shuffle(right, node, node.partitions, None, right_keys, side="right")
        both = Join(node.id, FetchShuffle(first), FetchShuffle(second), kind=kind)
        return Pipe(both, (), (node.id,), node.partitions, tuple(sorted({first, second})))

    def _keying(
        self, node: LogicalNode, parent: LogicalNode, *if_none: RequireKey
    ) -> tuple[Step, ...]:
        """How the parent's records get their key, and the filters that ask them then."""
        keying = keying_steps(node, parent, self._inputs) or if_none
        return (*keying, *self._filters.on(parent, node))

    def _may_broadcast(self, node: LogicalNode) -> bool:
        left, right = node.parents
        # where right records stay by themselves, one task must see all left ones of their key
        has_place = JOINS[node.op] in ("inner", "left") and left.partitions == node.partitions
        return has_place and self._is_small(right)

    def _is_small(self, node: LogicalNode) -> bool:
        """Whether all that the node is made of is smaller than BROADCAST_BYTES_MAX."""
        waiting, seen, total = [node], {node.id}, 0
        while waiting:
            one = waiting.pop()
            if one.is_reader:
                files = self._inputs[one.id].files
                # a compressed file may be ten times as large as it looks
                total += sum(file.size * (10 if file.compression else 1) for file in files)
            for parent in one.parents:
                if parent.id not in seen:
                    seen.add(parent.id)
                    waiting.append(parent)
        return total <= BROADCAST_BYTES_MAX

    # --- stages ------------------------------------------------------------------------------

    def _fetch(self, node: LogicalNode, stage: int, combined: bool = False) -> Pipe:
        return Pipe(FetchShuffle(stage, combined), (), (node.id,), node.partitions, (stage,))

    def _shuffle(
        self,
        parent: LogicalNode,
        consumer: LogicalNode,
        partitions: int,
        combine: str | None,
        keying: tuple[Step, ...],
        side: str = "",
        ranges: Ranges | None = None,
    ) -> int:
        """The index of the stage that writes `parent`'s records for `consumer`."""
        key = (parent.id, consumer.id, side)
        if key not in self._shuffles:
            pipe = self._pipe(parent)
            pipe = replace(pipe, steps=(*pipe.steps, *keying))
            if ranges is not None:
                parents = {*pipe.parents, ranges.samples.stage_index}
                pipe = replace(pipe, parents=tuple(sorted(parents)))
            sink = ShuffleBlocks(consumer.id, partitions, combine, ranges)
            self._shuffles[key] = self._add(pipe, sink, is_final=False)
        return self._shuffles[key]

    def _add(self, pipe: Pipe, sink: Sink, is_final: bool) -> int:
        index = len(self._stages)
        name = "+".join(pipe.node_ids)
        taken = sum(stage.id.partition("#")[0] == name for stage in self._stages)
        source, steps = rewritten(pipe.source, pipe.steps)
        self._stages.append(
            Stage(
                index=index,
                id=f"{name}#{taken + 1}" if taken else name,
                node_ids=pipe.node_ids,
                op="pipeline",
                partitions=pipe.partitions,
                parents=pipe.parents,
                program=StageProgram(source, steps, sink),
                splits=pipe.splits,
                is_final=is_final,
            )
        )
        return index


def _counted_from(first: int, steps: tuple[Step, ...]) -> tuple[Step, ...]:
    """The steps of a union, for a branch of it whose partition 0 is the union's `first`."""
    return tuple(
        replace(step, first_partition=step.first_partition + first)
        if isinstance(step, (Sample, Cache))
        else step
        for step in steps
    )
