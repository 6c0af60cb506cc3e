"""What the journal says of a job that has not ended: enough to go on with it.

Must not know how it is stored.
"""

from __future__ import annotations

from dataclasses import dataclass

from minispark.model.effects import AttemptMoved
from minispark.model.job import JobRequest
from minispark.model.plan import PhysicalPlan


@dataclass(frozen=True, slots=True)
class JobRecord:
    """`plans` as in `JobSubmitted`; `attempts` holds the last fact of each attempt of the one plan
    that was chosen, in order of their number. Times are UNIX seconds.
    """

    job_id: str
    request: JobRequest
    plans: tuple[PhysicalPlan, ...]
    is_planned: bool
    created_at: float
    started_at: float | None = None
    attempts: tuple[AttemptMoved, ...] = ()
    failure: str | None = None
    """Why nobody can go on with it. It has no plans then."""
