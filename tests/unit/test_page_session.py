"""Sessions of the page: who gets one, what it is good for, and for how long."""

from __future__ import annotations

from typing import Any

import pytest

from minispark.transport.page_session import GUARD_HEADER, SESSION_S, PageSessions, Proof

OWNER = 1000


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def sessions(token: str = "a secret token", **changes: Any) -> PageSessions:
    return PageSessions(token, 8080, **{"owner_uid": OWNER, "clock": Clock(), **changes})


def cookie(made: PageSessions, proof: Proof = Proof.TOKEN) -> dict[str, str]:
    """The headers of a request that a browser sends with the session's cookie."""
    return {"cookie": made.header(made.give(proof)).partition(";")[0]}


def owner() -> int:
    return OWNER


def stranger() -> int:
    return OWNER + 1


def nobody() -> None:
    return None


def test_a_session_outlives_the_master() -> None:
    assert sessions().find(cookie(sessions()), nobody) is not None


def test_a_cookie_of_another_token_is_none() -> None:
    assert sessions("another token").find(cookie(sessions()), nobody) is None


def test_without_a_token_nobody_has_a_session() -> None:
    assert sessions("").find(cookie(sessions("")), owner) is None


def test_every_session_is_another_one() -> None:
    made = sessions()
    assert made.give(Proof.TOKEN) != made.give(Proof.TOKEN)


def test_a_session_has_an_end() -> None:
    clock = Clock()
    made = sessions(clock=clock)
    headers = cookie(made)
    clock.now += SESSION_S
    assert made.find(headers, nobody) is not None
    clock.now += 1
    assert made.find(headers, nobody) is None


@pytest.mark.parametrize("change", ["kind", "end", "signature"])
def test_a_changed_cookie_is_none(change: str) -> None:
    made = sessions()
    name, _, value = cookie(made, Proof.USER)["cookie"].partition("=")
    kind, ends_at, nonce, signature = value.split(".")
    changed = {
        "kind": f"t.{ends_at}.{nonce}.{signature}",
        "end": f"{kind}.{int(ends_at) + 1}.{nonce}.{signature}",
        "signature": f"{kind}.{ends_at}.{nonce}.{signature[::-1]}",
    }
    assert made.find({"cookie": f"{name}={changed[change]}"}, owner) is None
    assert made.find({"cookie": f"{name}={value}"}, owner) is not None


@pytest.mark.parametrize(
    "text",
    ["", "=", "minispark_8080", "minispark_8080=", "minispark_8080=...", "\x00;;==", "a=\xff"],
)
def test_what_is_no_cookie_of_ours_is_no_session(text: str) -> None:
    assert sessions().find({"cookie": text}, owner) is None


def test_the_cookie_of_another_port_is_another_one() -> None:
    other = PageSessions("a secret token", 8081, owner_uid=OWNER, clock=Clock())
    assert sessions().find(cookie(other), owner) is None


def test_a_session_given_to_a_user_is_good_for_that_user_only() -> None:
    """A browser sends its cookies to every port of the host, also to a stranger's."""
    made = sessions()
    headers = cookie(made, Proof.USER)
    assert made.find(headers, owner) is not None
    assert made.find(headers, stranger) is None
    assert made.find(headers, nobody) is None


def test_where_no_user_is_trusted_a_session_of_one_ends() -> None:
    headers = cookie(sessions(), Proof.USER)
    made = sessions(owner_uid=None)
    assert made.find(headers, owner) is None
    assert not made.is_owner(owner)
    assert not made.is_owner(nobody)


@pytest.mark.parametrize("site", ["cross-site", "same-site", ""])
def test_the_cookie_that_another_page_sends_does_not_count(site: str) -> None:
    made = sessions()
    headers = cookie(made)
    assert made.find({**headers, "sec-fetch-site": site}, nobody) is None
    assert made.find({**headers, "sec-fetch-site": "same-origin"}, nobody) is not None
    assert made.find({**headers, "sec-fetch-site": "none"}, nobody) is not None


def test_the_guard_belongs_to_one_session() -> None:
    made = sessions()
    mine, other = made.give(Proof.TOKEN), made.give(Proof.TOKEN)
    name = GUARD_HEADER.lower()
    assert made.is_guarded(mine, {name: made.guard(mine)})
    assert not made.is_guarded(mine, {name: made.guard(other)})
    assert not made.is_guarded(mine, {name: ""})
    assert not made.is_guarded(mine, {})
    assert made.guard(mine) not in mine.cookie


def test_the_cookie_is_kept_from_scripts_and_from_other_sites() -> None:
    made = sessions()
    header = made.header(made.give(Proof.TOKEN))
    assert header.split("; ")[1:] == ["Path=/", "HttpOnly", "SameSite=Strict"]
