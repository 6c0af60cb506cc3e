"""Requests and plans as the texts that the job store keeps, and back.

Must not know where the texts are kept.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from minispark.errors import ClusterError, MiniSparkError
from minispark.master.documents import request_document
from minispark.model.job import JobRequest
from minispark.model.plan import PhysicalPlan
from minispark.plan.parsing import parse_request
from minispark.transport.codec import from_json, to_json


class UnreadableText(ClusterError):
    """The stored text is damaged, or another version of this package wrote it."""


def dump_request(request: JobRequest) -> str:
    return json.dumps(request_document(request), ensure_ascii=False)


def load_request(text: bytes) -> JobRequest:
    """Raises UnreadableText."""
    try:
        return parse_request(json.loads(text))
    except (ValueError, MiniSparkError) as error:
        raise UnreadableText(f"the stored request cannot be read: {error}") from error


def dump_plan(plan: PhysicalPlan) -> str:
    return _compact(to_json(plan))


def load_plan(text: bytes) -> PhysicalPlan:
    """Raises UnreadableText."""
    plan: PhysicalPlan = _load(PhysicalPlan, text)
    return plan


def dump_plans(plans: Sequence[PhysicalPlan]) -> str:
    return _compact([to_json(plan) for plan in plans])


def load_plans(text: bytes) -> tuple[PhysicalPlan, ...]:
    """Raises UnreadableText."""
    plans: tuple[PhysicalPlan, ...] = _load(tuple[PhysicalPlan, ...], text)
    return plans


def _load(hint: Any, text: bytes) -> Any:
    try:
        return from_json(hint, json.loads(text))
    except (ValueError, MiniSparkError) as error:
        raise UnreadableText(f"the stored plan cannot be read: {error}") from error


def _compact(data: Any) -> str:
    return json.dumps(data, ensure_ascii=False, separators=(",", ":"))
