"""What a worker uses now, as its heartbeats tell the master. Must not know who measures."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class WorkerLoad:
    """Of the agent and its executors together; what executors share with the process that they
    were forked from counts once.
    """

    cpu_percent: float
    """Of one core, since the last heartbeat."""
    rss_bytes: int
    cache_bytes: int
    """Partitions in memory."""
    cache_spilled_bytes: int
    cache_hits: int
    cache_misses: int
