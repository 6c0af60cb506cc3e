"""What a master finds when it starts: the job store, or what is left of it, and `jobs.json`.

Says in the log what it found. Must not know the core.
"""

from __future__ import annotations

import logging
import shutil
import sqlite3
from pathlib import Path

from minispark.master.job_codec import (
    UnreadableText,
    dump_plan,
    dump_plans,
    dump_request,
    load_plan,
    load_plans,
    load_request,
)
from minispark.model.effects import AttemptMoved
from minispark.model.events import WorkerIdentity
from minispark.model.job import Dag, JobRequest, PlanKind
from minispark.model.log_fields import about
from minispark.model.plan import PhysicalPlan
from minispark.model.records import JobRecord
from minispark.model.snapshot import JobView, StageView, Totals
from minispark.model.states import AttemptState, JobState, WorkerKind
from minispark.storage import salvage
from minispark.storage.database_errors import is_damage
from minispark.storage.job_history import JobHistory, JobRow
from minispark.storage.job_store import JobStore
from minispark.storage.jobs_json import CorruptSnapshot, read_snapshot

logger = logging.getLogger("minispark.master")


def database_path(state_dir: Path) -> Path:
    return state_dir / "state" / "minispark.db"


def open_store(state_dir: Path) -> JobStore:
    """The job store. A damaged one is moved aside, with a loud word; what can be read of it goes
    into a new one, and each job that is lost is named.

    One that is only out of reach (a full disk, somebody's lock) is left as it is: raises
    sqlite3.Error. Raises NewerSchema.
    """
    path = database_path(state_dir)
    aside = salvage.finish(path)
    if aside is not None:
        logger.error("an earlier master saved what it could of a damaged database: see %s", aside)
    try:
        return _store_at(path)
    except sqlite3.DatabaseError as error:
        if not is_damage(error):
            raise
        logger.error("%s is damaged: %s", path, error)
    fresh = salvage.partial_path(path)
    _store_at(fresh).close()
    saved = salvage.salvage(path, fresh)
    _name_lost(state_dir / "state" / "jobs.json", saved)
    logger.error("the damaged database lies at %s now", salvage.put_in_place(path, fresh))
    return _store_at(path)


def _store_at(path: Path) -> JobStore:
    return JobStore(path, dump_request, dump_plan, dump_plans)


def _name_lost(snapshot: Path, saved: list[str]) -> None:
    """Which jobs of the last `jobs.json` are not among those that were saved."""
    try:
        jobs = (read_snapshot(snapshot) or {"jobs": {}})["jobs"]
    except (CorruptSnapshot, OSError):
        jobs = {}
    known = set(saved)
    lost = {job_id: jobs[job_id] for job_id in jobs if job_id not in known}
    logger.error("%d jobs were saved, %d are lost", len(saved), len(lost))
    for job_id, job in lost.items():
        name = job.get("name", "?") if isinstance(job, dict) else "?"
        logger.error("lost: job %s (%s)", job_id, name, extra=about(job=job_id))


class Found:
    """The jobs of earlier masters: `ended` as readers saw them, and those `unfinished`.

    A job whose row is damaged, or was written by another version, costs no other job anything: it
    is named in the log. What it ended as stays; an unfinished one carries its failure.
    """

    def __init__(self, history: JobHistory) -> None:
        self._history = history
        self.ended: list[JobView] = []
        self.unfinished: list[JobRecord] = []
        for row in history.jobs():
            state = _state_of(row)
            if state is not None and state.is_terminal:
                self.ended.append(self._view(row, state))
            else:
                self.unfinished.append(self._record(row))
        self.ended.sort(key=lambda view: view.updated_at)

    def _view(self, row: JobRow, state: JobState) -> JobView:
        request, plan = _unread_request(row), None
        try:
            request = load_request(row.request)
            plan = load_plan(row.plan) if row.plan is not None else None
        except UnreadableText as error:
            text = "job %s (%s): %s"
            logger.error(text, row.job_id, row.name, error, extra=about(job=row.job_id))
        rows = self._history.stages(row.job_id)
        # what did not run in a job that succeeded was skipped
        is_whole = state is JobState.SUCCEEDED
        stages = tuple(
            StageView(
                index=stage.stage_index,
                id=stage.stage_id,
                op=stage.op,
                tasks_total=stage.completed if is_whole else stage.partitions,
                tasks_skipped=stage.partitions - stage.completed if is_whole else 0,
                tasks_completed=stage.completed,
                records=stage.records,
                failed_attempts=stage.failed_attempts,
                started_at=stage.started_at,
                ended_at=stage.ended_at if stage.completed == stage.partitions else None,
            )
            for stage in rows
        )
        failed = sum(stage.failed_attempts for stage in rows)
        return JobView(
            job_id=row.job_id,
            request=request,
            state=state,
            message=row.message,
            note=None,
            plan_kind=plan.kind if plan is not None else None,
            created_at=row.created_at,
            updated_at=row.updated_at,
            started_at=row.started_at,
            ended_at=row.ended_at,
            tasks_total=sum(stage.tasks_total for stage in stages),
            tasks_completed=sum(stage.completed for stage in rows),
            failed_attempts=failed,
            retries=max(0, failed - (state is JobState.FAILED)),
            result_bytes=sum(
                stage.bytes_written
                for stage in rows
                if stage.is_final or (plan is not None and plan.kind is PlanKind.NAIVE)
            ),
            stages=stages,
        )

    def _record(self, row: JobRow) -> JobRecord:
        request, failure = _unread_request(row), None
        try:
            request = load_request(row.request)
            plans = _plans_of(row)
            attempts = tuple(self._history.attempt_facts(row.job_id))
            _check_attempts(attempts, plans[0])
        except (UnreadableText, ValueError) as error:
            plans, attempts = (), ()
            failure = f"the master cannot go on with it after a restart: {error}"
        return JobRecord(
            job_id=row.job_id,
            request=request,
            plans=plans,
            is_planned=row.plan is not None,
            created_at=row.created_at,
            started_at=row.started_at,
            attempts=attempts,
            failure=failure,
        )

    @property
    def job_ids(self) -> set[str]:
        return {view.job_id for view in self.ended} | {job.job_id for job in self.unfinished}

    def log(self) -> None:
        """One line: nothing, or how many jobs, and which are unfinished."""
        total = len(self.ended) + len(self.unfinished)
        if not total:
            logger.info("found nothing of an earlier master")
            return
        names = ", ".join(f"{record.request.name} ({record.job_id})" for record in self.unfinished)
        listed = f": {names}" if names else ""
        logger.info("found %d jobs, %d unfinished%s", total, len(self.unfinished), listed)

    def totals(self) -> Totals:
        """What the store has of earlier counts: those of jobs that were forgotten are gone."""
        states = {state.value: state for state in AttemptState}
        known = [row for row in self._history.attempt_totals() if row[0] in states]
        attempts = {states[state]: count for state, count, _, _ in known}
        accepted = [row for row in known if row[0] == AttemptState.SUCCEEDED.value]
        ended = [view.state for view in self.ended]
        return Totals(
            jobs_submitted=len(ended) + len(self.unfinished),
            jobs_ended={state: ended.count(state) for state in JobState if state.is_terminal},
            attempts={**attempts, AttemptState.ASSIGNED: sum(count for _, count, _, _ in known)},
            records=sum(records for _, _, records, _ in accepted),
            bytes_written=sum(bytes_written for _, _, _, bytes_written in accepted),
        )

    def plans(self) -> list[tuple[str, PhysicalPlan]]:
        """The plans of unfinished jobs that have one, with the jobs' ids."""
        return [
            (job.job_id, job.plans[0]) for job in self.unfinished if job.is_planned and job.plans
        ]

    def worker_names(self) -> dict[str, str]:
        return {row.worker_id: row.name for row in self._history.workers()}

    def workers(self) -> dict[str, WorkerIdentity]:
        """Every worker that ever registered, by id. One of a kind that is none is left out: what
        it had is lost, as with a worker that does not come back.
        """
        kinds = {kind.value: kind for kind in WorkerKind}
        return {
            row.worker_id: WorkerIdentity(
                worker_id=row.worker_id,
                kind=kinds[row.kind],
                name=row.name,
                host=row.host,
                port=row.port,
                slots=row.slots,
                pid=None,
                host_id=row.host_id,
                state_dir=row.state_dir,
            )
            for row in self._history.workers()
            if row.kind in kinds
        }


def _state_of(row: JobRow) -> JobState | None:
    try:
        return JobState(row.state)
    except ValueError:
        return None


def _unread_request(row: JobRow) -> JobRequest:
    """What stands for a request that cannot be read."""
    return JobRequest(row.name, Dag((), ()), 1)


def _plans_of(row: JobRow) -> tuple[PhysicalPlan, ...]:
    """The plan that was chosen, or those of which one will be. Raises UnreadableText."""
    if _state_of(row) is None:
        raise UnreadableText(f"{row.state!r} is no state of a job")
    if row.plan is not None:
        return (load_plan(row.plan),)
    if row.candidates is not None:
        return load_plans(row.candidates)
    raise UnreadableText("an older version kept no plan of it; submit it again")


def _check_attempts(attempts: tuple[AttemptMoved, ...], plan: PhysicalPlan) -> None:
    """Each is of a task that the plan has. Raises UnreadableText."""
    widths = {stage.index: stage.partitions for stage in plan.stages}
    for fact in attempts:
        if not 0 <= fact.partition < widths.get(fact.stage_index, 0):
            where = f"{fact.stage_index}/{fact.partition}"
            raise UnreadableText(f"an attempt is stored of {where}, which its plan does not have")


def check_snapshot(path: Path) -> None:
    """Look at `jobs.json`; a corrupt one is moved aside, and nothing is lost by that."""
    try:
        read_snapshot(path)
    except CorruptSnapshot as error:
        logger.warning("%s is corrupt (%s): it lies at %s now", path, error, error.moved_to)
    except OSError as error:
        logger.warning("%s cannot be read: %s", path, error)


def clear_attempts(state_dir: Path, records: list[JobRecord]) -> None:
    """Delete what attempts of earlier masters left behind, except what is still of use: outputs of
    unfinished jobs, and what live attempts write.
    """
    ended = (AttemptState.FAILED, AttemptState.LOST, AttemptState.CANCELLED)
    kept = {f.attempt_id for r in records for f in r.attempts if f.state not in ended}
    folder = state_dir / "attempts"
    for path in folder.iterdir():
        if path.name not in kept:
            shutil.rmtree(path, ignore_errors=True)
