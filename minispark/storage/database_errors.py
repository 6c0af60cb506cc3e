"""What an error of SQLite says about the database: damaged, out of reach for now, or a bug of ours.

Must not know what the database holds, nor what is done about it.
"""

from __future__ import annotations

import sqlite3

_DAMAGE = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_REMEDIES = {
    sqlite3.SQLITE_FULL: "make room on its disk",
    sqlite3.SQLITE_IOERR: "look at its disk",
    sqlite3.SQLITE_BUSY: "end the other process that uses it",
    sqlite3.SQLITE_LOCKED: "end the other process that uses it",
    sqlite3.SQLITE_PROTOCOL: "end the other process that uses it",
    sqlite3.SQLITE_CANTOPEN: "let the master's user write the file and its directory",
    sqlite3.SQLITE_READONLY: "let the master's user write the file and its directory",
    sqlite3.SQLITE_PERM: "let the master's user write the file and its directory",
    sqlite3.SQLITE_NOMEM: "give the machine more memory",
}
"""What a person does about errors that lie outside of the file: afterwards the same call works.
Source: https://www.sqlite.org/rescode.html.
"""


class DamagedDatabase(sqlite3.DatabaseError):
    """The check of every page found one that is not what it should be."""


def is_damage(error: sqlite3.Error) -> bool:
    """Whether the file's content is at fault, and will be at the next try."""
    return isinstance(error, DamagedDatabase) or _primary_code(error) in _DAMAGE


def remedy(error: sqlite3.Error) -> str | None:
    """What lets the error pass, as an imperative; None for one that comes again whatever is done
    outside of the file.
    """
    return _REMEDIES.get(_primary_code(error))


def _primary_code(error: sqlite3.Error) -> int:
    # extended codes (IOERR_WRITE, BUSY_SNAPSHOT) carry theirs in the low byte; errors that the
    # sqlite3 module found itself have none
    return getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
