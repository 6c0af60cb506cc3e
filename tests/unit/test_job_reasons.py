"""Why a job waits, and why its tasks were tried again, in words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

from minispark.cli.job_reasons import why_retried, why_waiting
from minispark.cli.status import retried_tasks
from minispark.client import Client

LIMITS = {"task_retries_max": 3, "worker_losses_max": 10}


def job(job_id: str = "a" * 36, running: int = 0, **more: Any) -> dict[str, Any]:
    tasks = {"pending": 0, "running": running, "completed": 0, "failed": 0}
    request = {"name": more.pop("name", "mine")}
    return {
        "id": job_id,
        "state": "RUNNING",
        "note": None,
        "tasks": tasks,
        "request": request,
    } | more


def stage(index: int, name: str, total: int, done: int = 0, running: int = 0, *parents: int) -> Any:
    return {
        "index": index, "id": name, "parents": list(parents), "tasks_total": total,
        "tasks_completed": done, "tasks_running": running,
    }  # fmt: skip


def worker(slots: int | None, status: str = "Up") -> dict[str, Any]:
    return {"slots": slots, "status": status}


def attempt(number: int, state: str, cause: str | None = None, **more: Any) -> dict[str, Any]:
    return {
        "node_id": "map", "partition_id": 0, "attempt": number, "state": state, "cause": cause,
        "worker": "worker-1", "error": None, "ended_at": 100.0, **more,
    }  # fmt: skip


def waits(
    stages: list[Any],
    retried: dict[str, list[Any]] | None = None,
    others: tuple[Any, ...] = (),
    mine: dict[str, Any] | None = None,
) -> list[str]:
    mine = mine or job(running=2)
    workers = [worker(2), worker(4), worker(8, "Down"), worker(None)]
    return why_waiting(mine, stages, workers, [mine, *others], retried or {}, 100.02)


def test_a_stage_waits_for_another_one_which_is_so_far() -> None:
    stages = [stage(0, "map", 40, 12, 28), stage(1, "side", 2, 2), stage(2, "join", 4, 0, 0, 0, 1)]
    assert waits(stages) == ["join waits for map (12 of 40 tasks are done)"]


def test_tasks_wait_for_slots_that_other_jobs_have() -> None:
    others = (job("b" * 36, 3, name="big"), job("c" * 36, 0, name="idle"))
    assert waits([stage(0, "map", 40, 0, 2)], others=others) == [
        "map: 38 tasks wait for a slot (6 slots; tasks at workers: 2 of this job, "
        "3 of big (bbbbbbbb))"
    ]
    many = tuple(job(f"{n}" * 36, n, name="big") for n in range(1, 9))
    (line,) = waits([stage(0, "map", 3, 0, 2)], others=many)
    assert line.startswith("map: 1 task waits") and "8 of big" in line
    assert line.endswith("4 of big (44444444), others of 3 jobs more)")


def test_a_task_that_failed_waits_before_it_is_tried_again() -> None:
    tries = [attempt(0, "FAILED", "task", ended_at=90.0), attempt(1, "FAILED", "task")]
    stages = [stage(0, "map", 2, 1), stage(1, "reduce", 2, 0, 0, 0)]
    assert waits(stages, {"map/0": tries}) == [
        "map/0 waits 0.1 s after its failure 2, for 0.08 s more",
        "reduce waits for map (1 of 2 tasks are done)",
    ]
    over = [tries[0], attempt(1, "FAILED", "task", ended_at=91.0)]
    (line,) = waits([stage(0, "map", 2, 1)], {"map/0": over})
    assert line.startswith("map: 1 task waits for a slot")
    running = [*tries, attempt(2, "RUNNING", ended_at=None)]
    assert waits([stage(0, "map", 2, 1, 1)], {"map/0": running}) == []
    for before in ([], [attempt(0, "FAILED", "task", ended_at=90.0)]):
        lost = [*before, attempt(1, "LOST", "worker")]  # it is ready at once
        (line,) = waits([stage(0, "map", 1)], {"map/0": lost})
        assert line.startswith("map: 1 task waits for a slot")


def test_a_job_that_needs_a_worker_says_so_alone_and_one_that_ended_waits_for_nothing() -> None:
    stages = [stage(0, "map", 2)]
    assert waits(stages, mine=job(note="waits: no worker is Up")) == ["waits: no worker is Up"]
    assert waits(stages, mine=job(state="FAILED")) == []


def test_each_failure_says_what_it_counted_against_and_what_followed() -> None:
    tries = [
        attempt(0, "FAILED", "task", error="mine.py, line 3: no\nmore"),
        attempt(1, "LOST", "worker", error="worker-1 was lost: gone"),
        attempt(2, "LOST", "worker", error="lost: worker-1 was lost: gone"),  # with its output
        attempt(3, "CANCELLED", "race"),
        attempt(4, "SUCCEEDED", worker="worker-2"),
    ]
    assert why_retried({"map/0": tries}, LIMITS) == {
        "map/0": [
            "attempt 0 failed on worker-1: mine.py, line 3: no; retry 1 of 3 follows",
            "attempt 1 was lost with worker-1: gone; counts as lost worker 1 of 10, not against "
            "its retries",
            "attempt 2 was lost with worker-1: gone; counts as lost worker 2 of 10, not against "
            "its retries",
            "attempt 3 was overtaken by its copy",
            "attempt 4 SUCCEEDED on worker-2",
        ]
    }


class FakeClient:
    """Has 500 attempts that failed, one of each task, the last tasks' at last."""

    def tasks(self, job_id: str, limit: int, state: str, order: str = "task") -> Any:
        failed = [self._failed(number) for number in range(500)] if state == "FAILED" else []
        if order == "newest":
            failed.sort(key=lambda attempt: -float(attempt["ended_at"]))
        return {"tasks": failed[:limit], "total": len(failed)}

    def attempts(self, job_id: str, stage: str, partition: int) -> Iterator[dict[str, Any]]:
        yield self._failed(partition)
        yield attempt(1, "SUCCEEDED", partition_id=partition)

    def _failed(self, partition: int) -> dict[str, Any]:
        ended_at = 1000.0 - partition if partition < 300 else 2000.0 + partition
        return attempt(0, "FAILED", "task", partition_id=partition, ended_at=ended_at)


def test_of_many_failures_the_newest_are_shown_the_newest_last() -> None:
    shown, more = retried_tasks(cast(Client, FakeClient()), "j")
    assert list(shown) == [f"map/{n}" for n in range(490, 500)]
    assert [a["state"] for a in shown["map/499"]] == ["FAILED", "SUCCEEDED"]
    assert more == 490
