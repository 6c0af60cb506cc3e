"""The JSON types of jobs, for the description of the API. Source: API.md, "Types".

`plan/parsing.py` reads them, `documents.py` makes them, tests hold real answers against them. Must
not know routes.
"""

from __future__ import annotations

from minispark.model.figures import PHASES
from minispark.model.function_names import OPERATORS
from minispark.model.job import Engine, PlanKind
from minispark.model.states import AttemptState, JobState
from minispark.plan.parsing import (
    EDGES_MAX,
    MODULES_MAX,
    NAME_CHARS_MAX,
    NODES_MAX,
    PARTITIONS_MAX,
    PATH_CHARS_MAX,
    TIMEOUT_S_MAX,
    WHOLE_MAX,
)
from minispark.plan.validation import ID_CHARS_MAX
from minispark.transport.api_schema import (
    COUNT,
    UUID,
    Anything,
    Choice,
    Flag,
    ListOf,
    MapOf,
    Maybe,
    Nullable,
    Object,
    OneOf,
    Real,
    Text,
    Whole,
)

_STRING = Nullable(Text())
_NODE_ID = Text(chars_min=1, chars_max=ID_CHARS_MAX, pattern="^[A-Za-z0-9_.-]+$")
_PARTITIONS = Whole(1, PARTITIONS_MAX)
_WHOLE = Nullable(Whole(0, WHOLE_MAX))
_SECONDS = Nullable(Real())
ENGINE = Choice(tuple(engine.value for engine in Engine))
PLAN_KIND = Choice(tuple(kind.value for kind in PlanKind))
JOB_STATE = Choice(tuple(state.value for state in JobState))
ATTEMPT_STATES = tuple(state.value for state in AttemptState)

# --- jobs ----------------------------------------------------------------------------------------

DAG_NODE = Object(
    "DagNode",
    {
        "id": _NODE_ID,
        "op": Choice(tuple(OPERATORS)),
        "path": Maybe(Nullable(Text(chars_max=PATH_CHARS_MAX))),
        "partitions": Maybe(Nullable(_PARTITIONS)),
        "fn_name": Maybe(_STRING),
        "fn": Maybe(_STRING),
        "key": Maybe(_STRING),
        "join_with": Maybe(_STRING),
        "value": Maybe(_STRING),
        "expr": Maybe(_STRING),
        "ascending": Maybe(Nullable(Flag())),
        "n": Maybe(_WHOLE),
        "fraction": Maybe(Nullable(Real(0, 1))),
        "seed": Maybe(_WHOLE),
        "cache": Maybe(Nullable(Flag())),
        "encoding": Maybe(_STRING),
        "errors": Maybe(Nullable(Choice(("", "strict", "replace")))),
        "on_error": Maybe(Nullable(Choice(("", "fail", "skip")))),
        "multiline": Maybe(Nullable(Flag())),
    },
)
DAG = Object(
    "Dag",
    {
        "nodes": ListOf(DAG_NODE, 1, NODES_MAX),
        "edges": ListOf(ListOf(Text(), 2, 2), entries_max=EDGES_MAX),
    },
)
JOB_REQUEST = Object(
    "JobRequest",
    {
        "name": Text(chars_min=1, chars_max=NAME_CHARS_MAX),
        "dag": DAG,
        "parallelism": _PARTITIONS,
        "plan": Maybe(Nullable(PLAN_KIND)),
        "engine": Maybe(Nullable(ENGINE)),
        "timeout_s": Maybe(Nullable(Real(0, TIMEOUT_S_MAX))),
        "modules": Maybe(Nullable(MapOf(Text(), entries_max=MODULES_MAX))),
    },
    example={
        "name": "wordcount",
        "dag": {
            "nodes": [
                {"id": "read", "op": "read_csv", "path": "data/input.csv"},
                {"id": "flatmap", "op": "flat_map", "fn": "split_words"},
                {"id": "map", "op": "map", "fn": "pair_with_one"},
                {"id": "reduce", "op": "reduce_by_key", "fn": "sum", "key": "word"},
            ],
            "edges": [["read", "flatmap"], ["flatmap", "map"], ["map", "reduce"]],
        },
        "parallelism": 4,
    },
)
JOB_STATUS = OneOf(
    (
        Choice(("Accepted", "Running", "Succeeded")),
        Object("FailedStatus", {"Failed": Text()}),
    )
)
JOB_INFO = Object(
    "JobInfo",
    {
        "id": UUID,
        "request": JOB_REQUEST,
        "status": JOB_STATUS,
        "progress": Real(0, 100),
        "created_at": COUNT,
        "updated_at": COUNT,
        "state": JOB_STATE,
        "plan": Nullable(PLAN_KIND),
        "note": _STRING,
        "warnings": ListOf(Text()),
        "tasks": Object(
            "TaskCounts", dict.fromkeys(("pending", "running", "completed", "failed"), COUNT)
        ),
        "retries": COUNT,
        "duration_ms": Nullable(COUNT),
    },
)
JOB_METRICS = Object(
    "JobMetrics",
    {
        "job_id": UUID,
        "name": Text(),
        "status": Choice(("Running", "Completed", "Failed")),
        "start_time": COUNT,
        "end_time": Nullable(COUNT),
        "duration_ms": Nullable(COUNT),
        "total_tasks": COUNT,
        "completed_tasks": COUNT,
        "failed_tasks": COUNT,
        "total_records": COUNT,
        "stages_completed": COUNT,
        "total_stages": COUNT,
        "throughput_records_per_sec": Real(0),
    },
)
STAGE_STATS = Object(
    "StageStats",
    {
        "node_id": Text(),
        "start_time": Nullable(COUNT),
        "end_time": Nullable(COUNT),
        "tasks_total": COUNT,
        "tasks_completed": COUNT,
        "records_processed": COUNT,
        "tasks_running": COUNT,
        "failed_attempts": COUNT,
        "tasks_skipped": COUNT,
    },
)
PLAN = Object(
    "Plan",
    {
        "kind": PLAN_KIND,
        "text": Text(),
        "stages": ListOf(
            Object(
                "PlanStage",
                {
                    "index": COUNT,
                    "id": Text(),
                    "node_ids": ListOf(Text()),
                    "op": Text(),
                    "partitions": COUNT,
                    "parents": ListOf(COUNT),
                    "is_final": Flag(),
                    "is_documented": Flag(),
                    "program": MapOf(Anything()),
                },
            )
        ),
    },
)
PROFILE = Object(
    "Profile",
    {
        "state": JOB_STATE,
        "plan": PLAN_KIND,
        "created_at": Real(),
        "started_at": _SECONDS,
        "ended_at": _SECONDS,
        "stages": ListOf(
            Object(
                "StageProfile",
                {
                    "index": COUNT,
                    "id": Text(),
                    "partitions": COUNT,
                    "parents": ListOf(COUNT),
                    "tasks_skipped": COUNT,
                    "figures": Nullable(
                        Object(
                            "StageFigures",
                            {
                                "tasks": COUNT,
                                "bytes_read": COUNT,
                                "bytes_written": COUNT,
                                "bytes_spilled": COUNT,
                                "records": COUNT,
                                "phases_us": Object(
                                    "PhasesUs",
                                    dict.fromkeys((*PHASES, "other"), Maybe(COUNT)),
                                ),
                                "operators": MapOf(
                                    Object("OperatorFigures", {"records": COUNT, "us": COUNT})
                                ),
                                "first_started_at": _SECONDS,
                                "last_accepted_at": _SECONDS,
                                "completed_at": _SECONDS,
                            },
                        )
                    ),
                    "operators": ListOf(
                        Object(
                            "OperatorLine",
                            {
                                "what": Text(),
                                "records": Nullable(COUNT),
                                "bytes": Nullable(COUNT),
                                "us": Nullable(COUNT),
                                "bytes_spilled": Nullable(COUNT),
                            },
                        )
                    ),
                },
            )
        ),
    },
)
ATTEMPT = Object(
    "Attempt",
    {
        "id": UUID,
        "node_id": Text(),
        "stage": COUNT,
        "partition_id": COUNT,
        "attempt": COUNT,
        "state": Choice(ATTEMPT_STATES),
        "worker_id": UUID,
        "worker": _STRING,
        "assigned_at": Real(),
        "ended_at": _SECONDS,
        "error": _STRING,
        "records_processed": COUNT,
        "bytes_written": COUNT,
        "cause": _STRING,
        "slot": Nullable(COUNT),
        "started_at": _SECONDS,
        "finished_at": _SECONDS,
        "phases_ms": MapOf(Real(0)),
    },
)
ATTEMPTS = Object("Attempts", {"tasks": ListOf(ATTEMPT), "total": COUNT})
TRACE = Object(
    "Trace",
    {
        "displayTimeUnit": Choice(("ms",)),
        "otherData": Object(
            "TracedJob", {"job_id": UUID, "name": Text(), "begun_at_unix_s": Real()}
        ),
        "traceEvents": ListOf(MapOf(Anything())),
    },
)
TASK_RESULT = Object(
    "TaskResult",
    {
        "task_id": UUID,
        "job_id": UUID,
        "attempt": COUNT,
        "success": Flag(),
        "error": _STRING,
        "output_path": _STRING,
        "records_processed": COUNT,
        "shuffle_outputs": ListOf(Text()),
    },
)
RECORD = Object("Record", {"key": _STRING, "value": Text()})
