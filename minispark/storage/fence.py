"""Where a submitter without the token may read and write. Must not know jobs."""

from __future__ import annotations

import os
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Fence:
    """The folders below which all is allowed, and one in which nothing is. All paths have their
    links resolved.
    """

    roots: tuple[str, ...]
    forbidden: str | None

    @staticmethod
    def around(roots: tuple[str, ...], state_dir: str | None) -> Fence:
        return Fence(
            tuple(os.path.realpath(root) for root in roots),
            None if state_dir is None else os.path.realpath(state_dir),
        )

    def admits(self, real_path: str) -> bool:
        if self.forbidden is not None and _is_below(real_path, self.forbidden):
            return False
        return any(_is_below(real_path, root) for root in self.roots)

    def refusal(self, path: str) -> str:
        """What to tell whoever asked for a path that is not admitted."""
        return (
            f"{path} lies outside the input roots ({', '.join(self.roots)}); "
            "submit with the cluster's token, or add its folder to input_roots"
        )


def _is_below(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)
