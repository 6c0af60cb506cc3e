"""Latency windows, throughput, WorkerMetrics, and what Prometheus reads, by Prometheus' parsers."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence

import pytest
from prometheus_client import Metric
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as parse_openmetrics,
)
from prometheus_client.parser import text_string_to_metric_families as parse_text

from minispark.master.exposition import (
    FOREIGN,
    WORKERS_LABELLED_MAX,
    cluster_families,
    master_families,
)
from minispark.metrics.latency import LatencyWindow
from minispark.metrics.process_metrics import HostFigures
from minispark.metrics.prometheus import (
    OPENMETRICS_TYPE,
    TEXT_TYPE,
    Family,
    counter,
    gauge,
    histogram,
    render,
)
from minispark.metrics.throughput import Throughput
from minispark.metrics.worker_metrics import CacheUse, WorkerCounters, WorkerUse
from minispark.model.events import WorkerIdentity
from minispark.model.snapshot import Snapshot, Totals, WorkerView
from minispark.model.states import AttemptState, JobState, WorkerKind, WorkerState
from minispark.supervisor import host_sampler
from minispark.supervisor.host_sampler import HostSampler
from minispark.transport.accept import preferred

MB = 2**20
HOST = HostFigures(25.0, 2 * MB, 8 * MB, 25.0, 150.0, 6.5, 3 * MB)
CACHE = CacheUse(hits=3, misses=1, memory_bytes=3 * MB, spilled_bytes=MB // 2)
USE = WorkerUse("worker-1", "id-1", 2, 1, 2, 50.0, 5 * MB, HOST, CACHE)
PARSERS = {TEXT_TYPE: parse_text, OPENMETRICS_TYPE: parse_openmetrics}
PROMETHEUS_ACCEPT = (
    "application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;"
    "q=0.4,text/plain;version=1.0.0;q=0.3,text/plain;version=0.0.4;q=0.2,*/*;q=0.1"
)


def counters() -> WorkerCounters:
    made = WorkerCounters(10, started_at=100.0)
    made.count(True, 30, 5.0, 101.0)
    made.count(False, 0, 15.0, 101.5)
    return made


def worker(number: int, kind: WorkerKind = WorkerKind.SOCKET, load: int = 0) -> WorkerView:
    name = f"http-{number}" if kind is WorkerKind.HTTP else f"worker-{number}"
    who = WorkerIdentity(str(number), kind, name, "127.0.0.1", 9000, 2, 1, "host", "/state")
    return WorkerView(who, WorkerState.UP if number else WorkerState.DOWN, load, 1000.0 - number)


def master_exposition(snapshot: Snapshot) -> list[Family]:
    return [*cluster_families(snapshot, 1001.0, 2), *master_families(HOST, 3.5, False)]


def parsed(families: Sequence[Family], content_type: str) -> dict[str, Metric]:
    found = list(PARSERS[content_type](render(families, content_type)))
    assert len({metric.name for metric in found}) == len(found) == len(families)
    return {metric.name: metric for metric in found}


def value(families: Sequence[Family], name: str, **labels: str) -> float:
    """The one sample of that name and these labels, as Prometheus reads it."""
    samples = [s for m in parsed(families, TEXT_TYPE).values() for s in m.samples]
    (found,) = [s.value for s in samples if s.name == name and labels.items() <= s.labels.items()]
    return float(found)


SNAPSHOT = Snapshot(
    workers={str(n): worker(n, load=n) for n in range(3)},
    tasks_queued=4,
    tasks_running=3,
    retries_total=7,
    totals=Totals(5, {JobState.FAILED: 2}, {AttemptState.FAILED: 6, AttemptState.LOST: 1}, 80, 900),
)
EXPOSITIONS: dict[str, Callable[[], list[Family]]] = {
    "worker": lambda: counters().families(USE, 110.0),
    "master": lambda: master_exposition(SNAPSHOT),
}


# --- what is measured ----------------------------------------------------------------------


def test_percentiles_are_of_the_latest_latencies() -> None:
    window = LatencyWindow(100)
    assert (window.mean(), window.percentile(99)) == (0.0, 0.0)
    for latency_ms in range(1000, 0, -1):
        window.add(latency_ms)
    assert (window.percentile(50), window.percentile(99), window.percentile(100)) == (50, 99, 100)
    assert window.mean() == 50.5


def test_throughput_is_the_increase_within_the_window() -> None:
    throughput = Throughput(started_at=1000.0)
    assert throughput.per_second(1000.0) == 0.0
    throughput.add(60, 1001.9)
    throughput.add(40, 1001.95)
    assert throughput.per_second(1002.0) == 50.0  # younger than the window
    throughput.add(200, 1035.0)
    assert throughput.per_second(1040.0) == pytest.approx(200 / 30)
    assert throughput.per_second(1070.0) == 0.0


def test_worker_metrics_add_up() -> None:
    document = counters().document(USE, 102.5)
    assert document["uptime_secs"] == 2
    assert document["tasks"] == {
        "total_executed": 2,
        "total_succeeded": 1,
        "total_failed": 1,
        "active_tasks": 1,
        "avg_latency_ms": 10.0,
        "p50_latency_ms": 5.0,
        "p99_latency_ms": 15.0,
        "records_processed": 30,
        "throughput_records_per_sec": 12.0,
    }
    assert document["system"] == {
        "cpu_usage_percent": 25.0,
        "memory_used_mb": 2.0,
        "memory_total_mb": 8.0,
        "memory_percent": 25.0,
        "process_cpu_percent": 150.0,
        "process_rss_mb": 3.0,
        "worker_cpu_percent": 50.0,
        "worker_rss_mb": 5.0,
    }
    assert (document["cache_hits"], document["cache_misses"]) == (3, 1)
    assert (document["cache_memory_mb"], document["cache_spilled_mb"]) == (3.0, 0.5)


def test_the_families_of_a_worker_say_what_its_document_says() -> None:
    families = counters().families(USE, 102.5)
    tasks = counters().document(USE, 102.5)["tasks"]
    name = "minispark_worker_tasks_total"
    assert value(families, name, result="succeeded") == tasks["total_succeeded"]
    assert value(families, name, result="failed") == tasks["total_failed"]
    latency = "minispark_worker_task_latency_seconds"
    assert value(families, latency, quantile="0.5") * 1000 == tasks["p50_latency_ms"]
    assert value(families, latency, quantile="0.99") * 1000 == tasks["p99_latency_ms"]
    duration = "minispark_worker_task_duration_seconds"
    for kind in (latency, duration):
        assert value(families, f"{kind}_count") == tasks["total_executed"]
        assert value(families, f"{kind}_sum") == 0.02
    assert value(families, f"{duration}_bucket", le="0.005") == 1
    assert value(families, f"{duration}_bucket", le="+Inf") == 2
    assert value(families, "minispark_worker_records_per_second") == 12.0
    assert value(families, "minispark_worker_cache_memory_bytes") == 3 * MB
    assert value(families, "minispark_worker_host_cpu_ratio", worker="worker-1") == 0.25


def test_the_families_of_a_master_say_what_its_snapshot_says() -> None:
    families = master_exposition(SNAPSHOT)
    assert value(families, "minispark_workers", state="up") == 2
    assert value(families, "minispark_workers", state="down") == 1
    assert value(families, "minispark_worker_up", worker="worker-0") == 0
    assert value(families, "minispark_worker_load", worker="worker-2") == 2
    assert value(families, "minispark_worker_heartbeat_age_seconds", worker="worker-2") == 3
    assert value(families, "minispark_tasks_queued") == 4
    assert value(families, "minispark_retries_total") == 7
    assert value(families, "minispark_jobs_ended_total", state="failed") == 2
    assert value(families, "minispark_attempts_total", state="failed") == 6
    assert value(families, "minispark_attempts_total", state="succeeded") == 0


def test_workers_make_a_bounded_number_of_series() -> None:
    """Foreign workers bring a new id each time, and nobody forgets one."""
    foreign = {str(n): worker(n, WorkerKind.HTTP, load=1) for n in range(1, 51)}
    own = {f"own-{n}": worker(n) for n in range(1, WORKERS_LABELLED_MAX + 20)}
    families = cluster_families(Snapshot(workers={**foreign, **own}), 1001.0, 2)
    assert value(families, "minispark_worker_load", worker=FOREIGN) == 50
    assert value(families, "minispark_worker_up", worker=FOREIGN) == 50
    assert len(parsed(families, TEXT_TYPE)["minispark_worker_up"].samples) == WORKERS_LABELLED_MAX
    assert value(families, "minispark_workers", state="up") == len(foreign) + len(own)


# --- how it is written -----------------------------------------------------------------------


@pytest.mark.parametrize("content_type", PARSERS)
@pytest.mark.parametrize("source", EXPOSITIONS)
def test_both_formats_are_what_prometheus_reads(source: str, content_type: str) -> None:
    families = EXPOSITIONS[source]()
    found = parsed(families, content_type)
    for family in families:
        name = family.name
        if content_type == TEXT_TYPE and family.kind == "info":
            name = f"{name}_info"  # which that format has no kind for
        metric = found[name]
        kind = "gauge" if name.endswith("_info") else family.kind
        assert (metric.type, metric.documentation) == (kind, family.text)
        assert {sample.name for sample in metric.samples} == family.sample_names
        assert all(math.isfinite(sample.value) for sample in metric.samples)


@pytest.mark.parametrize("source", EXPOSITIONS)
def test_names_are_as_prometheus_wants_them(source: str) -> None:
    """What `promtool check metrics` looks for, and more."""
    for family in EXPOSITIONS[source]():
        assert re.fullmatch(r"minispark_[a-z][a-z_]*[a-z]", family.name)
        assert not re.search(r"_(ms|milliseconds|mb|kb|percent|total|count|sum)$", family.name)
        assert not re.search(r"_(counter|gauge|histogram|summary)(_|$)", family.name)
        assert family.text[0].isupper() or family.text.startswith("1 "), family
        assert family.text.endswith(".")
        for sample in family.samples:
            known = {"worker", "worker_id", "state", "result", "version", "le", "quantile"}
            assert set(sample.labels) <= known
            assert "worker_id" not in sample.labels or family.kind == "info"


def test_labels_and_help_are_escaped() -> None:
    odd = 'x"\\\n'
    family = gauge("m", f"text {odd}", 1.5, {"a": odd})
    (metric,) = parse_text(render([family]))
    assert metric.samples[0].labels == {"a": odd}
    assert render([family]) == '# HELP m text x"\\\\\\n\n# TYPE m gauge\nm{a="x\\"\\\\\\n"} 1.5\n'


def test_a_histogram_has_a_bucket_for_everything() -> None:
    family = histogram("m_seconds", "Text.", {}, (0.1, 1), (1, 0, 2), 9.0)
    assert [(s.suffix, s.labels.get("le"), s.value) for s in family.samples] == [
        ("_bucket", "0.1", 1),
        ("_bucket", "1.0", 1),
        ("_bucket", "+Inf", 3),
        ("_sum", None, 9.0),
        ("_count", None, 3),
    ]


def test_openmetrics_names_units_and_ends() -> None:
    text = render([counter("m_seconds", "Text.", 2.5)], OPENMETRICS_TYPE)
    assert "# TYPE m_seconds counter\n# UNIT m_seconds seconds\nm_seconds_total 2.5\n" in text
    assert text.endswith("# EOF\n")


@pytest.mark.parametrize(
    ("accept", "wanted"),
    [
        ("", "application/json"),
        ("*/*", "application/json"),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "application/json"),
        ("text/plain", "text/plain"),
        ("text/plain;version=0.0.4", "text/plain"),
        ("Text/*, application/json;q=0.9", "text/plain"),
        ("application/json, text/plain", "application/json"),
        ("application/json;q=0.2, text/plain;q=0.3", "text/plain"),
        ("*/*, application/json;q=0", "text/plain"),
        ("text/plain;q=much", "application/json"),
        ("image/png", "application/json"),
        (PROMETHEUS_ACCEPT, "application/openmetrics-text"),
    ],
)
def test_the_type_that_is_preferred(accept: str, wanted: str) -> None:
    offered = ("application/json", TEXT_TYPE, OPENMETRICS_TYPE)
    assert preferred(accept, offered) == wanted


# --- the operating system ----------------------------------------------------------------------


def test_the_host_is_measured_once_a_second_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    now, host = [50.0], [(10.0, 40.0)]
    monkeypatch.setattr(host_sampler, "_host_s", lambda: host[0])
    sampler = HostSampler(lambda: now[0])
    first = sampler.figures()
    assert first.cpu_percent == 0.0  # nothing to compare with yet
    assert 0 < first.memory_used_bytes < first.memory_size_bytes
    now[0], host[0] = 50.9, (12.0, 44.0)
    assert sampler.figures() is first
    now[0] = 51.0
    second = sampler.figures()
    assert second.cpu_percent == 50.0
    assert second.process_rss_bytes > MB
    assert second.process_cpu_s >= first.process_cpu_s
