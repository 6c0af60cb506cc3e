"""The documented JSON of jobs, stages, workers and metrics, made from a snapshot. Source: API.md,
"Types".

Pure. Must not know HTTP or the core.
"""

from __future__ import annotations

import json
from dataclasses import asdict, fields
from typing import Any

from minispark.metrics.worker_load import WorkerLoad
from minispark.model.effects import HttpTask
from minispark.model.figures import StageFigures
from minispark.model.ids import attempt_id
from minispark.model.job import DagNode, JobRequest, ReaderOptions
from minispark.model.plan import PhysicalPlan, ReadDocumentedShuffle
from minispark.model.snapshot import JobView, Snapshot, StageView, WorkerView
from minispark.model.states import JobState, WorkerState
from minispark.plan.analyze import analyze
from minispark.storage.job_history import AttemptRow

_PLAIN_NODE = DagNode("", "")
_DOCUMENTED = ("id", "op", "path", "partitions", "fn_name", "key", "join_with")
# taken from the class, so that a stored request keeps every field
_OURS = tuple(f.name for f in fields(DagNode) if f.name not in (*_DOCUMENTED, "reader"))
_READER = tuple(f.name for f in fields(ReaderOptions))


def request_document(request: JobRequest) -> dict[str, Any]:
    """JobRequest; our own fields only where they say something."""
    document: dict[str, Any] = {
        "name": request.name,
        "dag": {
            "nodes": [_node_document(node) for node in request.dag.nodes],
            "edges": [list(edge) for edge in request.dag.edges],
        },
        "parallelism": request.parallelism,
    }
    if request.plan is not None:
        document["plan"] = request.plan.value
    if request.engine is not None:
        document["engine"] = request.engine.value
    if request.timeout_s is not None:
        document["timeout_s"] = request.timeout_s
    if request.modules:
        document["modules"] = dict(request.modules)
    return document


def _node_document(node: DagNode) -> dict[str, Any]:
    document = {name: getattr(node, name) for name in _DOCUMENTED}
    for name in _OURS:
        if getattr(node, name) != getattr(_PLAIN_NODE, name):
            document[name] = getattr(node, name)
    for name in _READER:
        if getattr(node.reader, name) != getattr(_PLAIN_NODE.reader, name):
            document[name] = getattr(node.reader, name)
    return document


def status_document(job: JobView) -> Any:
    """JobStatus; a cancelled job is `Failed` for decoders that know no other."""
    match job.state:
        case JobState.PENDING:
            return "Accepted"
        case JobState.RUNNING:
            return "Running"
        case JobState.SUCCEEDED:
            return "Succeeded"
        case JobState.FAILED | JobState.CANCELLED:
            return {"Failed": job.message or job.state.value.lower()}


def job_document(job: JobView) -> dict[str, Any]:
    """JobInfo."""
    return {
        "id": job.job_id,
        "request": request_document(job.request),
        "status": status_document(job),
        "progress": job.progress,
        "created_at": int(job.created_at),
        "updated_at": int(job.updated_at),
        "state": job.state.value,
        "plan": job.plan_kind.value if job.plan_kind is not None else None,
        "note": job.note,
        "warnings": list(job.request.warnings),
        "tasks": {
            "pending": job.tasks_pending,
            "running": job.tasks_running,
            "completed": job.tasks_completed,
            "failed": job.tasks_failed,
        },
        "retries": job.retries,
        "duration_ms": _duration_ms(job.started_at, job.ended_at),
    }


def _duration_ms(started_at: float | None, ended_at: float | None) -> int | None:
    if started_at is None or ended_at is None:
        return None
    return max(0, round(1000 * (ended_at - started_at)))


def _seconds(at: float | None) -> int | None:
    return None if at is None else int(at)


def job_summary_document(job: JobView) -> dict[str, Any]:
    """One line of a list of jobs: without its DAG, which may be large."""
    return {
        "id": job.job_id,
        "name": job.request.name,
        "state": job.state.value,
        "message": job.message,
        "note": job.note,
        "progress": job.progress,
        "plan": job.plan_kind.value if job.plan_kind is not None else None,
        "created_at": job.created_at,
        "started_at": job.started_at,
        "ended_at": job.ended_at,
        "tasks_total": job.tasks_total,
        "tasks_completed": job.tasks_completed,
        "tasks_running": job.tasks_running,
        "failed_attempts": job.failed_attempts,
        "retries": job.retries,
    }


def job_metrics_document(job: JobView) -> dict[str, Any]:
    """JobMetrics."""
    duration_ms = _duration_ms(job.started_at, job.ended_at)
    status = {
        JobState.SUCCEEDED: "Completed",
        JobState.FAILED: "Failed",
        JobState.CANCELLED: "Failed",
    }
    return {
        "job_id": job.job_id,
        "name": job.request.name,
        "status": status.get(job.state, "Running"),
        "start_time": int(job.started_at if job.started_at is not None else job.created_at),
        "end_time": _seconds(job.ended_at),
        "duration_ms": duration_ms,
        "total_tasks": job.tasks_total,
        "completed_tasks": job.tasks_completed,
        "failed_tasks": job.failed_attempts,
        "total_records": job.records,
        "stages_completed": sum(stage.is_complete for stage in job.stages),
        "total_stages": len(job.stages),
        "throughput_records_per_sec": 1000.0 * job.records / duration_ms if duration_ms else 0.0,
    }


def stage_document(stage: StageView) -> dict[str, Any]:
    """StageStats."""
    return {
        "node_id": stage.id,
        "start_time": _seconds(stage.started_at),
        "end_time": _seconds(stage.ended_at),
        "tasks_total": stage.tasks_total,
        "tasks_completed": stage.tasks_completed,
        "records_processed": stage.records,
        "tasks_running": stage.tasks_running,
        "failed_attempts": stage.failed_attempts,
        "tasks_skipped": stage.tasks_skipped,
    }


def profile_document(
    job: JobView, plan: PhysicalPlan, figures: dict[int, StageFigures]
) -> dict[str, Any]:
    """Where the job's time went; of a stage that is not complete, `figures` is null."""
    skipped = {stage.index: stage.tasks_skipped for stage in job.stages}
    stages = []
    for stage in plan.stages:
        took = figures.get(stage.index)
        document: dict[str, Any] = {
            "index": stage.index,
            "id": stage.id,
            "partitions": stage.partitions,
            "parents": list(stage.parents),
            "tasks_skipped": skipped.get(stage.index, 0),
            "figures": asdict(took) if took is not None else None,
            "operators": [asdict(line) for line in analyze(stage, took or StageFigures())],
        }
        stages.append(document)
    return {
        "state": job.state.value,
        "plan": plan.kind.value,
        "created_at": job.created_at,
        "started_at": job.started_at,
        "ended_at": job.ended_at,
        "stages": stages,
    }


def worker_document(worker: WorkerView) -> dict[str, Any]:
    """WorkerInfo."""
    who = worker.identity
    return {
        "id": who.worker_id,
        "host": who.host,
        "port": who.port,
        "status": worker_status(worker),
        "active_tasks": worker.load,
        "last_heartbeat": int(worker.last_heartbeat_unix_s),
        "name": who.name,
        "kind": who.kind.value,
        "slots": who.slots,
        "pid": who.pid,
        "metrics_url": who.metrics_url,
    }


def load_document(load: WorkerLoad | None) -> dict[str, Any] | None:
    """What a worker uses; None of one that does not say."""
    return None if load is None else asdict(load)


def worker_status(worker: WorkerView) -> str:
    return "Up" if worker.state is WorkerState.UP else "Down"


def attempt_document(job_id: str, row: AttemptRow) -> dict[str, Any]:
    """One row of `GET /api/v1/jobs/{id}/tasks`: an attempt. `started_at` and `finished_at` are when
    an executor took it up and was done, `ended_at` when the master heard of that.
    """
    phases: dict[str, int] = json.loads(row.phases) if row.phases is not None else {}
    return {
        "id": attempt_id(job_id, row.stage_id, row.partition, row.attempt),
        "node_id": row.stage_id,
        "stage": row.stage_index,
        "partition_id": row.partition,
        "attempt": row.attempt,
        "state": row.state,
        "worker_id": row.worker_id,
        "worker": row.worker_name,
        "assigned_at": row.assigned_at,
        "ended_at": row.ended_at,
        "error": row.error,
        "records_processed": row.records,
        "bytes_written": row.bytes_written,
        "cause": row.cause,
        "slot": row.slot,
        "started_at": row.begun_at,
        "finished_at": row.finished_at,
        "phases_ms": {name: us / 1000 for name, us in phases.items()},
    }


def task_document(task: HttpTask, worker_id: str, state_dir: str) -> dict[str, Any]:
    """Task, as a foreign worker gets it."""
    order, stage = task.order, task.stage
    return {
        "id": order.attempt_id,
        "job_id": order.job_id,
        "attempt": order.attempt,
        "node_id": stage.id,
        "op": stage.op,
        "partition_id": order.partition,
        "total_partitions": stage.partitions,
        "input_path": stage.input_path,
        "input_partitions": [f"{state_dir}/{name}" for name in task.left_files],
        "fn_name": stage.fn_name,
        "key": stage.key,
        "status": "Assigned",
        "is_shuffle_read": isinstance(stage.program.source, ReadDocumentedShuffle),
        "join_partitions": [f"{state_dir}/{name}" for name in task.right_files],
        "assigned_worker": worker_id,
    }


# --- metrics of the whole cluster -----------------------------------------------------------


def system_document(snapshot: Snapshot) -> dict[str, Any]:
    states = [job.state for job in snapshot.jobs.values()]
    up = sum(worker.state is WorkerState.UP for worker in snapshot.workers.values())
    return {
        "workers_total": len(snapshot.workers),
        "workers_up": up,
        "workers_down": len(snapshot.workers) - up,
        "jobs_total": len(states),
        "jobs_running": states.count(JobState.RUNNING),
        "jobs_accepted": states.count(JobState.PENDING),
        "jobs_succeeded": states.count(JobState.SUCCEEDED),
        "jobs_failed": states.count(JobState.FAILED),
        "jobs_cancelled": states.count(JobState.CANCELLED),
        "tasks_queued": snapshot.tasks_queued,
        "tasks_running": snapshot.tasks_running,
        "worker_loads": _loads(snapshot),
    }


def failures_document(snapshot: Snapshot) -> dict[str, Any]:
    status = {i: worker_status(worker) for i, worker in snapshot.workers.items()}
    return {
        "job_failures": {i: job.failed_attempts for i, job in snapshot.jobs.items()},
        "worker_status": status,
        "workers_down": list(status.values()).count("Down"),
        "retries_total": snapshot.retries_total,
        "late_results": snapshot.late_results,
    }


def scheduler_document(snapshot: Snapshot, max_load_diff: int) -> dict[str, Any]:
    loads = _loads(snapshot)
    up = sum(worker.state is WorkerState.UP for worker in snapshot.workers.values())
    return {
        "total_workers": len(snapshot.workers),
        "active_workers": up,
        "total_load": sum(loads.values()),
        "next_index": snapshot.next_index,
        "worker_loads": loads,
        "max_load_diff": max_load_diff,
    }


def _loads(snapshot: Snapshot) -> dict[str, int]:
    return {i: worker.load for i, worker in snapshot.workers.items()}


def state_document(snapshot: Snapshot, saved_at: float) -> dict[str, Any]:
    """PersistedState: also what `state/jobs.json` holds."""
    jobs = {}
    for job in snapshot.jobs.values():
        status = status_document(job)
        jobs[job.job_id] = {
            "id": job.job_id,
            "name": job.request.name,
            "status": status if isinstance(status, str) else f"Failed: {status['Failed']}",
            "progress": job.progress,
            "parallelism": job.request.parallelism,
            "created_at": int(job.created_at),
            "updated_at": int(job.updated_at),
        }
    return {"jobs": jobs, "last_saved": int(saved_at)}
