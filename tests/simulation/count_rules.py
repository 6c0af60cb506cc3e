"""What the core counts for its readers is what its journal says, at the end of every batch.

Must not know how the core counts.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from minispark.model import effects as fx
from minispark.model.states import AttemptState, JobState

if TYPE_CHECKING:
    from minispark.scheduling.core import SchedulingCore

FAILED = (AttemptState.FAILED, AttemptState.LOST)


class CountRules:
    """Attempts and jobs by state, counted anew from the facts."""

    def __init__(self) -> None:
        self._failed: Counter[tuple[str, int]] = Counter()
        """Attempts that failed or were lost, by job and stage, under all masters."""
        self._attempts: Counter[AttemptState] = Counter()
        self._ended: Counter[JobState] = Counter()
        self._submitted = 0
        self._retries = 0
        self._touched: dict[str, None] = {}

    def master_began(self) -> None:
        """A simulated master is not told what earlier ones counted."""
        self._attempts.clear()
        self._ended.clear()
        self._submitted = self._retries = 0

    def see_fact(self, fact: fx.Fact | fx.ForgetJob) -> None:
        match fact:
            case fx.AttemptMoved(job_id=job_id, stage_index=stage, state=state):
                self._attempts[state] += not fact.is_committed
                self._failed[job_id, stage] += state in FAILED
                self._touched[job_id] = None
            case fx.JobMoved(state=state):
                self._ended[state] += state.is_terminal
            case fx.JobAccepted():
                self._submitted += 1
            case _:
                pass

    def end_batch(self, core: SchedulingCore) -> None:
        totals = core.state.totals.view()
        said, counted = totals.attempts, self._attempts
        assert all(said[state] == counted[state] for state in AttemptState), (
            f"the totals say {said}, the journal {counted}"
        )
        ended = {state: self._ended[state] for state in totals.jobs_ended}
        assert (totals.jobs_ended, totals.jobs_submitted) == (ended, self._submitted)
        assert core.state.retries_total >= self._retries, "the retries went backwards"
        self._retries = core.state.retries_total
        for job_id in self._touched:
            if job_id in core.state.jobs:
                self._check_job(core, job_id)
        self._touched.clear()

    def _check_job(self, core: SchedulingCore, job_id: str) -> None:
        view = core.state.jobs[job_id].view(None, None)
        for stage in view.stages:
            failed = self._failed[job_id, stage.index]
            assert stage.failed_attempts == failed, (
                f"{failed} attempts of {job_id}/{stage.id} failed or were lost, "
                f"{stage.failed_attempts} are counted"
            )
        assert view.failed_attempts == sum(stage.failed_attempts for stage in view.stages)
        assert view.retries <= view.failed_attempts
