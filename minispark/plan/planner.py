"""From a request and the inputs behind it to a physical plan. Pure: the master looked at files
before.
"""

from __future__ import annotations

from minispark.model.job import JobRequest, PlanKind, ResolvedInput
from minispark.model.plan import PhysicalPlan
from minispark.plan.fused import plan_fused
from minispark.plan.naive import plan_naive
from minispark.plan.size import check_size
from minispark.plan.validation import validate


def plan(request: JobRequest, inputs: dict[str, ResolvedInput], kind: PlanKind) -> PhysicalPlan:
    """The plan of that kind. `inputs`: by reader's node id. Raises InvalidRequest,
    PlanTooLarge.
    """
    dag = validate(request)
    made = plan_naive(dag, inputs) if kind is PlanKind.NAIVE else plan_fused(dag, inputs)
    check_size(made)
    return made
