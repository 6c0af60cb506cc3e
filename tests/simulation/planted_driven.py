"""Bugs in what is done with jobs that Spark runs, as in `planted.py`. Must not know how runs go."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from minispark.model import effects as fx
from minispark.model.states import Cause, WorkerState
from minispark.scheduling import driven
from minispark.scheduling.attempts import AttemptOutcomes
from minispark.scheduling.core import SchedulingCore
from minispark.scheduling.dispatch import Dispatcher
from minispark.scheduling.driven import DrivenJobs
from minispark.scheduling.endings import Endings
from minispark.scheduling.limits import Limits
from minispark.scheduling.recovery import Recovery
from minispark.scheduling.stage_run import StageRun
from minispark.scheduling.state import ClusterState
from minispark.scheduling.worker_pool import WorkerPool
from tests.simulation.faults import Faults
from tests.simulation.planting import bug, nothing, without, wrap

MANY = {"spark": 1.0}
"""All jobs whose plan is fused are Spark's."""


def _orders(patch: pytest.MonkeyPatch, change: Callable[[fx.DriveTasks], list[fx.Effect]]) -> None:
    """What is sent in place of each order to the driver."""

    def dispatch(original: Any, self: DrivenJobs, now: Any, at: Any, effects: Any) -> None:
        before = len(effects)
        original(self, now, at, effects)
        asked, effects[before:] = effects[before:], []
        for effect in asked:
            effects.extend(change(effect) if isinstance(effect, fx.DriveTasks) else [effect])

    wrap(patch, DrivenJobs, "dispatch", dispatch)


# --- whose tasks go where --------------------------------------------------------------------


@bug("a job of Spark's is given to a worker", "is of the other engine", **MANY)
def _to_a_worker(patch: pytest.MonkeyPatch) -> None:
    def driver(_: Any, self: WorkerPool) -> Any:
        up = (w for w in self.workers.values() if w.state is WorkerState.UP and w.is_pooled)
        return next(up, None)

    wrap(patch, WorkerPool, "driver", driver)


@bug("the driver gets orders as a worker does", "which is Spark's", **MANY)
def _launched(patch: pytest.MonkeyPatch) -> None:
    _orders(patch, lambda sent: [fx.LaunchAttempts(sent.worker_id, sent.orders, {}, {})])


@bug("the driver gets one stage's tasks at a time", "wait, and a driver is Up", **MANY)
def _one_stage(patch: pytest.MonkeyPatch) -> None:
    def assign(original: Any, self: DrivenJobs, job: Any, *more: Any) -> Any:
        last = job.open_groups[1:]
        del job.open_groups[1:]
        attempts = original(self, job, *more)
        job.open_groups += last
        return attempts

    wrap(patch, DrivenJobs, "_assign_all", assign)


@bug("a task that waits for its retry is never sent", "wait, and a driver is Up", **MANY)
def _delayed_for_ever(patch: pytest.MonkeyPatch) -> None:
    def delay(original: Any, self: ClusterState, stage: Any, task: Any, due: float) -> None:
        original(self, stage, task, float("inf") if stage.job.is_driven else due)

    wrap(patch, ClusterState, "delay", delay)


@bug("a job's tasks are sent one by one", "are sent twice at once", **MANY)
def _one_by_one(patch: pytest.MonkeyPatch) -> None:
    _orders(patch, lambda sent: [replace(sent, orders=(order,)) for order in sent.orders])


@bug("the driver gets all programs but those of its orders", "with other programs", **MANY)
def _no_programs(patch: pytest.MonkeyPatch) -> None:
    _orders(patch, lambda sent: [replace(sent, programs={})])


@bug("Spark's task is to read what a worker wrote", "that is not Spark's", **MANY)
def _read_elsewhere(patch: pytest.MonkeyPatch) -> None:
    wrap(patch, driven, "order_of", lambda original, attempt, _: original(attempt, "elsewhere"))


@bug("a task of Spark's is copied", "is tried twice at once", **MANY)
def _copied(patch: pytest.MonkeyPatch) -> None:
    def place(original: Any, self: Dispatcher, job: Any, *more: Any) -> Any:
        if job.is_driven:
            original(self, job, *more)
        return original(self, job, *more)

    wrap(patch, Dispatcher, "place", place)


# --- who is asked for a driver ---------------------------------------------------------------


@bug("nobody asks for a driver", "wait for a driver", **MANY)
def _never_asked(patch: pytest.MonkeyPatch) -> None:
    without(patch, DrivenJobs, "dispatch", fx.WantDriver)


@bug("a driver is asked for at every event", "a driver is asked for at", **MANY)
def _asked_always(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(driven, "DRIVER_ASKED_S", 0.0)


@bug("a driver is asked for without a job", "no task waits for it")
def _asked_for_nothing(patch: pytest.MonkeyPatch) -> None:
    def dispatch(original: Any, self: DrivenJobs, now: Any, at: Any, effects: Any) -> None:
        original(self, now, at, effects)
        if self._asked_at is None:
            self._asked_at = now
            effects.append(fx.WantDriver())

    wrap(patch, DrivenJobs, "dispatch", dispatch)


@bug("a driver is asked for though one is Up", "and one is Up", **MANY)
def _asked_too_much(patch: pytest.MonkeyPatch) -> None:
    _orders(patch, lambda sent: [sent, fx.WantDriver()])


# --- outputs ---------------------------------------------------------------------------------


@bug("outputs do not go with the driver", "counts as readable", **MANY)
def _outlived(patch: pytest.MonkeyPatch) -> None:
    nothing(patch, AttemptOutcomes, "lose_application")


@bug("a driver that comes back has nothing", "and its driver has it", **MANY)
def _kept_for_nothing(patch: pytest.MonkeyPatch) -> None:
    def lose(original: Any, self: Any, driver_id: str, _: Any, *more: Any) -> None:
        original(self, driver_id, (), *more)

    wrap(patch, AttemptOutcomes, "lose_application", lose)


@bug(
    "a driver that comes back has everything",
    "counts as readable",
    **MANY,
    faults=Faults(crash_every_s=6.0, late_disconnect=0.9),
)
def _kept_too_much(patch: pytest.MonkeyPatch) -> None:
    def lose(original: Any, self: Any, driver_id: str, kept: Any, *more: Any) -> None:
        if not kept and self.state.pool.driver() is not None:
            return  # it registered, and said that it has nothing
        original(self, driver_id, kept, *more)

    wrap(patch, AttemptOutcomes, "lose_application", lose)


@bug("results go with the driver, too", "is lost, and was committed", **MANY)
def _results_lost(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(StageRun, "is_sparks", property(lambda self: self.job.is_driven))


@bug("a restarted master forgets results", "is made again, and was committed", **MANY)
def _results_forgotten(patch: pytest.MonkeyPatch) -> None:
    def replay(original: Any, self: Recovery, job: Any, fact: Any, *more: Any) -> None:
        if not fact.is_committed:
            original(self, job, fact, *more)

    wrap(patch, Recovery, "_replay", replay)


@bug("directories of results are left to the driver", "directories of attempts are left", **MANY)
def _no_drops(patch: pytest.MonkeyPatch) -> None:
    def drop(original: Any, self: Endings, worker: Any, *more: Any) -> None:
        if not worker.is_driver:
            original(self, worker, *more)

    wrap(patch, Endings, "drop", drop)


@bug("a driver that comes is not asked what lies on its disk", "is asked what lies on", **MANY)
def _no_sweep(patch: pytest.MonkeyPatch) -> None:
    def sweep(original: Any, self: Endings, worker: Any, effects: Any) -> None:
        if not (worker.is_driver and worker.state is WorkerState.UP):
            original(self, worker, effects)

    wrap(patch, Endings, "sweep", sweep)


# --- budgets ---------------------------------------------------------------------------------

LOSING = {**MANY, "faults": Faults(crash_every_s=4.0, kill_master=0.0)}


@bug("a lost driver counts as a lost worker", "were allowed", **LOSING)
def _budget_of_workers(patch: pytest.MonkeyPatch) -> None:
    def losses_max(_: Any, self: AttemptOutcomes, __: Any) -> int:
        limits: Limits = self.state.limits
        return limits.worker_losses_max

    wrap(patch, AttemptOutcomes, "_losses_max", losses_max)


@bug("a job fails one lost driver too early", "no budget was used up", **LOSING)
def _one_driver_less(patch: pytest.MonkeyPatch) -> None:
    def losses_max(original: Any, self: AttemptOutcomes, attempt: Any) -> int:
        most: int = original(self, attempt)
        return most - 1 if attempt.stage.job.is_driven else most

    wrap(patch, AttemptOutcomes, "_losses_max", losses_max)


@bug("lost outputs of Spark's count as unreadable ones", "of Spark's ended by", **LOSING)
def _another_cause(patch: pytest.MonkeyPatch) -> None:
    def forget(original: Any, self: Any, lost: Any, _: Any, *more: Any) -> Any:
        return original(self, lost, Cause.OUTPUT, *more)

    wrap(patch, AttemptOutcomes, "_forget", forget)


# --- what a driver may forget ----------------------------------------------------------------


@bug("a driver is not told of a job's end", "is not told that it may forget", **MANY)
def _not_told(patch: pytest.MonkeyPatch) -> None:
    def forget(original: Any, self: Endings, *more: Any) -> None:
        with pytest.MonkeyPatch.context() as inner:
            nothing(inner, WorkerPool, "driver")
            original(self, *more)

    wrap(patch, Endings, "_forget_tables", forget)


@bug("a driver that was away is not told of a job's end", "keeps what nobody reads", **MANY)
def _not_told_later(patch: pytest.MonkeyPatch) -> None:
    def register(original: Any, self: SchedulingCore, event: Any, now: Any, effects: Any) -> None:
        original(self, event, now, effects)
        for index, effect in enumerate(effects):
            if isinstance(effect, fx.AcceptWorker):
                every = (*effect.driven, *self.state.finished)
                effects[index] = replace(effect, driven=every)

    wrap(patch, SchedulingCore, "_register", register)


@bug("a driver is to forget a job that goes on", "is forgotten by", **MANY)
def _forgotten_early(patch: pytest.MonkeyPatch) -> None:
    _orders(patch, lambda sent: [sent, fx.ForgetTables(sent.worker_id, sent.job_id)])
