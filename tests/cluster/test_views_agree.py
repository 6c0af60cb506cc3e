"""No view contradicts another while jobs fail, nor after: metrics, page, commands, trace, logs."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests import jobs
from tests.cluster.harness import Cluster, wait_until
from tests.cluster.views import ENDED, PARSERS, Exposition, Views

CODE = """
import logging
import time

def slow(line):
    time.sleep(0.2)
    if line == "line 5":
        logging.getLogger("own").warning("tired")
    print("slept over", line)
    return line

def broken(line):
    if line == "line 7":
        raise ValueError(f"not {line}")
    return line

def endless(line):
    time.sleep(30)
    return line
"""
RETRIES = 6


class Story:
    """Three jobs at once: one succeeds though tasks fail, one fails, one is cancelled."""

    def __init__(self, cluster: Cluster, text: Path) -> None:
        self.views = views = Views(cluster)
        self.slow = self._submit(text, "slow", 20)
        self.broken = self._submit(text, "broken", 4)
        self.endless = self._submit(text, "endless", 4)
        self.readings = 0
        is_asked_to_end = False
        while not self._is_over():
            views.read_all()
            self.readings += 1
            if not is_asked_to_end and views.client.job(self.endless)["tasks"]["running"]:
                views.client.cancel(self.endless)
                is_asked_to_end = True
        wait_until(self._is_quiet, "nothing runs any more")
        views.read_all()

    def _submit(self, text: Path, function: str, parallelism: int) -> str:
        nodes = [
            {"id": "read", "op": "read_text", "path": str(text)},
            {"id": "own", "op": "map", "fn": f"own:{function}"},
            {"id": "pair", "op": "map", "fn_name": "pair_with_one"},
            {"id": "reduce", "op": "reduce_by_key", "fn_name": "sum"},
        ]
        request = jobs.job(nodes, parallelism, name=function, modules={"own": CODE})
        return str(self.views.client.submit(request)["id"])

    def _is_over(self) -> bool:
        return all(job["state"] in ENDED for job in self.views.client.jobs())

    def _is_quiet(self) -> bool:
        documents = self.views.worker_documents()
        return all(document["tasks"]["active_tasks"] == 0 for document in documents)


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    text = tmp_path_factory.mktemp("views") / "text.txt"
    text.write_text("".join(f"line {number}\n" for number in range(120)))
    cluster = Cluster(
        "workers.fail_probability=15",
        f"scheduler.task_retries_max={RETRIES}",
        "scheduler.speculation=false",
        "logging.format=json",
        "logging.level=debug",
        "metrics.log_interval_s=1",
    )
    try:
        assert cluster.up().returncode == 0, cluster.logs()
        made = Story(cluster, text)
        with closing(made.views.client):
            yield made
    finally:
        logs = cluster.logs()
        print(logs)
        assert cluster.close() == [], logs


def test_the_story_was_looked_at_while_it_went_on(story: Story) -> None:
    states = {job["id"]: job["state"] for job in story.views.client.jobs()}
    assert states == {
        story.slow: "SUCCEEDED",
        story.broken: "FAILED",
        story.endless: "CANCELLED",
    }
    assert story.readings > 5
    assert story.views.client.metrics(f"jobs/{story.slow}/metrics")["failed_tasks"] > 0
    assert story.views.client.metrics(f"jobs/{story.broken}/metrics")["failed_tasks"] > RETRIES


def check_cluster(views: Views, accept: str) -> None:
    """The master's views of the cluster, of a moment at which nothing changes."""
    said, client = views.master(accept), views.client
    system, failures = client.metrics("metrics/system"), client.metrics("metrics/failures")
    assert views.cli("metrics", "system") == system
    assert views.cli("metrics", "failures") == failures
    states = Counter(job["state"] for job in client.jobs())
    for name, state in (("succeeded", "SUCCEEDED"), ("failed", "FAILED"), ("running", "RUNNING")):
        assert system[f"jobs_{name}"] == states[state] == said.sum("minispark_jobs", state=name)
    assert system["jobs_cancelled"] == said.sum("minispark_jobs", state="cancelled") == 1
    ended = said.sum("minispark_jobs_ended_total")
    assert system["jobs_total"] == said.sum("minispark_jobs_submitted_total") == ended == 3
    ups = [worker["status"] for worker in client.workers()].count("Up")
    assert ups == system["workers_up"] == said.sum("minispark_workers", state="up") == 3
    assert said.sum("minispark_worker_up") == list(failures["worker_status"].values()).count("Up")
    assert failures["workers_down"] == system["workers_down"] == 0
    for name in ("tasks_queued", "tasks_running"):
        assert system[name] == said.sum(f"minispark_{name}") == 0
    scheduler = client.metrics("metrics/scheduler")
    assert scheduler["total_load"] == sum(system["worker_loads"].values()) == 0
    assert said.sum("minispark_worker_load") == 0
    assert scheduler["next_index"] == said.sum("minispark_scheduler_next_index")
    assert sum(failures["job_failures"].values()) == said.failed()
    assert views.cli("metrics", "scheduler") == scheduler
    assert views.cli("metrics", "jobs") == client.metrics("metrics/jobs")
    assert views.cli("jobs") == client.jobs()
    overview = views.get("overview")
    assert overview["system"] == system | {"retries_total": failures["retries_total"]}
    assert [job["id"] for job in overview["jobs"]] == [job["id"] for job in client.jobs()]
    for of_page, job in zip(overview["jobs"], client.jobs(), strict=True):
        for name in ("state", "progress", "retries"):
            assert of_page[name] == job[name]
        assert of_page["tasks_completed"] == job["tasks"]["completed"]
        assert of_page["failed_attempts"] == failures["job_failures"][job["id"]]
    retries = sum(job["retries"] for job in client.jobs())
    assert failures["retries_total"] == said.sum("minispark_retries_total") == retries
    for state in ("pending", "running", "completed", "failed"):
        tasks = sum(job["tasks"][state] for job in client.jobs())
        assert said.sum("minispark_tasks", state=state) == tasks
    records = sum(one["total_records"] for one in client.metrics("metrics/jobs"))
    assert said.sum("minispark_records_processed_total") == records > 0


@pytest.mark.parametrize("accept", PARSERS)
def test_afterwards_the_views_of_the_cluster_are_equal(story: Story, accept: str) -> None:
    check_cluster(story.views, accept)


@pytest.mark.parametrize("name", ["slow", "broken", "endless"])
def test_afterwards_the_views_of_each_job_are_equal(story: Story, name: str) -> None:
    job_id, client = getattr(story, name), story.views.client
    job, status = client.job(job_id), story.views.cli("status", job_id)
    stages, metrics = client.stages(job_id), client.metrics(f"jobs/{job_id}/metrics")
    assert {key: status[key] for key in job} == job
    assert status["stages"] == stages
    assert story.views.cli("metrics", "job", job_id) == metrics
    assert story.views.cli("metrics", "stages", job_id) == stages
    attempts = client.tasks(job_id, limit=1000)["tasks"]
    by_state = Counter(attempt["state"] for attempt in attempts)
    failed = by_state["FAILED"] + by_state["LOST"]
    assert metrics["failed_tasks"] == failed == sum(stage["failed_attempts"] for stage in stages)
    assert metrics["failed_tasks"] == client.metrics("metrics/failures")["job_failures"][job_id]
    completed = sum(stage["tasks_completed"] for stage in stages)
    assert metrics["completed_tasks"] == job["tasks"]["completed"] == completed
    assert by_state["SUCCEEDED"] == completed
    assert metrics["total_tasks"] == sum(stage["tasks_total"] for stage in stages)
    assert metrics["total_tasks"] == sum(job["tasks"].values())
    assert metrics["total_records"] == sum(stage["records_processed"] for stage in stages)
    trace = json.loads(b"".join(client.timeline(job_id)))["traceEvents"]
    drawn = [event["cat"] for event in trace if event.get("cat", "").startswith("attempt,")]
    assert Counter(kind.removeprefix("attempt,") for kind in drawn) == by_state
    marked = [event["name"].partition(" ")[0] for event in trace if event["ph"] == "i"]
    assert marked.count("failed:") + marked.count("lost:") == failed
    assert marked.count("retry") <= job["retries"]  # some were cancelled before they were assigned
    profile = story.views.get(f"jobs/{job_id}/profile")
    figures = {stage["id"]: stage["figures"] for stage in profile["stages"] if stage["figures"]}
    by_id = {stage["node_id"]: stage for stage in stages}
    for name, figure in figures.items():  # of stages that are complete
        assert figure["tasks"] == by_id[name]["tasks_completed"] == by_id[name]["tasks_total"]
        assert figure["records"] == by_id[name]["records_processed"]
    assert len(figures) == metrics["stages_completed"]
    saved = client.metrics("state")["jobs"][job_id]
    assert (saved["progress"], saved["updated_at"]) == (job["progress"], job["updated_at"])


def test_afterwards_the_workers_and_the_master_count_the_same_attempts(story: Story) -> None:
    views = story.views
    documents = [document["tasks"] for document in views.worker_documents()]
    texts = [Exposition(url) for url in views.worker_urls]
    for document, said in zip(documents, texts, strict=True):
        for result in ("succeeded", "failed"):
            counted = said.sum("minispark_worker_tasks_total", result=result)
            assert document[f"total_{result}"] == counted
        ran = said.sum("minispark_worker_task_duration_seconds_count")
        assert document["total_executed"] == ran
    executed = sum(document["total_executed"] for document in documents)
    records = sum(document["records_processed"] for document in documents)
    said = views.master()
    succeeded = said.sum("minispark_attempts_total", state="succeeded")
    late = said.sum("minispark_late_results_total")
    assert executed == succeeded + said.failed() + late
    assert records >= said.sum("minispark_records_processed_total")


def test_the_event_stream_and_the_counts_are_equal(story: Story) -> None:
    said, events = story.views.master(), story.views.events()
    assert [event["id"] for event in events] == sorted({event["id"] for event in events})
    kinds = Counter(event["kind"] for event in events)
    for state in ("assigned", "running", "succeeded", "failed", "lost", "cancelled"):
        counted = said.sum("minispark_attempts_total", state=state)
        assert kinds[f"attempt {state.upper()}"] == counted, state
    for state in ("succeeded", "failed", "cancelled"):
        counted = said.sum("minispark_jobs_ended_total", state=state)
        assert kinds[f"job {state.upper()}"] == counted == 1
    assert kinds["job ACCEPTED"] == said.sum("minispark_jobs_submitted_total") == 3
    failures = story.views.client.metrics("metrics/failures")["job_failures"]
    failed = ("attempt FAILED", "attempt LOST")
    assert failures == Counter(e["job_id"] for e in events if e["kind"] in failed) | {
        job: 0 for job in failures if failures[job] == 0
    }


def entries(story: Story, pattern: str) -> list[dict[str, Any]]:
    found = []
    for path in sorted((story.views.cluster.state_dir / "logs").glob(pattern)):
        for line in path.read_text().splitlines():
            entry = json.loads(line)
            assert list(entry)[:5] == ["ts", "level", "component", "process", "msg"]
            found.append(entry)
    return found


def test_the_log_has_one_line_for_each_transition(story: Story) -> None:
    said, client = story.views.master(), story.views.client
    told = Counter(
        entry["msg"].partition(":")[0].removeprefix("attempt ").lower()
        for entry in entries(story, "master.log*")
        if entry["msg"].startswith("attempt ")
    )
    for state in ("assigned", "running", "succeeded", "failed", "cancelled"):
        assert told[state] == said.sum("minispark_attempts_total", state=state) > 0, state
    for job_id in (story.slow, story.broken, story.endless):
        lines = [e for e in entries(story, "master.log*") if e.get("job") == job_id]
        moves = [e["msg"].partition(":")[0] for e in lines if e["msg"].startswith("job ")]
        assert moves == [
            "job ACCEPTED",
            "job planned",
            "job RUNNING",
            f"job {client.job(job_id)['state']}",
        ]
        stages = {stage["node_id"] for stage in client.stages(job_id) if stage["start_time"]}
        begun = [e["stage"] for e in lines if e["msg"] == "stage RUNNING"]
        assert set(begun) == stages and len(begun) == len(stages)


def test_workers_log_their_metrics_now_and_then(story: Story) -> None:
    def lines() -> list[dict[str, Any]]:
        return [e for e in entries(story, "worker-1.log*") if e["msg"] == "metrics"]

    wait_until(lambda: len(lines()) >= 2, "two lines of metrics")
    last = lines()[-1]
    document = story.views.worker_documents()[0]
    assert last["worker"] == document["name"] == "worker-1"
    for section in (document, document["system"], document["tasks"]):
        names = {name for name in section if not isinstance(section[name], dict)}
        assert names <= set(last)
    assert last["total_executed"] == document["tasks"]["total_executed"]


def test_the_log_of_a_job_has_prints_tracebacks_and_what_processes_say(story: Story) -> None:
    def log(job_id: str) -> list[dict[str, Any]]:
        done = story.views.cluster.cli("logs", "--job", job_id, "--json")
        assert done.returncode == 0, done.stderr
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        assert [line["at"] for line in lines] == sorted(line["at"] for line in lines)
        return [json.loads(line["text"]) for line in lines]

    everything = log(story.slow)
    assert all(story.slow in json.dumps(entry) for entry in everything)
    slow = [entry for entry in everything if entry["component"] != "http"]
    assert all(entry["job"] == story.slow for entry in slow)
    printed = {e["msg"] for e in slow if e["component"] == "task" and e["level"] == "info"}
    logged = "WARNING own: tired"
    assert printed == {logged, *(f"slept over line {number}" for number in range(120))}
    assert {e["process"] for e in slow} >= {"master", "worker-1", "worker-2", "worker-3"}
    assert slow[0]["msg"] == "job ACCEPTED: slow" and slow[-1]["msg"] == "job SUCCEEDED"
    broken = [e for e in log(story.broken) if e["component"] == "task"]
    errors = [e for e in broken if e["level"] == "error"]
    assert errors and all("Traceback" in e["msg"] and "not line 7" in e["msg"] for e in errors)
    attempts = story.views.client.tasks(story.broken, limit=1000, state="FAILED")["tasks"]
    own = {(a["partition_id"], a["attempt"]) for a in attempts if "not line 7" in a["error"]}
    assert {(e["task"], e["attempt"]) for e in errors} == own


def test_after_a_restart_of_the_master_the_counts_go_on(story: Story) -> None:
    """Last: the workers' counts go on, the master reads its own from the journal."""
    views = story.views
    before = {name: views.client.metrics(f"metrics/{name}") for name in ("failures", "jobs")}
    assert views.cluster.cli("restart", "master").returncode == 0
    wait_until(lambda: views.client.metrics("metrics/system")["workers_up"] == 3, "all are back")
    assert (
        views.client.metrics("metrics/failures")["job_failures"]
        == (before["failures"]["job_failures"])
    )
    after = {one["job_id"]: one for one in views.client.metrics("metrics/jobs")}
    assert after == {one["job_id"]: one for one in before["jobs"]}
    views.read_all()
    for accept in PARSERS:
        check_cluster(views, accept)
