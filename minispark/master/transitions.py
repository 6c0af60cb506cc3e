"""The log's account of every transition: one line each, made from the facts of the journal.

Few and telling: jobs, stages and workers at level info, what went wrong at warning. Very many:
attempts that go well, at level debug; while that is off they cost a look at their state. Must not
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

_TELLING = (AttemptState.FAILED, AttemptState.LOST)

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
            if isinstance(effect, fx.AppendJournal):
                fact = effect.fact
                if not isinstance(fact, fx.AttemptMoved):
                    self._fact(fact)
                    continue
                if fact.state is AttemptState.ASSIGNED:
                    self._stage_runs(fact)
                if is_chatty or fact.state in _TELLING:
                    self._attempt(fact)
            elif isinstance(effect, fx.Warn):
                logger.warning("%s", effect.message)
            elif isinstance(effect, fx.ForgetJob):
                self._jobs.pop(effect.job_id, None)

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

    def _stage_runs(self, fact: fx.AttemptMoved) -> None:
        """Of the first of its attempts; once more when it runs again after it was complete."""
        job = self._jobs.get(fact.job_id)
        if job is not None and fact.stage_index not in job.running:
            job.running[fact.stage_index] = None
            stage_id = _stage_id(job, fact.stage_index)
            logger.info("stage RUNNING", extra=about(job=fact.job_id, stage=stage_id))

    def _attempt(self, fact: fx.AttemptMoved) -> None:
        level = logging.WARNING if fact.state in _TELLING else logging.DEBUG
        state = "COMMITTED" if fact.is_committed else fact.state.value
        why = f": {fact.error}" if fact.error is not None else ""
        ids = about(
            job=fact.job_id,
            stage=_stage_id(self._jobs.get(fact.job_id), fact.stage_index),
            task=fact.partition,
            attempt=fact.attempt,
            worker=self._workers.get(fact.worker_id, fact.worker_id),
        )
        logger.log(level, "attempt %s%s", state, why, extra=ids)


def _stage_id(job: _Job | None, index: int) -> str:
    """The stage's id; its number in a job that only an earlier master knew."""
    return job.stage_ids[index] if job is not None else str(index)
