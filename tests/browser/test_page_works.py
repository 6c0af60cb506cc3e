"""What somebody does on the page, and what the cluster does about it."""

from __future__ import annotations

import json
import os
import re
import signal
from collections import Counter
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, Route, expect

from minispark.cli.job_output import top
from tests.browser.gallery import Gallery, all_up, slow_job, word_count
from tests.browser.pages import WAIT_MS, Visitor, go
from tests.cluster.harness import Cluster, wait_until

expect.set_options(timeout=WAIT_MS)
TOKEN_FILE = "token"


def restarts(cluster: Cluster, name: str) -> int:
    return int(cluster.process(name)["restarts"])


@pytest.fixture
def whole(gallery: Gallery) -> Iterator[Gallery]:
    """Every worker is Up again when the test is over."""
    yield gallery
    with gallery.cluster.client() as client:
        wait_until(lambda: all_up(client), "every worker is Up")


def paste(page: Page, job: object) -> None:
    page.get_by_role("button", name="JSON").click()
    page.get_by_label("The job as JSON").fill(json.dumps(job))


def submit(page: Page) -> str:
    """Press the button; the id of the job whose page opens."""
    page.locator("form button[type=submit]").click()
    page.wait_for_url(re.compile(r"#/jobs/[0-9a-f-]{36}$"))
    return page.url.rpartition("/")[2]


def test_a_job_of_the_page_ends_right_though_its_worker_is_killed_there(
    whole: Gallery, visitor: Visitor
) -> None:
    cluster = whole.cluster
    page = visitor.visit(cluster, "jobs")
    before = restarts(cluster, "worker-2")
    paste(page, slow_job(whole.path, "to be disturbed", 12, 0.02))
    job_id = submit(page)
    expect(page.locator("button.bar.RUNNING").first).to_be_visible()
    page.get_by_role("link", name="Cluster").click()
    page.get_by_role("button", name="Kill worker-2").click()
    expect(page.locator(".toast", has_text="worker-2 was killed")).to_be_visible()
    wait_until(lambda: restarts(cluster, "worker-2") == before + 1, "it is started again")
    page.get_by_role("link", name="to be disturbed").first.click()
    expect(page.locator(".job-head .badge")).to_have_text("succeeded")
    expect(page.get_by_text("lost 2").or_(page.get_by_text("lost 1"))).to_be_visible()
    expect(page.locator("button.bar.LOST").first).to_have_text("✕")
    words = Counter(whole.path.read_text(encoding="utf-8").split())
    rows = page.locator("[data-key=result] tbody tr")
    expect(rows).to_have_count(len(words))
    seen = {row.locator("td").nth(0).inner_text(): row.locator("td").nth(1).inner_text()
            for row in rows.all()}  # fmt: skip
    assert seen == {word: str(count) for word, count in words.items()}
    with cluster.client() as client:
        assert client.job(job_id)["state"] == "SUCCEEDED"


def test_a_word_count_is_explained_and_submitted(gallery: Gallery, visitor: Visitor) -> None:
    page = visitor.visit(gallery.cluster, "jobs")
    page.get_by_label("Input").fill(str(gallery.path))
    page.get_by_label("Name").fill("from the form")
    page.get_by_label("Plan").select_option("naive")
    page.get_by_role("button", name="Explain").click()
    expect(page.locator("pre.plan")).to_contain_text("naive plan: 5 stages")
    submit(page)
    expect(page.get_by_role("heading", name="from the form")).to_be_visible()
    expect(page.locator(".job-head .badge")).to_have_text("succeeded")
    expect(page.locator(".node")).to_have_count(4)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "JSON"),
        ('{"name": "x", "parallelism": 1, "dag": {"nodes": [], "edges": []}}', "dag"),
    ],
)
def test_what_is_wrong_with_a_job_is_said_below_it(
    gallery: Gallery, visitor: Visitor, text: str, said: str
) -> None:
    visitor.expected = ["400"]
    page = visitor.visit(gallery.cluster, "jobs")
    page.get_by_role("button", name="JSON").click()
    page.get_by_label("The job as JSON").fill(text)
    page.locator("form button[type=submit]").click()
    expect(page.locator("form .error")).to_contain_text(said)
    assert page.get_by_label("The job as JSON").input_value() == text


def test_a_worker_is_paused_and_goes_on(whole: Gallery, visitor: Visitor) -> None:
    page = visitor.visit(whole.cluster)
    worker = page.get_by_role("article", name="worker-1")
    worker.get_by_role("button", name="Pause worker-1").click()
    expect(worker.locator(".badge")).to_have_text("paused")
    expect(worker.get_by_role("button", name="Let worker-1 go on")).to_be_focused()
    page.keyboard.press("Enter")
    expect(worker.locator(".badge")).to_have_text("up")


def test_a_worker_is_restarted_in_order(whole: Gallery, visitor: Visitor) -> None:
    before = restarts(whole.cluster, "worker-3")
    page = visitor.visit(whole.cluster)
    page.get_by_role("button", name="Restart worker-3").click()
    expect(page.locator(".toast")).to_contain_text("worker-3 stops in order")
    wait_until(lambda: restarts(whole.cluster, "worker-3") > before, "it is started again")
    assert whole.cluster.process("worker-3")["last_end"] == "asked to restart"


def test_a_job_is_cancelled(gallery: Gallery, visitor: Visitor) -> None:
    with gallery.cluster.client() as client:
        job_id = client.submit(slow_job(gallery.path, "too long", 2, 5.0))["id"]
    page = visitor.visit(gallery.cluster, f"jobs/{job_id}")
    page.get_by_role("button", name="Cancel the job too long").click()
    expect(page.locator(".job-head .badge")).to_have_text("cancelled")


def test_operators_of_a_running_job_say_when_their_figures_come(
    gallery: Gallery, visitor: Visitor
) -> None:
    with gallery.cluster.client() as client:
        job_id = client.submit(slow_job(gallery.path, "figures later", 2, 5.0))["id"]
    page = visitor.visit(gallery.cluster, f"jobs/{job_id}")
    hint = page.locator("[data-key=operators] .hint")
    expect(hint).to_have_text("A stage's figures come when all its tasks are done.")
    page.get_by_role("button", name="Cancel the job figures later").click()
    expect(page.locator(".job-head .badge")).to_have_text("cancelled")
    expect(hint).to_have_count(0)


def test_a_stage_that_failed_took_no_longer_than_its_attempts(
    gallery: Gallery, visitor: Visitor
) -> None:
    """Its own document has whole seconds, which may lie before the job."""
    page = visitor.visit(gallery.cluster)

    def earlier(route: Route) -> None:
        response = route.fetch()
        stages = [{**one, "start_time": one["start_time"] and 1} for one in response.json()]
        route.fulfill(response=response, json=stages)

    page.route("**/stages", earlier)
    go(page, gallery.cluster, f"jobs/{gallery.jobs['failed']}")
    took = page.locator("[data-key=stages] tbody tr").first.locator("td").last
    expect(took).to_have_text(re.compile(r"^[\d.]+ m?s$"))


def test_an_attempt_tells_about_itself(gallery: Gallery, visitor: Visitor) -> None:
    page = visitor.visit(gallery.cluster, f"jobs/{gallery.jobs['failed']}")
    failed = page.locator("button.bar.FAILED").first
    expect(failed).to_have_text("✕")
    failed.click()
    details = page.locator(".attempt-details")
    expect(details).to_contain_text("read+own+words+pair")
    expect(details.locator("pre")).to_contain_text("line 5, in crash")
    page.get_by_role("button", name="Zoom in").click()
    expect(details).to_be_visible()


def test_events_pass_filters(gallery: Gallery, visitor: Visitor) -> None:
    page = visitor.visit(gallery.cluster, "events")
    events = page.locator("main .event")
    expect(events.first).to_be_visible()
    page.get_by_label("Outcome").select_option("bad")
    page.get_by_label("About").select_option("job")
    expect(page.locator("main .event.good")).to_have_count(0)
    expect(page.locator("main .event.quiet")).to_have_count(0)
    expect(page.get_by_text("Job failed").first).to_be_visible()
    page.get_by_label("Text").fill("no event says this")
    expect(page.get_by_text("No event passes these filters")).to_be_visible()


def test_events_are_not_lost_while_the_master_is_killed(whole: Gallery, visitor: Visitor) -> None:
    cluster = whole.cluster
    visitor.expected = ["net::ERR_"]
    page = visitor.visit(cluster, "events")
    page.get_by_label("About").select_option("job")
    with cluster.client() as client:
        client.wait(client.submit(word_count(whole.path, "before the kill", 2))["id"])
    earlier = page.locator("main .event", has_text="before the kill")
    expect(earlier.filter(has_text="Job succeeded")).to_have_count(1)
    page.evaluate("window.isSamePage = true")
    before = restarts(cluster, "master")
    os.kill(cluster.process("master")["pid"], signal.SIGKILL)
    wait_until(lambda: restarts(cluster, "master") > before, "the master is started again")
    with cluster.client() as client:
        job_id = client.submit(word_count(whole.path, "after the master", 2))["id"]
        client.wait(job_id)
    named = page.locator("main .event", has_text="after the master")
    expect(named.filter(has_text="Job succeeded")).to_have_count(1)
    expect(named.filter(has_text="Job accepted")).to_have_count(1)
    expect(earlier.filter(has_text="Job succeeded")).to_have_count(1)
    expect(page.locator("#banner")).to_be_empty()
    assert page.evaluate("window.isSamePage")


def test_a_lost_connection_is_said_and_comes_back(gallery: Gallery, visitor: Visitor) -> None:
    visitor.expected = ["net::ERR_"]
    page = visitor.visit(gallery.cluster)
    page.context.set_offline(True)
    expect(page.locator("#banner")).to_contain_text("The master does not answer.")
    expect(page.locator("#header")).to_contain_text("No connection")
    page.context.set_offline(False)
    page.get_by_role("button", name="Try now").click()
    expect(page.locator("#banner")).to_be_empty()
    with gallery.cluster.client() as client:
        client.submit(word_count(gallery.path, "after the break", 1))
    expect(page.get_by_role("link", name="after the break").first).to_be_visible()


def test_a_job_that_is_not_there_is_said(gallery: Gallery, visitor: Visitor) -> None:
    visitor.expected = ["404"]
    page = visitor.visit(gallery.cluster, "jobs/00000000-0000-0000-0000-000000000001")
    expect(page.get_by_role("heading", name="There is no such job")).to_be_visible()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    for _ in range(2):
        with page.expect_response("**/api/v1/overview"):
            pass
    assert [url for url in asked if "/jobs/" in url] == []


def largest(words: Counter[str]) -> list[list[str]]:
    return [
        [word, str(count)] for word, count in sorted(words.items(), key=lambda w: (-w[1], w[0]))
    ]


def shown_result(page: Page) -> list[list[str]]:
    rows = page.locator("[data-key=result] tbody tr").all()
    return [row.locator("td").all_inner_texts() for row in rows]


def test_the_head_of_a_result_is_shown_as_stored_or_largest_first(
    gallery: Gallery, visitor: Visitor
) -> None:
    words = Counter(gallery.path.read_text(encoding="utf-8").split())
    page = visitor.visit(gallery.cluster, f"jobs/{gallery.jobs['large']}", language="es-CO")
    stored = shown_result(page)
    assert stored != largest(words)
    page.get_by_role("button", name="Mayores primero").click()
    expect(page.locator("[data-key=result] tbody tr").first).to_contain_text(largest(words)[0][0])
    assert shown_result(page) == largest(words)
    page.get_by_role("button", name="Como se guardó").click()
    expect(page.locator("[data-key=result] tbody tr").first).to_contain_text(stored[0][0])
    assert shown_result(page) == stored


def test_the_largest_values_are_found_as_the_command_line_finds_them(
    gallery: Gallery, visitor: Visitor
) -> None:
    values = ["9", "10", "-3", "1e3", "0x99", "", "x", "2.5", " 7 ", "1000", "infinity"]
    rows = [(f"k{number}", value) for number, value in enumerate(values + ["1"] * 30)]
    body = "".join(json.dumps({"key": key, "value": value}) + "\n" for key, value in rows)
    page = visitor.visit(gallery.cluster, f"jobs/{gallery.jobs['large']}")
    page.route("**/results?format=jsonl", lambda route: route.fulfill(body=body))
    page.get_by_role("button", name="Largest first").click()
    expect(page.get_by_text("The 20 records with the largest values.")).to_be_visible()
    keys = [row[0] for row in shown_result(page)]
    assert keys == [key for key, _ in top(rows, 20)]


@pytest.fixture
def guarded() -> Iterator[Cluster]:
    """A cluster that asks everybody for its token, and has no jobs."""
    cluster = Cluster("security.http_auth=required", workers=1, threads=1)
    try:
        done = cluster.up()
        assert done.returncode == 0, done.stderr + cluster.logs()
        yield cluster
    finally:
        assert cluster.close() == []


def test_who_does_not_run_the_cluster_pastes_its_token(guarded: Cluster, visitor: Visitor) -> None:
    visitor.expected = ["401"]
    page = visitor.visit(guarded)
    token = (guarded.state_dir / TOKEN_FILE).read_text()
    page.get_by_label("Token").fill("a wrong token of sixteen")
    page.get_by_role("button", name="Open the page").click()
    expect(page.get_by_role("alert").filter(has_text="not the cluster's token")).to_be_visible()
    page.get_by_label("Token").fill(token)
    page.get_by_role("button", name="Open the page").click()
    expect(page.get_by_text("No jobs yet")).to_be_visible()
    page.reload()
    page.get_by_role("button", name="Restart worker-1").click()
    expect(page.locator(".toast")).to_contain_text("worker-1 stops in order")
    assert token not in page.content()
