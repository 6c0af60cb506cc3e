"""State enums of jobs, stages, tasks, attempts and workers, each with its transition table.

Must not know what causes a transition: that is `scheduling/`'s business.
"""

from __future__ import annotations

from enum import Enum
from typing import TypeVar

from minispark.errors import IllegalTransition


class _Named(Enum):
    """Members are looked up by what they are, not by the hash of their name, at each transition."""

    __hash__ = object.__hash__


class JobState(_Named):
    PENDING = "PENDING"
    """Accepted and durable; no task was launched yet."""
    RUNNING = "RUNNING"
    """At least one task was launched."""
    SUCCEEDED = "SUCCEEDED"
    """Every task of every final stage is committed."""
    FAILED = "FAILED"
    """A task ran out of retries, or its plan cannot run."""
    CANCELLED = "CANCELLED"
    """Somebody asked for it to stop."""

    @property
    def is_terminal(self) -> bool:
        return self in (JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED)


class TaskState(_Named):
    PENDING = "PENDING"
    """Waits for its parents or for a slot."""
    ASSIGNED = "ASSIGNED"
    """An attempt was sent to a worker, which may still queue it."""
    RUNNING = "RUNNING"
    """An executor works on it; its clock runs."""
    COMMITTING = "COMMITTING"
    """An attempt was accepted; its worker gives the files their documented names."""
    SUCCEEDED = "SUCCEEDED"
    """Its output can be read."""
    FAILED = "FAILED"
    """It ran out of retries, and its job failed with it."""


class AttemptState(_Named):
    ASSIGNED = "ASSIGNED"
    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"
    """Its job ended, or another attempt won."""
    LOST = "LOST"
    """Its worker went down, or its output could not be fetched."""


class Cause(_Named):
    """Whose fault the end of an attempt was: each has a budget of its own, or none."""

    TASK = "task"
    """Its own: an error, a time limit, a crash, a commit that was refused."""
    WORKER = "worker"
    """Its worker went down."""
    FETCH = "fetch"
    """It could not read its input."""
    OUTPUT = "output"
    """It was accepted, and its output could not be read later."""
    RACE = "race"
    """The other of two speculative attempts was accepted."""
    ROOM = "room"
    """It began early, and gave its slot to a task that could run."""
    CACHE = "cache"
    """It was expected to find its records in its worker's cache, and did not."""
    PEER = "peer"
    """A foreign worker reported files that nobody asked for."""


class WorkerState(_Named):
    UP = "UP"
    DOWN = "DOWN"
    """No heartbeat within the timeout, or its connection closed."""


class WorkerKind(_Named):
    SOCKET = "socket"
    """One of ours: tasks are pushed to it over its session."""
    HTTP = "http"
    """A foreign worker that polls the documented endpoints."""
    SPARK = "spark"
    """The driver of a Spark application: it gets all tasks of a job at once, over its session."""


JOB_TRANSITIONS: dict[JobState, frozenset[JobState]] = {
    JobState.PENDING: frozenset({JobState.RUNNING, JobState.FAILED, JobState.CANCELLED}),
    JobState.RUNNING: frozenset({JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED}),
    JobState.SUCCEEDED: frozenset(),
    JobState.FAILED: frozenset(),
    JobState.CANCELLED: frozenset(),
}

TASK_TRANSITIONS: dict[TaskState, frozenset[TaskState]] = {
    TaskState.PENDING: frozenset({TaskState.ASSIGNED, TaskState.FAILED}),
    TaskState.ASSIGNED: frozenset(
        {
            TaskState.RUNNING,
            TaskState.COMMITTING,
            TaskState.SUCCEEDED,
            TaskState.PENDING,
            TaskState.FAILED,
        }
    ),
    TaskState.RUNNING: frozenset(
        {TaskState.COMMITTING, TaskState.SUCCEEDED, TaskState.PENDING, TaskState.FAILED}
    ),
    # a worker that dies while it commits sends its task back
    TaskState.COMMITTING: frozenset({TaskState.SUCCEEDED, TaskState.PENDING, TaskState.FAILED}),
    # a lost output sends its task back
    TaskState.SUCCEEDED: frozenset({TaskState.PENDING}),
    TaskState.FAILED: frozenset(),
}

_LIVE_ENDS = {
    AttemptState.SUCCEEDED,
    AttemptState.FAILED,
    AttemptState.CANCELLED,
    AttemptState.LOST,
}
ATTEMPT_TRANSITIONS: dict[AttemptState, frozenset[AttemptState]] = {
    AttemptState.ASSIGNED: frozenset({AttemptState.RUNNING, *_LIVE_ENDS}),
    AttemptState.RUNNING: frozenset(_LIVE_ENDS),
    AttemptState.SUCCEEDED: frozenset({AttemptState.LOST}),
    AttemptState.FAILED: frozenset(),
    AttemptState.CANCELLED: frozenset(),
    AttemptState.LOST: frozenset(),
}

WORKER_TRANSITIONS: dict[WorkerState, frozenset[WorkerState]] = {
    WorkerState.UP: frozenset({WorkerState.DOWN}),
    WorkerState.DOWN: frozenset({WorkerState.UP}),
}

S = TypeVar("S", JobState, TaskState, AttemptState, WorkerState)


def check_transition(table: dict[S, frozenset[S]], name: str, old: S, new: S, event: object) -> S:
    """Return `new`, or raise `IllegalTransition` that names the thing, both states and the
    event.
    """
    if new not in table[old]:
        raise IllegalTransition(f"{name} cannot go from {old.value} to {new.value} on {event!r}")
    return new
