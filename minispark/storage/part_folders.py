"""Directories of the user's that jobs write to: claimed, filled, published, given up.

A job claims one with `_temporary/<job id>/`. Each attempt writes its part in a directory below
that, and names appear beside `_temporary` only when the job publishes those of accepted attempts:
what any other attempt does, whenever it does it, is never seen. Must not know records.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from minispark.errors import ClusterError, InputRefused, TaskError
from minispark.model.effects import PartFolder
from minispark.model.file_names import part_file
from minispark.model.function_names import WRITERS
from minispark.model.job import DagNode, JobRequest
from minispark.storage.fence import Fence

SUCCESS = "_SUCCESS"
"""Holds the job's id."""
_TEMPORARY = "_temporary"
_PART = re.compile(rf"part-[0-9]{{5,}}\.(?:{'|'.join(WRITERS.values())})", re.ASCII)


# --- before the job --------------------------------------------------------------------------


def with_real_folders(request: JobRequest, base_dir: str, fence: Fence | None) -> JobRequest:
    """The request, the `path` of its writers absolute and without links. Touches nothing.

    `base_dir`: what a relative path is relative to. Raises InputRefused for one that is outside
    the fence.
    """
    nodes = [
        replace(node, path=_real_folder(node, f"dag.nodes[{i}].path", base_dir, fence))
        if node.op in WRITERS
        else node
        for i, node in enumerate(request.dag.nodes)
    ]
    return replace(request, dag=replace(request.dag, nodes=tuple(nodes)))


def _real_folder(node: DagNode, field: str, base_dir: str, fence: Fence | None) -> str:
    path = os.path.join(base_dir, node.path or "")
    real = os.path.realpath(path)
    if fence is not None and not fence.admits(real):
        raise InputRefused(fence.refusal(path), field)
    try:
        real.encode()
    except UnicodeEncodeError as error:
        raise InputRefused(f"{path!r}: a directory's name must be valid UTF-8", field) from error
    return real


def claim(request: JobRequest, job_id: str) -> None:
    """Make every directory that the job writes to its own: one that does not exist, or is empty.

    All or none. Raises InputRefused, which names the field.
    """
    claimed: list[str] = []
    try:
        for i, node in enumerate(request.dag.nodes):
            if node.op in WRITERS:
                assert node.path is not None
                _claim_one(node.path, job_id, f"dag.nodes[{i}].path")
                claimed.append(node.path)
    except InputRefused:
        discard(claimed, job_id)
        raise


def _claim_one(path: str, job_id: str, field: str) -> None:
    try:
        os.makedirs(path, exist_ok=True)
        if os.listdir(path):
            raise FileExistsError
        # of two jobs that find it empty one makes this directory
        os.mkdir(os.path.join(path, _TEMPORARY))
        os.mkdir(_staging(path, job_id))
    except FileExistsError as error:
        if not os.path.isdir(path):
            raise InputRefused(f"{path} is no directory; name one", field) from error
        raise InputRefused(f"{path} is not empty; name a new directory, or empty it", field) from (
            error
        )
    except OSError as error:
        raise InputRefused(f"{path} cannot be written: {error.strerror}", field) from error


def make_staging(path: str, job_id: str) -> None:
    """The place that `claim` makes, in a directory that nobody else knows. Raises OSError."""
    _staging(path, job_id).mkdir(parents=True)


# --- while it runs -----------------------------------------------------------------------------


def _staging(path: str, job_id: str) -> Path:
    return Path(path) / _TEMPORARY / job_id


def attempt_part(path: str, job_id: str, attempt_id: str, name: str) -> Path:
    """Where the attempt writes its part, in a directory that is made now.

    Raises TaskError where the job's claim cannot be seen: it ended, or this is another file system.
    """
    folder = _staging(path, job_id) / attempt_id
    try:
        folder.mkdir(exist_ok=True)
    except FileNotFoundError as error:
        raise TaskError(
            f"{folder.parent} is not there: every worker must see {path} as the master does"
        ) from error
    return folder / name


def rename_attempt(path: str, job_id: str, old: str, new: str) -> None:
    """What was written below one attempt's id is another one's from now on. Raises OSError."""
    staging = _staging(path, job_id)
    (staging / old).rename(staging / new)


# --- when it ends ------------------------------------------------------------------------------


def publish(folders: Sequence[PartFolder], job_id: str) -> None:
    """Give the parts of accepted attempts their names, then write `_SUCCESS` in each directory.

    Idempotent, from wherever it was broken off. Raises ClusterError, which says what is in the way.
    """
    waiting = [folder for folder in folders if _published_by(folder.path) != job_id]
    try:
        for folder in waiting:
            for partition, attempt_id in enumerate(folder.attempt_ids):
                name = part_file(partition, folder.format)
                staged = _staging(folder.path, job_id) / attempt_id / name
                _link(staged, Path(folder.path) / name)
        for folder in waiting:
            marker = _staging(folder.path, job_id) / SUCCESS
            marker.write_text(f"{job_id}\n")
            _link(marker, Path(folder.path) / SUCCESS)
    except OSError as error:
        raise ClusterError(f"its parts could not be given their names: {error}") from error
    for folder in folders:
        _clear(folder.path, job_id)


def _link(source: Path, target: Path) -> None:
    """Never over what somebody else put there. Raises OSError."""
    try:
        os.link(source, target, follow_symlinks=False)
    except FileExistsError:
        if not target.samefile(source):
            raise


def discard(paths: Sequence[str], job_id: str) -> None:
    """Remove what the job wrote, and nothing else. Idempotent. Raises OSError."""
    for path in paths:
        if _published_by(path) == job_id:
            # first: without it nobody takes the parts for whole
            (Path(path) / SUCCESS).unlink(missing_ok=True)
        written = {_identity(part) for part in _staging(path, job_id).glob("*/*")}
        for name in os.listdir(path) if written else ():
            if _PART.fullmatch(name) and _identity(Path(path) / name) in written:
                (Path(path) / name).unlink(missing_ok=True)
        _clear(path, job_id)


def _published_by(path: str) -> str | None:
    """The job whose `_SUCCESS` lies there."""
    try:
        return (Path(path) / SUCCESS).read_text().strip()
    except (OSError, ValueError):
        return None


def _identity(path: Path) -> tuple[int, int]:
    """The same for all names of one file."""
    status = path.stat(follow_symlinks=False)
    return status.st_dev, status.st_ino


def _clear(path: str, job_id: str) -> None:
    """Delete the job's temporary directory. Renamed first: an attempt that still goes on then
    finds no place for a new one.
    """
    staging = _staging(path, job_id)
    doomed = staging.with_name(f"{job_id}.over")
    try:
        staging.rename(doomed)
    except OSError:
        pass  # it was renamed before, or is gone
    shutil.rmtree(doomed, ignore_errors=True)
    try:
        os.rmdir(staging.parent)
    except OSError:
        pass  # somebody put something there
