"""How the page looks and reads: for everybody, in both themes and languages, on small and large."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.browser.gallery import HOSTILE, LONG, Gallery
from tests.browser.pages import BIG, DESKTOP, PHONE, WAIT_MS, Visitor, go

expect.set_options(timeout=WAIT_MS)
SERIOUS = ("serious", "critical")


def violations(page: Page, *rules: str) -> list[str]:
    """Of these rules, or of all."""
    options = {"runOnly": {"type": "rule", "values": list(rules)}} if rules else {}
    found = Axe().run(page, options=options).response["violations"]
    return [
        f"{one['id']} ({one['impact']}): {one['nodes'][0]['html'][:200]}"
        for one in found
        if one["impact"] in SERIOUS
    ]


def check(page: Page, what: str) -> None:
    """In both themes, which differ in nothing but colours."""
    page.emulate_media(color_scheme="light")
    assert violations(page) == [], f"{what}, light"
    page.emulate_media(color_scheme="dark")
    assert violations(page, "color-contrast") == [], f"{what}, dark"


def test_axe_finds_nothing_serious_on_any_view(gallery: Gallery, visitor: Visitor) -> None:
    visitor.expected = ["net::ERR_", "400"]
    page = visitor.visit(gallery.cluster)
    jobs = [f"jobs/{gallery.jobs[kind]}" for kind in ("branched", "cancelled", "failed")]
    for view in ("", "jobs", "events", *jobs):
        go(page, gallery.cluster, view)
        if view == "events":  # a few are enough
            page.get_by_label("Outcome").select_option("bad")
            expect(page.locator("main .event.good")).to_have_count(0)
        check(page, view)
    page.locator("button.bar.FAILED").first.click()
    page.locator(".errors summary").first.click()
    check(page, "an error that is opened")
    page.set_viewport_size({"width": PHONE[0], "height": PHONE[1]})
    for view in ("jobs", f"jobs/{gallery.jobs['large']}"):
        go(page, gallery.cluster, view)
        check(page, f"{view} on a phone")
    page.set_viewport_size({"width": DESKTOP[0], "height": DESKTOP[1]})
    go(page, gallery.cluster, "jobs")
    page.get_by_role("button", name="JSON").click()
    page.get_by_role("button", name="Explain").click()
    expect(page.locator("pre.plan, form .error")).to_be_visible()
    check(page, "a pasted job")
    page.context.set_offline(True)
    expect(page.locator("#banner")).to_contain_text("does not answer")
    check(page, "a lost connection")


@pytest.mark.parametrize("language", ["en-US", "es-CO"])
def test_nothing_is_wider_than_the_screen(
    gallery: Gallery, visitor: Visitor, language: str
) -> None:
    page = visitor.visit(gallery.cluster, language=language)
    for view in gallery.views():
        go(page, gallery.cluster, view)
        for width, height in (DESKTOP, BIG, PHONE):
            page.set_viewport_size({"width": width, "height": height})
            assert page.evaluate("document.documentElement.scrollWidth") <= width, view


def test_the_browsers_language_is_spoken(gallery: Gallery, visitor: Visitor) -> None:
    page = visitor.visit(gallery.cluster, language="es-CO")
    assert page.locator("html").get_attribute("lang") == "es"
    expect(page.get_by_role("link", name="Trabajos", exact=True)).to_be_visible()
    expect(page.get_by_role("button", name="Matar worker-1")).to_be_visible()
    page = visitor.visit(gallery.cluster, language="de-DE")
    assert page.locator("html").get_attribute("lang") == "en"


def test_names_and_errors_of_jobs_are_never_markup(gallery: Gallery, visitor: Visitor) -> None:
    page = visitor.visit(gallery.cluster)
    for view in gallery.views():
        go(page, gallery.cluster, view)
        assert page.locator("main img, main script, main b, main iframe").count() == 0, view
        assert page.evaluate("window.pwned") is None, view
    go(page, gallery.cluster, f"jobs/{gallery.jobs['failed']}")
    expect(page.locator("h1")).to_have_text(HOSTILE)
    expect(page.locator(".failure pre")).to_contain_text(HOSTILE)
    go(page, gallery.cluster, f"jobs/{gallery.jobs['large']}")
    expect(page.locator("[data-key=result]")).to_contain_text("<b>bold</b>")
    expect(page.locator("[data-key=result]")).to_contain_text("&amp;")


def test_markup_that_came_in_all_the_same_could_not_run(gallery: Gallery, visitor: Visitor) -> None:
    page = visitor.visit(gallery.cluster)
    page.evaluate(f"document.querySelector('main').innerHTML = {HOSTILE!r}")
    page.evaluate(
        "document.body.append(Object.assign(document.createElement('script'),"
        " {textContent: 'window.pwned = 3'}))"
    )
    assert page.evaluate("window.pwned") is None
    assert any("Content Security Policy" in one for one in visitor.complaints)
    visitor.complaints.clear()


def test_a_long_name_leaves_room_for_the_rest(gallery: Gallery, visitor: Visitor) -> None:
    page = visitor.visit(gallery.cluster, "jobs")
    row = page.get_by_role("row").filter(has_text=LONG[:20]).first
    expect(row.locator(".badge")).to_be_in_viewport(ratio=1)


def test_every_operator_is_a_node_with_its_progress(gallery: Gallery, visitor: Visitor) -> None:
    page = visitor.visit(gallery.cluster, f"jobs/{gallery.jobs['branched']}")
    expect(page.locator(".node")).to_have_count(12)
    expect(page.locator(".node .progress[aria-valuenow='100']")).to_have_count(12)
    expect(page.locator(".dag-edges .edge")).to_have_count(12)
    boxes = [node.bounding_box() for node in page.locator(".node").all()]
    for index, one in enumerate(boxes):
        for other in boxes[index + 1 :]:
            assert one is not None and other is not None
            is_apart = (
                one["x"] + one["width"] <= other["x"]
                or other["x"] + other["width"] <= one["x"]
                or one["y"] + one["height"] <= other["y"]
                or other["y"] + other["height"] <= one["y"]
            )
            assert is_apart, (one, other)


def attempt(partition: int, number: int, state: str, at: float, **changes: Any) -> dict[str, Any]:
    """A row of `/tasks`: it ran for a second from `at`, in a slot that is its partition's."""
    row = {
        "id": str(uuid.uuid4()), "node_id": "read+words+pair", "stage": 0,
        "partition_id": partition, "attempt": number, "state": state, "worker_id": "w",
        "worker": f"worker-{partition}", "slot": partition, "assigned_at": at, "started_at": at,
        "finished_at": at + 1, "ended_at": at + 1, "error": None, "records_processed": 1,
        "bytes_written": 1, "cause": None, "phases_ms": {},
    }  # fmt: skip
    return {**row, **changes}


def test_attempts_are_told_apart_by_state_and_mark(gallery: Gallery, visitor: Visitor) -> None:
    at = 1_790_000_000.0
    attempts = [
        attempt(0, 0, "SUCCEEDED", at),
        attempt(1, 0, "FAILED", at, error="it broke"),
        attempt(1, 1, "SUCCEEDED", at + 2),
        attempt(2, 0, "CANCELLED", at, finished_at=at + 4, ended_at=at + 4),
        attempt(2, 1, "SUCCEEDED", at + 3, worker="worker-0", slot=0),
        attempt(3, 0, "LOST", at, error="its worker went down"),
        attempt(3, 1, "LOST", at + 2, started_at=None, finished_at=None),
    ]
    page = visitor.visit(gallery.cluster)
    page.route("**/tasks?*", lambda route: route.fulfill(json={"tasks": attempts, "total": 7}))
    go(page, gallery.cluster, f"jobs/{gallery.jobs['large']}")
    bars = {bar.get_attribute("data-id"): bar for bar in page.locator("button.bar").all()}
    classes = {key: str(bar.get_attribute("class")).split()[1:] for key, bar in bars.items()}
    assert classes == {
        "0/0/0": ["SUCCEEDED"],
        "0/1/0": ["FAILED"],
        "0/1/1": ["SUCCEEDED"],
        "0/2/0": ["CANCELLED"],
        "0/2/1": ["SUCCEEDED", "copy"],
        "0/3/0": ["LOST"],
    }
    assert [bars[key].inner_text() for key in ("0/1/0", "0/2/1", "0/3/0")] == ["✕", "»", "✕"]
    colours = {
        bars[key].evaluate("bar => getComputedStyle(bar).background")
        for key in ("0/0/0", "0/1/0", "0/2/0", "0/3/0")
    }
    assert len(colours) == 4
    expect(page.locator(".lane:not(.axis)")).to_have_count(4)
    expect(page.locator(".legend")).to_contain_text("1 never began or wait")
    first, copy = bars["0/0/0"].bounding_box(), bars["0/2/1"].bounding_box()
    assert first is not None and copy is not None
    assert copy["x"] == pytest.approx(first["x"] + 3 * first["width"], abs=3)


def test_the_keyboard_reaches_everything(gallery: Gallery, visitor: Visitor) -> None:
    page = visitor.visit(gallery.cluster, f"jobs/{gallery.jobs['large']}")
    focused = "document.activeElement"
    page.keyboard.press("Tab")
    assert page.evaluate(f"{focused}.id") == "skip"
    page.keyboard.press("Enter")
    assert page.evaluate(f"{focused}.id") == "main"
    for _ in range(20):
        page.keyboard.press("Tab")
        if page.evaluate(f"{focused}.matches('button.bar')"):
            break
    first = page.evaluate(f"{focused}.dataset.id")
    page.keyboard.press("ArrowRight")
    second = page.evaluate(f"{focused}.dataset.id")
    assert second not in (first, None)
    page.keyboard.press("Enter")
    expect(page.locator(".bar[aria-pressed=true]")).to_have_attribute("data-id", second)
    assert page.evaluate(f"{focused}.dataset.id") == second, "drawing anew keeps the focus"


def test_what_is_typed_stays_while_the_page_is_drawn_anew(
    gallery: Gallery, visitor: Visitor
) -> None:
    page = visitor.visit(gallery.cluster, "jobs")
    page.get_by_label("Name").fill("half a na")
    seen = "document.querySelector('main [data-key]').isConnected"
    drawn = page.evaluate(
        """() => new Promise((done) => {
            const watch = new MutationObserver(() => { watch.disconnect(); done(true); });
            watch.observe(document.body, {childList: true, subtree: true, characterData: true});
            document.querySelector('[data-do=theme]').click();
        })"""
    )
    assert drawn and page.evaluate(seen)
    assert page.get_by_label("Name").input_value() == "half a na"
