"""What is known of jobs, their attempts and events: from the cluster that runs, or from the
database that an ended one left behind.

Must not know how any of it is shown.
"""

from __future__ import annotations

import argparse
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from minispark.cli.find import find_client, state_dir_of
from minispark.client import Client
from minispark.errors import ClusterError, NoCluster, NotFound
from minispark.storage.job_history import JobHistory, JobRow

EVENTS_PER_PAGE = 1000
ATTEMPTS_PER_PAGE = 1000


@dataclass(frozen=True, slots=True)
class KnownJob:
    """One job. Times are UNIX seconds."""

    id: str
    name: str
    state: str
    message: str | None
    """Why it failed or was cancelled."""
    submitted_at: float
    ended_at: float | None


@dataclass(frozen=True, slots=True)
class KnownStage:
    id: str
    partitions: int


class Journal(Protocol):
    """Attempts and events are documents as the HTTP API has them."""

    def names(self) -> list[tuple[str, str]]:
        """(id, name) of every job, oldest first."""

    def job(self, job_id: str) -> KnownJob: ...

    def stages(self, job_id: str) -> list[KnownStage]:
        """In plan order; none while the job has no plan."""

    def attempts(
        self, job_id: str, stage: str | None = None, partition: int | None = None
    ) -> Iterable[dict[str, Any]]: ...

    def events(self, job_id: str, stage: str, partition: int) -> Iterable[dict[str, Any]]: ...

    def limits(self) -> dict[str, int]:
        """`task_retries_max` and `worker_losses_max`, where they are known."""


class LiveJournal:
    """As the master tells."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def names(self) -> list[tuple[str, str]]:
        return [(job["id"], job["request"]["name"]) for job in self._client.jobs()]

    def job(self, job_id: str) -> KnownJob:
        info, times = self._client.job(job_id), self._client.profile(job_id)
        status = info["status"]
        return KnownJob(
            id=job_id,
            name=info["request"]["name"],
            state=info["state"],
            message=status["Failed"] if isinstance(status, dict) else None,
            submitted_at=times["created_at"],
            ended_at=times["ended_at"],
        )

    def stages(self, job_id: str) -> list[KnownStage]:
        return [
            KnownStage(stage["node_id"], stage["tasks_total"] + stage["tasks_skipped"])
            for stage in self._client.stages(job_id)
        ]

    def attempts(
        self, job_id: str, stage: str | None = None, partition: int | None = None
    ) -> Iterable[dict[str, Any]]:
        return self._client.attempts(job_id, stage=stage, partition=partition)

    def events(self, job_id: str, stage: str, partition: int) -> Iterable[dict[str, Any]]:
        return self._client.events(job_id, stage, partition)

    def limits(self) -> dict[str, int]:
        about = self._client.cluster()
        return {name: about[name] for name in ("task_retries_max", "worker_losses_max")}


class DiskJournal:
    """As the database of a state directory has it. Changes nothing there."""

    def __init__(self, history: JobHistory) -> None:
        self._history = history

    def names(self) -> list[tuple[str, str]]:
        return self._history.job_names()

    def job(self, job_id: str) -> KnownJob:
        row = self.row(job_id)
        return KnownJob(job_id, row.name, row.state, row.message, row.created_at, row.ended_at)

    def row(self, job_id: str) -> JobRow:
        """With its request and its plan. Raises NotFound."""
        row = self._history.job(job_id)
        if row is None:
            raise NotFound(f"job {job_id} is no longer kept")
        return row

    def stages(self, job_id: str) -> list[KnownStage]:
        stages = self._history.stages(job_id)
        return [KnownStage(stage.stage_id, stage.partitions) for stage in stages]

    def attempts(
        self, job_id: str, stage: str | None = None, partition: int | None = None
    ) -> Iterator[dict[str, Any]]:
        from minispark.master.documents import attempt_document

        offset, page = 0, ATTEMPTS_PER_PAGE
        while True:
            rows, _ = self._history.attempts(job_id, None, page, offset, stage, partition)
            yield from (attempt_document(job_id, row) for row in rows)
            offset += len(rows)
            if len(rows) < page:
                return

    def events(self, job_id: str, stage: str, partition: int) -> Iterator[dict[str, Any]]:
        from minispark.master.event_stream import event_document

        seen, page = 0, EVENTS_PER_PAGE
        while True:
            rows = self._history.events(seen, page, job_id, stage, partition)
            yield from map(event_document, rows)
            if len(rows) < page:
                return
            seen = rows[-1].id

    def limits(self) -> dict[str, int]:
        return {}


@contextmanager
def open_journal(args: argparse.Namespace) -> Iterator[Journal]:
    """Of the cluster that the command is about, also of one that ended. Raises NoCluster."""
    client = _reached(args)
    if client is not None:
        with client:
            yield LiveJournal(client)
    else:
        with open_disk_journal(state_dir_of(args)) as journal:
            yield journal


def _reached(args: argparse.Namespace) -> Client | None:
    """None where no cluster runs on the state directory, and one did. Raises NoCluster."""
    try:
        client = find_client(args)
        client.cluster()  # whether somebody answers
        return client
    except NoCluster:
        if args.master or not database_of(state_dir_of(args)).exists():
            raise
        return None


def database_of(state_dir: Path) -> Path:
    from minispark.master.recovery import database_path

    return database_path(state_dir)


@contextmanager
def open_disk_journal(state_dir: Path) -> Iterator[DiskJournal]:
    """Raises NoCluster where none ever ran, and ClusterError for a database that cannot be read."""
    path = database_of(state_dir)
    if not path.exists():
        raise NoCluster(f"no cluster ran on {state_dir}: {path} is not there")
    history = JobHistory(path, connections_kept=1, is_read_only=True)
    try:
        yield DiskJournal(history)
    except sqlite3.Error as error:
        raise ClusterError(f"{path} cannot be read: {error}") from error
    finally:
        history.close()
