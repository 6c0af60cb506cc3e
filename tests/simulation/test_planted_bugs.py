"""The simulation finds bugs: each of these is planted by hand, and must be caught (F61)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from minispark.master.loop import MasterLoop
from minispark.model.states import AttemptState
from minispark.scheduling.attempts import AttemptOutcomes
from minispark.scheduling.core import SchedulingCore
from minispark.scheduling.dispatch import Dispatcher
from minispark.scheduling.endings import Endings
from minispark.scheduling.job_run import JobRun
from tests.simulation.simulator import Simulation

SEEDS_MAX = 200


def first_caught() -> tuple[int, str]:
    """The first seed that contradicts itself, and how. Fails when none of SEEDS_MAX does."""
    for seed in range(SEEDS_MAX):
        try:
            Simulation(seed).run()
        except Exception as error:
            return seed, f"{type(error).__name__}: {error}"
    raise AssertionError(f"the bug was not found in {SEEDS_MAX} seeds")


@pytest.fixture
def caught() -> Iterator[Callable[[], str]]:
    def search() -> str:
        seed, how = first_caught()
        print(f"caught by seed {seed}: {how}")
        return how

    yield search


def test_without_a_planted_bug_the_same_seeds_are_clean() -> None:
    for seed in range(30):
        Simulation(seed).run()


def test_f61_keeping_the_result_of_a_superseded_attempt_is_caught(
    monkeypatch: pytest.MonkeyPatch, caught: Callable[[], str]
) -> None:
    everything: dict[str, Any] = {}
    assign, live = JobRun.assign, AttemptOutcomes.live

    def remember(self: JobRun, *args: Any) -> Any:
        attempt = assign(self, *args)
        everything[attempt.id] = attempt
        return attempt

    def find(self: AttemptOutcomes, attempt_id: str, worker_id: str) -> Any:
        found = live(self, attempt_id, worker_id)
        late = everything.get(attempt_id)
        if found is None and late is not None and late.task.live is not None:
            return late.task.live  # the late result counts as that of the attempt that runs now
        return found

    monkeypatch.setattr(JobRun, "assign", remember)
    monkeypatch.setattr(AttemptOutcomes, "live", find)
    assert caught()


def test_f61_forgetting_one_of_the_lost_map_outputs_is_caught(
    monkeypatch: pytest.MonkeyPatch, caught: Callable[[], str]
) -> None:
    fetch_failed = AttemptOutcomes.fetch_failed

    def forgetful(self: AttemptOutcomes, event: Any, effects: Any) -> None:
        fetch_failed(self, replace(event, lost=event.lost[1:]), effects)

    monkeypatch.setattr(AttemptOutcomes, "fetch_failed", forgetful)
    assert "somebody could not read" in caught()


def test_f61_acknowledging_before_the_journal_is_caught(
    monkeypatch: pytest.MonkeyPatch, caught: Callable[[], str]
) -> None:
    carry_out = MasterLoop.carry_out

    def hasty(self: MasterLoop, effects: Any, replies: Any) -> None:
        for reply in replies:
            reply.complete()
        carry_out(self, effects, [])

    monkeypatch.setattr(MasterLoop, "carry_out", hasty)
    assert "acknowledged" in caught()


def test_f61_sending_before_the_journal_is_caught(
    monkeypatch: pytest.MonkeyPatch, caught: Callable[[], str]
) -> None:
    def hasty(self: MasterLoop, effects: Any, replies: Any) -> None:
        self._perform(effects)
        self._make_durable([e.fact for e in effects if hasattr(e, "fact")])
        for reply in replies:
            reply.complete()

    monkeypatch.setattr(MasterLoop, "carry_out", hasty)
    assert caught()


def test_f61_a_restart_that_forgets_accepted_outputs_is_caught(
    monkeypatch: pytest.MonkeyPatch, caught: Callable[[], str]
) -> None:
    from minispark.scheduling.recovery import Recovery

    restore = Recovery.restore

    def forgetful(self: Recovery, record: Any, event: Any, effects: Any) -> None:
        kept = [f for f in record.attempts if f.state is not AttemptState.SUCCEEDED]
        restore(self, replace(record, attempts=tuple(kept)), event, effects)

    monkeypatch.setattr(Recovery, "restore", forgetful)
    how = caught()
    assert "has an output" in how or "are what running jobs read" in how


def test_f61_a_disk_that_nobody_looks_at_again_is_caught(
    monkeypatch: pytest.MonkeyPatch, caught: Callable[[], str]
) -> None:
    monkeypatch.setattr(Endings, "sweep", lambda *_: None)
    assert "are left" in caught()


def test_f61_sending_readers_for_ever_to_a_lost_disk_is_caught(
    monkeypatch: pytest.MonkeyPatch, caught: Callable[[], str]
) -> None:
    monkeypatch.setattr(AttemptOutcomes, "_cause_of_loss", lambda *_: None)
    assert "somebody could not read" in caught()


def test_f61_waiting_for_readers_to_run_into_a_lost_disk_is_caught(
    monkeypatch: pytest.MonkeyPatch, caught: Callable[[], str]
) -> None:
    monkeypatch.setattr(AttemptOutcomes, "lose_outputs", lambda *_: None)
    assert "is gone since" in caught()


def test_f61_sending_locations_once_though_they_changed_is_caught(
    monkeypatch: pytest.MonkeyPatch, caught: Callable[[], str]
) -> None:
    forget_output = JobRun.forget_output

    def unnoticed(self: JobRun, attempt: Any, event: Any) -> None:
        forget_output(self, attempt, event)
        attempt.stage.outputs_version -= 2  # it is the old one when the output is made again

    monkeypatch.setattr(JobRun, "forget_output", unnoticed)
    assert "somebody could not read" in caught()


def test_f61_taking_from_a_draining_worker_what_it_runs_is_caught(
    monkeypatch: pytest.MonkeyPatch, caught: Callable[[], str]
) -> None:
    start = JobRun.start

    def forget_that_it_started(self: JobRun, attempt: Any, *args: Any) -> None:
        start(self, attempt, *args)
        attempt.state = AttemptState.ASSIGNED

    monkeypatch.setattr(JobRun, "start", forget_that_it_started)
    assert "were running" in caught()


def test_f61_sending_a_reader_to_one_output_too_few_is_caught(
    monkeypatch: pytest.MonkeyPatch, caught: Callable[[], str]
) -> None:
    collect = Dispatcher._collect
    monkeypatch.setattr(Dispatcher, "_collect", lambda *args: collect(*args)[:-1])
    assert "accepted is" in caught()


def test_f61_a_draining_worker_that_keeps_its_queue_is_caught(
    monkeypatch: pytest.MonkeyPatch, caught: Callable[[], str]
) -> None:
    def keep(self: SchedulingCore, event: Any, *_: Any) -> None:
        worker = self.state.pool.workers.get(event.worker_id)
        if worker is not None and worker.state.value == "UP" and not worker.is_draining:
            self.state.pool.drain(worker)

    monkeypatch.setattr(SchedulingCore, "_drain", keep)
    assert "only queued" in caught()


def test_f61_waiting_for_ever_for_a_foreign_worker_is_caught(
    monkeypatch: pytest.MonkeyPatch, caught: Callable[[], str]
) -> None:
    monkeypatch.setattr(SchedulingCore, "_time_out_foreign", lambda *_: None)
    assert "runs on a foreign worker" in caught()


def test_f61_cancelling_a_job_whose_parts_are_being_published_is_caught(
    monkeypatch: pytest.MonkeyPatch, caught: Callable[[], str]
) -> None:
    end = Endings.end

    def whenever(self: Endings, job: JobRun, *args: Any) -> None:
        job.is_saving = False
        end(self, job, *args)

    monkeypatch.setattr(Endings, "end", whenever)
    assert "its parts are there" in caught()
