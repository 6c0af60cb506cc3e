"""Every view of one cluster: the metrics, what the page reads, commands, events.

Readings of a count that only grows are put in one row, in the order in which they were asked for,
whoever answered: none may be less than the one before.
"""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Callable
from typing import Any

from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as parse_openmetrics,
)
from prometheus_client.parser import text_string_to_metric_families as parse_text

from minispark.client import Client
from tests.cluster.harness import Cluster

PARSERS: dict[str, Callable[[str], Any]] = {
    "text/plain": parse_text,
    "application/openmetrics-text": parse_openmetrics,
}
ENDED = ("SUCCEEDED", "FAILED", "CANCELLED")


class Exposition:
    """What one `/metrics` says."""

    def __init__(self, url: str, accept: str = "text/plain") -> None:
        request = urllib.request.Request(url, headers={"Accept": accept})
        with urllib.request.urlopen(request, timeout=30) as response:
            assert response.headers["Content-Type"].startswith(f"{accept};")
            families = list(PARSERS[accept](response.read().decode()))
        self._samples = [sample for family in families for sample in family.samples]

    def sum(self, name: str, **labels: str) -> int:
        """Of all samples of the name with these labels; there must be one."""
        found = [
            s.value for s in self._samples if s.name == name and labels.items() <= s.labels.items()
        ]
        assert found, name
        return int(sum(found))

    def failed(self) -> int:
        states = ("failed", "lost")
        return sum(self.sum("minispark_attempts_total", state=state) for state in states)


class Views:
    """Every view of one cluster, and the rows of their readings."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.client: Client = cluster.client()
        document = cluster.document()
        self.url = document["master_url"]
        self.worker_urls = [
            f"http://127.0.0.1:{process['ports']['metrics']}/metrics"
            for process in document["processes"]
            if process["name"].startswith("worker")
        ]
        self._rows: dict[str, int] = {}
        self._commands_read = 0

    def master(self, accept: str = "text/plain") -> Exposition:
        return Exposition(f"{self.url}/metrics", accept)

    def worker_documents(self) -> list[dict[str, Any]]:
        documents = []
        for url in self.worker_urls:
            with urllib.request.urlopen(url, timeout=30) as response:
                documents.append(json.load(response))
        return documents

    def get(self, path: str) -> Any:
        """What only holders of the token read."""
        token = (self.cluster.state_dir / "token").read_text().strip()
        headers = {"Accept": "application/json", "Authorization": f"Bearer {token}"}
        request = urllib.request.Request(f"{self.url}/api/v1/{path}", headers=headers)
        with urllib.request.urlopen(request, timeout=30) as response:
            return json.load(response)

    def events(self) -> list[dict[str, Any]]:
        """All of the event stream so far."""
        events: list[dict[str, Any]] = []
        while True:
            after = events[-1]["id"] if events else 0
            page = self.get(f"events?after={after}&limit=1000")["events"]
            if not page:
                return events
            events += page

    def cli(self, *words: str) -> Any:
        done = self.cluster.cli(*words, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def read(self, row: str, value: int, view: str) -> None:
        before = self._rows.get(row, 0)
        assert value >= before, f"{row} was {before}, and {view} says {value}"
        self._rows[row] = value

    def read_all(self) -> None:
        """Each view once."""
        self._read_exposition("/metrics")
        failures = self.client.metrics("metrics/failures")
        self.read("failed", sum(failures["job_failures"].values()), "metrics/failures")
        self.read("retries", failures["retries_total"], "metrics/failures")
        for job_id, failed in failures["job_failures"].items():
            self.read(f"failed of {job_id}", failed, "metrics/failures")
        for one in self.client.metrics("metrics/jobs"):
            self._read_job(one["job_id"], one, "metrics/jobs")
        for job in self.client.jobs():
            self._read_one(job["id"], job["tasks"]["completed"])
        system = self.client.metrics("metrics/system")
        ended = sum(system[f"jobs_{state.lower()}"] for state in ENDED)
        self.read("ended", ended, "metrics/system")
        self.read("submitted", system["jobs_total"], "metrics/system")
        self._read_page()
        self._read_exposition("/metrics again")
        self._read_commands()
        for url, document in zip(self.worker_urls, self.worker_documents(), strict=True):
            self._read_worker(url, document)

    def _read_exposition(self, view: str) -> None:
        said = self.master()
        self.read("failed", said.failed(), view)
        self.read("retries", said.sum("minispark_retries_total"), view)
        self.read("records", said.sum("minispark_records_processed_total"), view)
        self.read("ended", said.sum("minispark_jobs_ended_total"), view)
        self.read("submitted", said.sum("minispark_jobs_submitted_total"), view)

    def _read_page(self) -> None:
        """What the page draws its cards and tables from."""
        overview = self.get("overview")
        self.read("retries", overview["system"]["retries_total"], "overview")
        self.read("submitted", overview["system"]["jobs_total"], "overview")
        for job in overview["jobs"]:
            self.read(f"completed of {job['id']}", job["tasks_completed"], "overview")
            self.read(f"failed of {job['id']}", job["failed_attempts"], "overview")
        self.read("failed", sum(job["failed_attempts"] for job in overview["jobs"]), "overview")

    def _read_commands(self) -> None:
        """One of them: each is a process of its own, which takes its time."""
        self._commands_read += 1
        if self._commands_read % 2:
            for job in self.cli("jobs"):
                self.read(f"completed of {job['id']}", job["tasks"]["completed"], "minispark jobs")
            return
        failures = self.cli("metrics", "failures")
        self.read("failed", sum(failures["job_failures"].values()), "minispark metrics failures")
        self.read("retries", failures["retries_total"], "minispark metrics failures")

    def _read_one(self, job_id: str, completed: int) -> None:
        """The documents of one job, each asked for by itself."""
        self.read(f"completed of {job_id}", completed, "jobs")
        self._read_job(job_id, self.client.metrics(f"jobs/{job_id}/metrics"), "jobs/{id}/metrics")
        stages = self.client.stages(job_id)
        sums = {
            "completed_tasks": sum(stage["tasks_completed"] for stage in stages),
            "failed_tasks": sum(stage["failed_attempts"] for stage in stages),
            "total_records": sum(stage["records_processed"] for stage in stages),
        }
        self._read_job(job_id, sums, "jobs/{id}/stages")

    def _read_job(self, job_id: str, metrics: dict[str, Any], view: str) -> None:
        self.read(f"completed of {job_id}", metrics["completed_tasks"], view)
        self.read(f"failed of {job_id}", metrics["failed_tasks"], view)
        self.read(f"records of {job_id}", metrics["total_records"], view)

    def _read_worker(self, url: str, document: dict[str, Any]) -> None:
        tasks = document["tasks"]
        assert tasks["total_executed"] == tasks["total_succeeded"] + tasks["total_failed"]
        self.read(f"executed by {url}", tasks["total_executed"], "a worker's document")
        executed = Exposition(url).sum("minispark_worker_tasks_total")
        self.read(f"executed by {url}", executed, "a worker's text")
