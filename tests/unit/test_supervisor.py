"""Restart policy, state directory and logs."""

from __future__ import annotations

import fcntl
import os
import select
import threading
from pathlib import Path

import pytest

from minispark.driver.main import SCRATCH
from minispark.errors import ClusterRuns, NoCluster
from minispark.model.file_names import log_file
from minispark.supervisor import state_dir
from minispark.supervisor.control import ControlServer, ask
from minispark.supervisor.restart_policy import JITTER, Life, ProcessState, RestartLimits

LIMITS = RestartLimits("on-failure", 0.2, 1.0, 4, 60.0)


def life_of(limits: RestartLimits = LIMITS, jitter: float = 0.0) -> Life:
    life = Life(limits, lambda: jitter)
    life.started()
    return life


def test_f45_delays_grow_up_to_a_limit_and_then_end() -> None:
    life = life_of()
    states, delays = [], []
    for now in range(5):
        delays.append(life.ended(1, now))
        states.append(life.state)
        life.started()
    assert delays == [0.2, 0.4, 0.8, 1.0, None]
    assert states == [ProcessState.BACKOFF] * 4 + [ProcessState.FATAL]


def test_f45_delays_are_jittered() -> None:
    assert life_of(jitter=1.0).ended(1, 0.0) == pytest.approx(0.2 * (1 + JITTER))


def test_ends_outside_the_window_are_forgotten() -> None:
    life = life_of()
    assert [life.ended(-9, 100.0 * i) for i in range(9)] == [0.2] * 9


@pytest.mark.parametrize(
    ("name", "code", "delay", "state"),
    [
        ("on-failure", 0, None, ProcessState.STOPPED),
        ("always", 0, 0.2, ProcessState.BACKOFF),
        ("never", 1, None, ProcessState.FATAL),
        ("on-failure", -15, 0.2, ProcessState.BACKOFF),
    ],
)
def test_policies(name: str, code: int, delay: float | None, state: ProcessState) -> None:
    life = life_of(RestartLimits(name))
    assert life.ended(code, 0.0) == delay
    assert life.state is state


def test_one_that_is_told_to_stop_stays_stopped_whatever_its_status() -> None:
    life = life_of()
    life.ready()
    assert life.state is ProcessState.RUNNING
    assert life.stop(9.0)
    assert (life.state, life.kill_due) == (ProcessState.STOPPING, 9.0)
    life.ready()  # said just before it heard
    assert life.state is ProcessState.STOPPING
    assert life.ended(-9, 1.0) is None
    assert life.state is ProcessState.STOPPED


def test_one_that_is_restarted_comes_back_at_once_also_when_it_was_fatal() -> None:
    life = life_of()
    life.stop(9.0, comes_back=True)
    assert life.ended(0, 1.0) == 0.0
    assert (life.state, life.start_due) == (ProcessState.BACKOFF, 1.0)
    fatal = life_of(RestartLimits("never"))
    fatal.ended(1, 0.0)
    assert not fatal.stop(9.0, comes_back=True)
    assert fatal.start_due is not None


def test_one_that_waits_for_its_restart_and_is_stopped_does_not_start() -> None:
    life = life_of()
    life.ended(1, 0.0)
    assert not life.stop(9.0)
    assert (life.state, life.start_due) == (ProcessState.STOPPED, None)


def test_the_control_socket_answers_its_owner(tmp_path: Path) -> None:
    server = ControlServer(tmp_path, lambda question: {"echo": question["n"]})
    thread = threading.Thread(target=lambda: (select.select([server], [], []), server.serve()))
    thread.start()
    assert ask(str(server.path), {"n": 7}) == {"echo": 7}
    thread.join()
    assert server.path.stat().st_mode & 0o777 == 0o600
    server.close()
    with pytest.raises(NoCluster):
        ask(str(server.path), {"n": 7})


def test_a_long_state_directory_still_gets_a_control_socket(tmp_path: Path) -> None:
    folder = tmp_path / ("x" * 120)
    folder.mkdir()
    server = ControlServer(folder, lambda _: {})
    try:
        assert server.path.exists()
        assert len(str(server.path)) < 104
    finally:
        server.close()


def test_the_state_directory_is_private_and_locked(tmp_path: Path) -> None:
    folder, notice = state_dir.prepare(str(tmp_path / "s"), is_default=False)
    assert notice is None
    assert folder.stat().st_mode & 0o777 == 0o700
    fd = state_dir.lock(folder)
    with pytest.raises(ClusterRuns, match=str(os.getpid())):
        state_dir.lock(folder)
    os.close(fd)
    os.close(state_dir.lock(folder))


def test_f42_a_lock_whose_file_was_deleted_is_taken_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody purged between our open and our lock, which holds a file that nobody sees."""
    real, calls = fcntl.flock, []

    def flock(fd: int, operation: int) -> None:
        if not calls:
            (tmp_path / "cluster.lock").unlink()
        calls.append(fd)
        real(fd, operation)

    monkeypatch.setattr(fcntl, "flock", flock)
    fd = state_dir.lock(tmp_path)
    assert len(calls) == 2
    assert state_dir.holds(tmp_path, fd)
    with pytest.raises(ClusterRuns):
        state_dir.lock(tmp_path)
    (tmp_path / "cluster.lock").unlink()
    assert not state_dir.holds(tmp_path, fd)
    other = state_dir.lock(tmp_path)
    assert state_dir.holds(tmp_path, other) and not state_dir.holds(tmp_path, fd)
    os.close(fd)
    os.close(other)


def test_f21_a_token_that_is_there_is_not_written_again(tmp_path: Path) -> None:
    """On a full disk it would be lost."""
    token = state_dir.token_of(tmp_path, "auto")
    before = (tmp_path / "token").stat().st_mtime_ns
    assert state_dir.token_of(tmp_path, "auto") == token
    assert (tmp_path / "token").stat().st_mtime_ns == before


def test_f21_what_cannot_be_written_leaves_the_cluster_file_as_it_was(tmp_path: Path) -> None:
    state_dir.write_cluster_file(tmp_path, {"n": 1})
    (tmp_path / "cluster.json").rename(tmp_path / "kept")
    (tmp_path / "cluster.json").mkdir()
    with pytest.raises(OSError, match="directory"):
        state_dir.write_cluster_file(tmp_path, {"n": 2})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cluster.json", "kept"]


def test_a_token_is_made_once_and_kept_private(tmp_path: Path) -> None:
    token = state_dir.token_of(tmp_path, "auto")
    assert len(token) > 30
    assert state_dir.token_of(tmp_path, "auto") == token
    assert (tmp_path / "token").stat().st_mode & 0o777 == 0o600
    assert state_dir.token_of(tmp_path, "mine") == "mine"


def test_only_a_marked_directory_is_purged(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    assert not state_dir.purge(tmp_path)
    assert (tmp_path / "state").exists()


def test_a_purge_takes_the_files_of_jobs_and_leaves_other_peoples(tmp_path: Path) -> None:
    (tmp_path / state_dir.MARKER).touch()
    job = "00000000-0000-0000-0000-000000000001"
    for name in (f"{job}_n_p0.json", log_file(job), "mine.txt", f"{job}.json"):
        (tmp_path / name).touch()
    for name in (SCRATCH, "logs", "my folder"):  # Spark's is there once a driver ran
        (tmp_path / name).mkdir()
    assert state_dir.purge(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {
        "mine.txt",
        "my folder",
        f"{job}.json",
    }
