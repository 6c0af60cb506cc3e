"""The JSON types of workers, their tasks and the cluster, for the description of the API. Source:
API.md, "Types".

`documents.py` makes them, tests hold real answers against them. Must not know routes.
"""

from __future__ import annotations

from minispark.model.states import WorkerKind
from minispark.plan.parsing import PARTITIONS_MAX
from minispark.transport.api_schema import (
    COUNT,
    UUID,
    Choice,
    Flag,
    ListOf,
    MapOf,
    Maybe,
    Nullable,
    Object,
    Real,
    Schema,
    Text,
    Whole,
)

COUNT_MAX = 2**40
"""Of one task's records: over all tasks of a job they stay below what the database adds up."""
PATHS_MAX = 100_000
HOST_CHARS_MAX = 255
PORT_MAX = 65535

_STRING = Nullable(Text())
_LOADS = MapOf(COUNT)
WORKER_STATUS = Choice(("Up", "Down"))

TASK = Object(
    "Task",
    {
        "id": UUID,
        "job_id": UUID,
        "attempt": COUNT,
        "node_id": Text(),
        "op": Text(),
        "partition_id": COUNT,
        "total_partitions": COUNT,
        "input_path": _STRING,
        "input_partitions": ListOf(Text()),
        "fn_name": _STRING,
        "key": _STRING,
        "status": Choice(("Assigned",)),
        "is_shuffle_read": Flag(),
        "join_partitions": ListOf(Text()),
        "assigned_worker": Nullable(UUID),
    },
)
_PATHS = ListOf(Text(), entries_max=PATHS_MAX)
TASK_COMPLETION = Object(
    "TaskCompletion",
    {
        "task_id": UUID,
        "success": Flag(),
        "error": Maybe(_STRING),
        "output_path": Maybe(_STRING),
        "records_processed": Whole(0, COUNT_MAX),
        "shuffle_outputs": Maybe(Nullable(_PATHS)),
    },
)
"""What is read of a TaskResult."""
WORKER_REGISTRATION = Object(
    "WorkerRegistration",
    {
        "id": UUID,
        "host": Text(chars_min=1, chars_max=HOST_CHARS_MAX),
        "port": Whole(0, PORT_MAX),
    },
)
HEARTBEAT = Object("Heartbeat", {"worker_id": UUID, "active_tasks": Whole(0, COUNT_MAX)})
WORKER_INFO = Object(
    "WorkerInfo",
    {
        "id": UUID,
        "host": Text(),
        "port": Whole(0, PORT_MAX),
        "status": WORKER_STATUS,
        "active_tasks": COUNT,
        "last_heartbeat": COUNT,
        "name": Text(),
        "kind": Choice(tuple(kind.value for kind in WorkerKind)),
        "slots": COUNT,
        "pid": Nullable(COUNT),
        "metrics_url": _STRING,
    },
)

# --- the cluster ---------------------------------------------------------------------------------

CLUSTER = Object(
    "Cluster",
    {
        "version": Text(),
        "http_port": Whole(1, PORT_MAX),
        "socket_port": Whole(1, PORT_MAX),
        "state_dir": Text(),
        "task_retries_max": COUNT,
        "worker_losses_max": COUNT,
        "workers": ListOf(WORKER_INFO),
        "driver": Nullable(WORKER_INFO),
    },
)
_SYSTEM_COUNTS = (
    "workers_total", "workers_up", "workers_down", "jobs_total", "jobs_running", "jobs_accepted",
    "jobs_succeeded", "jobs_failed", "jobs_cancelled", "tasks_queued", "tasks_running",
)  # fmt: skip
_SYSTEM: dict[str, Schema] = dict.fromkeys(_SYSTEM_COUNTS, COUNT)
SYSTEM_METRICS = Object("SystemMetrics", {**_SYSTEM, "worker_loads": _LOADS})
FAILURES = Object(
    "FailureMetrics",
    {
        "job_failures": MapOf(COUNT),
        "worker_status": MapOf(WORKER_STATUS),
        "workers_down": COUNT,
        "retries_total": COUNT,
        "late_results": COUNT,
    },
)
SCHEDULER = Object(
    "SchedulerMetrics",
    {
        "total_workers": COUNT,
        "active_workers": COUNT,
        "total_load": COUNT,
        "next_index": COUNT,
        "worker_loads": _LOADS,
        "max_load_diff": COUNT,
    },
)
PERSISTED_STATE = Object(
    "PersistedState",
    {
        "jobs": MapOf(
            Object(
                "PersistedJob",
                {
                    "id": UUID,
                    "name": Text(),
                    "status": Text(),
                    "progress": Real(0, 100),
                    "parallelism": Whole(1, PARTITIONS_MAX),
                    "created_at": COUNT,
                    "updated_at": COUNT,
                },
            )
        ),
        "last_saved": COUNT,
    },
)
