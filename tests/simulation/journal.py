"""What survives a simulated master: the last fact of everything, as the job store keeps it."""

from __future__ import annotations

from minispark.model import effects as fx
from minispark.model import events as ev
from minispark.model.plan import PhysicalPlan
from minispark.model.records import JobRecord
from minispark.model.snapshot import Snapshot
from minispark.model.states import JobState


class Journal:
    """What survives the master: the last fact of everything, as the job store keeps it."""

    def __init__(self) -> None:
        self.jobs: dict[str, fx.JobAccepted] = {}
        self.plans: dict[str, PhysicalPlan] = {}
        self.states: dict[str, fx.JobMoved] = {}
        self.started: dict[str, float] = {}
        self.attempts: dict[str, dict[tuple[int, int, int], fx.AttemptMoved]] = {}
        self.workers: dict[str, ev.WorkerIdentity] = {}

    def write(self, facts: list[fx.Fact | fx.ForgetJob]) -> None:
        for fact in facts:
            match fact:
                case fx.JobAccepted():
                    self.jobs[fact.job_id] = fact
                    self.attempts[fact.job_id] = {}
                case fx.PlanChosen(job_id, plan):
                    self.plans[job_id] = plan
                case fx.JobMoved():
                    self.states[fact.job_id] = fact
                    if fact.state is JobState.RUNNING:
                        self.started[fact.job_id] = fact.at_unix_s
                case fx.AttemptMoved():
                    key = (fact.stage_index, fact.partition, fact.attempt)
                    self.attempts[fact.job_id][key] = fact
                case fx.WorkerSeen():
                    self.workers[fact.worker.worker_id] = fact.worker
                case _:
                    pass

    def check_published(self, snapshot: Snapshot) -> None:
        """Readers see of every job what is durable."""
        for view in snapshot.jobs.values():
            durable = self.states.get(view.job_id)
            assert view.job_id in self.jobs, f"readers see job {view.job_id}, which is not durable"
            state = durable.state if durable is not None else JobState.PENDING
            said = f"readers see {view.job_id} {view.state.value}, and durable is {state.value}"
            assert view.state is state, said

    def unfinished(self) -> list[JobRecord]:
        return [
            JobRecord(
                job_id=job_id,
                request=accepted.request,
                plans=(self.plans[job_id],),
                is_planned=True,
                created_at=accepted.at_unix_s,
                started_at=self.started.get(job_id),
                attempts=tuple(fact for _, fact in sorted(self.attempts[job_id].items())),
            )
            for job_id, accepted in self.jobs.items()
            if job_id not in self.states or not self.states[job_id].state.is_terminal
        ]
