"""Ids are UUIDs, derived where two processes must come to the same one."""

from __future__ import annotations

import uuid

from minispark.model.ids import attempt_id, is_uuid

NAMESPACE = uuid.UUID("6f1d9a52-6c1f-5a0e-9a44-0d0b1c6d5e11")


def test_an_attempts_id_is_the_uuid5_of_what_it_is() -> None:
    for number in range(100):
        made = attempt_id("job", "ñ+map", number, 2)
        assert made == str(uuid.uuid5(NAMESPACE, f"job/ñ+map/{number}/2"))
        assert is_uuid(made)
