"""How an attempt's present state, and what a stage took, are written down.

Must not know what brought it there.
"""

from __future__ import annotations

from minispark.model.effects import AppendJournal, AttemptMoved, StageMeasured
from minispark.model.states import Cause
from minispark.scheduling.stage_run import StageRun
from minispark.scheduling.task_run import Attempt


def attempt_moved(
    attempt: Attempt,
    at_unix_s: float,
    error: str | None = None,
    cause: Cause | None = None,
    is_committed: bool = False,
) -> AppendJournal:
    """The fact that the attempt is in the state in which it is now."""
    outcome, stage = attempt.outcome, attempt.stage
    return AppendJournal(
        AttemptMoved(
            attempt.id,
            stage.job.id,
            stage.stage.index,
            attempt.task.partition,
            attempt.number,
            attempt.worker_id,
            attempt.state,
            at_unix_s,
            error,
            records=outcome.records if outcome is not None else 0,
            bytes_written=outcome.bytes_written if outcome is not None else 0,
            cause=cause,
            is_committed=is_committed,
            span=attempt.span,
            phases_us=outcome.phases_us if outcome is not None else {},
        )
    )


def stage_measured(stage: StageRun, at_unix_s: float) -> AppendJournal:
    """The fact of what a stage took that is complete now."""
    figures = stage.sums.figures(at_unix_s)
    return AppendJournal(StageMeasured(stage.job.id, stage.stage.index, figures))
