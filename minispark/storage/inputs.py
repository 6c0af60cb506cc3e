"""Finds the files behind each reader's `path`, and refuses what must not be read.

Runs in the master, before planning, so that planning stays pure. Must not know plans or splits,
nor HTTP: `input_roots=None` says that the submitter proved to know the token.
"""

from __future__ import annotations

import glob
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass

from minispark.errors import ClusterError, InputRefused, InvalidRequest, TaskError
from minispark.model.job import DagNode, InputFile, JobRequest, ResolvedInput
from minispark.storage.encodings import is_text_encoding
from minispark.storage.fence import Fence
from minispark.storage.input_files import DECOMPRESSION_ERRORS, OURS, compression_of, kind_of
from minispark.storage.input_header import names_differ, read_head

FILES_MAX = 100_000
"""Of one reader node. More would make a plan that no master should hold."""

_READERS = frozenset({"read_csv", "read_jsonl", "read_text"})
_MAGIC = re.compile(r"[*?\[]")


def resolve_inputs(
    request: JobRequest,
    *,
    base_dir: str,
    input_roots: tuple[str, ...] | None,
    state_dir: str | None = None,
) -> dict[str, ResolvedInput]:
    """Every reader node's files, sorted within each directory or pattern, by node id.

    `base_dir`: what a relative path is relative to. `input_roots`: a submitter without the token
    may read below these only, and nothing in `state_dir` (it holds the token); None lifts both.
    Raises InputRefused or InvalidRequest with `field` `dag.nodes[i].path` (or `.encoding`), and
    ClusterError when this process cannot open files now.
    """
    fence = None if input_roots is None else Fence.around(input_roots, state_dir)
    return {
        node.id: _Reader(node, f"dag.nodes[{index}]", base_dir, fence).resolve()
        for index, node in enumerate(request.dag.nodes)
        if node.op in _READERS
    }


def _is_hidden(name: str) -> bool:
    return name.startswith((".", "_"))


@dataclass(frozen=True, slots=True)
class _Reader:
    """One reader node on its way to a ResolvedInput."""

    node: DagNode
    field: str
    base_dir: str
    fence: Fence | None

    def resolve(self) -> ResolvedInput:
        if not is_text_encoding(self.node.reader.encoding):
            raise InvalidRequest(
                f"unknown text encoding {self.node.reader.encoding!r}", f"{self.field}.encoding"
            )
        paths: list[str] = []
        for path in self._expand():
            paths.append(path)
            if len(paths) > FILES_MAX:
                raise self._refused(f"more than {FILES_MAX} files; split the job")
        return self._with_heads([self._regular_file(path) for path in paths])

    def _refused(self, message: str) -> InputRefused:
        return InputRefused(message, f"{self.field}.path")

    def _unreadable(self, path: str, error: OSError) -> InputRefused | ClusterError:
        text = f"{path}: {error.strerror}"
        return ClusterError(text) if error.errno in OURS else self._refused(text)

    # --- which paths are meant ---------------------------------------------------------

    def _expand(self) -> Iterator[str]:
        """Real paths of all files that the node's path names, in reading order."""
        text = self.node.path
        if not text:
            raise self._refused(f"{self.node.op} needs a path")
        if "\0" in text:
            raise self._refused("a path holds no NUL character")
        whole = os.path.join(self.base_dir, text)
        # A file whose name holds the separator is that file, not a list of others.
        is_one = os.pathsep not in text or (self._may_look(whole) and os.path.lexists(whole))
        for part in [text] if is_one else text.split(os.pathsep):
            if not part:
                raise self._refused(f"an empty path stands between two {os.pathsep!r} in {text!r}")
            yield from self._expand_one(part)

    def _expand_one(self, text: str) -> Iterator[str]:
        path = os.path.join(self.base_dir, text)
        is_pattern = _MAGIC.search(text) is not None
        # What lies outside is refused before it is known whether it exists: an answer would tell.
        if is_pattern and not (self._may_look(path) and os.path.lexists(path)):
            yield from self._expand_pattern(text)
            return
        real = self._admitted(path)
        if os.path.isdir(real):
            yield from self._files_of(text, path)
        else:
            yield real

    def _files_of(self, text: str, folder: str) -> Iterator[str]:
        try:
            names = sorted(os.listdir(folder))
        except OSError as error:
            raise self._unreadable(text, error) from error
        candidates = [os.path.join(folder, name) for name in names if not _is_hidden(name)]
        yield from self._not_directories(
            candidates, f"{text} is a directory without files (those in its folders do not count)"
        )

    def _expand_pattern(self, text: str) -> Iterator[str]:
        folder, rest = _split_pattern(text)
        if ".." in rest.split(os.sep):
            raise self._refused(f"{text}: `..` after a wildcard is not followed")
        self._admitted(os.path.join(self.base_dir, folder))
        if self.fence is not None:
            self._refuse_ways_out(folder, rest.split(os.sep))
        # root_dir, not a join: the base directory's own name may hold a bracket.
        matches = sorted(glob.iglob(text, root_dir=self.base_dir))
        visible = [
            os.path.join(self.base_dir, path)
            for path in matches
            if not _is_hidden(os.path.basename(path))
        ]
        yield from self._not_directories(visible, f"{text} matches no file")

    def _refuse_ways_out(self, folder: str, parts: list[str]) -> None:
        """Refuse a pattern that leads out through a link, whether or not it would match something
        there: another answer for each would tell what is there.
        """
        for depth in range(1, len(parts)):
            way = folder + os.sep.join([*parts[:depth], ""])  # directories only
            for path in glob.iglob(way, root_dir=self.base_dir):
                self._admitted(os.path.join(self.base_dir, path))

    def _not_directories(self, candidates: list[str], if_none: str) -> Iterator[str]:
        is_empty = True
        for path in candidates:
            real = self._admitted(path)
            if not os.path.isdir(real):
                is_empty = False
                yield real
        if is_empty:
            raise self._refused(if_none)

    # --- whether they may be read ------------------------------------------------------

    def _may_look(self, path: str) -> bool:
        return self.fence is None or self.fence.admits(os.path.realpath(path))

    def _admitted(self, path: str) -> str:
        """The path with its links resolved. Refused when it leads out of the input roots."""
        real = os.path.realpath(path)
        if self.fence is not None and not self.fence.admits(real):
            raise self._refused(self.fence.refusal(path))
        return real

    def _regular_file(self, path: str) -> InputFile:
        try:
            path.encode("utf-8")
        except UnicodeEncodeError as error:
            raise self._refused(f"{path!r}: a file name must be valid UTF-8") from error
        try:
            status = os.stat(path, follow_symlinks=False)
        except OSError as error:
            raise self._unreadable(path, error) from error
        if not stat.S_ISREG(status.st_mode):
            raise self._refused(
                f"{path} is {kind_of(status.st_mode)}; only regular files can be read"
            )
        return InputFile(path, status.st_size, status.st_mtime_ns, 0, compression_of(path))

    # --- what their first bytes say ----------------------------------------------------

    def _with_heads(self, files: list[InputFile]) -> ResolvedInput:
        is_csv = self.node.op == "read_csv"
        resolved: list[InputFile] = []
        header: tuple[str, ...] | None = () if is_csv else None
        first_path: str | None = None
        for file in files:
            data_start, names = self._head(file, is_csv)
            resolved.append(
                InputFile(file.path, file.size, file.mtime_ns, data_start, file.compression)
            )
            if names is None:
                continue
            if first_path is None:
                header, first_path = names, file.path
            elif names != header:
                raise InvalidRequest(
                    names_differ(file.path, first_path, names, header or ()), f"{self.field}.path"
                )
        return ResolvedInput(self.node.id, tuple(resolved), header)

    def _head(self, file: InputFile, is_csv: bool) -> tuple[int, tuple[str, ...] | None]:
        try:
            head = read_head(file.path, file.compression, is_csv=is_csv, options=self.node.reader)
        except InputRefused as error:
            raise self._refused(str(error)) from error
        except TaskError as error:
            raise InvalidRequest(f"{file.path}: {error}", f"{self.field}.path") from error
        except DECOMPRESSION_ERRORS as error:
            raise self._refused(f"{file.path} is no valid .{file.compression}: {error}") from error
        except OSError as error:
            if error.strerror is None:
                raise self._refused(f"{file.path}: no valid .{file.compression}") from error
            raise self._unreadable(file.path, error) from error
        return head.data_start, head.header


def _split_pattern(pattern: str) -> tuple[str, str]:
    """The folder before the first wildcard component (with its slash), and what follows it."""
    parts = pattern.split(os.sep)
    first = next(index for index, part in enumerate(parts) if _MAGIC.search(part))
    folder = os.sep.join([*parts[:first], ""])
    return folder, pattern[len(folder) :]
