"""What a job produced: the documented TaskResults, and its final records as a stream.

Reads the accepted attempts from the job history and their files from the workers' disks, by path
on this host and over the data port elsewhere. Must not know HTTP.
"""

from __future__ import annotations

import csv
import io
import json
import os
import ssl
from collections.abc import Callable, Iterator
from itertools import islice
from json.encoder import encode_basestring as _escape
from typing import Any, TypeVar

from minispark.compute.batch import Record
from minispark.compute.documented import read_lines, read_texts
from minispark.errors import ClusterError, CorruptBlock, NotFound, ProtocolError
from minispark.master.far_results import PIECE_BYTES, far_pieces
from minispark.master.job_codec import load_plan
from minispark.model.file_names import partition_file, shuffle_file
from minispark.model.ids import attempt_id
from minispark.model.plan import (
    DocumentedShuffle,
    PartitionFile,
    PhysicalPlan,
    Stage,
)
from minispark.storage.job_history import AttemptRow, JobHistory
from minispark.storage.task_files import open_below
from minispark.transport.connection import Connection

T = TypeVar("T")
CONNECT_TIMEOUT_S = 5.0
FORMATS = ("json", "csv", "tsv", "jsonl")
ROWS_PER_PIECE = 4096


class Results:
    """Questions about finished tasks."""

    def __init__(
        self,
        history: JobHistory,
        state_dir: str,
        host_id: str,
        token: str,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._history = history
        self._state_dir = state_dir
        self._host_id = host_id
        self._token = token
        self._tls = tls

    def plan(self, job_id: str) -> PhysicalPlan | None:
        """The job's plan; None while none is chosen. Raises UnreadableText."""
        text = self._history.plan(job_id)
        return load_plan(text) if text is not None else None

    def task_results(self, job_id: str) -> list[dict[str, Any]]:
        """TaskResults of the finished tasks, final stages last. Raises NotFound while there are
        none.
        """
        plan, rows = self.plan(job_id), self._history.accepted(job_id)
        if plan is None or not rows:
            raise NotFound(f"job {job_id} has no finished task yet")
        stages = {stage.index: stage for stage in plan.stages}
        rows.sort(key=lambda row: (stages[row.stage_index].is_final, row.stage_index))
        return [self._task_result(job_id, stages[row.stage_index], row) for row in rows]

    def _task_result(self, job_id: str, stage: Stage, row: AttemptRow) -> dict[str, Any]:
        folder = row.state_dir or self._state_dir
        output_path: str | None = None
        shuffle_outputs: list[str] = []
        match stage.program.sink:
            case PartitionFile(node_id):
                output_path = f"{folder}/{partition_file(job_id, node_id, row.partition)}"
            case DocumentedShuffle(writer, targets):
                shuffle_outputs = [
                    f"{folder}/{shuffle_file(job_id, writer, row.partition, to)}"
                    for to in range(targets)
                ]
            case _:
                pass  # blocks of the fused plan, which end with their job
        return {
            "task_id": attempt_id(job_id, stage.id, row.partition, row.attempt),
            "job_id": job_id,
            "attempt": row.attempt,
            "success": True,
            "error": None,
            "output_path": output_path,
            "records_processed": row.records,
            "shuffle_outputs": shuffle_outputs,
        }

    # --- records -----------------------------------------------------------------------------

    def records(self, job_id: str) -> Iterator[Record]:
        """The records of the job's final stages, by stage and partition."""
        return self._read(job_id, read_texts)

    def lines(self, job_id: str) -> Iterator[tuple[bytes, int]]:
        """The same as lines of JSON, many at a time, and how many they are."""
        return self._read(job_id, read_lines)

    def _read(self, job_id: str, read: Callable[[Iterator[bytes]], Iterator[T]]) -> Iterator[T]:
        plan = self.plan(job_id)
        finals = {s.index: s for s in plan.stages if s.is_final} if plan is not None else {}
        for row in self._history.accepted(job_id):
            stage = finals.get(row.stage_index)
            if stage is not None and isinstance(stage.program.sink, PartitionFile):
                name = partition_file(job_id, stage.program.sink.node_id, row.partition)
                try:
                    yield from read(self._pieces(row, name))
                except CorruptBlock as error:
                    raise ClusterError(f"the result file {name} is damaged: {error}") from error

    def _pieces(self, row: AttemptRow, name: str) -> Iterator[bytes]:
        """The file's bytes, PIECE_BYTES at a time. Raises ClusterError."""
        if row.host_id == self._host_id and row.state_dir is not None:
            try:
                with os.fdopen(open_below(row.state_dir, name), "rb") as file:
                    while piece := file.read(PIECE_BYTES):
                        yield piece
            except OSError as error:
                raise ClusterError(f"the result file {name} cannot be read: {error}") from error
        else:
            try:
                yield from self._fetch(row, name)
            except (OSError, EOFError, ProtocolError) as error:
                said = f"{row.worker_name}, which has {name}, is away: {error}"
                raise ClusterError(said) from error

    def _fetch(self, row: AttemptRow, name: str) -> Iterator[bytes]:
        def connect() -> Connection:
            place = self._history.address(row.worker_id)  # it may have come back elsewhere
            if place is None:
                raise ClusterError(f"nobody knows where {name} is")
            return Connection.connect(*place, self._token, CONNECT_TIMEOUT_S, self._tls)

        return far_pieces(connect, name)


def render_lines(
    lines: Iterator[tuple[bytes, int]], limit: int | None, offset: int
) -> Iterator[bytes]:
    """Lines of JSON from `offset` on, at most `limit`, piece by piece."""
    skipped, left = offset, limit
    for text, count in lines:
        if skipped >= count:
            skipped -= count
            continue
        if skipped or (left is not None and left < count - skipped):
            end = None if left is None else skipped + left
            kept = text.split(b"\n")[:-1][skipped:end]
            text, count = b"".join(b"%b\n" % line for line in kept), skipped + len(kept)
        yield text
        left = None if left is None else left - (count - skipped)
        skipped = 0
        if left == 0:
            return


def render(rows: Iterator[Record], format: str, limit: int | None, offset: int) -> Iterator[bytes]:
    """The records from `offset` on, at most `limit`, as `json`, `csv` or `tsv`, piece by piece."""
    chosen = islice(rows, offset, None if limit is None else offset + limit)
    match format:
        case "json":
            return _pieces(_json_list(chosen))
        case "csv":
            return _pieces(_separated(chosen, ","))
        case _:
            return _pieces(_separated(chosen, "\t"))


def _json_row(row: Record) -> str:
    return f'{{"key": {_json(row[0])}, "value": {_json(row[1])}}}'


def _json(value: Any) -> str:
    # `json.dumps` makes an encoder for each call that wants more than its defaults
    return _escape(value) if value.__class__ is str else json.dumps(value, ensure_ascii=False)


def _json_list(rows: Iterator[Record]) -> Iterator[str]:
    before = "["
    for row in rows:
        yield before + _json_row(row)
        before = ","
    yield "[]" if before == "[" else "]"


def _separated(rows: Iterator[Record], separator: str) -> Iterator[str]:
    buffer = io.StringIO()
    writer = csv.writer(buffer, delimiter=separator, lineterminator="\n")
    yield f"key{separator}value\n"
    for key, value in rows:
        writer.writerow(("" if key is None else key, value))
        yield buffer.getvalue()
        buffer.seek(0)
        buffer.truncate()


def _pieces(texts: Iterator[str]) -> Iterator[bytes]:
    while piece := "".join(islice(texts, ROWS_PER_PIECE)):
        yield piece.encode()
