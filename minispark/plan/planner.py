"""From a request and the inputs behind it to a physical plan. Pure: the master looked at files
before.
"""

from __future__ import annotations

from dataclasses import replace

from minispark.model.function_names import EXPRESSION, is_user_function
from minispark.model.job import JobRequest, PlanKind, ResolvedInput
from minispark.model.plan import (
    Join,
    PhysicalPlan,
    ShuffleBlocks,
    Source,
    Stage,
    StageProgram,
    UnionAll,
)
from minispark.model.steps import Aggregate, Narrow, Step
from minispark.plan.fused import plan_fused
from minispark.plan.naive import plan_naive
from minispark.plan.size import check_size
from minispark.plan.validation import validate


def plan(request: JobRequest, inputs: dict[str, ResolvedInput], kind: PlanKind) -> PhysicalPlan:
    """The plan of that kind. `inputs`: by reader's node id. Raises InvalidRequest,
    PlanTooLarge.
    """
    dag = validate(request)
    if kind is PlanKind.NAIVE:
        made = plan_naive(dag, inputs)
    else:
        made = plan_fused(dag, inputs, request.modules)
    check_size(made)
    return replace(made, stages=tuple(_with_modules(stage, request) for stage in made.stages))


def _with_modules(stage: Stage, request: JobRequest) -> Stage:
    """The stage with the user's modules, where its tasks run some of their functions."""
    if not request.modules or not _needs_modules(stage.program):
        return stage
    return replace(stage, program=replace(stage.program, modules=request.modules))


def _needs_modules(program: StageProgram) -> bool:
    combine = program.sink.combine if isinstance(program.sink, ShuffleBlocks) else None
    steps = (*_source_steps(program.source), *program.steps)
    names = [name for step in steps if (name := _function(step)) is not None]
    return any(_is_of_a_module(name) for name in (*names, combine or ""))


def _source_steps(source: Source) -> tuple[Step, ...]:
    match source:
        case Join(left_steps=steps):
            return steps
        case UnionAll(branches=branches):
            return tuple(s for b in branches for s in (*_source_steps(b.source), *b.steps))
        case _:
            return ()


def _is_of_a_module(name: str) -> bool:
    return is_user_function(name) and not name.startswith(EXPRESSION)


def _function(step: Step) -> str | None:
    return step.fn if isinstance(step, (Narrow, Aggregate)) else None
