"""Which stage, or which task of it, a request asks for. Must not know what of it."""

from __future__ import annotations

from minispark.transport.api_schema import OptionalWhole, TextQuery
from minispark.transport.router import HttpError, Request

STAGE_CHARS_MAX = 20_000
STAGE = TextQuery("stage", "only this stage of the job", STAGE_CHARS_MAX, "")
PARTITION = OptionalWhole("partition", "only this one of the stage", 0, 2**31)


def stage_and_partition(request: Request) -> tuple[str | None, int | None]:
    """Raises HttpError 400 for a partition of no stage."""
    stage_id, partition = request.text(STAGE) or None, request.optional_number(PARTITION)
    if partition is not None and stage_id is None:
        raise HttpError(
            400, "invalid_query", "a partition is one of a stage: give `stage` too", "stage"
        )
    return stage_id, partition
