"""Counts what the core writes into its journal, so that no second account of it exists.

Must not know why facts happen, nor who reads the counts.
"""

from __future__ import annotations

from collections.abc import Iterable

from minispark.model.effects import AppendJournal, AttemptMoved, Effect, JobAccepted, JobMoved
from minispark.model.snapshot import Totals
from minispark.model.states import AttemptState, JobState


class RunningTotals:
    """The counts so far; they never shrink."""

    def __init__(self) -> None:
        self._jobs_submitted = 0
        self._jobs_ended = {state: 0 for state in JobState if state.is_terminal}
        self._attempts = dict.fromkeys(AttemptState, 0)
        self._records = 0
        self._bytes_written = 0

    def restore(self, before: Totals) -> None:
        """Go on from what earlier masters counted."""
        self._jobs_submitted = before.jobs_submitted
        self._jobs_ended.update(before.jobs_ended)
        self._attempts.update(before.attempts)
        self._records = before.records
        self._bytes_written = before.bytes_written

    def count(self, effects: Iterable[Effect]) -> None:
        """Count the facts among the effects, each of which must come here once."""
        for effect in effects:
            if not isinstance(effect, AppendJournal):
                continue
            fact = effect.fact
            if isinstance(fact, AttemptMoved):
                self._count_attempt(fact)
            elif isinstance(fact, JobMoved):
                if fact.state.is_terminal:
                    self._jobs_ended[fact.state] += 1
            elif isinstance(fact, JobAccepted):
                self._jobs_submitted += 1

    def _count_attempt(self, fact: AttemptMoved) -> None:
        if fact.is_committed:
            return  # it was counted when it was accepted
        self._attempts[fact.state] += 1
        if fact.state is AttemptState.SUCCEEDED:
            self._records += fact.records
            self._bytes_written += fact.bytes_written

    def view(self) -> Totals:
        return Totals(
            self._jobs_submitted,
            dict(self._jobs_ended),
            dict(self._attempts),
            self._records,
            self._bytes_written,
        )
