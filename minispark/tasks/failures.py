"""How a task failed, in the words that its user reads. Must not know who reports it."""

from __future__ import annotations

import traceback

from minispark.errors import MiniSparkError


def failure_of(error: Exception, chars_max: int) -> tuple[str, str]:
    """Whose fault it is, `error` (of the data, a function, the system) or `internal` (ours), and
    what to show: no more characters than that.
    """
    match error:
        case MiniSparkError():
            return "error", str(error)[:chars_max]
        case OSError():
            return "error", f"{type(error).__name__}: {error}"[:chars_max]
        case MemoryError():
            return "error", "the executor ran out of memory"
        case _:
            return "internal", "".join(traceback.format_exception(error))[-chars_max:]
