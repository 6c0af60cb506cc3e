"""Schedules of faults, holding a process, and what a monkey reports; without a cluster."""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from minispark.chaos.faults import Fault, Inflicted, inflict, release
from minispark.chaos.hold import Hold
from minispark.chaos.monkey import carry_out
from minispark.chaos.schedule import FAULTS_MAX, KILLS, WEIGHTS, KillBudget, Planned, schedule
from minispark.cli import chaos
from minispark.cli.chaos_monkey import job_report
from minispark.cli.main import main
from minispark.errors import InvalidRequest, NoCluster
from minispark.model.settings import RestartSection
from minispark.supervisor.restart_policy import Life, ProcessState, RestartLimits
from tests.cluster.harness import wait_until
from tests.cluster_files import write_cluster

WORKERS = ("worker-1", "worker-2", "worker-3")
DEFAULTS = RestartSection()


# --- schedules ----------------------------------------------------------------------------------


def test_f60_the_same_seed_gives_the_same_schedule() -> None:
    first, again = (schedule(7, 60, 2, WORKERS, DEFAULTS) for _ in range(2))
    assert first == again
    assert first != schedule(8, 60, 2, WORKERS, DEFAULTS)
    assert 20 <= len(first) <= 45
    assert all(0 <= one.at_s < 60 and one.action in WEIGHTS for one in first)
    victims = {one.action: one.target for one in first}
    assert victims["corrupt-shuffle"] is None and victims["kill-worker"] in WORKERS


def fatal_after(planned: list[Planned], restart: RestartSection, late_s: float) -> list[str]:
    """Who is given up when the kills come at their times, the odd ones somewhat late."""
    limits = RestartLimits(
        restart.policy,
        restart.backoff_min_s,
        restart.backoff_max_s,
        restart.attempts_max,
        restart.window_s,
    )
    lives: dict[str, Life] = {}
    for number, one in enumerate(planned):
        if one.action in KILLS and one.target is not None:
            life = lives.setdefault(one.target, Life(limits, lambda: 0.0))
            life.started()
            life.ended(-9, one.at_s + late_s * (number % 2))
    return [name for name, life in lives.items() if life.state is ProcessState.FATAL]


@pytest.mark.parametrize(
    ("duration_s", "every_s", "restart"),
    [
        (60.0, 2.0, DEFAULTS),
        (600.0, 0.7, DEFAULTS),
        (60.0, 0.5, RestartSection(attempts_max=1, window_s=5.0)),
        (60.0, 2.0, RestartSection(attempts_max=0)),
        (60.0, 2.0, RestartSection(policy="never")),
    ],
)
def test_f60_no_schedule_kills_a_process_for_good(
    duration_s: float, every_s: float, restart: RestartSection
) -> None:
    kills = 0
    for seed in range(200):
        planned = schedule(seed, duration_s, every_s, WORKERS, restart)
        assert fatal_after(planned, restart, late_s=4.9) == []
        kills += sum(one.action in KILLS for one in planned)
    is_any_allowed = restart.attempts_max > 0 and restart.policy != "never"
    assert (kills > 0) == is_any_allowed


def test_f60_a_cluster_without_workers_has_a_schedule_too() -> None:
    actions = {one.action for one in schedule(1, 60, 1, (), DEFAULTS)}
    assert actions == {"corrupt-shuffle", "kill-master"}


def test_a_schedule_has_a_limit() -> None:
    with pytest.raises(InvalidRequest, match=str(FAULTS_MAX)):
        schedule(1, 60, 0.0001, WORKERS, DEFAULTS)


def test_a_budget_comes_back_when_the_window_has_passed() -> None:
    budget = KillBudget(RestartSection(attempts_max=2, window_s=10.0))
    budget.spend("w", 0.0, kills=2)
    assert not budget.allows("w", 14.0) and budget.allows("x", 14.0)
    assert budget.allows("w", 15.0)


def write_worker(folder: Path, **entry: Any) -> None:
    now = time.time()
    known = {"pid": None, "state": "RUNNING", "started_at": now, "restarts": 0, "reason": None}
    entry = {"name": "worker-1", **known, **entry}
    write_cluster(folder, [entry], master_url="http://127.0.0.1:1")


def test_f60_restarts_before_the_monkey_count(tmp_path: Path) -> None:
    write_worker(tmp_path, restarts=5)
    said: list[str] = []
    planned = [Planned(0.0, "kill-worker", "worker-1", 1)]
    report = carry_out(tmp_path, planned, DEFAULTS, lambda _, text: said.append(text))
    assert report.missed["kill-worker"] == 1 and "may not come back" in said[0]
    write_worker(tmp_path, restarts=5, started_at=time.time() - 100)
    carry_out(tmp_path, planned, DEFAULTS, lambda _, text: said.append(text))
    assert "not running now" in said[1]  # it was tried


# --- holding ------------------------------------------------------------------------------------


@pytest.fixture
def victim() -> Iterator[psutil.Process]:
    child = subprocess.Popen([sys.executable, "-c", "import time\nwhile True: time.sleep(0.001)"])
    yield psutil.Process(child.pid)
    child.kill()
    child.wait()


def held(victim: psutil.Process, action: str) -> Inflicted:
    done = Inflicted(Fault(action, "w", (victim,), signal.SIGSTOP))
    inflict(done)
    return done


def is_stopped(process: psutil.Process) -> bool:
    return bool(process.status() == psutil.STATUS_STOPPED)


def stays_running(process: psutil.Process) -> bool:
    """Over longer than a slow worker's turn."""
    deadline = time.monotonic() + 0.5
    while time.monotonic() < deadline:
        if is_stopped(process):
            return False
        time.sleep(0.005)
    return True


@pytest.mark.parametrize("action", ["pause-worker", "slow-worker"])
def test_what_was_held_goes_on_after_its_time(victim: psutil.Process, action: str) -> None:
    done = held(victim, action)
    wait_until(lambda: is_stopped(victim), "it stopped")
    with Hold(done, 0.3) as hold:
        hold.wait()
    assert hold.is_over
    assert stays_running(victim)


@pytest.mark.parametrize("action", ["pause-worker", "slow-worker"])
def test_a_hold_that_is_left_early_is_over_at_once_and_stops_nothing_later(
    victim: psutil.Process, action: str
) -> None:
    done = held(victim, action)
    begun = time.monotonic()
    with pytest.raises(KeyboardInterrupt), Hold(done, 60.0):
        raise KeyboardInterrupt
    assert time.monotonic() - begun < 30
    release(done)
    assert stays_running(victim)
    assert not any(thread.name == "hold" for thread in threading.enumerate())


def test_a_release_ends_a_hold_whose_block_was_never_entered(victim: psutil.Process) -> None:
    done = held(victim, "slow-worker")
    hold = Hold(done, 60.0).__enter__()  # interrupted just before it returned
    release(done)
    wait_until(lambda: hold.is_over, "its thread ended", 2)
    assert stays_running(victim)


def test_a_slow_process_runs_some_of_the_time(victim: psutil.Process) -> None:
    done = held(victim, "slow-worker")
    with Hold(done, 60.0):
        for _ in range(3):
            wait_until(lambda: is_stopped(victim), "it is stopped")
            wait_until(lambda: not is_stopped(victim), "it runs")


def test_what_was_stopped_before_an_interruption_is_known(victim: psutil.Process) -> None:
    class Interrupting(psutil.Process):
        def send_signal(self, sig: int) -> None:
            super().send_signal(sig)
            if sig == signal.SIGSTOP:
                raise KeyboardInterrupt

    done = Inflicted(Fault("pause-worker", "w", (Interrupting(victim.pid),), signal.SIGSTOP))
    with pytest.raises(KeyboardInterrupt):
        inflict(done)
    release(done)
    assert stays_running(victim)


def test_f16_a_second_damage_does_not_mend_the_first(tmp_path: Path) -> None:
    path = tmp_path / "shuffle.blocks"
    path.write_bytes(bytes(range(256)) * 2)
    seen = {path.read_bytes()}
    for _ in range(3):
        inflict(Inflicted(Fault("corrupt-shuffle", "attempt", path=path)))
        seen.add(path.read_bytes())
    assert len(seen) == 4 and {len(data) for data in seen} == {512}


# --- arguments ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("kill-master", "worker-1"), "kill-master takes no WORKER"),
        (("corrupt-shuffle", "worker-1"), "corrupt-shuffle takes no WORKER"),
        (("monkey", "worker-1"), "monkey takes no WORKER"),
        (("monkey", "--watch"), "monkey takes no --watch"),
        (("monkey", "--signal", "TERM"), "monkey takes no --signal"),
        (("pause-worker", "--signal", "KILL"), "pause-worker takes no --signal"),
        (("kill-worker", "--every", "2s"), "kill-worker takes no --every"),
        (("slow-worker", "--verify"), "slow-worker takes no --verify"),
        (("kill-wroker",), "did you mean kill-worker?"),
        (("kill-worker", "--signal", "HUP"), "'HUP' is none of "),
        (("kill-worker", "--seed", "x"), "invalid int"),
        (("monkey", "--every", "0"), "no time above 0"),
        (("monkey", "--every=-1s"), "no time above 0"),
        (("monkey", "--for", "nan"), "no time above 0"),
        (("pause-worker", "--for", "nan"), "no time above 0"),
        (("pause-worker", "--for=-3s"), "no time above 0"),
    ],
)
def test_wrong_arguments_break_nothing_and_exit_with_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], said: str
) -> None:
    try:
        status = main(["chaos", *words, "--state-dir", str(tmp_path)])
    except SystemExit as error:
        status = int(str(error.code))
    assert status == 2
    assert said in capsys.readouterr().err


def test_a_name_may_follow_an_option(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["chaos", "kill-worker", "--watch", "worker-2", "--state-dir", str(tmp_path)]
    assert main(words) == 3
    assert "no cluster runs" in capsys.readouterr().err


def test_every_action_has_its_options() -> None:
    parser = argparse.ArgumentParser()
    chaos.add_arguments(parser)
    for action, options in chaos.TAKES.items():
        given = {"WORKER": ["w"], "--signal": ["--signal=STOP"], "--for": ["--for=1s"]}
        given |= {"--every": ["--every=1s"], "--watch": ["--watch"], "--verify": ["--verify"]}
        words = [word for option in options for word in given[option]]
        chaos.check(parser.parse_args([action, *words, "--seed=1"]))


@pytest.mark.parametrize("command", [("chaos", "kill-worker"), ("restart",), ("scale", "1")])
def test_processes_of_another_cluster_are_not_touched(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: tuple[str, ...]
) -> None:
    write_worker(tmp_path, pid=os.getpid())
    (tmp_path / "token").write_text("t")
    words = [*command, "--state-dir", str(tmp_path), "-m", "http://10.0.0.1:8080"]
    assert main(words) == 2
    assert "is at http://127.0.0.1:1, not at http://10.0.0.1:8080" in capsys.readouterr().err


@pytest.mark.parametrize("count", ["-1", "257", "300"])
def test_a_number_of_workers_that_cannot_be_is_wrong_usage(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], count: str
) -> None:
    assert main(["scale", count, "--state-dir", str(tmp_path)]) == 2
    assert "0 to 256" in capsys.readouterr().err


# --- what a monkey reports ------------------------------------------------------------------------


class Answers:
    """Stands for the client: one job, its attempts, and what each run's results were."""

    def __init__(
        self, results: list[list[tuple[str, str]]], attempts: dict[str, list[str]]
    ) -> None:
        self._results = results
        self._attempts = attempts
        self.waits: Callable[[str], None] = lambda _: None

    def job(self, job_id: str) -> dict[str, Any]:
        return {"id": job_id, "request": {"name": "words"}, "state": "RUNNING"}

    def wait(self, job_id: str, timeout_s: float) -> dict[str, Any]:
        self.waits(job_id)
        return {**self.job(job_id), "state": "SUCCEEDED"}

    def submit(self, request: dict[str, Any]) -> dict[str, Any]:
        assert request == {"name": "words"}
        return {"id": "again"}

    def results(self, job_id: str) -> list[tuple[str, str]]:
        return self._results[0 if job_id == "first" else 1]

    def attempts(self, job_id: str, state: str) -> list[dict[str, Any]]:
        return [{"error": error} for error in self._attempts.get(state, [])]


@pytest.mark.parametrize(
    ("again", "is_same"),
    [
        ([("b", "2"), ("a", "1")], True),
        ([("a", "1")], False),
        ([("a", "1"), ("b", "3")], False),
        ([("a", "1"), ("b", "2"), ("b", "2")], False),
    ],
)
def test_verify_compares_the_records_whatever_their_order(
    again: list[tuple[str, str]], is_same: bool
) -> None:
    client: Any = Answers([[("a", "1"), ("b", "2")], again], {})
    assert job_report(client, "first", is_verified=True)["same_result"] is is_same
    assert job_report(client, "first", is_verified=False)["same_result"] is None


def test_a_report_tells_retries_from_recomputed_outputs() -> None:
    attempts = {"FAILED": ["boom"], "LOST": ["lost: a block is damaged", "worker-1 was lost"]}
    client: Any = Answers([[]], attempts)
    report = job_report(client, "first", is_verified=False)
    assert (report["tasks_retried"], report["outputs_recomputed"]) == (3, 1)


def test_a_job_that_cannot_be_waited_for_does_not_cost_the_report() -> None:
    def waits(job_id: str) -> None:
        raise NoCluster("master is FATAL")

    client: Any = Answers([[]], {})
    client.waits = waits
    report = job_report(client, "first", is_verified=True)
    assert (report["name"], report["state"]) == ("words", "RUNNING")
    assert report["error"] == "master is FATAL"
