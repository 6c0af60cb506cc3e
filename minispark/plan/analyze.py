"""The lines of `explain`, each with what it took when the stage ran. Must not know who measured."""

from __future__ import annotations

from dataclasses import dataclass

from minispark.model.figures import StageFigures
from minispark.model.plan import Join, Stage, UnionAll
from minispark.model.steps import Aggregate, Cache, Narrow, Step
from minispark.plan.explain import sink_line, source_lines, step_line

INPUT_PHASES = ("read", "fetch")
OUTPUT_PHASES = ("shuffle write", "write")
OPERATOR_PHASES = ("compute", "merge")


@dataclass(frozen=True, slots=True)
class OperatorLine:
    """One line of a stage, over all its tasks; None where nobody counts."""

    what: str
    records: int | None = None
    bytes: int | None = None
    us: int | None = None
    bytes_spilled: int | None = None


def analyze(stage: Stage, took: StageFigures) -> list[OperatorLine]:
    """The stage's lines in the order of `explain`.

    A node of several steps has its figures on the last of them, records that were read from the
    cache among them. Functions that run as one loop with
    the map-side aggregation are part of the last line's time, as that is; a join's line includes
    the input of both its sides.
    """
    program = stage.program
    spilled = took.bytes_spilled if took.tasks else None
    lines = _source(stage, took, spilled)
    holds_rows = isinstance(program.source, Join)
    for index, step in enumerate(program.steps):
        is_last = not isinstance(step, Cache) and all(
            other.node_id != step.node_id or isinstance(other, Cache)
            for other in program.steps[index + 1 :]
        )
        aggregates = isinstance(step, Aggregate)
        lines.append(
            _step(step, took if is_last else StageFigures(), spilled if aggregates else None)
        )
        holds_rows = holds_rows or aggregates
    if not took.tasks:
        return [*lines, OperatorLine(sink_line(program.sink))]
    combining_us = _us(took, OPERATOR_PHASES) - sum(o.us for o in took.operators.values())
    out_us = _us(took, OUTPUT_PHASES) + max(0, combining_us)
    what = sink_line(program.sink)
    spilled_here = None if holds_rows else spilled
    return [*lines, OperatorLine(what, took.records, took.bytes_written, out_us, spilled_here)]


def _source(stage: Stage, took: StageFigures, spilled: int | None) -> list[OperatorLine]:
    source = stage.program.source
    first, *rest = source_lines(source)
    if not took.tasks:
        return [OperatorLine(line) for line in (first, *rest)]
    in_us = _us(took, INPUT_PHASES)
    if isinstance(source, UnionAll):
        return [OperatorLine(first, None, took.bytes_read, in_us), *_branches(source, rest, took)]
    if not isinstance(source, Join):
        lines = [OperatorLine(first, None, took.bytes_read, in_us)]
        return [*lines, *map(OperatorLine, rest)]
    joined = took.operators.get(source.node_id)
    records, us = (joined.records, joined.us) if joined is not None else (None, 0)
    lines = [OperatorLine(first, records, took.bytes_read, in_us + us, spilled)]
    left, *steps, right = rest
    lines.append(OperatorLine(left))
    for text, step in zip(steps, source.left_steps, strict=True):
        # what the join asks of its left side is on the join's own line
        made = _step(step, took if step.node_id != source.node_id else StageFigures(), None)
        lines.append(OperatorLine(text, made.records, None, made.us))
    return [*lines, OperatorLine(right)]


def _branches(source: UnionAll, texts: list[str], took: StageFigures) -> list[OperatorLine]:
    """A union's lines; a node in several of its branches has its figures in the last of them."""
    lines = [OperatorLine(text) for text in texts]
    at, last_of = 0, dict[str, int]()
    for branch in source.branches:
        at += 1 + len(source_lines(branch.source))
        for step in branch.steps:
            at, index = at + 1, last_of.get(step.node_id)
            if index is not None:
                lines[index] = OperatorLine(texts[index])
            made = _step(step, took, None)
            lines[at - 1] = OperatorLine(texts[at - 1], made.records, None, made.us)
            last_of[step.node_id] = at - 1
    return lines


def _step(step: Step, took: StageFigures, spilled: int | None) -> OperatorLine:
    figures = took.operators.get(step.node_id)
    if figures is None:
        return OperatorLine(step_line(step))
    records = figures.records if isinstance(step, (Narrow, Aggregate)) else None
    return OperatorLine(step_line(step), records, None, figures.us, spilled)


def _us(took: StageFigures, phases: tuple[str, ...]) -> int:
    return sum(took.phases_us.get(phase, 0) for phase in phases)
