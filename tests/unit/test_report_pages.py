"""Reports on their way to the master: pages that fit into frames, in order."""

from __future__ import annotations

from minispark.model.plan import TaskOutcome
from minispark.transport.codec import encode
from minispark.transport.framing import FRAME_BYTES_MAX
from minispark.transport.messages import (
    ERROR_CHARS_MAX,
    REPORTS_MAX,
    Failed,
    FetchFailed,
    Report,
    Reports,
    Started,
    Succeeded,
)
from minispark.worker.master_link import page_length


def pages_of(reports: list[Report]) -> list[list[Report]]:
    pages = []
    while reports:
        count = page_length(reports)
        pages.append(reports[:count])
        reports = reports[count:]
    return pages


def test_a_page_has_at_most_so_many_reports() -> None:
    reports: list[Report] = [Started("a")] * (2 * REPORTS_MAX + 1)
    assert [len(page) for page in pages_of(reports)] == [REPORTS_MAX, REPORTS_MAX, 1]
    assert page_length([]) == 0


def test_f50_pages_fit_into_frames_however_long_their_reports_are() -> None:
    names = tuple((f"{i}".zfill(100), f"{i}".zfill(100)) for i in range(10_000))
    reports: list[Report] = [
        *[Failed("a", "error", "\U0001f600" * ERROR_CHARS_MAX) for _ in range(REPORTS_MAX)],
        *[Succeeded("a", TaskOutcome(1, 1, files=names)) for _ in range(20)],
        *[FetchFailed("a", ("b" * 36,) * 10_000, "gone") for _ in range(20)],
        Started("a"),
    ]
    pages = pages_of(reports)
    assert [report for page in pages for report in page] == reports
    assert all(len(encode(Reports(tuple(p), 1))) <= FRAME_BYTES_MAX // 2 for p in pages)
