"""Whose pages may call the HTTP API, by Host alone."""

from __future__ import annotations

import socket

import pytest

from minispark.transport.gate import Gate
from minispark.transport.router import HttpError

ADDRESS = "10.0.0.7"


def code_of(host: str, http_auth: str = "never", is_local: bool = False) -> str | None:
    """Of the refusal."""
    gate = Gate("t" * 16, http_auth, is_local, ADDRESS)
    try:
        gate.check_origin({"host": host, "origin": f"http://{host}"})
    except HttpError as error:
        return error.code
    return None


@pytest.mark.parametrize("host", ["evil.example:8080", "localhost.evil.example", "127.0.0.1.evil"])
def test_f54_where_nobody_needs_a_token_a_site_cannot_pose_as_this_host(host: str) -> None:
    assert code_of(host) == "foreign_host"


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1:8080", "localhost:8080", "10.0.0.7:8080", "[::1]:8080", "master:8080", "worker1"],
)
def test_names_that_no_site_can_have_are_this_hosts(host: str) -> None:
    assert code_of(host) is None


def test_a_hosts_own_name_may_have_dots(monkeypatch: pytest.MonkeyPatch) -> None:
    assert code_of("spark.school.example:8080") == "foreign_host"
    monkeypatch.setattr(socket, "gethostname", lambda: "Spark.school.example")
    assert code_of("spark.school.example:8080") is None


@pytest.mark.parametrize("http_auth", ["auto", "required"])
def test_where_a_token_is_needed_any_name_may_lead_here(http_auth: str) -> None:
    assert code_of("spark.school.example:8080", http_auth) is None


@pytest.mark.parametrize("http_auth", ["auto", "required", "never"])
def test_f54_a_laptop_has_loopback_names_only(http_auth: str) -> None:
    assert code_of("master:8080", http_auth, is_local=True) == "foreign_host"
    assert code_of("localhost:8080", http_auth, is_local=True) is None
