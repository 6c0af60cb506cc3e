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

MARKER = "minispark.state"
"""Only a directory with this file is ever purged."""
_OWN = ("attempts", "logs", "spill", "state", "workers")
_OWN_FILES = ("cluster.json", "cluster.lock", "token", MARKER)


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

    The kernel drops the lock with its holder, so that a stale file means nothing.
    """
    fd = os.open(folder / "cluster.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        pid = os.read(fd, 32).decode(errors="replace").strip() or "unknown"
        os.close(fd)
        raise ClusterRuns(
            f"a cluster runs on {folder} already (supervisor pid {pid}); stop it with `down`, or "
            "choose another --state-dir"
        ) from None
    os.ftruncate(fd, 0)
    os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
    return fd


def token_of(folder: Path, configured: str) -> str:
    """The cluster's token: the configured one, or the one of the token file, made if need be."""
    path = folder / "token"
    if configured != "auto":
        token = configured
    else:
        try:
            token = path.read_text(encoding="ascii").strip()
        except FileNotFoundError:
            token = ""
        token = token or secrets.token_urlsafe(32)
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(fd, "w", encoding="utf-8") as file:
        file.write(token)
    return token


def write_cluster_file(folder: Path, document: dict[str, Any]) -> None:
    """Replace `cluster.json` atomically."""
    temporary = folder / "cluster.json.new"
    temporary.write_text(json.dumps(document, indent=2), encoding="utf-8")
    temporary.replace(folder / "cluster.json")


def read_cluster_file(folder: Path) -> dict[str, Any] | None:
    """Who runs there by `cluster.json`; None without one, or when it is another user's."""
    path = folder / "cluster.json"
    try:
        if path.stat().st_uid != os.getuid():
            return None
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return document if isinstance(document, dict) else None


def purge(folder: Path) -> bool:
    """Delete what is ours in the directory, and the directory when nothing is left.

    False when the directory does not carry our marker.
    """
    if not (folder / MARKER).is_file():
        return False
    for name in _OWN:
        shutil.rmtree(folder / name, ignore_errors=True)
    for path in folder.glob("*-*-*-*-*_*_p*.json"):
        path.unlink(missing_ok=True)
    for name in _OWN_FILES:
        (folder / name).unlink(missing_ok=True)
    try:
        folder.rmdir()
    except OSError:
        pass  # somebody else's files are in it
    return True
