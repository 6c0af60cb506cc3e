"""The real core in virtual time: invariants, safety and liveness under seeded faults (F61)."""

from __future__ import annotations

import hashlib
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from minispark.model.states import JobState
from tests.simulation.faults import NO_FAULTS, Faults
from tests.simulation.simulator import Simulation

ROOT = Path(__file__).parents[2]
SEEDS = 240
CHUNK = 20


def run(seed: int, **options: int) -> Simulation:
    """One run; a failure names its seed and how to replay it."""
    try:
        simulation = Simulation(seed, **options)
        simulation.run()
    except Exception as error:
        raise AssertionError(f"seed {seed}; replay: scripts/simulate --seed {seed}") from error
    return simulation


@pytest.mark.parametrize("first", range(0, SEEDS, CHUNK))
def test_f61_every_job_ends_and_nothing_contradicts_itself(first: int) -> None:
    ended: list[JobState] = []
    retries = begun = given_way = held = batched = 0
    for seed in range(first, first + CHUNK):
        simulation = run(seed)
        snapshot = simulation.core.snapshot()
        ended += [job.state for job in snapshot.jobs.values()]
        retries += snapshot.retries_total
        begun += simulation.watch.early.begun
        given_way += simulation.watch.early.given_way
        held += simulation.master.held
        batched += simulation.master.batched
    # the faults did something, and most jobs survived them
    assert retries > 0
    assert begun > given_way > 0
    assert held > 0 and batched > 0
    assert ended.count(JobState.SUCCEEDED) > len(ended) // 2


def test_f61_stages_are_skipped_and_run_after_all_where_caches_lost_what_was_expected() -> None:
    expected = missed = 0
    rare = Faults(60.0, pause_every_s=0.0, drain_every_s=0.0, kill_master=0.0, evict=0.3)
    for seed in range(40):
        simulation = Simulation(seed, jobs=5, faults=rare)
        simulation.run()
        expected += simulation.watch.caches.expected
        missed += simulation.watch.caches.missed
    assert expected > missed > 5


def test_f61_outputs_of_spark_go_with_its_driver_or_come_back_with_it() -> None:
    ended: list[JobState] = []
    lost = kept = said_again = java_deaths = 0
    for seed in range(40):
        simulation = Simulation(seed, spark=0.8)
        simulation.run()
        ledger = simulation.watch.ledger
        ended += [state for i, state in ledger.job_states.items() if ledger.is_driven(i)]
        lost += simulation.watch.driven.lost
        kept += simulation.watch.driven.kept
        said_again += simulation.driving.ordered_again
        java_deaths += simulation.driving.java_deaths
    assert lost > 0 and kept > 0 and said_again > 0 and java_deaths > 0
    assert ended.count(JobState.SUCCEEDED) > len(ended) // 2


def test_f61_freshly_drawn_seeds() -> None:
    seeds = [random.SystemRandom().randrange(2**32) for _ in range(5)]
    print("fresh seeds:", seeds)
    for seed in seeds:
        run(seed)


def test_f61_a_larger_cluster() -> None:
    run(7, workers=60, jobs=25)


@pytest.mark.parametrize("seed", range(10))
def test_f05_without_faults_every_task_runs_once(seed: int) -> None:
    simulation = Simulation(seed, faults=NO_FAULTS, spark=0.4)
    simulation.run()
    states = {job.state for job in simulation.core.snapshot().jobs.values()}
    assert states == {JobState.SUCCEEDED}
    assert set(simulation.watch.ledger.launches.values()) == {1}
    assert simulation.core.snapshot().late_results == 0


def test_the_same_seed_gives_the_same_run_in_every_process() -> None:
    code = (
        "import hashlib; from tests.simulation.simulator import Simulation;"
        "s = Simulation(11); s.run();"
        "print(hashlib.sha256('\\n'.join(s.transcript).encode()).hexdigest())"
    )
    digests = set()
    for hash_seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", code],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        )
        digests.add(done.stdout)
    simulation = run(11)
    here = hashlib.sha256("\n".join(simulation.transcript).encode()).hexdigest()
    assert digests == {here + "\n"}
