"""`conf/prometheus.yml` and `docs/grafana.json` fit the cluster: its ports, names and labels."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from minispark.config import load
from minispark.metrics.prometheus import Family
from minispark.worker.main import METRICS_PORT_OFFSET
from tests.cluster.harness import ROOT
from tests.unit.test_metrics import EXPOSITIONS

DASHBOARD = json.loads((ROOT / "docs" / "grafana.json").read_text())
FAMILIES: dict[str, list[Family]] = {source: make() for source, make in EXPOSITIONS.items()}
SAMPLES = {name for made in FAMILIES.values() for family in made for name in family.sample_names}
LABELS = {
    label
    for made in FAMILIES.values()
    for family in made
    for sample in family.samples
    for label in sample.labels
}
NAME = re.compile(r"minispark_[a-z_]+")


def panels() -> list[dict[str, Any]]:
    return [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]


def queries() -> Iterator[tuple[str, str]]:
    """(expression, legend) of every panel."""
    for panel in panels():
        for target in panel["targets"]:
            yield target["expr"], target["legendFormat"]


def test_the_dashboard_asks_for_names_that_exist() -> None:
    asked = {name for expression, _ in queries() for name in NAME.findall(expression)}
    assert asked <= SAMPLES


@pytest.mark.parametrize("source", FAMILIES)
def test_the_dashboard_shows_every_family(source: str) -> None:
    asked = {name for expression, _ in queries() for name in NAME.findall(expression)}
    hidden = [family.name for family in FAMILIES[source] if not family.sample_names & asked]
    assert hidden == []


def test_the_dashboard_names_labels_that_exist() -> None:
    for expression, legend in queries():
        named = re.findall(r"\{\{(\w+)\}\}", legend) + re.findall(r"(\w+)=~?\"", expression)
        for group in re.findall(r"(?:by|on) \(([\w, ]+)\)", expression):
            named += group.split(", ")
        assert set(named) <= LABELS, expression


def test_counters_are_shown_as_rates_and_gauges_are_not() -> None:
    counted = {
        name
        for made in FAMILIES.values()
        for family in made
        for name in family.sample_names
        if re.search(r"_(total|bucket|sum|count)$", name)
    }
    for expression, _ in queries():
        for found in NAME.finditer(expression):
            is_rate = re.search(r"(rate|increase)\($", expression[: found.start()]) is not None
            assert is_rate == (found.group() in counted), expression


def test_panels_have_their_own_ids_and_do_not_overlap() -> None:
    everything = DASHBOARD["panels"]
    assert len({panel["id"] for panel in everything}) == len(everything)
    taken: set[tuple[int, int]] = set()
    for panel in everything:
        at = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert at["x"] + at["w"] <= 24 and not cells & taken, panel["title"]
        taken |= cells


def test_prometheus_scrapes_the_ports_of_three_workers() -> None:
    config = load(str(ROOT / "conf" / "3workers.yaml"), {}).config
    scraped = yaml.safe_load((ROOT / "conf" / "prometheus.yml").read_text())["scrape_configs"]
    targets = {job["job_name"]: job["static_configs"][0]["targets"] for job in scraped}
    host = config.master.host
    assert targets == {
        "minispark-master": [f"{host}:{config.master.http_port}"],
        "minispark-workers": [
            f"{host}:{spec.port + METRICS_PORT_OFFSET}" for spec in config.worker_specs()
        ],
    }
