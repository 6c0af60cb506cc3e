"""The state directory: whose it is, its lock, its token, and `cluster.json`, which says who runs
there.

Must not know what else is in it.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import shutil
import stat
from pathlib import Path
from typing import Any

from minispark.errors import ClusterRuns, ConfigError
from minispark.model.file_names import job_of
from minispark.supervisor.process_identity import ProcessIdentity

MARKER = "minispark.state"
"""Only a directory with this file is ever purged."""
_OWN = ("attempts", "logs", "spark", "spill", "state", "workers")
_LOCK = "cluster.lock"
_OWN_FILES = ("cluster.json", "cluster.json.new", "control.sock", "token", MARKER, _LOCK)


def prepare(path: str, is_default: bool) -> tuple[Path, str | None]:
    """Create the directory (0700) or check that it is ours; returns it, and a notice for people.

    Another user's default directory becomes `<path>-<uid>`; an explicit one is a ConfigError.
    """
    folder, notice = Path(path).absolute(), None
    if folder.exists() and folder.stat().st_uid != os.getuid():
        if not is_default:
            raise ConfigError(f"{folder} belongs to another user; choose another state_dir")
        notice = f"{folder} belongs to another user: {folder}-{os.getuid()} is used"
        folder = folder.with_name(f"{folder.name}-{os.getuid()}")
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if folder.lstat().st_uid != os.getuid() or not stat.S_ISDIR(folder.lstat().st_mode):
            raise ConfigError(f"{folder} is no directory of yours; choose another state_dir")
        for name in ("state", "logs", "attempts", "workers"):
            (folder / name).mkdir(mode=0o700, exist_ok=True)
        (folder / MARKER).touch(mode=0o600)
    except OSError as error:
        raise ConfigError(f"the state directory {folder} cannot be used: {error}") from error
    return folder, notice


def lock(folder: Path) -> int:
    """Take the cluster's lock; the descriptor holds it. Raises ClusterRuns with the holder's pid.

    Processes that are forked hold it too, and the kernel drops it with the last of them: it says
    whether a cluster runs here, and a stale file means nothing.
    """
    fd = try_lock(folder)
    if fd is None:
        raise ClusterRuns(
            f"a cluster runs on {folder} already (supervisor pid {holder_of(folder)}); stop it "
            "with `down`, or choose another --state-dir"
        )
    return fd


def try_lock(folder: Path) -> int | None:
    """Take the lock as `lock` does; None while somebody has it. Raises OSError."""
    while True:
        fd = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if holds(folder, fd):
                os.ftruncate(fd, 0)
                os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
                return fd
        except BlockingIOError:
            os.close(fd)
            return None
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)  # it was deleted between our open and our lock, by somebody who purged


def holds(folder: Path, lock_fd: int) -> bool:
    """Whether the lock is still the directory's: nobody removed the file, or made another one."""
    try:
        return os.path.samestat(os.fstat(lock_fd), (folder / _LOCK).stat())
    except FileNotFoundError:
        return False


def holder_of(folder: Path) -> str:
    """The pid that the lock's holder wrote into it."""
    try:
        return (folder / _LOCK).read_text(encoding="ascii").strip() or "unknown"
    except (OSError, ValueError):
        return "unknown"


def token_of(folder: Path, configured: str) -> str:
    """The cluster's token: the configured one, or the one of the token file, made if need be.

    Raises OSError, and ConfigError for a file that holds something else.
    """
    path = folder / "token"
    try:
        with open(path, encoding="utf-8", opener=_open_no_link) as file:
            kept = file.read().strip()
    except FileNotFoundError:
        kept = ""
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} holds no token; delete it, and one is made") from error
    token = configured if configured != "auto" else kept or secrets.token_urlsafe(32)
    if token != kept:
        with open(path, "w", encoding="utf-8", opener=_open_no_link) as file:
            file.write(token)
    return token


def _open_no_link(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW, 0o600)


def write_cluster_file(folder: Path, document: dict[str, Any]) -> None:
    """Replace `cluster.json` atomically. Raises OSError; then the old one stays."""
    temporary = folder / "cluster.json.new"
    try:
        temporary.write_text(json.dumps(document, indent=2), encoding="utf-8")
        temporary.replace(folder / "cluster.json")
    except OSError:
        temporary.unlink(missing_ok=True)
        raise


def read_cluster_file(folder: Path) -> dict[str, Any] | None:
    """Who runs there by `cluster.json`; None without one, when it is another user's, and when the
    supervisor that it names is gone.
    """
    path = folder / "cluster.json"
    try:
        if path.stat().st_uid != os.getuid():
            return None
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    entries = document.get("processes") if isinstance(document, dict) else None
    supervisor = ProcessIdentity.in_entry(entries[0]) if entries else None
    return document if supervisor is not None and supervisor.is_alive else None


def is_marked(folder: Path) -> bool:
    """Whether it is a state directory of ours."""
    try:
        return (folder / MARKER).stat().st_uid == os.getuid()
    except OSError:
        return False


def why_ended(entry: dict[str, Any]) -> str | None:
    """Why a process that `cluster.json` names has ended for good, and what to do; None of another
    one.
    """
    if entry["state"] not in ("FATAL", "STOPPED"):
        return None
    why = entry.get("reason") or "its log says why"
    return f"{entry['name']} is {entry['state']} ({why}); `restart {entry['name']}` starts it again"


def purge(folder: Path) -> bool:
    """Delete what is ours in the directory, and the directory when nothing is left. Only for who
    holds the lock.

    False when the directory does not carry our marker.
    """
    if not is_marked(folder):
        return False
    for name in _OWN:
        shutil.rmtree(folder / name, ignore_errors=True)
    for path in folder.iterdir():
        if job_of(path.name) is not None:
            path.unlink(missing_ok=True)
    for name in _OWN_FILES:
        (folder / name).unlink(missing_ok=True)
    try:
        folder.rmdir()
    except OSError:
        pass  # somebody else's files are in it
    return True
