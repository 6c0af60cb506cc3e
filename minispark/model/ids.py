"""Identifiers: lower-case UUID strings. Minted at the boundary, or derived; never inside the core.

Must not know who mints them, or when.
"""

from __future__ import annotations

import hashlib
import re
import uuid

JobId = str
WorkerId = str
AttemptId = str

NIL_ID = "00000000-0000-0000-0000-000000000000"
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII | re.IGNORECASE)
_NAMESPACE = uuid.UUID("6f1d9a52-6c1f-5a0e-9a44-0d0b1c6d5e11").bytes


def attempt_id(job_id: JobId, stage_id: str, partition: int, attempt: int) -> AttemptId:
    """The id of one attempt: uuid5 of job, node(s), partition and attempt number (from 0).

    On the documented wire this is a Task's `id`: another attempt has another id.
    """
    name = f"{job_id}/{stage_id}/{partition}/{attempt}"
    digest = hashlib.sha1(_NAMESPACE + name.encode(), usedforsecurity=False).hexdigest()
    variant = "89ab"[int(digest[16], 16) & 3]
    # as `uuid.uuid5` makes it, which takes four times as long
    return f"{digest[:8]}-{digest[8:12]}-5{digest[13:16]}-{variant}{digest[17:20]}-{digest[20:32]}"


def is_uuid(text: str) -> bool:
    """Whether `text` is a UUID in its canonical 36-character form (case-insensitive)."""
    return _UUID.fullmatch(text) is not None
