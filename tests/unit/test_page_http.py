"""The page from outside: who gets it, who gets a session, and what a session may do."""

from __future__ import annotations

import http.client
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from minispark.model.ids import NIL_ID
from minispark.transport.page_session import GUARD_HEADER
from minispark.web.static_files import POLICY
from tests.certificates import tls
from tests.unit.http_master import JOBS, TOKEN, HttpMaster, one_reader

SESSION = "/api/v1/session"
OWNER = os.getuid()
STRANGER = OWNER + 1
KILL = "/api/v1/workers/worker-1/kill"


@pytest.fixture
def make_master(tmp_path: Path) -> Iterator[Callable[..., HttpMaster]]:
    made: list[HttpMaster] = []

    def make(**changes: Any) -> HttpMaster:
        folder = tmp_path / str(len(made))
        folder.mkdir()
        made.append(HttpMaster(folder, **changes))
        return made[-1]

    yield make
    for master in made:
        master.close()


@pytest.fixture
def owned(make_master: Callable[..., HttpMaster]) -> HttpMaster:
    """A master whose user is who runs this test."""
    return make_master(owner_uid=OWNER)


class Browser:
    """Keeps cookies and the guard, as the page does."""

    def __init__(self, master: HttpMaster) -> None:
        self.master = master
        self.cookie: str | None = None
        self.guard: str | None = None

    def call(
        self, method: str, path: str, body: Any = None, **headers: str
    ) -> tuple[int, Any, http.client.HTTPMessage]:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if self.cookie is not None:
            sent["Cookie"] = self.cookie
        connection = self.master.connection()
        data = None if body is None else json.dumps(body).encode()
        try:
            connection.request(method, path, data, sent)
            response = connection.getresponse()
            text = response.read().decode()
        finally:
            connection.close()
        set_cookie = response.headers.get("Set-Cookie")
        if set_cookie is not None:
            self.cookie = set_cookie.partition(";")[0]
        is_json = response.headers.get_content_type() == "application/json"
        return response.status, json.loads(text) if is_json else text, response.headers

    def open(self) -> bool:
        _, answer, _ = self.call("GET", SESSION)
        self.guard = answer["guard"] or self.guard
        return bool(answer["is_open"])

    def give(self, token: str) -> int:
        status, answer, _ = self.call("POST", SESSION, {"token": token})
        self.guard = answer.get("guard", self.guard)
        return status

    def act(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """As the page's scripts do."""
        status, answer, _ = self.call(
            method, path, body, **{GUARD_HEADER: self.guard or "", "Sec-Fetch-Site": "same-origin"}
        )
        return status, answer


# --- files ------------------------------------------------------------------------------------


def test_everybody_gets_the_page_with_its_policy(make_master: Callable[..., HttpMaster]) -> None:
    browser = Browser(make_master(http_auth="required"))
    status, text, headers = browser.call("GET", "/")
    assert (status, headers.get_content_type()) == (200, "text/html")
    assert "<title>Mini-Spark</title>" in text
    assert headers["Content-Security-Policy"] == POLICY
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert "Set-Cookie" not in headers


def test_over_tls_the_clusters_user_needs_no_token_and_the_cookie_goes_nowhere_else(
    make_master: Callable[..., HttpMaster],
) -> None:
    browser = Browser(make_master(owner_uid=OWNER, tls=tls()))
    status, answer, headers = browser.call("GET", SESSION)
    assert (status, answer["is_open"]) == (200, True)
    assert "Secure" in headers["Set-Cookie"].split("; ")
    assert browser.open()
    origin = {"Origin": f"https://127.0.0.1:{browser.master.port}", GUARD_HEADER: browser.guard}
    assert browser.call("DELETE", f"{JOBS}/{NIL_ID}", **origin)[0] == 404
    origin["Origin"] = origin["Origin"].replace("https", "http")
    assert browser.call("DELETE", f"{JOBS}/{NIL_ID}", **origin)[0] == 403


def test_a_file_that_did_not_change_is_not_sent_again(owned: HttpMaster) -> None:
    browser = Browser(owned)
    _, _, headers = browser.call("GET", "/static/main.js")
    assert headers.get_content_type() == "text/javascript"
    status, text, _ = browser.call("GET", "/static/main.js", If_None_Match=headers["ETag"])
    assert (status, text) == (304, "")


@pytest.mark.parametrize("path", ["/static/", "/static/nothing.js", "/static/..%2f__init__.py"])
def test_nothing_but_the_files_is_served(owned: HttpMaster, path: str) -> None:
    assert Browser(owned).call("GET", path)[0] == 404


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"Host": "evil.example"}, "foreign_host"),
        ({"Origin": "http://evil.example"}, "foreign_origin"),
    ],
)
def test_f54_a_foreign_host_or_origin_gets_neither_page_nor_session(
    owned: HttpMaster, headers: dict[str, str], code: str
) -> None:
    for path in ("/", "/static/main.js", SESSION):
        status, answer, sent = Browser(owned).call("GET", path, **headers)
        assert (status, answer["error"]["code"]) == (403, code)
        assert "Set-Cookie" not in sent


# --- sessions -----------------------------------------------------------------------------------


def test_the_clusters_own_user_needs_no_token(owned: HttpMaster) -> None:
    browser = Browser(owned)
    assert browser.open()
    assert browser.act("DELETE", f"{JOBS}/{submitted(owned)}")[0] == 200


def test_another_tab_keeps_the_session(owned: HttpMaster) -> None:
    browser = Browser(owned)
    browser.open()
    first = (browser.cookie, browser.guard)
    browser.open()
    assert (browser.cookie, browser.guard) == first


def test_f54_another_user_of_the_host_gets_no_session(
    make_master: Callable[..., HttpMaster],
) -> None:
    browser = Browser(make_master(owner_uid=STRANGER))
    assert not browser.open()
    assert (browser.cookie, browser.guard) == (None, None)
    assert browser.act("POST", KILL)[0] == 401


def test_f54_a_cookie_that_went_astray_opens_nothing_to_another_user(
    make_master: Callable[..., HttpMaster],
) -> None:
    """Any port of this host can be sent the cookie, by the browser of the user who has it."""
    master = make_master(owner_uid=OWNER)
    browser = Browser(master)
    browser.open()
    assert browser.act("POST", KILL)[0] == 409  # it may; there is no supervisor here
    master.sessions._owner_uid = STRANGER
    assert browser.act("POST", KILL)[0] == 401


@pytest.mark.parametrize("http_auth", ["auto", "required"])
def test_the_token_gives_a_session(make_master: Callable[..., HttpMaster], http_auth: str) -> None:
    master = make_master(http_auth=http_auth)
    browser = Browser(master)
    assert not browser.open()
    assert browser.give("a wrong token for tests") == 401
    assert browser.cookie is None
    assert browser.give(TOKEN) == 200
    assert browser.open()
    assert browser.act("GET", "/api/v1/overview")[0] == 200
    assert browser.act("DELETE", f"{JOBS}/{submitted(master)}")[0] == 200


def test_a_required_token_is_asked_of_the_pages_json_too(
    make_master: Callable[..., HttpMaster],
) -> None:
    browser = Browser(make_master(http_auth="required", owner_uid=None))
    assert browser.act("GET", "/api/v1/overview")[0] == 401


@pytest.mark.parametrize("body", [{}, {"token": 1}, {"token": ""}, {"token": "x" * 1001}, [], "x"])
def test_what_is_no_token_is_refused(owned: HttpMaster, body: Any) -> None:
    assert Browser(owned).call("POST", SESSION, body)[0] == 400


def test_who_gave_the_token_once_is_not_told_the_guard_again(
    make_master: Callable[..., HttpMaster],
) -> None:
    browser = Browser(make_master())
    browser.give(TOKEN)
    assert browser.call("GET", SESSION)[1] == {"is_open": True, "guard": None}


# --- what a session may do ------------------------------------------------------------------------


def submitted(master: HttpMaster) -> str:
    return str(master.call("POST", JOBS, one_reader(), token=True)[1]["id"])


@pytest.mark.parametrize("guard", [None, "", "0" * 64])
def test_f54_a_cookie_without_the_guard_changes_nothing(
    owned: HttpMaster, guard: str | None
) -> None:
    browser = Browser(owned)
    browser.open()
    job_id = submitted(owned)
    headers = {} if guard is None else {GUARD_HEADER: guard}
    for method, path in (("DELETE", f"{JOBS}/{job_id}"), ("POST", KILL)):
        status, answer, _ = browser.call(method, path, **headers)
        assert (status, answer["error"]["code"]) == (403, "guard_needed")
    assert owned.call("GET", f"{JOBS}/{job_id}")[1]["state"] == "PENDING"


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_f54_a_page_of_another_site_or_port_has_no_session(owned: HttpMaster, site: str) -> None:
    browser = Browser(owned)
    browser.open()
    guard = {GUARD_HEADER: browser.guard or ""}
    assert browser.call("POST", KILL, **guard, **{"Sec-Fetch-Site": site})[0] == 401
    assert browser.call("POST", KILL, **guard, **{"Sec-Fetch-Site": "same-origin"})[0] == 409


def test_where_nobody_needs_a_token_no_cookie_stands_in_the_way(
    make_master: Callable[..., HttpMaster],
) -> None:
    browser = Browser(make_master(http_auth="never"))
    browser.give(TOKEN)
    assert browser.call("POST", KILL)[0] == 409  # there is no supervisor here
    browser.cookie = None
    assert browser.open()


def test_f54_a_foreign_origin_is_refused_whatever_it_sends(owned: HttpMaster) -> None:
    browser = Browser(owned)
    browser.open()
    headers = {GUARD_HEADER: browser.guard or "", "Origin": "http://127.0.0.1:1"}
    assert browser.call("POST", KILL, **headers)[0] == 403


def test_the_page_may_submit_what_the_token_may(owned: HttpMaster, tmp_path: Path) -> None:
    outside = tmp_path / "outside.txt"
    outside.write_text("a b\n")
    job = one_reader(node={"path": str(outside)})
    browser = Browser(owned)
    browser.open()
    assert browser.call("POST", JOBS, job)[0] == 400, "without the guard it is anybody"
    assert browser.act("POST", JOBS, job)[0] == 200


def test_a_wrong_token_is_wrong_whatever_the_cookie(owned: HttpMaster) -> None:
    browser = Browser(owned)
    browser.open()
    assert browser.call("GET", "/api/v1/overview", Authorization="Bearer no")[0] == 401


# --- what the page reads ---------------------------------------------------------------------


def test_the_overview_names_jobs_as_they_are(owned: HttpMaster) -> None:
    name = "<img src=x onerror=alert(1)>"
    owned.call("POST", JOBS, one_reader(name=name))
    status, overview, headers = Browser(owned).call("GET", "/api/v1/overview")
    assert status == 200
    assert headers["X-Content-Type-Options"] == "nosniff"
    (job,) = overview["jobs"]
    assert (job["name"], job["state"], job["tasks_total"]) == (name, "PENDING", 0)
    assert (overview["workers"], overview["waiting"]) == ([], [])
    assert overview["system"]["jobs_accepted"] == 1


def test_the_page_follows_events_from_those_that_the_overview_knew(owned: HttpMaster) -> None:
    browser = Browser(owned)
    browser.open()
    submitted(owned)
    last_id = browser.act("GET", "/api/v1/overview")[1]["last_event_id"]
    assert last_id > 0
    later = submitted(owned)
    _, page, _ = browser.call("GET", f"/api/v1/events?after={last_id}", Accept="application/json")
    assert {event["job_id"] for event in page["events"]} == {later}
