"""Reads what can still be read of a damaged job database, row by row, into a new one.

The new one is written beside the damaged one and takes its place only when it is whole, so that a
process that is killed at any instant loses nothing by that. Must not know what the rows mean.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from minispark.storage.database_errors import remedy
from minispark.storage.jobs_json import free_name_aside

JOB_NUMBERS_MAX = 100_000
"""How far job numbers are tried when the index that knows the last one is damaged."""
_OF_JOB = ("stages", "attempts")
_BESIDE = ("-wal", "-shm")
"""What SQLite keeps beside a database. It belongs to that database and to no other."""


def partial_path(path: Path) -> Path:
    """Where the new database is made, without what an earlier attempt left there."""
    partial = path.with_name(f"{path.name}.partial")
    for suffix in ("", "-journal", *_BESIDE):
        partial.with_name(partial.name + suffix).unlink(missing_ok=True)
    return partial


def salvage(damaged: Path, fresh: Path) -> list[str]:
    """Copy every job that is whole (its row, its stages, its attempts), and the workers, from one
    database file to the other, and sync that; returns the ids of the jobs that were saved.

    The damaged one may be no database at all: then nothing is saved. Raises sqlite3.Error for what
    can pass (a full disk, say).
    """
    saved: list[str] = []
    with closing(sqlite3.connect(damaged)) as old, closing(sqlite3.connect(fresh)) as new:
        # it is synced once, and is nothing before that; with a log beside it, it could not be moved
        new.execute("PRAGMA synchronous = OFF")
        new.execute("PRAGMA journal_mode = DELETE")
        for number in _job_numbers(old):
            rows = _job(old, number)
            if rows is None or not _insert_job(new, rows):
                continue
            _, columns, (job,) = rows[0]
            saved.append(str(job[columns.index("job_id")]))
        with new:
            for columns, row in _workers(old):
                _insert(new, "INSERT OR REPLACE", "workers", columns, [row])
    _sync(fresh)
    return saved


def put_in_place(path: Path, fresh: Path) -> Path:
    """Let `fresh` be the database at `path`; returns where the damaged one lies from now on."""
    fresh.replace(_whole_path(path))
    _sync(path.parent)
    aside = finish(path)
    assert aside is not None
    return aside


def finish(path: Path) -> Path | None:
    """Do what an earlier process that was killed in `put_in_place` left undone, if there is
    something; returns where the damaged database lies.
    """
    whole = _whole_path(path)
    if not whole.exists():
        return None
    aside = free_name_aside(path)
    # last of all the damaged file itself: until then the name that is free stays the same
    for suffix in (*_BESIDE, ""):
        damaged = path.with_name(path.name + suffix)
        if damaged.exists():
            damaged.replace(aside.with_name(aside.name + suffix))
    whole.replace(path)
    _sync(path.parent)
    return aside


def _whole_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.new")


def _sync(path: Path) -> None:
    """Make a file's content, or a directory's names, durable."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


Rows = tuple[str, list[str], list[tuple[Any, ...]]]
"""Table, columns, values."""


def _insert_job(new: sqlite3.Connection, tables: list[Rows]) -> bool:
    """All rows of one job, or none: some of a damaged database contradict each other."""
    try:
        with new:
            for table, columns, values in tables:
                _insert(new, "INSERT", table, columns, values)
    except sqlite3.IntegrityError:
        return False
    return True


def _insert(
    new: sqlite3.Connection, how: str, table: str, columns: list[str], values: list[tuple[Any, ...]]
) -> None:
    names = ", ".join(columns)
    marks = ", ".join("?" * len(columns))
    new.executemany(f"{how} INTO {table} ({names}) VALUES ({marks})", values)


def _job(old: sqlite3.Connection, number: int) -> list[Rows] | None:
    """All rows of one job; None when there is none, or some of them cannot be read."""
    try:
        found = _rows(old, "jobs", number)
        if not found[2]:
            return None
        return [found, *(_rows(old, table, number) for table in _OF_JOB)]
    except sqlite3.DatabaseError as error:
        _raise_if_passing(error)
        return None


def _rows(old: sqlite3.Connection, table: str, number: int) -> Rows:
    cursor = old.execute(f"SELECT * FROM {table} WHERE job_no = ?", (number,))
    return table, [column[0] for column in cursor.description], cursor.fetchall()


def _job_numbers(old: sqlite3.Connection) -> Iterator[int]:
    try:
        ((last,),) = old.execute("SELECT max(job_no) FROM jobs").fetchall()
    except sqlite3.DatabaseError as error:
        _raise_if_passing(error)
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
    except sqlite3.DatabaseError as error:
        _raise_if_passing(error)


def _raise_if_passing(error: sqlite3.DatabaseError) -> None:
    """What can be read later is not lost."""
    if remedy(error) is not None:
        raise error
