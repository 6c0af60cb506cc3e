"""What a driver reports of a job, whatever Spark does, and in whatever order it is told."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from minispark.driver.driven_job import DrivenJob
from minispark.driver.jobs import Jobs
from minispark.driver.result_files import ResultFiles
from minispark.driver.stages import KnownStages
from minispark.errors import ClusterError
from minispark.model.file_names import partition_file
from minispark.model.plan import PhysicalPlan, TaskOrder, TaskOutcome
from minispark.spark.application import Application
from minispark.spark.failed_tasks import TaskOfStageFailed
from minispark.spark.job_thread import RunEnded
from minispark.spark.stage_run import Written
from minispark.spark.task_report import Place, RanAt, Reports, TaskReport
from minispark.transport.host import host_id
from minispark.transport.messages import Drive, Failed, Report, Started, Succeeded
from minispark.worker.task_log import TaskLogs
from tests.simulation.plans import map_reduce

JOB_ID = str(uuid.UUID(int=5))
MAPS, REDUCES = 2, 2
PLAN = map_reduce(MAPS, REDUCES)
FINALS = ((1, 0), (1, 1))


class FakeRun:
    """A job's thread that is told what to make, and makes what the test says."""

    def __init__(self) -> None:
        self.wanted: list[tuple[PhysicalPlan, tuple[Place, ...]]] = []
        self.reports: Reports = {}
        self.is_stopped = False

    def start(self, plan: PhysicalPlan, finals: tuple[Place, ...]) -> None:
        self.wanted.append((plan, finals))

    def stop(self) -> None:
        self.is_stopped = True


class Talk:
    """A driven job, and what it says."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "attempts").mkdir()
        self.run = FakeRun()
        self.files = ResultFiles(str(folder), folder / "scratch", JOB_ID)
        logs = TaskLogs(str(folder), "spark-driver", "text")
        self.job = DrivenJob(self.run, self.files, logs, lambda ran: ran.pid)  # type: ignore[arg-type]

    def order(self, places: Iterable[Place], tries: int = 0) -> list[Report]:
        orders = tuple(order(place, tries) for place in places)
        return self.job.order(orders, {stage.index: stage.program for stage in PLAN.stages})

    def report(self, place: Place, *, is_in_place: bool = True, prints: str = "") -> TaskReport:
        """A task ended well: Spark's accumulator says so, and its files are there."""
        written_as = str(uuid.uuid4())
        files: tuple[tuple[str, str], ...] = ()
        if place[0] == 1:
            name = partition_file(JOB_ID, "n", place[1])
            files = ((name, name),)
            (self.files.folder / name).write_text(written_as)
        ran = RanAt(host_id(), 4, 10.0, 12.5)
        outcome = TaskOutcome(3, 30, files=files)
        found = TaskReport(written_as, is_in_place, outcome, ran, prints)
        self.run.reports = {**self.run.reports, place: found}
        return found

    def ended(self, *written: Place, error: Any = None) -> list[Report]:
        done = tuple(
            Written(*place, self.run.reports[place].written_as, self.run.reports[place].outcome)
            for place in written
        )
        return self.job.ended(RunEnded(JOB_ID, done, error, self.run.reports))


def order(place: Place, tries: int = 0) -> TaskOrder:
    stage = PLAN.stages[place[0]]
    attempt_id = attempt(place, tries)
    return TaskOrder(attempt_id, JOB_ID, place[0], stage.id, place[1], tries, stage.partitions)


def attempt(place: Place, tries: int = 0) -> str:
    return str(uuid.UUID(int=10_000 * (place[0] + 1) + 100 * place[1] + tries))


def succeeded(reports: list[Report]) -> list[str]:
    return [report.attempt_id for report in reports if isinstance(report, Succeeded)]


def failed(reports: list[Report]) -> list[tuple[str, str]]:
    return [(report.attempt_id, report.kind) for report in reports if isinstance(report, Failed)]


ALL = tuple((stage.index, p) for stage in PLAN.stages for p in range(stage.partitions))


@pytest.fixture
def talk(tmp_path: Path) -> Talk:
    return Talk(tmp_path)


def test_all_final_partitions_are_asked_for_at_once(talk: Talk) -> None:
    assert talk.order(ALL) == []
    ((plan, finals),) = talk.run.wanted
    assert finals == FINALS
    assert [(stage.index, stage.partitions, stage.is_final) for stage in plan.stages] == [
        (0, MAPS, False),
        (1, REDUCES, True),
    ]
    assert sorted(talk.job.held) == sorted(map(attempt, ALL))


def test_each_task_is_reported_once_with_where_and_when_it_ran(talk: Talk) -> None:
    talk.order(ALL)
    talk.report((0, 1))
    started, ended = talk.job.look()
    assert isinstance(started, Started) and isinstance(ended, Succeeded)
    assert started.attempt_id == ended.attempt_id == attempt((0, 1))
    assert ended.span is not None
    assert (ended.span.slot, ended.span.begun_s, ended.span.ended_s) == (4, 10.0, 12.5)
    assert talk.job.look() == []
    # it stays this driver's: others read what it made
    assert attempt((0, 1)) in talk.job.held


def test_results_become_those_of_the_attempt_that_was_waited_for(talk: Talk) -> None:
    talk.order(ALL)
    report = talk.report((1, 0))
    assert succeeded(talk.job.look()) == [attempt((1, 0))]
    ((name, _),) = report.outcome.files
    assert (talk.folder / "attempts" / attempt((1, 0)) / name).read_text() == report.written_as
    assert attempt((1, 0)) not in talk.job.held


def test_what_was_handed_over_counts_when_its_run_ends(talk: Talk) -> None:
    talk.order(ALL)
    talk.report((1, 0), is_in_place=False)
    talk.report((1, 1), is_in_place=False)
    assert talk.job.look() == []
    assert succeeded(talk.ended((1, 0), (1, 1))) == [attempt((1, 0)), attempt((1, 1))]
    assert talk.job.is_idle


def test_a_final_one_that_spark_reports_of_another_run_is_not_made_for_ever(talk: Talk) -> None:
    talk.order(ALL)
    for place in FINALS:
        talk.report(place, is_in_place=False)
    written = [Written(*p, str(uuid.uuid4()), talk.run.reports[p].outcome) for p in FINALS]
    talk.run.reports = {}
    reports = talk.job.ended(RunEnded(JOB_ID, tuple(written), None, {}))
    assert succeeded(reports) == [attempt(place) for place in FINALS]
    assert len(talk.run.wanted) == 1


def test_a_failed_task_is_reported_alone_and_the_rest_waits_for_its_next_try(talk: Talk) -> None:
    talk.order(ALL)
    talk.report((0, 0))
    error = TaskOfStageFailed("ValueError: no", 0, 1, "error", "said before\n")
    reports = talk.ended(error=error)
    assert succeeded(reports) == [attempt((0, 0))]
    assert failed(reports) == [(attempt((0, 1)), "error")]
    log = (
        (talk.folder / f"{JOB_ID}.log").read_text()
        if (talk.folder / f"{JOB_ID}.log").exists()
        else ""
    )
    log = log or "".join(p.read_text() for p in talk.folder.rglob("*.log"))
    assert "said before" in log and "ValueError: no" in log
    assert talk.job.is_idle and len(talk.run.wanted) == 1
    talk.order([(0, 1)], tries=1)
    first, again = talk.run.wanted
    assert again == first and again[0] is first[0]  # the same plan: Spark keeps its shuffles
    talk.report((0, 1))
    assert succeeded(talk.job.look()) == [attempt((0, 1), 1)]


@pytest.mark.parametrize("kind", ["timeout", "internal"])
def test_how_it_failed_is_handed_on(talk: Talk, kind: str) -> None:
    talk.order(ALL)
    assert failed(talk.ended(error=TaskOfStageFailed("x", 1, 1, kind))) == [(attempt((1, 1)), kind)]


def test_where_spark_itself_fails_one_attempt_carries_the_error(talk: Talk) -> None:
    talk.order(ALL)
    reports = talk.ended(error=ClusterError("Spark failed: out of memory"))
    assert failed(reports) == [(attempt((1, 0)), "error")]
    talk.order([(1, 0)], tries=1)
    assert talk.run.wanted[-1][1] == FINALS


def test_what_spark_has_already_is_reported_at_once_to_a_master_that_lost_it(talk: Talk) -> None:
    talk.order(ALL)
    talk.report((0, 0))
    talk.job.look()
    assert succeeded(talk.order(ALL, tries=1)) == [attempt((0, 0), 1)]
    assert len(talk.run.wanted) == 1  # it still makes the rest
    talk.report((1, 0))
    assert succeeded(talk.job.look()) == [attempt((1, 0), 1)]


def test_a_result_that_was_reported_to_a_lost_session_is_made_again(talk: Talk) -> None:
    talk.order(ALL)
    for place in ALL:
        talk.report(place)
    talk.job.look()
    talk.order([(1, 1)], tries=1)
    assert len(talk.run.wanted) == 1  # Spark is still busy
    talk.ended(*FINALS)
    assert talk.run.wanted[-1][1] == ((1, 1),)
    talk.report((1, 1))
    assert succeeded(talk.ended((1, 1))) == [attempt((1, 1), 1)]
    assert talk.job.is_idle


def test_a_driver_that_began_anew_waits_until_all_is_there(talk: Talk) -> None:
    talk.order([(0, 0), (1, 0)])  # (0, 1) failed, and waits for its next try
    assert talk.run.wanted == []
    talk.order([(0, 1)])
    ((plan, finals),) = talk.run.wanted
    assert finals == ((1, 0),)
    assert len(plan.stages) == 2


def test_results_that_cannot_be_put_in_place_are_a_failed_attempt(talk: Talk) -> None:
    talk.order(ALL)
    report = talk.report((1, 0))
    ((name, _),) = report.outcome.files
    (talk.files.folder / name).unlink()
    assert failed(talk.job.look()) == [(attempt((1, 0)), "error")]


def test_given_up_attempts_are_nobodys(talk: Talk) -> None:
    talk.order(ALL)
    talk.job.give_up({attempt((0, 0)), attempt((1, 0))})
    talk.report((0, 0))
    assert talk.job.look() == []
    assert sorted(talk.job.held) == sorted([attempt((0, 1)), attempt((1, 1))])


def test_what_ended_while_nobody_waited_for_it_is_said_when_somebody_does(talk: Talk) -> None:
    talk.order(ALL)
    talk.job.give_up({attempt((0, 0))})
    talk.report((0, 0))
    assert talk.job.look() == [] and attempt((0, 0)) not in talk.job.held
    assert succeeded(talk.order([(0, 0)], tries=1)) == [attempt((0, 0), 1)]


def test_a_job_that_ended_leaves_nothing(talk: Talk) -> None:
    talk.order(ALL)
    talk.report((1, 0))
    talk.job.end()
    assert talk.run.is_stopped and not talk.files.folder.exists()


def test_jobs_that_ended_while_there_was_no_session_are_forgotten(tmp_path: Path) -> None:
    logs = TaskLogs(str(tmp_path), "spark-driver", "text")
    jobs = Jobs(Application("local", {}), str(tmp_path), tmp_path, 1, logs, lambda _: None)
    programs = {str(stage.index): stage.program for stage in PLAN.stages}
    jobs.drive(Drive(JOB_ID, "job", (order((0, 0)),), programs, is_last=True))
    jobs.begin_session((JOB_ID,))
    assert jobs.held == (attempt((0, 0)),) and (tmp_path / JOB_ID).exists()
    jobs.begin_session(())
    assert jobs.held == () and not (tmp_path / JOB_ID).exists()


def test_times_of_another_host_are_only_how_long_it_took(talk: Talk) -> None:
    talk.order(ALL)
    far = RanAt("another", 9, 1e9, 1e9 + 2.0)
    talk.run.reports = {(0, 0): TaskReport("x", False, TaskOutcome(1, 1), far)}
    (_, ended) = talk.job.look()
    assert isinstance(ended, Succeeded) and ended.span is not None and ended.span.ended_s
    assert ended.span.ended_s < 1e9
    assert ended.span.ended_s - ended.span.begun_s == pytest.approx(2.0)


def test_stages_know_what_is_missing() -> None:
    stages = KnownStages()
    programs = {stage.index: stage.program for stage in PLAN.stages}
    assert stages.learn([order((1, 0))], programs)
    assert not stages.is_whole  # stage 0 is not there
    assert stages.learn([order((0, 0))], programs)
    assert not stages.is_whole
    assert stages.learn([order((0, 1))], programs)
    assert stages.is_whole
    assert not stages.learn([order((0, 1), 1)], programs)
