"""The JSON type of the page's overview, for the description of the API. `api_page.py` makes it.

Must not know routes.
"""

from __future__ import annotations

from minispark.master.api_cluster_types import SYSTEM_METRICS, WORKER_INFO
from minispark.master.api_job_types import JOB_STATE, PLAN_KIND
from minispark.transport.api_schema import COUNT, UUID, Flag, ListOf, Nullable, Object, Real, Text

_SECONDS = Nullable(Real())
PROCESS = Object(
    "SupervisedProcess",
    {
        "state": Text(),
        "pid": Nullable(COUNT),
        "restarts": COUNT,
        "reason": Nullable(Text()),
        "is_paused": Flag(),
    },
)
LOAD = Object(
    "WorkerLoad",
    {
        "cpu_percent": Real(0),
        "rss_bytes": COUNT,
        "cache_bytes": COUNT,
        "cache_spilled_bytes": COUNT,
        "cache_hits": COUNT,
        "cache_misses": COUNT,
    },
)
JOB_SUMMARY = Object(
    "JobSummary",
    {
        "id": UUID,
        "name": Text(),
        "state": JOB_STATE,
        "message": Nullable(Text()),
        "note": Nullable(Text()),
        "progress": Real(0, 100),
        "plan": Nullable(PLAN_KIND),
        "created_at": Real(),
        "started_at": _SECONDS,
        "ended_at": _SECONDS,
        "tasks_total": COUNT,
        "tasks_completed": COUNT,
        "tasks_running": COUNT,
        "failed_attempts": COUNT,
        "retries": COUNT,
    },
)
OVERVIEW = Object(
    "Overview",
    {
        "at": Real(),
        "version": Text(),
        "started_at": Real(),
        "last_event_id": COUNT,
        "system": Object("OverviewSystem", {**SYSTEM_METRICS.fields, "retries_total": COUNT}),
        "workers": ListOf(
            Object(
                "OverviewWorker",
                {**WORKER_INFO.fields, "load": Nullable(LOAD), "process": Nullable(PROCESS)},
            )
        ),
        "driver": Nullable(WORKER_INFO),
        "waiting": ListOf(Object("WaitingWorker", {"name": Text(), "process": PROCESS})),
        "jobs": ListOf(JOB_SUMMARY),
    },
)
