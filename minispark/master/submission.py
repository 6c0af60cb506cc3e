"""From a submitted document to a JobSubmitted event: parsed, validated, inputs resolved, planned.

Runs in the thread of whoever submits. Must not know HTTP or the core.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from minispark.errors import ClusterError, InvalidRequest, TokenNeeded
from minispark.model.job import Engine, JobRequest, PlanKind
from minispark.model.plan import PhysicalPlan
from minispark.plan.parsing import parse_request
from minispark.plan.planner import plan
from minispark.plan.size import PlanTooLarge
from minispark.plan.validation import validate
from minispark.storage.fence import Fence
from minispark.storage.inputs import resolve_inputs
from minispark.storage.part_folders import with_real_folders


def no_spark() -> None:
    """Of a master that nobody supervises. Raises ClusterError."""
    raise ClusterError(
        "this master runs without a supervisor, which would run Spark's driver: "
        "start the cluster with `up`"
    )


@dataclass(frozen=True, slots=True)
class Submitter:
    """What planning needs to know of the cluster."""

    base_dir: str
    input_roots: tuple[str, ...]
    state_dir: str
    default_plan: PlanKind
    default_engine: Engine = Engine.LOCAL
    require_spark: Callable[[], None] = no_spark
    """Raises ClusterError that says what is missing, where jobs cannot run on Spark."""

    def prepare(
        self, document: Any, is_authenticated: bool
    ) -> tuple[JobRequest, tuple[PhysicalPlan, ...]]:
        """The request and its plans. Raises InvalidRequest, InputRefused, TokenNeeded."""
        request = parse_request(document)
        if request.has_user_code and not is_authenticated:
            raise TokenNeeded("jobs with modules or expr run code of yours: send the token")
        validate(request)
        request = self._with_engine(request)
        fence = None if is_authenticated else Fence.around(self.input_roots, self.state_dir)
        request = with_real_folders(request, self.base_dir, fence)
        return request, self._plans(request, is_authenticated)

    def _with_engine(self, request: JobRequest) -> JobRequest:
        """Raises InvalidRequest where its engine cannot run it."""
        if (request.engine or self.default_engine) is not Engine.SPARK:
            return request
        if request.plan is PlanKind.NAIVE:
            raise InvalidRequest("the engine spark runs fused plans only: leave plan out", "plan")
        try:
            self.require_spark()
        except ClusterError as error:
            raise InvalidRequest(str(error), "engine") from error
        return replace(request, engine=Engine.SPARK)

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
        if request.engine is Engine.SPARK:
            return (plan(request, inputs, PlanKind.FUSED),)
        wanted = plan(request, inputs, request.plan or self.default_plan)
        if request.plan is not None or wanted.kind is PlanKind.NAIVE:
            return (wanted,)
        try:
            return wanted, plan(request, inputs, PlanKind.NAIVE)
        except PlanTooLarge:
            return (wanted,)  # foreign workers cannot help here
