"""Reads what can still be read of a damaged job database, row by row, into a new one.

Must not know what the rows mean.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

JOB_NUMBERS_MAX = 100_000
"""How far job numbers are tried when the index that knows the last one is damaged."""
_OF_JOB = ("stages", "attempts")


def salvage(damaged: Path, fresh: Path) -> list[str]:
    """Copy every job that is whole (its row, its stages, its attempts), and the workers, from one
    database file to the other; returns the ids of the jobs that were saved.

    The damaged one may be no database at all: then nothing is saved.
    """
    saved: list[str] = []
    with closing(sqlite3.connect(damaged)) as old, closing(sqlite3.connect(fresh)) as new:
        for number in _job_numbers(old):
            rows = _job(old, number)
            if rows is None:
                continue
            with new:
                for table, columns, values in rows:
                    names = ", ".join(columns)
                    marks = ", ".join("?" * len(columns))
                    new.executemany(f"INSERT INTO {table} ({names}) VALUES ({marks})", values)
            _, columns, (job,) = rows[0]
            saved.append(str(job[columns.index("job_id")]))
        with new:
            for columns, row in _workers(old):
                marks = ", ".join("?" * len(columns))
                names = ", ".join(columns)
                new.execute(f"INSERT OR REPLACE INTO workers ({names}) VALUES ({marks})", row)
    return saved


Rows = tuple[str, list[str], list[tuple[Any, ...]]]
"""Table, columns, values."""


def _job(old: sqlite3.Connection, number: int) -> list[Rows] | None:
    """All rows of one job; None when there is none, or some of them cannot be read."""
    try:
        found = _rows(old, "jobs", number)
        if not found[2]:
            return None
        return [found, *(_rows(old, table, number) for table in _OF_JOB)]
    except sqlite3.DatabaseError:
        return None


def _rows(old: sqlite3.Connection, table: str, number: int) -> Rows:
    cursor = old.execute(f"SELECT * FROM {table} WHERE job_no = ?", (number,))
    return table, [column[0] for column in cursor.description], cursor.fetchall()


def _job_numbers(old: sqlite3.Connection) -> Iterator[int]:
    try:
        ((last,),) = old.execute("SELECT max(job_no) FROM jobs").fetchall()
    except sqlite3.DatabaseError:
        last = JOB_NUMBERS_MAX
        try:
            old.execute("SELECT 1 FROM sqlite_master").fetchall()
        except sqlite3.DatabaseError:
            last = 0
    yield from range(1, (last or 0) + 1)


def _workers(old: sqlite3.Connection) -> Iterator[tuple[list[str], tuple[Any, ...]]]:
    try:
        cursor = old.execute("SELECT * FROM workers")
        columns = [column[0] for column in cursor.description]
        for row in cursor:
            yield columns, row
    except sqlite3.DatabaseError:
        return
