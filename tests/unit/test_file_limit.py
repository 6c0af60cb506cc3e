"""How many files a process may open, and what of that connections get."""

from __future__ import annotations

import resource

import pytest

from minispark.transport.file_limit import (
    CONNECTIONS_MIN,
    FILES_MAX,
    FILES_OF_OUR_OWN,
    connections_within,
    raise_file_limit,
)

INFINITY = resource.RLIM_INFINITY


@pytest.mark.parametrize(
    ("soft", "hard", "then"),
    [
        (1024, 4096, 4096),
        (1024, 10**6, FILES_MAX),
        (1024, INFINITY, FILES_MAX),
        (110, 110, 110),
        (10**6, 10**6, 10**6),
        (INFINITY, INFINITY, FILES_MAX),
    ],
)
def test_the_limit_is_raised_as_far_as_it_may(
    monkeypatch: pytest.MonkeyPatch, soft: int, hard: int, then: int
) -> None:
    calls: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: (soft, hard))
    monkeypatch.setattr(resource, "setrlimit", lambda _, limits: calls.append(limits))
    assert raise_file_limit() == then
    assert calls == ([(then, hard)] if soft == 1024 else [])


def test_a_system_that_refuses_keeps_its_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise ValueError("current limit exceeds maximum limit")

    monkeypatch.setattr(resource, "getrlimit", lambda _: (256, INFINITY))
    monkeypatch.setattr(resource, "setrlimit", refuse)
    assert raise_file_limit() == 256


def test_connections_leave_room_for_other_files() -> None:
    assert connections_within(65_536, 0.5, 4096) == 4096
    assert connections_within(110, 0.5, 4096) == 23
    assert connections_within(1064, 0.3, 256, files_each=3) == 100
    assert connections_within(10, 0.5, 256) == CONNECTIONS_MIN
    for files in (128, 256, 1024):
        taken = [connections_within(files, share, 10**6) for share in (0.5, 0.25)]
        assert sum(taken) + FILES_OF_OUR_OWN <= files
