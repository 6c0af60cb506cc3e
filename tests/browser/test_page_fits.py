"""What is cut, hidden or out of order on a small screen, with long names, or with many workers."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, Route, expect

from tests.browser.gallery import Gallery
from tests.browser.pages import DESKTOP, PHONE, WAIT_MS, Visitor, go
from tests.browser.test_page_looks import attempt

expect.set_options(timeout=WAIT_MS)
AT = 1_790_000_000.0
TARGET_PX = 40
"""The least height of what a finger is to hit."""
MANY = [f"worker-{number}" for number in (2, 10, 1, 12)]


def is_cut(element: Locator) -> bool:
    return bool(element.evaluate("one => one.scrollWidth > one.clientWidth"))


def change_overview(page: Page, change: Callable[[dict[str, Any]], None]) -> None:
    def answer(route: Route) -> None:
        response = route.fetch()
        document = response.json()
        change(document)
        route.fulfill(response=response, json=document)

    page.route("**/api/v1/overview", answer)


def run_again(document: dict[str, Any]) -> None:
    for job in document["jobs"]:
        job["state"] = "RUNNING"


def name_many(document: dict[str, Any]) -> None:
    worker = document["workers"][0]
    document["workers"] = [{**worker, "id": name, "name": name} for name in MANY]


@pytest.mark.parametrize("kind", ["Contar palabras", "JSON"])
@pytest.mark.parametrize("size", [DESKTOP, PHONE])
def test_nothing_of_the_jobs_lies_beside_the_screen(
    gallery: Gallery, visitor: Visitor, size: tuple[int, int], kind: str
) -> None:
    page = visitor.visit(gallery.cluster, language="es-CO", size=size)
    change_overview(page, run_again)
    go(page, gallery.cluster, "jobs")
    page.get_by_role("button", name=kind).click()
    expect(page.locator(".job-table button").first).to_be_visible()
    for button in page.locator(".job-table button").all():
        expect(button).to_be_visible()
        box = button.bounding_box()
        assert box is not None and box["x"] + box["width"] <= size[0]
    assert not is_cut(page.locator(".job-table"))
    assert not is_cut(page.locator("form .field > :last-child").first)


def pause_all(document: dict[str, Any]) -> None:
    for worker in document["workers"]:
        worker["process"]["is_paused"] = True


@pytest.mark.parametrize("size", [DESKTOP, PHONE])
def test_buttons_of_a_paused_worker_stay_on_its_card(
    gallery: Gallery, visitor: Visitor, size: tuple[int, int]
) -> None:
    page = visitor.visit(gallery.cluster, language="es-CO", size=size)
    change_overview(page, pause_all)
    go(page, gallery.cluster, "")
    page.reload()
    card = page.locator("article.worker").first
    expect(card.get_by_role("button", name="Dejar seguir a worker-1")).to_be_visible()
    assert not is_cut(card)


@pytest.mark.parametrize("size", [DESKTOP, PHONE])
def test_operators_of_a_branched_job_are_named_in_full(
    gallery: Gallery, visitor: Visitor, size: tuple[int, int]
) -> None:
    page = visitor.visit(gallery.cluster, f"jobs/{gallery.jobs['branched']}", size=size)
    expect(page.locator(".node")).to_have_count(12)
    assert not is_cut(page.locator(".dag-scroll"))
    cut = [name.inner_text() for name in page.locator(".node-id").all() if is_cut(name)]
    assert cut == []


def test_a_finger_hits_every_button(gallery: Gallery, visitor: Visitor) -> None:
    page = visitor.visit(gallery.cluster, size=PHONE)
    for view in ("", "jobs", f"jobs/{gallery.jobs['large']}"):
        go(page, gallery.cluster, view)
        for button in page.locator("button:not(.bar):visible, select:visible").all():
            box = button.bounding_box()
            assert box is not None
            assert box["height"] >= TARGET_PX, button.inner_text()


def test_a_lost_connection_leaves_a_phones_header_as_it_was(
    gallery: Gallery, visitor: Visitor
) -> None:
    visitor.expected = ["net::ERR_"]
    page = visitor.visit(gallery.cluster, size=PHONE)
    header = page.locator("#header")
    expect(header).to_contain_text("Live")
    before = header.bounding_box()
    page.context.set_offline(True)
    expect(header).to_contain_text("No connection")
    assert header.bounding_box() == before


def visit_attempts(gallery: Gallery, visitor: Visitor, attempts: list[Any], **how: Any) -> Page:
    page = visitor.visit(gallery.cluster, **how)
    answer = {"tasks": attempts, "total": len(attempts)}
    page.route("**/tasks?*", lambda route: route.fulfill(json=answer))
    go(page, gallery.cluster, f"jobs/{gallery.jobs['large']}")
    return page


def test_lanes_of_many_workers_are_named_in_full_and_in_order(
    gallery: Gallery, visitor: Visitor
) -> None:
    attempts = [
        attempt(number, 0, "SUCCEEDED", AT, worker=name, slot=0) for number, name in enumerate(MANY)
    ]
    page = visit_attempts(gallery, visitor, attempts, size=PHONE)
    names = page.locator(".lane-name bdi")
    expect(names).to_have_text(["worker-1", "worker-2", "worker-10", "worker-12"])
    assert [is_cut(name) for name in names.all()] == [False] * len(MANY)


@pytest.mark.parametrize(
    ("span_s", "ticks"),
    [
        (600.0, ["0", "2 min", "4 min", "6 min", "8 min"]),
        (100.0, ["0", "20 s", "40 s", "1 min", "1 min 20 s"]),
        (7300.0, ["0", "30 min", "1 h", "1 h 30 min"]),
        (1.0, ["0", "200 ms", "400 ms", "600 ms", "800 ms"]),
    ],
)
def test_the_axis_of_time_has_round_steps_and_no_cut_words(
    gallery: Gallery, visitor: Visitor, span_s: float, ticks: list[str]
) -> None:
    long = attempt(0, 0, "SUCCEEDED", AT, finished_at=AT + span_s, ended_at=AT + span_s)
    page = visit_attempts(gallery, visitor, [long])
    assert page.locator(".tick").all_inner_texts() == ticks
    last = page.locator(".tick").last.bounding_box()
    track = page.locator(".axis .track").bounding_box()
    assert last is not None and track is not None
    assert last["x"] + last["width"] <= track["x"] + track["width"]


def test_workers_stand_in_the_order_in_which_people_count(
    gallery: Gallery, visitor: Visitor
) -> None:
    page = visitor.visit(gallery.cluster)
    change_overview(page, name_many)
    facts = [
        {"id": number, "kind": "worker UP", "at": AT, "job_id": None, "stage": None,
         "partition": None, "attempt": None, "worker": name, "text": None}
        for number, name in enumerate(MANY, 1)
    ]  # fmt: skip
    body = "".join(f"id: {f['id']}\nevent: fact\ndata: {json.dumps(f)}\n\n" for f in facts)
    page.route(
        "**/api/v1/events?*",
        lambda route: route.fulfill(body=body, content_type="text/event-stream"),
    )
    page.reload()
    go(page, gallery.cluster, "")
    expect(page.locator(".worker h3")).to_have_text(
        ["worker-1", "worker-2", "worker-10", "worker-12"]
    )
    go(page, gallery.cluster, "events")
    expect(page.locator("select[data-name=worker] option")).to_have_text(
        ["All", "worker-1", "worker-2", "worker-10", "worker-12"]
    )


def add_driver(document: dict[str, Any]) -> None:
    worker = {k: v for k, v in document["workers"][0].items() if k not in ("load", "process")}
    more = {"id": "driver", "name": "spark-driver", "kind": "spark", "slots": 0, "active_tasks": 12}
    document["driver"] = {**worker, **more}


@pytest.mark.parametrize("size", [DESKTOP, PHONE])
@pytest.mark.parametrize(
    ("language", "said"), [("en", "Tasks that Spark has"), ("es-CO", "Tareas")]
)
def test_sparks_driver_has_a_card_and_is_no_worker(
    gallery: Gallery, visitor: Visitor, size: tuple[int, int], language: str, said: str
) -> None:
    page = visitor.visit(gallery.cluster, language=language, size=size)
    expect(page.locator("article.worker")).not_to_have_count(0)
    workers = page.locator("article.worker").count()
    change_overview(page, add_driver)  # which is asked for again soon
    card = page.locator("article", has=page.get_by_role("heading", name="spark-driver"))
    expect(card).to_contain_text(said)
    expect(card).to_contain_text("12")
    expect(card.get_by_role("button")).to_have_count(0)
    assert not is_cut(card)
    assert page.locator("article.worker").count() == workers + 1
    assert f"{workers} / {workers}" in page.locator("dl.figures").inner_text()
