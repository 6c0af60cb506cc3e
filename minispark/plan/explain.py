"""A physical plan as stable text: stages, operators, partitions, shuffles.

The same job gives the same text on every machine: inputs appear by count and size class only.
"""

from __future__ import annotations

from typing import assert_never

from minispark.model.plan import (
    DocumentedShuffle,
    FetchShuffle,
    Join,
    PartitionFile,
    PhysicalPlan,
    Ranges,
    ReadDocumentedShuffle,
    ReadPartitions,
    ReadRows,
    ReadSplits,
    ShuffleBlocks,
    Sink,
    Source,
    Stage,
    UnionAll,
)
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


def explain(plan: PhysicalPlan) -> str:
    """One paragraph a stage, one line an operator; ends with a newline."""
    tasks = plan.tasks_total
    lines = [f"{plan.kind.value} plan: {len(plan.stages)} stages, {tasks} tasks"]
    for stage in plan.stages:
        lines += ["", *_stage(plan, stage)]
    return "\n".join(lines) + "\n"


def _stage(plan: PhysicalPlan, stage: Stage) -> list[str]:
    after = ", ".join(str(parent) for parent in stage.parents)
    after = f", after {after}" if after else ""
    final = ", final" if stage.is_final else ""
    unit = "task" if stage.partitions == 1 else "tasks"
    head = f"stage {stage.index}: {stage.id} ({stage.partitions} {unit}{after}{final})"
    program = stage.program
    lines = [head, *(f"  {line}" for line in source_lines(program.source))]
    lines += [f"  {step_line(step)}" for step in program.steps]
    lines.append(f"  {sink_line(program.sink)}")
    if stage.is_documented:
        lines.append("  may run on an HTTP worker")
    return lines


def source_lines(source: Source) -> list[str]:
    """One line; of a join, more: both sides, and the steps of the left one; of a union all of
    every branch.
    """
    match source:
        case ReadSplits(node_id, format, select=select):
            read = f"read {format} by byte ranges [{node_id}]"
            return [read if select is None else f"{read}, {step_line(select)}"]
        case ReadRows(node_id, _, total):
            return [f"read csv rows, every {total}th [{node_id}]"]
        case ReadPartitions(node_id, _, every):
            return [f"read {'all partitions' if every else 'the partition'} of {node_id}"]
        case ReadDocumentedShuffle(writer):
            return [f"read shuffle files of {writer}"]
        case FetchShuffle(stage, combined, broadcast):
            what = "all blocks" if broadcast else "blocks"
            return [f"fetch {what} of stage {stage}{' (partial aggregates)' if combined else ''}"]
        case Join(node_id, left, right, steps, kind):
            return [
                f"{'' if kind == 'inner' else f'{kind} outer '}join [{node_id}]",
                *(f"  left: {line}" for line in source_lines(left)),
                *(f"    {step_line(step)}" for step in steps),
                *(f"  right: {line}" for line in source_lines(right)),
            ]
        case UnionAll(node_id, branches):
            lines = [f"union [{node_id}]"]
            for branch in branches:
                unit = "task" if branch.partitions == 1 else "tasks"
                lines.append(f"  {branch.partitions} {unit}:")
                lines += [f"    {line}" for line in source_lines(branch.source)]
                lines += [f"    {step_line(step)}" for step in branch.steps]
            return lines
        case _:
            assert_never(source)


def step_line(step: Step) -> str:
    """What the step does, and for which node."""
    match step:
        case Narrow(node_id, op, fn):
            return f"{op} {fn} [{node_id}]"
        case SelectColumns():
            value = step.value_name or ("1" if step.default_value == "one" else "the row")
            return f"key by column {step.key_name}, value {value} [{step.node_id}]"
        case KeyByValue(node_id):
            return f"key by value where there is no key [{node_id}]"
        case RequireKey(node_id):
            return f"require a key [{node_id}]"
        case Aggregate(node_id, fn, partial_in):
            return f"{'merge' if partial_in else 'reduce'} by key with {fn} [{node_id}]"
        case WholeRecordKey(node_id):
            return f"key by the whole record [{node_id}]"
        case RecordOfKey(node_id):
            return f"the record of each key [{node_id}]"
        case Sample(node_id, fraction, seed):
            return f"sample {fraction:g} of the records, seed {seed} [{node_id}]"
        case Limit(node_id, n):
            return f"the first {n} records [{node_id}]"
        case SampleKeys(node_id):
            return f"a sample of the keys [{node_id}]"
        case SortByKey(node_id, is_descending):
            return f"sort by key{', descending' if is_descending else ''} [{node_id}]"
        case Cache(node_id, lineage):
            return f"kept in the cache for {'later jobs' if lineage else 'this job'} [{node_id}]"
        case _:
            assert_never(step)


def sink_line(sink: Sink) -> str:
    """Where the records go."""
    match sink:
        case ShuffleBlocks(_, partitions, combine, ranges):
            how = f", combined with {combine}" if combine else ""
            return f"-> shuffle blocks for {partitions} partitions{how}{_by_ranges(ranges)}"
        case PartitionFile(node_id, _, saved):
            more = f", and {saved.format} parts of the user's" if saved is not None else ""
            return f"-> partition files of {node_id}{more}"
        case DocumentedShuffle(_, partitions, ranges):
            return f"-> shuffle files for {partitions} partitions{_by_ranges(ranges)}"
        case _:
            assert_never(sink)


def _by_ranges(ranges: Ranges | None) -> str:
    if ranges is None:
        return ""
    return f", by ranges of the keys that stage {ranges.samples.stage_index} sampled"
