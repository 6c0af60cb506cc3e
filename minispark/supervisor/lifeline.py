"""Nobody outlives its parent: PR_SET_PDEATHSIG on Linux, a pipe that closes everywhere.

Must not know which process is which.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def die_with_parent(parent_pid: int) -> None:
    """Have the kernel kill this process when its parent's main thread ends (Linux; else nothing).

    Call it in the child's main thread. `parent_pid` is what the parent said its pid is: when the
    parent died before the call, this process ends at once.
    """
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent_pid:
        os._exit(1)
