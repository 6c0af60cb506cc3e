"""Traces as Perfetto itself reads and shows them: processes, threads, slices, arrows and marks."""

from __future__ import annotations

import json

from playwright.sync_api import Browser

from minispark.metrics.trace import Trace, TracedInstant
from tests.browser.gallery import Gallery
from tests.browser.perfetto import asked, opened, tracks
from tests.unit.test_trace import attempt, fetched

WROTE = {"read": 200_000, "compute": 900_000, "shuffle write": 300_000, "other": 600_000}
TOOK = {"wait": 1_600_000, "fetch": 500_000, "merge": 700_000, "write": 200_000}
ARROWS = """
    select source.name, whole.name, target.name, reader.name from flow
    join slice source on flow.slice_out = source.id join slice whole on source.parent_id = whole.id
    join slice target on flow.slice_in = target.id join slice reader on target.parent_id = reader.id
    order by whole.name, reader.name
"""
SLICES = """
    select process.name, thread.name, slice.name from slice
    join thread_track on slice.track_id = thread_track.id
    join thread using (utid) join process using (upid)
    where slice.category like 'attempt,%' and slice.depth = 0
    order by process.name, thread.tid, slice.ts
"""
MARKS = """
    select slice.name, coalesce(process.name, own.name), thread.name from slice
    left join thread_track on slice.track_id = thread_track.id left join thread using (utid)
    left join process using (upid)
    left join process_track on slice.track_id = process_track.id
    left join process own on process_track.upid = own.upid
    where slice.category = 'event' order by slice.ts, slice.name
"""
PHASES_ELSEWHERE = """
    select slice.name from slice left join slice parent on slice.parent_id = parent.id
    where slice.category = 'phase' and coalesce(parent.category, '') not like 'attempt,%'
"""
COMPLAINTS = """
    select name, value from stats where severity in ('error', 'data_loss') and value > 0
"""


def tale() -> bytes:
    """A task that failed and one that was lost run again, one is copied, and all is fetched."""
    attempts = [
        attempt(0, 0, "a", 1, phases_us=WROTE),
        attempt(0, 1, "a", 0, state="FAILED", error="no number", ended_at=102.0),
        attempt(0, 1, "b", 1, attempt=1, assigned_at=102.5, begun_at=103.0, ended_at=105.0,
                phases_us=WROTE),
        attempt(0, 2, "c", 0, state="LOST", ended_at=102.2),
        attempt(0, 2, "a", 0, attempt=1, assigned_at=102.3, begun_at=102.5, ended_at=104.6,
                phases_us=WROTE),
        attempt(0, 3, "b", 0, state="CANCELLED", ended_at=106.0),
        attempt(0, 3, "a", 1, attempt=1, assigned_at=103.4, begun_at=103.5, ended_at=105.6,
                phases_us=WROTE),
        attempt(0, 4, "c", None, state="LOST", begun_at=None, ended_at=102.2),
        attempt(0, 4, "b", 1, attempt=1, assigned_at=102.3, begun_at=105.1, ended_at=107.2,
                phases_us=WROTE),
        attempt(1, 0, "a", 1, begun_at=106.0, ended_at=109.1, phases_us=TOOK),
    ]  # fmt: skip
    instants = [
        TracedInstant("job RUNNING", 100.5, None, None),
        TracedInstant("worker DOWN", 102.2, "c", "its connection closed"),
        TracedInstant("job SUCCEEDED", 109.5, None, None),
    ]
    events = list(Trace("tale", 100.0, 110.0, fetched).events(attempts, instants))
    return json.dumps({"traceEvents": events}).encode()


def test_perfetto_shows_attempts_in_their_slots_and_arrows_between_phases(
    browser: Browser,
) -> None:
    with opened(browser, tale()) as page:
        assert asked(page, COMPLAINTS) == asked(page, PHASES_ELSEWHERE) == []
        assert asked(page, SLICES) == [
            ("a", "slot 0", "s0 p1 (failed)"),
            ("a", "slot 0", "s0 p2"),
            ("a", "slot 1", "s0 p0"),
            ("a", "slot 1", "s0 p3 (speculative)"),
            ("a", "slot 1", "s1 p0"),
            ("b", "slot 0", "s0 p3 (cancelled)"),
            ("b", "slot 1", "s0 p1"),
            ("b", "slot 1", "s0 p4"),
            ("c", "slot 0", "s0 p2 (lost)"),
            ("c", "no slot", "s0 p4 (lost)"),
        ]
        written = ("s0 p0", "s0 p1", "s0 p2", "s0 p3 (speculative)", "s0 p4")
        assert asked(page, ARROWS) == [
            ("shuffle write", name, "fetch", "s1 p0") for name in written
        ]
        assert asked(page, MARKS) == [
            ("job RUNNING", "job tale", "events"),
            ("failed: s0 p1", "a", "slot 0"),
            ("lost: s0 p2", "c", "slot 0"),
            ("lost: s0 p4", "c", "no slot"),
            ("worker DOWN", "c", None),
            ("retry 1: s0 p2", "a", "slot 0"),
            ("retry 1: s0 p1", "b", "slot 1"),
            ("retry 1: s0 p4", "b", "slot 1"),
            ("job SUCCEEDED", "job tale", "events"),
        ]
        assert tracks(page) == [
            *("a 4", "slot 0 1", "slot 1 3"),
            *("b 6", "slot 0 1", "slot 1 3"),
            *("c 8", "slot 0 1", "no slot 3999", "c 8"),
            *("job tale 2", "events 1"),
        ]


def test_perfetto_opens_the_trace_of_a_real_job(browser: Browser, gallery: Gallery) -> None:
    with gallery.cluster.client() as client:
        trace = b"".join(client.timeline(gallery.jobs["large"]))
        tasks = client.job(gallery.jobs["large"])["tasks"]
    with opened(browser, trace) as page:
        assert asked(page, COMPLAINTS) == asked(page, PHASES_ELSEWHERE) == []
        assert len(asked(page, SLICES)) >= sum(tasks.values())
        assert {(source, target) for source, _, target, _ in asked(page, ARROWS)} >= {
            ("shuffle write", "fetch")
        }
        ((unbound,),) = asked(page, "select count(*) from flow where slice_in is null")
        assert unbound == 0
