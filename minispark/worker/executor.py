"""An executor process: takes one order after the other from its agent and runs it.

It may be killed at any moment. Must not know the master.
"""

from __future__ import annotations

import os
import resource
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import replace
from functools import partial

from minispark.compute.user_functions import UserFunctions
from minispark.errors import CacheMissed, FetchError
from minispark.model.figures import Span
from minispark.model.plan import MadeOutput, OutputLocation, StageProgram, TaskOrder
from minispark.storage.input_source import Opener
from minispark.tasks.failures import failure_of
from minispark.tasks.user_modules import UserModules
from minispark.transport import messages as msg
from minispark.transport.connection import Connection
from minispark.transport.messages import (
    ERROR_CHARS_MAX,
    Failed,
    FetchFailed,
    MasterPlace,
    OutputsMade,
    Retiring,
    Run,
    Succeeded,
)
from minispark.worker.cache_channel import CacheChannel
from minispark.worker.far_inputs import opener_of
from minispark.worker.raw_prints import RawPrints
from minispark.worker.task import TaskContext, run_order
from minispark.worker.task_inputs import TaskInputs
from minispark.worker.task_log import TaskLogs

RETIRE_BYTES = 32 << 20
"""An executor that grew by so much ends after its task: the system takes its memory back at once,
where to free millions of objects takes a tenth of a second, and leaves holes.
"""
RETIRE_LOOK_S = 0.001
"""What a shorter task took is found after a longer one: to look takes as long as a small task.
"""


def serve_orders(
    slot: int, sock: socket.socket, cache: socket.socket, prints: int, context: TaskContext
) -> None:
    """Run orders until the agent closes its end, or one took much memory. `slot`: this executor's
    place. `cache`: to the worker's partition cache. `prints`: to who keeps what is written to
    stdout and stderr.
    """
    channel = CacheChannel(cache if context.cache_bytes_max else None)
    connection = Connection(sock)
    modules = UserModules()
    master: MasterPlace | None = None
    program: StageProgram | None = None
    outputs: tuple[OutputLocation, ...] = ()
    begun_bytes = _rss_max_bytes()
    logs = TaskLogs(context.state_dir, context.name, context.log_format)
    raw_prints = RawPrints(prints, logs)
    while True:
        try:
            message = connection.receive()
        except (EOFError, ConnectionError):
            return
        if isinstance(message, OutputsMade):
            continue  # for a task that ended without it
        if isinstance(message, MasterPlace):
            master = message
            continue
        assert isinstance(message, Run)
        outputs = message.outputs if message.outputs is not None else outputs
        program = message.program if message.program is not None else program
        assert program is not None, "the first order comes with its program"
        assert master is not None, "nobody says where inputs are"
        modules = modules.instead(program.modules)
        functions = modules.functions()
        held: list[object] = []
        begun = time.monotonic()
        raw_prints.begin(message.order, bool(program.modules))
        with _logging(message.order, program, logs) as log_failure:
            order, listen = message.order, partial(_hear, connection)
            inputs = TaskInputs(outputs, order.awaited, listen, order.unmade)
            with opener_of(
                master, context.host_id, context.token, order.job_id, context.tls
            ) as open_input:
                report = _run(order, program, inputs, context, functions, held, channel, open_input)
            if isinstance(report, (Failed, FetchFailed)):
                log_failure(report.error)
        raw_prints.end(message.order)
        ended = time.monotonic()
        report = replace(report, span=Span(slot, begun, ended))
        is_looked_at = ended - begun >= RETIRE_LOOK_S
        if is_looked_at and _rss_max_bytes() - begun_bytes > RETIRE_BYTES:
            connection.send(Retiring())
            connection.send(report)
            os._exit(0)
        connection.send(report)


def _hear(connection: Connection) -> tuple[MadeOutput, ...]:
    """Wait until the agent says that outputs were made. Without an agent nobody needs the task."""
    try:
        message = connection.receive()
    except (EOFError, ConnectionError):
        raise SystemExit from None
    assert isinstance(message, OutputsMade)
    return message.outputs


def _rss_max_bytes() -> int:
    """The most memory that this process had so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak << 10


@contextmanager
def _logging(
    order: TaskOrder, program: StageProgram, logs: TaskLogs
) -> Iterator[Callable[[str], None]]:
    """What the user's functions print goes to their job's log; so does the error of an attempt,
    which the block hands to what it gets.
    """
    if not program.modules:
        yield partial(logs.failed, order)
        return
    with logs.of(order) as log:
        with redirect_stdout(log), redirect_stderr(log):
            yield log.failed


def _run(
    order: TaskOrder,
    program: StageProgram,
    inputs: TaskInputs,
    context: TaskContext,
    functions: UserFunctions,
    held: list[object],
    channel: CacheChannel,
    open_input: Opener,
) -> msg.Ending:
    attempt_id = order.attempt_id
    try:
        outcome = run_order(order, program, inputs, context, functions, held, channel, open_input)
        return Succeeded(attempt_id, outcome)
    except FetchError as error:
        return FetchFailed(attempt_id, error.attempt_ids, str(error)[:ERROR_CHARS_MAX])
    except CacheMissed:
        return msg.CacheMissed(attempt_id)
    except Exception as error:
        return Failed(attempt_id, *failure_of(error, ERROR_CHARS_MAX))
