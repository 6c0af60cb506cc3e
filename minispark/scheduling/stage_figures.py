"""Adds up what the accepted attempts of a stage report. Must not know what the figures are for."""

from __future__ import annotations

from minispark.model.figures import OperatorFigures, StageFigures
from minispark.model.plan import TaskOutcome

NAMES_MAX = 1024
"""Phases, or nodes, that one stage tells apart; a plan has fewer, a worker may report anything."""


class StageSums:
    """One stage's sums so far."""

    def __init__(self) -> None:
        self._tasks = 0
        self._bytes_read = 0
        self._bytes_written = 0
        self._bytes_spilled = 0
        self._records = 0
        self._phases_us: dict[str, int] = {}
        self._records_of: dict[str, int] = {}
        self._us_of: dict[str, int] = {}
        self._first_started_at: float | None = None
        self._last_accepted_at: float | None = None

    def started(self, at_unix_s: float) -> None:
        """An attempt began to run."""
        if self._first_started_at is None:
            self._first_started_at = at_unix_s

    def accepted(self, outcome: TaskOutcome, at_unix_s: float) -> None:
        """An attempt became its task's output."""
        self._tasks += 1
        self._bytes_read += outcome.bytes_read
        self._bytes_written += outcome.bytes_written
        self._bytes_spilled += outcome.bytes_spilled
        self._records += outcome.records
        self._last_accepted_at = at_unix_s
        for phase, us in outcome.phases_us.items():
            _add(self._phases_us, phase, us)
        for operator in outcome.operators:
            _add(self._records_of, operator.node_id, operator.records)
            _add(self._us_of, operator.node_id, operator.us)

    def figures(self, completed_at: float) -> StageFigures:
        """The sums of a stage that is complete now."""
        return StageFigures(
            tasks=self._tasks,
            bytes_read=self._bytes_read,
            bytes_written=self._bytes_written,
            bytes_spilled=self._bytes_spilled,
            records=self._records,
            phases_us=dict(self._phases_us),
            operators={
                node: OperatorFigures(records, self._us_of[node])
                for node, records in self._records_of.items()
            },
            first_started_at=self._first_started_at,
            last_accepted_at=self._last_accepted_at,
            completed_at=completed_at,
        )


def _add(sums: dict[str, int], name: str, value: int) -> None:
    if name in sums:
        sums[name] += value
    elif len(sums) < NAMES_MAX:
        sums[name] = value
