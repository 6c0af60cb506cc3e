"""`restart` and `scale` as the control socket asks for them."""

from __future__ import annotations

import pytest

from minispark.model.settings import WorkerSpec, WorkersSection
from minispark.operations import Operations
from minispark.supervisor.child import Child, ProcessSpec
from minispark.supervisor.restart_policy import ProcessState, RestartLimits

WORKERS = ("worker-1", "worker-2")


class FakeSupervisor:
    """Whose processes run, and drain for ever once they are retired."""

    def __init__(self) -> None:
        self.is_stopping = False
        self.restarted: list[str] = []
        self.children: list[Child] = []
        for name in ("master", *WORKERS):
            self.add(ProcessSpec(name, lambda *_: 0))

    def restart(self, names: list[str]) -> None:
        self.restarted += names

    def add(self, spec: ProcessSpec) -> None:
        child = Child(spec, RestartLimits())
        child.life.started()
        child.life.ready()
        self.children.append(child)

    def retire(self, name: str, drain_s: float) -> None:
        child = next(child for child in self.children if child.spec.name == name)
        child.life.stop(drain_s, is_retired=True)


@pytest.fixture
def supervisor() -> FakeSupervisor:
    return FakeSupervisor()


@pytest.fixture
def operations(supervisor: FakeSupervisor) -> Operations:
    workers = tuple(WorkerSpec(name, 0, 1, 1, 0.0) for name in WORKERS)
    return Operations(
        supervisor,  # type: ignore[arg-type]
        workers,
        WorkersSection(),
        lambda spec: ProcessSpec(spec.name, lambda *_: 0),
        ProcessSpec("spark-driver", lambda *_: 0),
    )


def test_one_that_drains_is_not_restarted(
    operations: Operations, supervisor: FakeSupervisor
) -> None:
    assert operations.answer({"scale": 1}) == {"added": [], "draining": ["worker-2"]}
    assert "drains" in operations.answer({"restart": ["worker-2"]})["error"]
    assert supervisor.restarted == []
    assert operations.answer({"restart": []}) == {"names": ["master", "worker-1"]}
    assert supervisor.restarted == ["master", "worker-1"]


def test_one_that_is_not_there_is_named_with_those_that_are(operations: Operations) -> None:
    assert "worker-1" in operations.answer({"restart": ["worker-9"]})["error"]


def test_the_name_of_one_that_drains_is_not_given_again(operations: Operations) -> None:
    operations.answer({"scale": 1})
    assert operations.answer({"scale": 2})["added"] == ["worker-3"]


def test_a_driver_is_started_once(operations: Operations, supervisor: FakeSupervisor) -> None:
    for _ in range(2):
        assert operations.answer({"driver": "start"}) == {"names": ["spark-driver"]}
    assert [child.spec.name for child in supervisor.children].count("spark-driver") == 1


def test_why_a_driver_was_given_up_is_said_to_who_wants_one(
    operations: Operations, supervisor: FakeSupervisor
) -> None:
    operations.answer({"driver": "start"})
    driver = supervisor.children[-1]
    driver.error = "no room"
    while driver.state is not ProcessState.FATAL:
        driver.life.ended(1, 0.0)
        if driver.state is not ProcessState.FATAL:
            driver.life.started()
    error = operations.answer({"driver": "start"})["error"]
    assert "does not start: no room" in error and "`restart spark-driver`" in error
    assert supervisor.restarted == []


@pytest.mark.parametrize("question", [{"restart": []}, {"scale": 3}, {"driver": "start"}])
def test_f40_nothing_is_started_by_a_cluster_that_stops(
    operations: Operations, supervisor: FakeSupervisor, question: dict[str, object]
) -> None:
    supervisor.is_stopping = True
    assert operations.answer(question) == {"error": "it is stopping"}
    assert supervisor.restarted == [] and len(supervisor.children) == 3
