"""The log's account of every transition: one line each, made from the facts of the journal.

Few and telling: jobs, stages and workers at level info, what went wrong at warning. Very many:
attempts that go well, at level debug; while that is off they cost one look at a table. Must not
know why facts happen.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import assert_never

from minispark.model import effects as fx
from minispark.model.log_fields import about
from minispark.model.plan import PhysicalPlan
from minispark.model.states import AttemptState, JobState

logger = logging.getLogger("minispark.master")


class _Job:
    """What the log knows of a job: its stages' ids, and which of them it said to run."""

    def __init__(self, plan: PhysicalPlan) -> None:
        self.stage_ids = tuple(stage.id for stage in plan.stages)
        self.running: dict[int, None] = {}


class TransitionLog:
    """Names stages and workers in the words of the user, which facts do not carry."""

    def __init__(self, plans: Iterable[tuple[str, PhysicalPlan]], workers: Mapping[str, str]):
        """`plans`: of jobs that go on, by the job's id; `workers`: names by id, of all known."""
        self._jobs = {job_id: _Job(plan) for job_id, plan in plans}
        self._workers = dict(workers)

    def note(self, effects: Iterable[fx.Effect]) -> None:
        """Say what happened; the facts must be durable."""
        is_chatty = logger.isEnabledFor(logging.DEBUG)
        for effect in effects:
            match effect:
                case fx.AppendJournal(fx.AttemptMoved() as moved):
                    self._attempt(moved, is_chatty)
                case fx.AppendJournal(fact):
                    self._fact(fact)
                case fx.Warn(message):
                    logger.warning("%s", message)
                case fx.ForgetJob(job_id):
                    self._jobs.pop(job_id, None)
                case _:
                    pass  # nothing that people follow

    def _fact(self, fact: fx.Fact) -> None:
        match fact:
            case fx.JobAccepted():
                logger.info("job ACCEPTED: %s", fact.request.name, extra=about(job=fact.job_id))
            case fx.PlanChosen():
                plan = fact.plan
                self._jobs[fact.job_id] = _Job(plan)
                what = (plan.kind.value, len(plan.stages), plan.tasks_total)
                text = "job planned: %s, %d stages, %d tasks"
                logger.info(text, *what, extra=about(job=fact.job_id))
            case fx.JobMoved():
                level = logging.WARNING if fact.state is JobState.FAILED else logging.INFO
                why = f": {fact.message}" if fact.message else ""
                logger.log(level, "job %s%s", fact.state.value, why, extra=about(job=fact.job_id))
            case fx.StageMeasured():
                self._stage_complete(fact)
            case fx.WorkerSeen():
                text = "worker UP: id %s, pid %s"
                self._workers[fact.worker.worker_id] = fact.worker.name
                ids = (fact.worker.worker_id, fact.worker.pid)
                logger.info(text, *ids, extra=about(worker=fact.worker.name))
            case fx.WorkerLost():
                logger.warning("worker DOWN: %s", fact.reason, extra=about(worker=fact.name))
            case fx.AttemptMoved():
                raise AssertionError("attempts are told apart before")
            case _:
                assert_never(fact)

    def _stage_complete(self, fact: fx.StageMeasured) -> None:
        job = self._jobs.get(fact.job_id)
        if job is not None:
            job.running.pop(fact.stage_index, None)
        took = fact.figures
        logger.info(
            "stage SUCCEEDED: %d attempts accepted, %d records",
            took.tasks,
            took.records,
            extra=about(job=fact.job_id, stage=_stage_id(job, fact.stage_index)),
        )

    def _attempt(self, fact: fx.AttemptMoved, is_chatty: bool) -> None:
        job = self._jobs.get(fact.job_id)
        is_new = fact.state is AttemptState.ASSIGNED and job is not None
        if is_new and job is not None and fact.stage_index not in job.running:
            job.running[fact.stage_index] = None
            stage_id = _stage_id(job, fact.stage_index)
            logger.info("stage RUNNING", extra=about(job=fact.job_id, stage=stage_id))
        has_failed = fact.state in (AttemptState.FAILED, AttemptState.LOST)
        if not has_failed and not is_chatty:
            return
        level = logging.WARNING if has_failed else logging.DEBUG
        state = "COMMITTED" if fact.is_committed else fact.state.value
        why = f": {fact.error}" if fact.error is not None else ""
        ids = about(
            job=fact.job_id,
            stage=_stage_id(job, fact.stage_index),
            task=fact.partition,
            attempt=fact.attempt,
            worker=self._workers.get(fact.worker_id, fact.worker_id),
        )
        logger.log(level, "attempt %s%s", state, why, extra=ids)


def _stage_id(job: _Job | None, index: int) -> str:
    """The stage's id; its number in a job that only an earlier master knew."""
    return job.stage_ids[index] if job is not None else str(index)
