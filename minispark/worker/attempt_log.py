"""The log's account of attempts, as the worker that runs them sees it.

What goes well is said at level debug, and costs one look while that is off. Must not know the
agent.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping

from minispark.model.log_fields import about
from minispark.model.plan import TaskOrder
from minispark.transport import messages as msg

logger = logging.getLogger("minispark.worker")


def begun(run: msg.Run, slot: int) -> None:
    """An executor was sent the order."""
    if logger.isEnabledFor(logging.DEBUG):
        logger.debug("attempt sent to the executor of slot %d", slot, extra=_ids(run.order))


def ended(run: msg.Run | None, report: msg.Ending, ran_s: float) -> None:
    """An executor reported. None: on what was taken from it meanwhile."""
    if run is None or run.order.attempt_id != report.attempt_id:
        return
    if isinstance(report, msg.Succeeded):
        if logger.isEnabledFor(logging.DEBUG):
            text = "attempt ran %.4f s: %d records"
            logger.debug(text, ran_s, report.outcome.records, extra=_ids(run.order))
        return
    if isinstance(report, msg.CacheMissed):
        logger.info("attempt found nothing in the cache", extra=_ids(run.order))
        return
    kind = report.kind if isinstance(report, msg.Failed) else "fetch"
    first = report.error.partition("\n")[0]
    logger.info("attempt failed after %.4f s: %s: %s", ran_s, kind, first, extra=_ids(run.order))


def executor_gone(run: msg.Run | None, slot: int, pid: int, how: str, why: str | None) -> None:
    """`why`: for what the agent killed it; None when nobody here did."""
    level = logging.WARNING if why is None and run is not None else logging.DEBUG
    killed = f", killed for its {why}" if why in ("timeout", "memory") else ""
    ids = _ids(run.order) if run is not None else None
    logger.log(level, "executor %d of slot %d ended with %s%s", pid, slot, how, killed, extra=ids)


def _ids(order: TaskOrder) -> dict[str, Mapping[str, object]]:
    return about(
        job=order.job_id, stage=order.stage_id, task=order.partition, attempt=order.attempt
    )
