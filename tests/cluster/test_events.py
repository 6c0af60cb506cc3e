"""The event stream and the timeline of a real cluster, before and after its master is killed."""

from __future__ import annotations

import http.client
import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from minispark.client import Client
from tests import jobs, oracle
from tests.cluster.harness import Cluster

TOKENLESS = {"Accept": "application/json"}


@pytest.fixture
def cluster(make_cluster: Callable[..., Cluster]) -> Cluster:
    return make_cluster()


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "text.txt"
    path.write_text("".join(f"line {i % 900} of the text number {i % 77}\n" for i in range(40_000)))
    return path


class Browser:
    """Follows the events of a cluster as a browser does: it comes back where it stopped."""

    def __init__(self, cluster: Cluster) -> None:
        self._address = urlsplit(cluster.document()["master_url"]).netloc
        self._token = (cluster.state_dir / "token").read_text()
        self.events: list[dict[str, Any]] = []
        self._last: str | None = None

    def follow(self) -> Iterator[None]:
        """One connection; a step is a message. Ends when it breaks off."""
        connection = http.client.HTTPConnection(self._address, timeout=30)
        headers = {"Authorization": f"Bearer {self._token}"}
        path = "/api/v1/events?after=0"
        if self._last is not None:
            headers["Last-Event-ID"] = self._last
        try:
            connection.request("GET", path, headers=headers)
            response = connection.getresponse()
            assert response.status == 200, response.read()
            assert response.headers["Content-Type"].startswith("text/event-stream")
            while line := response.readline():
                name, _, value = line.decode().rstrip("\n").partition(": ")
                if name == "id":
                    self._last = value
                elif name == "data":
                    self.events.append(json.loads(value))
                    yield
        except (OSError, http.client.HTTPException):
            return
        finally:
            connection.close()


def test_a_browser_misses_no_event_while_the_master_is_killed(cluster: Cluster, text: Path) -> None:
    browser = Browser(cluster)
    is_killed = False
    expected = oracle.word_count(oracle.lines_of([text]))
    with cluster.client() as client:
        job = client.submit(jobs.word_count(str(text), 8, plan="naive"))
        while not any(e["kind"] == "job SUCCEEDED" for e in browser.events):
            for _ in browser.follow():
                if not is_killed and browser.events[-1]["kind"] == "attempt SUCCEEDED":
                    is_killed = True
                    cluster.note_processes()
                    os.kill(cluster.process("master")["pid"], signal.SIGKILL)
                if browser.events[-1]["kind"] == "job SUCCEEDED":
                    break
        info = client.wait(job["id"], 60)
        assert is_killed and info["state"] == "SUCCEEDED"
        assert sorted(client.results(job["id"])) == sorted(expected)
        attempts = list(client.attempts(job["id"]))
    ids = [event["id"] for event in browser.events]
    assert ids == list(range(1, len(ids) + 1))
    heard = {
        (e["stage"], e["partition"], e["attempt"])
        for e in browser.events
        if e["kind"] == "attempt SUCCEEDED"
    }
    accepted = [a for a in attempts if a["state"] == "SUCCEEDED"]
    assert heard >= {(a["node_id"], a["partition_id"], a["attempt"]) for a in accepted}


def test_events_are_for_holders_of_the_token(cluster: Cluster) -> None:
    address = urlsplit(cluster.document()["master_url"]).netloc
    for headers in ({}, {"Authorization": "Bearer wrong"}, TOKENLESS):
        connection = http.client.HTTPConnection(address, timeout=30)
        connection.request("GET", "/api/v1/events", headers=headers)
        assert connection.getresponse().status == 401
        connection.close()


def test_the_timeline_shows_every_attempt_where_and_when_it_ran(
    cluster: Cluster, text: Path
) -> None:
    with cluster.client() as client:
        job = client.submit(jobs.word_count(str(text), 4))
        assert client.wait(job["id"], 60)["state"] == "SUCCEEDED"
        document = timeline(client, job["id"])
        attempts = list(client.attempts(job["id"]))
    slices = [e for e in document["traceEvents"] if e.get("cat") == "attempt,SUCCEEDED"]
    assert {e["args"]["attempt_id"] for e in slices} == {a["id"] for a in attempts}
    for attempt in attempts:
        assert attempt["slot"] in (0, 1)
        assert attempt["started_at"] <= attempt["finished_at"] <= attempt["ended_at"] + 0.05
        took_ms = 1000 * (attempt["finished_at"] - attempt["started_at"])
        assert sum(attempt["phases_ms"].values()) <= took_ms
    arrows = [e for e in document["traceEvents"] if e["ph"] == "s"]
    assert len(arrows) == 4 * 4  # every reduce fetched of every map


def timeline(client: Client, job_id: str) -> dict[str, Any]:
    document: dict[str, Any] = client.metrics(f"jobs/{job_id}/timeline")
    return document


def test_a_failing_attempt_says_where_it_ran_and_is_marked(
    cluster: Cluster, tmp_path: Path
) -> None:
    path = tmp_path / "words.txt"
    path.write_text("one\ntwo\n")
    bad = "def bad(value):\n    raise ValueError('no ' + value)\n"
    nodes = [
        {"id": "read", "op": "read_text", "path": str(path)},
        {"id": "flat", "op": "flat_map", "fn": "mine:bad"},
    ]
    request = jobs.job(nodes, 1, modules={"mine": bad})
    with cluster.client() as client:
        job = client.submit(request)
        assert client.wait(job["id"], 60)["state"] == "FAILED"
        failed = [a for a in client.attempts(job["id"]) if a["state"] == "FAILED"]
        assert len(failed) == 4 and all(a["cause"] == "task" for a in failed)
        assert all(a["slot"] is not None and a["started_at"] is not None for a in failed)
        events = timeline(client, job["id"])["traceEvents"]
    assert len([e for e in events if e["ph"] == "i" and e["name"].startswith("failed")]) == 4
    marks = [e for e in events if e["ph"] == "i" and e["name"].startswith("job ")]
    assert (marks[-1]["name"], marks[-1]["s"]) == ("job FAILED", "t")
