"""The naive plan: one stage for each node, every intermediate a documented file.

It is the reference system's plan, in which foreign workers take part. Must not know the fused plan.
"""

from __future__ import annotations

from minispark.model.function_names import BY_KEY, JOINS, NARROW, WRITERS
from minispark.model.job import InputFile, PlanKind, ReaderOptions, ResolvedInput
from minispark.model.plan import (
    Branch,
    DocumentedShuffle,
    Join,
    PartitionFile,
    PhysicalPlan,
    Ranges,
    ReadDocumentedShuffle,
    ReadPartitions,
    ReadRows,
    ReadSplits,
    Source,
    Split,
    Stage,
    StageProgram,
    UnionAll,
)
from minispark.model.steps import (
    Aggregate,
    Narrow,
    RecordOfKey,
    RequireKey,
    SampleKeys,
    SortByKey,
    Step,
    WholeRecordKey,
)
from minispark.plan.fused import FORMATS
from minispark.plan.keying import keying_steps
from minispark.plan.logical import Keyedness, LogicalDag, LogicalNode
from minispark.plan.row_steps import limit_step, sample_step
from minispark.plan.saving import final_sink
from minispark.plan.splits import byte_splits, whole_files

_SHUFFLING = (
    *BY_KEY,
    "sort_by_key",
    "distinct",
    "take",
    "shuffle_write",
    "right_outer_join",
    "full_outer_join",
)
_FOREIGN_REDUCERS = ("sum", "count", "concat")


def plan_naive(dag: LogicalDag, inputs: dict[str, ResolvedInput]) -> PhysicalPlan:
    """The stages in the order of the nodes, each automatic shuffle before its reduce."""
    return _Naive(dag, inputs).plan()


class _Naive:
    def __init__(self, dag: LogicalDag, inputs: dict[str, ResolvedInput]) -> None:
        self._dag = dag
        self._inputs = inputs
        self._stages: list[Stage] = []
        self._stage_of: dict[str, int] = {}
        """By the id of the node, or of the automatic shuffle writer."""
        self._partitions: dict[str, int] = {}
        """Of the nodes: a join has as many as its left side here."""
        self._writers: dict[tuple[str, int, tuple[Step, ...]], str] = {}
        self._own_code: dict[str, bool] = {}
        """Nodes after the user's own functions, or lists: their values may be no text, which only
        our workers know.
        """
        shuffles = [node for node in dag.nodes if node.op in _SHUFFLING]
        self._has_one_shuffle = len(shuffles) == 1

    def plan(self) -> PhysicalPlan:
        leaves = {leaf.id for leaf in self._dag.leaves}
        for node in self._dag.nodes:
            self._partitions[node.id] = self._partitions_of(node)
            after_own_code = any(self._own_code[parent.id] for parent in node.parents)
            makes_lists = node.op == "group_by_key"
            self._own_code[node.id] = node.runs_user_code or makes_lists or after_own_code
            self._plan_node(node, node.id in leaves)
        return PhysicalPlan(PlanKind.NAIVE, tuple(self._stages))

    def _partitions_of(self, node: LogicalNode) -> int:
        if node.op == "union":
            return sum(self._partitions[parent.id] for parent in node.parents)
        is_narrow = node.op in (
            *NARROW, *WRITERS, "sample", "shuffle_read", "join", "left_outer_join",
        )  # fmt: skip
        return self._partitions[node.parents[0].id] if is_narrow else node.partitions

    def _plan_node(self, node: LogicalNode, is_final: bool) -> None:
        match node.op:
            case "read_csv" | "read_jsonl" | "read_text":
                self._add_reader(node, is_final)
            case "map" | "filter" | "flat_map":
                assert node.fn is not None
                parent = node.parents[0]
                step = Narrow(node.id, node.op, node.fn)
                can_share = parent.op != "shuffle_write"
                self._add(node, self._output(parent), (step,), is_final, is_documented=can_share)
            case "shuffle_write":
                self._add_writer(node.id, node, node.parents[0], (), node.partitions)
            case "shuffle_read" | "write_csv" | "write_jsonl" | "write_text":
                self._add(node, self._output(node.parents[0]), (), is_final)
            case "sample":
                self._add(node, self._output(node.parents[0]), (sample_step(node),), is_final)
            case "reduce_by_key" | "group_by_key":
                self._add_reduce(node, is_final)
            case "sort_by_key":
                self._add_sort(node, is_final)
            case "distinct":
                keying = (WholeRecordKey(node.id),)
                merge = (Aggregate(node.id, "count", partial_in=False), RecordOfKey(node.id))
                self._add_shuffled(node, keying, merge, is_final)
            case "take":
                limit = limit_step(node)
                self._add_shuffled(node, (limit,), (limit,), is_final)
            case "union":
                branches = [
                    Branch(self._output(parent), (), self._partitions[parent.id])
                    for parent in node.parents
                ]
                self._add(node, UnionAll(node.id, tuple(branches)), (), is_final)
            case "join" | "left_outer_join":
                self._add_join(node, is_final)
            case "right_outer_join" | "full_outer_join":
                self._add_shuffled_join(node, is_final)
            case op:
                raise AssertionError(op)

    # --- one kind of node each -----------------------------------------------------------------

    def _add_reader(self, node: LogicalNode, is_final: bool) -> None:
        found, options = self._inputs[node.id], node.node.reader
        source: Source
        if node.op == "read_csv":
            source = ReadRows(node.id, options, node.partitions, found.header)
            splits = whole_files(found.files, node.partitions)
        else:
            source = ReadSplits(node.id, FORMATS[node.op], options)
            splits = byte_splits(found.files, options, node.partitions)
        is_documented = (
            node.op == "read_csv"
            and _is_plain(found.files, options)
            and len(found.header or ()) == 1
        )
        self._add(
            node, source, (), is_final, splits=splits, is_documented=is_documented,
            input_path=node.node.path,
        )  # fmt: skip

    def _add_writer(
        self,
        writer_id: str,
        node: LogicalNode,
        parent: LogicalNode,
        keying: tuple[Step, ...],
        partitions: int,
        ranges: Ranges | None = None,
    ) -> None:
        sink = DocumentedShuffle(writer_id, partitions, ranges)
        is_documented = not keying and ranges is None and parent.keyedness is Keyedness.ALWAYS
        is_documented = is_documented and self._has_one_shuffle and parent.op != "shuffle_write"
        # a foreign writer makes as many files as it has tasks
        is_documented = is_documented and self._partitions[parent.id] == partitions
        is_documented = is_documented and not self._own_code[parent.id]
        self._append(
            Stage(
                index=len(self._stages),
                id=writer_id,
                node_ids=(writer_id,),
                op="shuffle_write",
                partitions=self._partitions[parent.id],
                parents=(
                    self._stage_of[parent.id],
                    *((ranges.samples.stage_index,) if ranges is not None else ()),
                ),
                program=StageProgram(self._output(parent), keying, sink),
                key=node.node.key,
                is_documented=is_documented,
            )
        )

    def _add_reduce(self, node: LogicalNode, is_final: bool) -> None:
        assert node.fn is not None
        parent = node.parents[0]
        keying = keying_steps(node, parent, self._inputs)
        is_written = parent.op == "shuffle_write" and parent.partitions == node.partitions
        if is_written:
            source = self._output(parent)
            steps = (*keying, Aggregate(node.id, node.fn, partial_in=False))
        else:
            writer = self._writer(node, parent, keying)
            source = ReadDocumentedShuffle(writer, self._stage_of[writer])
            steps = (Aggregate(node.id, node.fn, partial_in=False),)
        is_foreign = node.fn in _FOREIGN_REDUCERS and (
            node.fn != "sum" or parent.has_integer_values
        )
        is_documented = is_foreign and self._has_one_shuffle and not keying
        self._add(node, source, steps, is_final, is_documented=is_documented)

    def _add_shuffled(
        self,
        node: LogicalNode,
        before: tuple[Step, ...],
        after: tuple[Step, ...],
        is_final: bool,
    ) -> None:
        """Steps before a shuffle of the node's own, and after it."""
        writer = self._writer(node, node.parents[0], before)
        source = ReadDocumentedShuffle(writer, self._stage_of[writer])
        self._add(node, source, after, is_final)

    def _add_sort(self, node: LogicalNode, is_final: bool) -> None:
        (parent,) = node.parents
        keying = keying_steps(node, parent, self._inputs)
        is_descending, ranges = not node.node.ascending, None
        if node.partitions > 1:
            name = f"{node.id}_samples_shuffle_write"
            self._add_part(name, node, parent, (*keying, SampleKeys(node.id)))
            samples = ReadPartitions(name, self._stage_of[name], every=True)
            ranges = Ranges(samples, is_descending)
        writer = f"{parent.id}_{node.id}_shuffle_write"
        self._add_writer(writer, node, parent, keying, node.partitions, ranges)
        source = ReadDocumentedShuffle(writer, self._stage_of[writer])
        sort = SortByKey(node.id, is_descending)
        self._add(node, source, (sort,), is_final)

    def _add_shuffled_join(self, node: LogicalNode, is_final: bool) -> None:
        """Where right records stay by themselves, one task must see all left ones of their key."""

        def shuffled(parent: LogicalNode) -> ReadDocumentedShuffle:
            keying = keying_steps(node, parent, self._inputs) or (RequireKey(node.id),)
            writer = self._writer(node, parent, keying)
            return ReadDocumentedShuffle(writer, self._stage_of[writer])

        left, right = node.parents
        both = Join(node.id, shuffled(left), shuffled(right), kind=JOINS[node.op])
        self._add(node, both, (), is_final)

    def _writer(self, node: LogicalNode, parent: LogicalNode, keying: tuple[Step, ...]) -> str:
        """The automatic shuffle writer of a reduce; reduces that want the same share it."""
        wanted = (parent.id, node.partitions, keying)
        if wanted not in self._writers:
            name = f"{parent.id}_shuffle_write"
            if name in self._stage_of:
                name = f"{parent.id}_{node.id}_shuffle_write"
            self._writers[wanted] = name
            self._add_writer(name, node, parent, keying, node.partitions)
        return self._writers[wanted]

    def _add_join(self, node: LogicalNode, is_final: bool) -> None:
        left, right = node.parents
        left_keys = keying_steps(node, left, self._inputs)
        right_keys = keying_steps(node, right, self._inputs)
        if right_keys:
            # the right side is hashed as it is read, so its keys are made by a stage before
            right_id = f"{node.id}_{right.id}_shuffle_write"
            self._add_part(right_id, node, right, right_keys)
        else:
            right_id = right.id
        left_source = self._output(left)
        assert isinstance(left_source, ReadPartitions)
        source = Join(
            node.id,
            left_source,
            ReadPartitions(right_id, self._stage_of[right_id], every=True),
            left_keys or (RequireKey(node.id),),
            JOINS[node.op],
        )
        is_documented = node.op == "join" and not left_keys and not right_keys
        self._add(node, source, (), is_final, is_documented=is_documented)

    def _add_part(
        self, name: str, node: LogicalNode, parent: LogicalNode, steps: tuple[Step, ...]
    ) -> None:
        """A stage before the node's own: the steps over its parent's partitions."""
        sink = PartitionFile(name, is_read=True)
        self._append(
            Stage(
                index=len(self._stages),
                id=name,
                node_ids=(name,),
                op="map",
                partitions=self._partitions[parent.id],
                parents=(self._stage_of[parent.id],),
                program=StageProgram(self._output(parent), steps, sink),
                key=node.node.key,
            )
        )

    # --- stages ------------------------------------------------------------------------------

    def _output(self, parent: LogicalNode) -> ReadPartitions | ReadDocumentedShuffle:
        """How a task reads its partition of a node's output."""
        if parent.op == "shuffle_write":
            return ReadDocumentedShuffle(parent.id, self._stage_of[parent.id])
        return ReadPartitions(parent.id, self._stage_of[parent.id])

    def _add(
        self,
        node: LogicalNode,
        source: Source,
        steps: tuple[Step, ...],
        is_final: bool,
        *,
        splits: tuple[tuple[Split, ...], ...] = (),
        is_documented: bool = False,
        input_path: str | None = None,
    ) -> None:
        sink = final_sink(node) if is_final else PartitionFile(node.id, is_read=True)
        self._append(
            Stage(
                index=len(self._stages),
                id=node.id,
                node_ids=(node.id,),
                op=node.op,
                partitions=self._partitions[node.id],
                parents=_parents(source),
                program=StageProgram(source, steps, sink),
                splits=splits,
                is_final=is_final,
                fn_name=node.node.fn_name,
                key=node.node.key,
                is_documented=is_documented and not self._own_code[node.id],
                input_path=input_path,
            )
        )

    def _append(self, stage: Stage) -> None:
        self._stage_of[stage.id] = stage.index
        self._stages.append(stage)


def _parents(source: Source) -> tuple[int, ...]:
    match source:
        case ReadPartitions() | ReadDocumentedShuffle():
            return (source.stage_index,)
        case Join():
            return tuple(sorted({*_parents(source.left), *_parents(source.right)}))
        case UnionAll(branches=branches):
            return tuple(sorted({p for branch in branches for p in _parents(branch.source)}))
        case _:
            return ()


def _is_plain(files: tuple[InputFile, ...], options: ReaderOptions) -> bool:
    """One uncompressed UTF-8 file, read with the documented options."""
    return len(files) == 1 and files[0].compression is None and options == ReaderOptions()
