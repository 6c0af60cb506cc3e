"""What commands show of a job that ended: its records in some order and format, or why it
failed.
"""

from __future__ import annotations

import csv
import heapq
import io
import json
import sys
from collections.abc import Iterable, Iterator
from decimal import Decimal, InvalidOperation
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

from minispark.cli.render import table
from minispark.client import Client
from minispark.errors import ClusterError
from minispark.model.safe_text import escaped

FORMATS = ("table", "json", "csv", "tsv", "jsonl")
HEAD_RECORDS = 20
Row = tuple[str | None, str]


def add_output_options(parser: Any) -> None:
    """`--format`, `--top`, `-o`."""
    parser.add_argument("--format", choices=FORMATS, default=None, help="default: table")
    parser.add_argument("--top", type=int, metavar="N", help="the N greatest values first")
    parser.add_argument("-o", "--output", metavar="FILE", help="write there instead of stdout")


def top(rows: Iterable[Row], count: int) -> list[Row]:
    """The records with the greatest values; of equal ones those whose keys come first."""

    def rank(row: Row) -> tuple[Decimal, str]:
        try:
            number = Decimal(row[1])
        except InvalidOperation:
            number = Decimal("-Infinity")
        return (-number if number.is_finite() else Decimal("Infinity"), row[0] or "")

    return heapq.nsmallest(count, rows, key=rank)


def write_records(rows: Iterable[Row], format: str, path: str | None) -> None:
    """Write the records to `path`, or to stdout. Raises ClusterError for a file that cannot be
    written.
    """
    if path is None:
        _write(rows, format, sys.stdout)
        return
    try:
        with Path(path).open("w", encoding="utf-8", newline="") as file:
            _write(rows, format, file)
    except OSError as error:
        raise ClusterError(f"{path} cannot be written: {error}") from error


def write_results(
    client: Client,
    job_id: str,
    format: str,
    top_n: int | None,
    limit: int | None,
    path: str | None,
) -> None:
    """The job's records, or of all of them the greatest. Raises as `write_records` does."""
    if top_n is not None:
        write_records(top(client.results(job_id), top_n), format, path)
    elif format == "jsonl":
        _copy_lines(client.result_lines(job_id, limit), path)
    else:
        write_records(client.results(job_id, limit), format, path)


def _copy_lines(lines: Iterable[bytes], path: str | None) -> None:
    """Records that come as lines of JSON already."""
    if path is None:
        for piece in lines:
            sys.stdout.write(piece.decode())
        return
    try:
        with Path(path).open("wb") as file:
            file.writelines(lines)
    except OSError as error:
        raise ClusterError(f"{path} cannot be written: {error}") from error


def _write(rows: Iterable[Row], format: str, file: TextIO) -> None:
    match format:
        case "table":
            shown = [("" if key is None else key, value) for key, value in rows]
            file.write(table(shown, ("key", "value")) + "\n")
        case "json":
            file.write(json.dumps([_object(row) for row in rows], ensure_ascii=False) + "\n")
        case "jsonl":
            file.writelines(json.dumps(_object(row), ensure_ascii=False) + "\n" for row in rows)
        case _:
            file.writelines(_separated(rows, "," if format == "csv" else "\t"))


def _object(row: Row) -> dict[str, str | None]:
    return {"key": row[0], "value": row[1]}


def _separated(rows: Iterable[Row], separator: str) -> Iterator[str]:
    buffer = io.StringIO()
    writer = csv.writer(buffer, delimiter=separator, lineterminator="\n")
    yield f"key{separator}value\n"
    for row in rows:
        writer.writerow(row)
        yield buffer.getvalue()
        buffer.seek(0)
        buffer.truncate()


def show_end(
    client: Client,
    job: dict[str, Any],
    format: str | None,
    top_n: int | None,
    path: str | None,
    is_quiet: bool,
    all_of_them: str = "`results` shows all",
) -> int:
    """Show an ended job's result, or on stderr why there is none; returns the exit status.
    `all_of_them`: where more records are than those that are shown unasked.
    """
    if job["state"] != "SUCCEEDED":
        status = job["status"]
        why = status["Failed"] if isinstance(status, dict) else status
        print(f"minispark: job {job['id']} {job['state']}: {escaped(why)}", file=sys.stderr)
        return 1
    if format is None and top_n is None and path is None:
        head = list(islice(client.results(job["id"]), HEAD_RECORDS + 1))
        write_records(head[:HEAD_RECORDS], "table", None)
        if len(head) > HEAD_RECORDS and not is_quiet:
            print(f"… the first {HEAD_RECORDS} records; {all_of_them}", file=sys.stderr)
    else:
        write_results(client, job["id"], format or "table", top_n, None, path)
    return 0
