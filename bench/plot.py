"""Pictures of the figures, as SVG. Needs matplotlib (bench/requirements.txt).

usage: python -m bench.plot [--memory MEMORY.json] [--engines ENGINES.json] RESULTS.json [FOLDER]
`ratios.svg`: every measure beside its baseline, with its spread and its target; one more picture
for each measure that ran beside peers; `memory.svg`: what input larger than the memory takes, from
the rows of `bench.memory`; `engines.svg`: jobs on both engines, from those of `bench.engines`.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[1] / "docs" / "plots"
OURS, THEIRS, MISSED, TARGET = "#2f6db5", "#9aa4ae", "#c2452d", "#222222"
INCHES_A_BAR = 0.42
INCHES_WIDE = 7.5
ROWS_HIGH = 7
"""A picture of lines is as high as one of so many bars."""
RATIO_LEFT = 0.1
"""Where the logarithmic axis begins."""


def plot_ratios(results: list[dict[str, Any]], path: Path) -> None:
    """One bar a measure: how many times its baseline it takes; a mark for its target."""
    figure, axes = _axes(len(results))
    for row, result in enumerate(results):
        ratio = result["ratio"]
        colour = MISSED if result["is_met"] is False else OURS
        _bar(axes, row, ratio, colour, f"{ratio['median']:.2f} x")
        words = (result["target"] or "").split()
        if words and words[-1] == "x":
            axes.plot([float(words[1])] * 2, [row - 0.4, row + 0.4], color=TARGET, linewidth=2)
    axes.set_yticks(range(len(results)), [result["name"] for result in results])
    axes.set_title(
        "Times the baseline (logarithmic): shorter is better; the mark is the target", fontsize=10
    )
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter("{x:g}")
    _save(figure, axes, path, left=RATIO_LEFT)


def plot_peers(result: dict[str, Any], path: Path) -> None:
    """One bar a system, the quickest first."""
    bars = [("Mini-Spark", result["ours"], OURS)]
    if result["baseline"] is not None:
        bars.append((result["baseline_is"], result["baseline"], THEIRS))
    bars += [(name, peer["figure"], THEIRS) for name, peer in result["peers"].items()]
    bars.sort(key=lambda bar: bar[1]["median"])
    figure, axes = _axes(len(bars))
    for row, (_, spread, colour) in enumerate(bars):
        _bar(axes, row, spread, colour, f"{spread['median']:.3g} {result['unit']}")
    axes.set_yticks(range(len(bars)), [name for name, _, _ in bars])
    axes.set_title(f"{result['name']}: {result['what']} ({result['unit']})", fontsize=10)
    _save(figure, axes, path)


def plot_memory(rows: list[dict[str, Any]], path: Path) -> None:
    """Processor time by size of the input, a line a job."""
    figure, axes = _axes(ROWS_HIGH)
    for name in dict.fromkeys(row["job"] for row in rows):
        points = [(row["budgets"], row["CPU s"]) for row in rows if row["job"] == name]
        axes.plot(*zip(*points, strict=True), marker="o", label=name)
    axes.set_title("Processor time (s) by input, in budgets of memory", fontsize=10)
    axes.legend(frameon=False)
    axes.set_ylim(bottom=0)
    _write(figure, axes, path)


def plot_engines(rows: list[dict[str, Any]], path: Path) -> None:
    """A group of bars for each input, the same order in all: ours first."""
    names = ["local", *rows[0]["figures"]["others"]]
    figure, axes = _axes(len(rows) * (len(names) + 1))
    ticks: list[tuple[int, str]] = []
    for place, row in enumerate(rows):
        figures = {"local": row["figures"]["ours"], **row["figures"]["others"]}
        for number, name in enumerate(names):
            at = place * (len(names) + 1) + number
            colour = OURS if name == "local" else THEIRS
            _bar(axes, at, figures[name], colour, f"{figures[name]['median']:.3g} s")
            ticks.append((at, f"{row['name']}: {name}"))
    axes.set_yticks([at for at, _ in ticks], [label for _, label in ticks])
    axes.set_title("The same job by engine, warm, two cores (s, logarithmic)", fontsize=10)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter("{x:g}")
    _save(figure, axes, path, left=RATIO_LEFT)


def _axes(bars: int) -> tuple[Any, Any]:
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "minispark"  # the same figures give the same file
    matplotlib.rcParams["svg.fonttype"] = "none"  # text stays text
    from matplotlib import pyplot

    return pyplot.subplots(figsize=(INCHES_WIDE, 1 + INCHES_A_BAR * bars), layout="constrained")


def _bar(axes: Any, row: int, spread: dict[str, Any], colour: str, label: str) -> None:
    median = spread["median"]
    axes.barh(row, median, color=colour, height=0.6)
    axes.plot([spread["min"], spread["max"]], [row, row], color=TARGET, linewidth=1)
    axes.annotate(
        label, (spread["max"], row), xytext=(5, 0), textcoords="offset points", va="center",
        fontsize=9,
    )  # fmt: skip


def _save(figure: Any, axes: Any, path: Path, left: float = 0.0) -> None:
    axes.invert_yaxis()
    axes.margins(x=0.15)
    axes.set_xlim(left=left)
    _write(figure, axes, path)


def _write(figure: Any, axes: Any, path: Path) -> None:
    from matplotlib import pyplot

    axes.spines[["top", "right"]].set_visible(False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", type=Path)
    parser.add_argument("--memory", type=Path, help="the rows of bench.memory")
    parser.add_argument("--engines", type=Path, help="the rows of bench.engines")
    parser.add_argument("folder", type=Path, nargs="?", default=FOLDER)
    args = parser.parse_args()
    results = json.loads(args.results.read_text(encoding="utf-8"))["results"]
    beside = [result for result in results if result["ratio"] is not None]
    try:
        if beside:
            plot_ratios(beside, args.folder / "ratios.svg")
        for result in results:
            if result["peers"]:
                plot_peers(result, args.folder / f"peers-{result['name']}.svg")
        if args.memory is not None:
            rows = json.loads(args.memory.read_text(encoding="utf-8"))
            plot_memory(rows, args.folder / "memory.svg")
        if args.engines is not None:
            rows = json.loads(args.engines.read_text(encoding="utf-8"))
            plot_engines(rows, args.folder / "engines.svg")
    except ImportError:
        raise SystemExit(
            "pictures need matplotlib: pip install -r bench/requirements.txt"
        ) from None


if __name__ == "__main__":
    main()
