"""The bench without a cluster: rounds, ratios, the registry, table and page, the profile."""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from bench import command, growth, pages, peer, profile, registry, report
from bench.measure import BOUND_A_S, Lanes, Measure, Target, WrongResult, at_most
from bench.rounds import Figures, Spread, run_rounds
from bench.site import ROOT, Site, peak_pss_bytes


def lane(name: str, values: list[float], log: list[str]) -> Any:
    given = iter(values)

    def run() -> float:
        log.append(name)
        return next(given)

    return run


def spread(*values: float) -> Spread:
    return Spread.of(values)


# --- rounds -----------------------------------------------------------------------------------


def test_the_first_round_is_discarded_and_lanes_take_turns_to_begin() -> None:
    log: list[str] = []
    lanes = Lanes(
        lane("ours", [99, 3, 1], log),
        lane("baseline", [99, 1, 1], log),
        {"peer": lane("peer", [99, 6, 4], log)},
    )
    figures = run_rounds(lanes, 2)
    assert log == [
        "ours", "peer", "baseline",
        "peer", "baseline", "ours",
        "baseline", "ours", "peer",
    ]  # fmt: skip
    assert figures.ours == Spread(2.0, 1.0, 3.0, (3.0, 1.0))
    assert figures.ratio == Spread(2.0, 1.0, 3.0, (3.0, 1.0))
    assert figures.others_ratio["peer"].values == (0.5, 0.25)
    assert figures.peak_bytes is None


def test_a_ratio_is_made_round_by_round() -> None:
    # the machine got twice as slow in the middle; the ratio did not notice
    ours, theirs = spread(1.2, 2.4, 1.2), spread(1.0, 2.0, 1.0)
    assert ours.ratio_to(theirs).max == pytest.approx(1.2)
    assert ours.ratio_to(theirs).min == pytest.approx(1.2)


def test_a_target_is_of_the_figure_or_of_the_ratio() -> None:
    assert Target(1.2, is_ratio=True).is_met(99.0, 1.2) is True
    assert Target(1.2, is_ratio=True).is_met(0.1, 1.3) is False
    assert Target(1.2, is_ratio=True).is_met(0.1, None) is None
    assert Target(10_000, is_floor=True).is_met(9_999, None) is False
    assert Target(0.5).is_met(0.4, 99.0) is True
    assert Target(10_000, is_floor=True).text("1/s") == ">= 10000 1/s"
    assert Target(1.2, is_ratio=True).text("s") == "<= 1.2 x"


def test_memory_is_the_most_that_was_seen_while_it_ran() -> None:
    assert peak_pss_bytes(importlib.import_module("os").getpid(), lambda: None) > 5_000_000


# --- the registry -------------------------------------------------------------------------------


def measure_of(name: str, ours: float = 1.0, error: str | None = None) -> Measure:
    @contextmanager
    def opened(site: Site) -> Iterator[Lanes]:
        def run() -> float:
            if error is not None:
                raise WrongResult(error)
            return ours

        yield Lanes(run, lambda: 2.0)

    return Measure(name, f"what {name} is", "s", "base", Target(0.4, is_ratio=True), opened)


def test_measures_of_all_modules_are_known_once(monkeypatch: pytest.MonkeyPatch) -> None:
    known = registry.all_measures()
    assert {"A", "B", "C", "A-own", "B-own", "A-naive", "A-cold", "ready"} <= set(known)
    module = ModuleType("bench_twice")
    module.__spec__ = importlib.util.spec_from_loader("bench_twice", None)
    module.MEASURES = (measure_of("x"), measure_of("x"))  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "bench_twice", module)
    with pytest.raises(ValueError, match="two measures are called x"):
        registry.all_measures(("bench_twice", "bench.that_is_not_written_yet"))


def test_an_unknown_measure_names_the_nearest_one() -> None:
    known = {"A-cold": measure_of("A-cold"), "ready": measure_of("ready")}
    assert registry.chosen([], known) == list(known.values())
    assert registry.chosen(["ready"], known) == [known["ready"]]
    with pytest.raises(registry.UnknownMeasure, match=r"did you mean A-cold\?"):
        registry.chosen(["A-cld"], known)


# --- what is shown --------------------------------------------------------------------------------


def results() -> list[dict[str, Any]]:
    figures = Figures(
        ours=spread(0.5, 0.6, 0.7),
        baseline=spread(1.0, 1.0, 1.0),
        ratio=spread(0.5, 0.6, 0.7),
        others={"duck": spread(2.0, 2.0, 2.0), "bear": spread(0.1, 0.1, 0.1)},
        others_ratio={"duck": spread(0.25, 0.3, 0.35), "bear": spread(5.0, 6.0, 7.0)},
        peak_bytes=123_000_000,
        profile={"job": "A", "seconds": 2.0, "slots": 2, "slot_seconds": {"plan": 1, "idle": 3}},
    )
    measure = measure_of("x")
    beside = Measure("x", "w", "s", "base", measure.target, measure.open, at_most({"duck": 0.5}))
    return [report.result_document(beside, figures)]


def test_the_table_has_ratio_target_and_verdict() -> None:
    _, _, line, *others = report.table(results()).splitlines()
    assert line.split("  ")[0] == "x"
    for words in (
        "0.60 x (0.50 to 0.70)", "<= 0.4 x", "MISSED", "0.5 s to 0.7 s", "1 s base", "123 MB",
    ):  # fmt: skip
        assert words in line
    assert "0.30 x (0.25 to 0.35)" in others[0] and "<= 0.5 x" in others[0] and "met" in others[0]
    assert "0.1 s bear" in others[1] and "<=" not in others[1]


def test_limits_of_time_are_those_of_this_machine() -> None:
    """The bound of A says how slow it is; other limits are the same everywhere."""
    figures = Figures(spread(110.0), spread(2 * BOUND_A_S), None, {}, {}, None, None)
    of_a = report.result_document(measure_of("A"), figures)
    timed = replace(measure_of("x"), unit="ms", target=Target(100.0, is_time=True))
    missed = report.result_document(timed, figures)
    assert (missed["target"], missed["is_met"]) == ("<= 100 ms", False)
    a, met = report.document([of_a, missed], [], 1, 1.0, {})["results"]
    assert (met["target"], met["is_met"]) == ("<= 200 ms (100 scaled)", True)
    assert a == of_a
    (same,) = report.document([missed], [], 1, 1.0, {})["results"]
    assert same == missed  # without the bound nobody knows
    assert report.document([of_a, missed], [], 1, 0.5, {})["results"] == [of_a, missed]


def test_the_document_says_where_and_how() -> None:
    made = report.document(results(), ["A", "--rounds", "3"], 3, 1.0, {"duck": "1.2"})
    assert made["command"] == "python minispark.py bench A --rounds 3"
    assert made["machine"]["cores"] >= 1 and made["machine"]["memory_bytes"] > 0
    assert made["versions"]["duck"] == "1.2" and "CPython" in made["versions"]["python"]
    assert json.loads(json.dumps(made)) == json.loads(json.dumps(made))


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (["-o", "/tmp/x/mine.json", "A"], "-o results.json A"),
        (["-o/tmp/x/mine.json"], "-oresults.json"),
        (["--output=/tmp/mine.json", "--data", "/home/me/d"], "--output=results.json --data DIR"),
        (["--peer-python", "../../me/bin/python"], "--peer-python peers/bin/python"),
        (["--peer-python", str(ROOT / ".venv/bin/python")], "--peer-python .venv/bin/python"),
        (["--data", str(ROOT / "data" / "x"), "--peers", "ray"], "--data data/x --peers ray"),
    ],
)
def test_the_command_is_shown_without_paths_of_a_machine(words: list[str], shown: str) -> None:
    made = report.document(results(), words, 3, 1.0, {})
    assert made["command"] == f"python minispark.py bench {shown}"


def test_the_page_shows_where_the_time_of_each_profiled_measure_went() -> None:
    made = report.document(results(), ["x"], 3, 1.0, {})
    lines = [line.split() for line in pages.figures(made, []).splitlines()]
    assert "| job | time | plan | idle |".split() in lines
    assert "| x | 2 s | 25.0 % | 75.0 % |".split() in lines
    without = [{**result, "profile": None} for result in results()]
    made = report.document(without, ["x"], 3, 1.0, {})
    assert pages.PROFILE_TEXT not in pages.figures(made, [])


def test_the_page_keeps_its_notes() -> None:
    made = report.document(results(), ["x"], 3, 0.5, {})
    page = f"# Mine\n\nbefore\n\n{pages.BEGIN}\nold\n{pages.END}\n\nafter\n"
    text = pages.put_between(page, pages.figures(made, ["ratios"]))
    assert text.startswith("# Mine\n\nbefore\n") and text.endswith(f"{pages.END}\n\nafter\n")
    assert "old" not in text and "| x " in text and "![ratios](plots/ratios.svg)" in text
    assert "0.5 of the data" in text
    assert pages.put_between(text, pages.figures(made, ["ratios"])) == text
    with pytest.raises(ValueError, match="no line"):
        pages.put_between("# Mine\n", "x")


def test_the_projects_page_has_its_markers() -> None:
    pages.put_between(pages.PAGE.read_text(encoding="utf-8"), "x")


# --- the command --------------------------------------------------------------------------------


def arguments(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--quiet", action="store_true")
    return parser.parse_args(words)


def test_a_wrong_result_has_no_figures_and_fails_the_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    known = {"good": measure_of("good"), "bad": measure_of("bad", error="found 1, expected 2")}
    monkeypatch.setattr(command, "all_measures", lambda: known)
    out = tmp_path / "r.json"
    assert command.run(arguments("-o", str(out), "--rounds", "1"), []) == 1
    said = capsys.readouterr()
    assert "bad: wrong result: found 1, expected 2" in said.err
    assert [r["name"] for r in json.loads(out.read_text())["results"]] == ["good"]
    assert command.run(arguments("good", "--rounds", "1"), []) == 0


def test_a_run_that_is_stopped_keeps_what_it_measured(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    @contextmanager
    def stopped(site: Site) -> Iterator[Lanes]:
        raise KeyboardInterrupt
        yield Lanes(lambda: 1.0)

    known = {"good": measure_of("good"), "slow": replace(measure_of("slow"), open=stopped)}
    monkeypatch.setattr(command, "all_measures", lambda: known)
    out = tmp_path / "r.json"
    with pytest.raises(KeyboardInterrupt):
        command.run(arguments("-o", str(out), "--rounds", "1"), [])
    assert [r["name"] for r in json.loads(out.read_text())["results"]] == ["good"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("Q",), "no measure is called Q"),
        (("--rounds", "0"), "--rounds is at least 1"),
        (("--scale", "2"), "--scale is above 0"),
        (("--peers", "spork"), "no peer is called spork"),
        (("--profile", "ready"), "no warm job is called ready"),
    ],
)
def test_what_cannot_be_measured_is_one_line(
    words: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command.run(arguments(*words), []) == 2
    said = capsys.readouterr().err
    assert message in said and said.count("\n") == 1


# --- peers --------------------------------------------------------------------------------------


def test_a_peer_that_is_not_installed_is_left_out_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if importlib.util.find_spec("duckdb") is not None:
        pytest.skip("duckdb is installed here")
    site = Site(tmp_path, peers=("duckdb",))
    with peer.peer_lanes(site, "A", ["/nowhere"], (1, 1)) as lanes:
        assert lanes == {}
    said = capsys.readouterr().err
    assert said.startswith("A: without duckdb: it cannot be imported") and said.count("\n") == 1


def test_a_peer_with_another_answer_is_wrong(tmp_path: Path) -> None:
    """By a peer that is a fake module in front of the real ones."""
    fake = tmp_path / "fake_python"
    answers = ['{"ready_s": 0.1}', *['{"seconds": 0.5, "found": [3, 7], "checked_s": 0}'] * 2]
    fake.write_text("#!/bin/sh\n" + "".join(f"echo '{a}'\n" for a in answers) + "cat >/dev/null\n")
    fake.chmod(0o755)
    site = Site(tmp_path, peers=("polars",), peer_python=str(fake))
    with peer.peer_lanes(site, "A", ["/x"], (3, 7)) as lanes:
        assert lanes["polars"]() == 0.5
    with peer.peer_lanes(site, "A", ["/x"], (3, 8)) as lanes, pytest.raises(WrongResult):
        lanes["polars"]()


# --- where the time goes ------------------------------------------------------------------------


def stage(index: int, begun: float, ended: float, parents: list[int], **us: int) -> dict[str, Any]:
    figures = {
        "first_started_at": begun,
        "last_accepted_at": ended,
        "completed_at": ended + 0.5,
        "phases_us": us,
    }
    return {"index": index, "parents": parents, "figures": figures}


def test_the_slots_time_is_told_apart() -> None:
    job = {
        "created_at": 101.0,
        "ended_at": 110.0,
        "stages": [
            stage(0, 102.0, 104.5, [], read=2_000_000, compute=1_000_000),
            stage(1, 106.0, 109.5, [0], merge=4_000_000),
            {"index": 2, "parents": [], "figures": None},
        ],
    }
    document = profile.split("A", job, submitted_at=100.0, took_s=10.5, slots=2)
    seconds = {name: value for name, value in document["slot_seconds"].items() if value}
    assert seconds == {
        "plan": 2.0,
        "dispatch": 2 * (1.0 + 1.0 + 0.5),
        "read": 2.0,
        "compute": 1.0,
        "merge": 4.0,
        "commit": 2.0,
        "idle": 21.0 - 16.0,
    }
    text = profile.text(document)
    assert "A: 10.500 s on 2 slots" in text and "23.8 %" in text


def test_a_stage_that_waits_for_busy_slots_does_not_wait_for_its_dispatch() -> None:
    job = {
        "created_at": 100.0,
        "ended_at": 106.0,
        "stages": [
            stage(0, 100.5, 103.0, [], compute=5_000_000),
            stage(1, 103.0, 105.5, [], compute=5_000_000),
        ],
    }
    document = profile.split("C", job, submitted_at=100.0, took_s=6.0, slots=2)
    seconds = document["slot_seconds"]
    assert (seconds["dispatch"], seconds["commit"], seconds["idle"]) == (1.0, 1.0, 0.0)
    assert sum(seconds.values()) == 12.0


def test_a_profile_tells_every_phase_apart() -> None:
    job = {"created_at": 0.0, "ended_at": 0.0, "stages": []}
    document = profile.split("A", job, submitted_at=0.0, took_s=0.0, slots=2)
    assert set(document["slot_seconds"]) >= {
        "plan", "dispatch", "read", "compute", "shuffle write", "fetch", "merge", "write", "commit",
        "idle",
    }  # fmt: skip


def test_growth_feeds_the_same_events_for_each_task() -> None:
    small, large = growth.Growth(), growth.Growth()
    small.run(3, 10)
    large.run(30, 1000)
    assert 0 <= small.events - (1 + 2 * 10) < 5  # and the clock's ticks
    assert 0 <= large.events - (1 + 2 * 1000) < 50
    assert growth.growth_of([]) == 1.0 and growth.growth_of([10.0, 99.0, 12.0]) == 1.2
    assert growth.sizes(1000, 5000) == [
        (10, 5), (10, 50), (10, 500), (10, 5000), (100, 5000), (1000, 5000),
    ]  # fmt: skip
