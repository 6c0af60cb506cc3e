"""What a worker says of itself when it registers, checked before the core hears of it.

Must not know sessions, nor what the core does with it.
"""

from __future__ import annotations

import uuid

from minispark.errors import ProtocolError
from minispark.model.events import WorkerIdentity
from minispark.model.ids import NIL_ID, is_uuid
from minispark.model.states import WorkerKind
from minispark.transport.messages import RUNNING_MAX, Register

SLOTS_MAX = 1024
PID_MAX = 2**31 - 1
NAME_CHARS_MAX = 255
"""Also the longest name of a host."""
PATH_CHARS_MAX = 4096
ID_CHARS_MAX = 36


def identity_of(message: Register) -> WorkerIdentity:
    """Who registers; it gets an id if it has none. Raises ProtocolError that names the field."""
    if message.worker_id != NIL_ID and not is_uuid(message.worker_id):
        raise _refused("worker_id is no UUID")
    least = 0 if message.is_driver else 1  # it serves nothing, and runs nothing itself
    _check_number("port", message.port, least, 65535)
    _check_number("slots", message.slots, least, SLOTS_MAX)
    _check_number("pid", message.pid, 0, PID_MAX)
    for field in ("name", "host", "host_id"):
        text = getattr(message, field)
        if not 0 < len(text) <= NAME_CHARS_MAX or not text.isprintable():
            raise _refused(f"{field} is 1 to {NAME_CHARS_MAX} printable characters")
    for field in ("state_dir", "metrics_url"):
        text = getattr(message, field) or ""
        if len(text) > PATH_CHARS_MAX or "\0" in text:
            raise _refused(f"{field} is too long, or holds a NUL")
    for field in ("running", "waiting"):
        ids = getattr(message, field)
        if len(ids) > RUNNING_MAX or any(len(i) > ID_CHARS_MAX for i in ids):
            raise _refused(f"{field} is at most {RUNNING_MAX} attempt ids")
    is_new = message.worker_id == NIL_ID
    return WorkerIdentity(
        worker_id=str(uuid.uuid4()) if is_new else message.worker_id.lower(),
        kind=WorkerKind.SPARK if message.is_driver else WorkerKind.SOCKET,
        name=message.name,
        host=message.host,
        port=message.port,
        slots=message.slots,
        pid=message.pid,
        host_id=message.host_id,
        state_dir=message.state_dir,
        metrics_url=message.metrics_url,
    )


def _check_number(field: str, value: int, least: int, most: int) -> None:
    if not least <= value <= most:
        raise _refused(f"{field} is a whole number from {least} to {most}, not {value}")


def _refused(text: str) -> ProtocolError:
    return ProtocolError(f"register: {text}", "bad_message")
