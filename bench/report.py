"""What was measured, as one JSON document and as a table. Must not know how it was measured."""

from __future__ import annotations

import os
import platform
import shlex
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil
from tabulate import tabulate

from bench.measure import BOUND_A_S, Measure, Target
from bench.rounds import Figures, Spread
from bench.site import ROOT
from minispark import __version__

FORMAT = 1
PACKAGES = ("psutil", "PyYAML", "tabulate")
PATH_OPTIONS = {
    "-o": "results.json",
    "--output": "results.json",
    "--data": "DIR",
    "--peer-python": "peers/bin/python",
}
"""Options with a path, and what stands for one outside of the checkout: the page's own names."""
_VERDICTS = {None: "", True: "met", False: "MISSED"}
HEADERS = ("measure", "ratio", "target", "", "ours", "spread", "baseline", "peak")


def result_document(measure: Measure, figures: Figures) -> dict[str, Any]:
    """One measure's part of the document."""
    ratio = figures.ratio.median if figures.ratio is not None else None
    target = measure.target
    return {
        "name": measure.name,
        "what": measure.what,
        "unit": measure.unit,
        "baseline_is": measure.baseline,
        "target": target.text(measure.unit) if target is not None else None,
        "is_met": target.is_met(figures.ours.median, ratio) if target is not None else None,
        "time_limit": target.limit if target is not None and target.is_time else None,
        "ratio": _spread(figures.ratio),
        "ours": _spread(figures.ours),
        "baseline": _spread(figures.baseline),
        "peers": {
            name: _peer(measure.peer_targets.get(name), spread, figures.others_ratio[name])
            for name, spread in figures.others.items()
        },
        "peak_bytes": figures.peak_bytes,
        "profile": figures.profile,
    }


def _peer(target: Target | None, theirs: Spread, ratio: Spread) -> dict[str, Any]:
    return {
        "figure": asdict(theirs),
        "ratio": asdict(ratio),
        "target": target.text("x") if target is not None else None,
        "is_met": target.is_met(ratio.median, ratio.median) if target is not None else None,
    }


def _spread(spread: Spread | None) -> dict[str, Any] | None:
    return asdict(spread) if spread is not None else None


def document(
    results: Iterable[dict[str, Any]],
    words: Sequence[str],
    rounds: int,
    scale: float,
    peers: dict[str, str],
) -> dict[str, Any]:
    """All of one run: machine, versions, command, figures."""
    found = scaled(list(results), scale)
    return {
        "format": FORMAT,
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": shlex.join(["python", "minispark.py", "bench", *neutral(words)]),
        "rounds": rounds,
        "scale": scale,
        "machine": machine(),
        "versions": {
            "minispark": __version__,
            "commit": _commit(),
            "python": f"{platform.python_implementation()} {platform.python_version()}",
            **{name: metadata.version(name) for name in PACKAGES},
            **peers,
        },
        "results": found,
    }


def scaled(results: list[dict[str, Any]], scale: float) -> list[dict[str, Any]]:
    """With limits of time as they are on this machine, if the run has the bound of all of A."""
    bounds = [r["baseline"]["median"] for r in results if r["name"] == "A" and scale == 1.0]
    if not bounds:
        return results
    slowness = bounds[0] / BOUND_A_S
    return [_scaled(result, slowness) for result in results]


def _scaled(result: dict[str, Any], slowness: float) -> dict[str, Any]:
    if result["time_limit"] is None:
        return result
    target = Target(result["time_limit"], is_time=True)
    return {
        **result,
        "target": target.text(result["unit"], slowness),
        "is_met": target.is_met(result["ours"]["median"], None, slowness),
    }


def neutral(words: Sequence[str]) -> list[str]:
    """The same command on any machine: paths in the checkout from there, others by their kind."""
    shown: list[str] = []
    placeholder = None
    for word in words:
        option, equals, value = word.partition("=")
        if placeholder is not None:
            shown.append(_neutral_path(word, placeholder))
            placeholder = None
        elif option in PATH_OPTIONS and equals:
            shown.append(f"{option}={_neutral_path(value, PATH_OPTIONS[option])}")
        elif word.startswith("-o") and word != "-o":
            shown.append(f"-o{_neutral_path(word[2:], PATH_OPTIONS['-o'])}")
        else:
            placeholder = PATH_OPTIONS.get(word)
            shown.append(word)
    return shown


def _neutral_path(path: str, placeholder: str) -> str:
    # not resolved: the Python of a virtual environment is a link out of it
    absolute = Path(os.path.abspath(path))
    return str(absolute.relative_to(ROOT)) if absolute.is_relative_to(ROOT) else placeholder


def machine() -> dict[str, Any]:
    return {
        "system": f"{platform.system()} {platform.release()}",
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_bytes": psutil.virtual_memory().total,
        "load_1min": round(os.getloadavg()[0], 2),
    }


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            for line in file:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    except OSError:
        pass  # not Linux
    return platform.processor() or platform.machine()


def _commit() -> str | None:
    words = ["git", "-C", str(ROOT), "describe", "--always", "--dirty"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    return done.stdout.strip() or None


def table(results: Iterable[dict[str, Any]], style: str = "simple") -> str:
    """The ratio first: it is what can be compared from one machine to the next."""
    rows = []
    for result in results:
        rows.append(_row(result))
        rows.extend(_peer_row(name, peer, result["unit"]) for name, peer in result["peers"].items())
    return tabulate(rows, headers=HEADERS, tablefmt=style, disable_numparse=True)


def _row(result: dict[str, Any]) -> tuple[str, ...]:
    ours, unit = result["ours"], result["unit"]
    baseline = result["baseline"]
    against = f"{figure(baseline['median'], unit)} {result['baseline_is']}" if baseline else ""
    peak = result["peak_bytes"]
    return (
        result["name"],
        _times(result["ratio"]),
        result["target"] or "",
        _VERDICTS[result["is_met"]],
        figure(ours["median"], unit),
        f"{figure(ours['min'], unit)} to {figure(ours['max'], unit)}",
        against,
        f"{peak / 1e6:.0f} MB" if peak is not None else "",
    )


def _peer_row(name: str, peer: dict[str, Any], unit: str) -> tuple[str, ...]:
    theirs = figure(peer["figure"]["median"], unit)
    verdict = _VERDICTS[peer["is_met"]]
    return (
        "",
        _times(peer["ratio"]),
        peer["target"] or "",
        verdict,
        "",
        "",
        f"{theirs} {name}",
        "",
    )


def _times(ratio: dict[str, Any] | None) -> str:
    if ratio is None:
        return ""
    return f"{ratio['median']:.2f} x ({ratio['min']:.2f} to {ratio['max']:.2f})"


def figure(value: float, unit: str) -> str:
    """`0.52 s`, `4.1 ms`, `12,300 1/s`."""
    shown = f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return f"{shown} {unit}"
