"""`docs/benchmarks.md` from the figures: what stands between its markers is written anew, the notes
outside of them stay.

usage: python -m bench.pages RESULTS.json [PAGE]
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from bench.profile import shares
from bench.report import table
from bench.site import ROOT

BEGIN = "<!-- figures: written by `python -m bench.pages`, do not edit -->"
END = "<!-- end of figures -->"
PAGE = ROOT / "docs" / "benchmarks.md"
PLOTS = "plots"
PROFILE_TEXT = "Where one more run of each warm job spent the time of its two slots:"


def figures(document: dict[str, Any], plots: list[str]) -> str:
    """The generated part: machine, versions, command, table, pictures."""
    machine, versions = document["machine"], document["versions"]
    memory = f"{machine['memory_bytes'] / 2**30:.0f} GiB"
    shown = ", ".join(f"{name} {value}" for name, value in versions.items() if value)
    part = "all of the data" if document["scale"] == 1 else f"{document['scale']:g} of the data"
    lines = [
        f"Measured {document['at']} on {machine['cores']} cores of {machine['processor']} with "
        f"{memory}, {machine['system']}, load {machine['load_1min']} at the end; {part}.",
        "",
        f"Versions: {shown}.",
        "",
        f"    {document['command']}",
        "",
        f"Medians of {document['rounds']} interleaved rounds after a discarded one; in brackets "
        "and under *spread* the least and the greatest. A ratio is ours to theirs, round by round.",
        "",
        table(document["results"], "github"),
    ]
    profiles = [
        {**result["profile"], "job": result["name"]}  # A and A-naive are one job in two plans
        for result in document["results"]
        if result.get("profile") is not None
    ]
    if profiles:
        lines += ["", PROFILE_TEXT, "", shares(profiles, "github")]
    for name in plots:
        lines += ["", f"![{name}]({PLOTS}/{name}.svg)"]
    return "\n".join(lines)


def put_between(page: str, generated: str) -> str:
    """The page with that between its markers. Raises ValueError for one without them."""
    before, found, rest = page.partition(BEGIN)
    _, ended, after = rest.partition(END)
    if not found or not ended:
        raise ValueError(f"the page has no line {BEGIN} followed by a line {END}")
    return f"{before}{BEGIN}\n\n{generated}\n\n{END}{after}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", type=Path)
    parser.add_argument("page", type=Path, nargs="?", default=PAGE)
    args = parser.parse_args()
    document = json.loads(args.results.read_text(encoding="utf-8"))
    names = (path.stem for path in (args.page.parent / PLOTS).glob("*.svg"))
    plots = sorted(name for name in names if name != "memory")  # the notes show that one
    page = args.page.read_text(encoding="utf-8")
    args.page.write_text(put_between(page, figures(document, plots)), encoding="utf-8")


if __name__ == "__main__":
    main()
