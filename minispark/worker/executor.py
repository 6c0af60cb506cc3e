"""An executor process: takes one order after the other from its agent and runs it.

It may be killed at any moment. Must not know the master.
"""

from __future__ import annotations

import socket
import traceback

from minispark.errors import FetchError, MiniSparkError
from minispark.transport.connection import Connection
from minispark.transport.messages import ERROR_CHARS_MAX, Failed, FetchFailed, Run, Succeeded
from minispark.worker.task import TaskContext, run_order


def serve_orders(sock: socket.socket, context: TaskContext) -> None:
    """Run orders until the agent closes its end."""
    connection = Connection(sock)
    while True:
        try:
            message = connection.receive()
        except (EOFError, ConnectionError):
            return
        assert isinstance(message, Run)
        connection.send(_run(message, context))


def _run(run: Run, context: TaskContext) -> Succeeded | Failed | FetchFailed:
    attempt_id = run.order.attempt_id
    try:
        return Succeeded(attempt_id, run_order(run.order, run.program, run.outputs, context))
    except FetchError as error:
        return FetchFailed(attempt_id, error.attempt_ids, str(error)[:ERROR_CHARS_MAX])
    except MiniSparkError as error:
        return Failed(attempt_id, "error", str(error)[:ERROR_CHARS_MAX])
    except OSError as error:
        return Failed(attempt_id, "error", f"{type(error).__name__}: {error}"[:ERROR_CHARS_MAX])
    except MemoryError:
        return Failed(attempt_id, "error", "the executor ran out of memory")
    except Exception:
        return Failed(attempt_id, "internal", traceback.format_exc()[-ERROR_CHARS_MAX:])
