"""From a submitted document to a JobSubmitted event: parsed, validated, inputs resolved, planned.

Runs in the thread of whoever submits. Must not know HTTP or the core.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from minispark.errors import TokenNeeded
from minispark.model.job import JobRequest, PlanKind
from minispark.model.plan import PhysicalPlan
from minispark.plan.parsing import parse_request
from minispark.plan.planner import plan
from minispark.plan.size import PlanTooLarge
from minispark.plan.validation import validate
from minispark.storage.fence import Fence
from minispark.storage.inputs import resolve_inputs
from minispark.storage.part_folders import with_real_folders


@dataclass(frozen=True, slots=True)
class Submitter:
    """What planning needs to know of the cluster."""

    base_dir: str
    input_roots: tuple[str, ...]
    state_dir: str
    default_plan: PlanKind

    def prepare(
        self, document: Any, is_authenticated: bool
    ) -> tuple[JobRequest, tuple[PhysicalPlan, ...]]:
        """The request and its plans. Raises InvalidRequest, InputRefused, TokenNeeded."""
        request = parse_request(document)
        if request.has_user_code and not is_authenticated:
            raise TokenNeeded("jobs with modules or expr run code of yours: send the token")
        validate(request)
        fence = None if is_authenticated else Fence.around(self.input_roots, self.state_dir)
        request = with_real_folders(request, self.base_dir, fence)
        return request, self._plans(request, is_authenticated)

    def _plans(self, request: JobRequest, is_authenticated: bool) -> tuple[PhysicalPlan, ...]:
        """The plan that was asked for; without one the default plan, and beside it the naive one
        unless that is too large.
        """
        inputs = resolve_inputs(
            request,
            base_dir=self.base_dir,
            input_roots=None if is_authenticated else self.input_roots,
            state_dir=self.state_dir,
        )
        wanted = plan(request, inputs, request.plan or self.default_plan)
        if request.plan is not None or wanted.kind is PlanKind.NAIVE:
            return (wanted,)
        try:
            return wanted, plan(request, inputs, PlanKind.NAIVE)
        except PlanTooLarge:
            return (wanted,)  # foreign workers cannot help here
