"""`minispark bench`: measures this cluster beside its baselines. Parses, runs, shows."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench import report
from bench.measure import Measure, WrongResult
from bench.peer import PEERS, versions
from bench.registry import UnknownMeasure, all_measures, chosen
from bench.rounds import run_rounds
from bench.site import ROOT, Site

ROUNDS = 5
EXAMPLES = """\
examples:
  minispark bench --list                          every measure and its target
  minispark bench A B --rounds 7                  two of them
  minispark bench A --peers duckdb,pyspark --peer-python ~/peers/bin/python
  minispark bench -o results.json                 all, and the figures as JSON
  minispark bench --profile A                     where the time of a job goes
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("names", nargs="*", metavar="MEASURE", help="default: all")
    parser.add_argument("--list", action="store_true", help="what can be measured")
    parser.add_argument("--rounds", type=int, default=ROUNDS, metavar="N", help="default: 5")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="the figures as JSON")
    parser.add_argument(
        "--data",
        type=Path,
        default=ROOT / "data" / "large",
        metavar="DIR",
        help="where generated inputs are",
    )
    parser.add_argument("--scale", type=float, default=1.0, metavar="S", help="part of the data")
    parser.add_argument("--peers", default="", metavar="NAMES", help=f"some of {','.join(PEERS)}")
    parser.add_argument(
        "--peer-python",
        default=sys.executable,
        metavar="PYTHON",
        help="the interpreter that has them",
    )
    parser.add_argument("--profile", action="store_true", help="where the time of a job goes")


def run(args: argparse.Namespace, words: list[str]) -> int:
    """The exit status. `words`: how it was called, for the record."""
    try:
        site = site_of(args)
        measures = chosen(args.names, all_measures()) if not args.profile else []
        if args.profile:
            return _profile(args, site)
    except (UnknownMeasure, ValueError) as error:
        print(f"minispark: {error}", file=sys.stderr)
        return 2
    if args.list:
        show_list(measures, args.json)
        return 0
    found = versions(site.peers, site.peer_python) if site.peers else {}

    def document_of(results: list[dict[str, Any]]) -> dict[str, Any]:
        """Is written after each measure: who stops a long run keeps what it found."""
        made = report.document(results, words, args.rounds, args.scale, found)
        if args.output is not None:
            args.output.write_text(json.dumps(made, indent=1) + "\n", encoding="utf-8")
        return made

    results, are_right = measure(measures, site, args.rounds, args.quiet, document_of)
    document = document_of(results)
    print(json.dumps(document, indent=2) if args.json else report.table(document["results"]))
    return 0 if are_right else 1


def site_of(args: argparse.Namespace) -> Site:
    """Raises ValueError that says what to change."""
    peers = tuple(name for name in args.peers.split(",") if name)
    unknown = [name for name in peers if name not in PEERS]
    if unknown:
        raise ValueError(f"--peers: no peer is called {unknown[0]}; there are {', '.join(PEERS)}")
    if args.rounds < 1:
        raise ValueError("--rounds is at least 1; one more is run first and discarded")
    if not 0 < args.scale <= 1:
        raise ValueError("--scale is above 0 and at most 1")
    return Site(args.data, args.scale, peers, args.peer_python)


def show_list(measures: list[Measure], as_json: bool) -> None:
    headers = ("measure", "target", "baseline", "what")
    rows = [
        (m.name, m.target.text(m.unit) if m.target else "", m.baseline, m.what) for m in measures
    ]
    if as_json:
        print(json.dumps([dict(zip(headers, row, strict=True)) for row in rows], indent=2))
    else:
        print(report.tabulate(rows, headers=headers))


def measure(
    measures: list[Measure],
    site: Site,
    rounds: int,
    is_quiet: bool,
    keep: Callable[[list[dict[str, Any]]], object],
) -> tuple[list[dict[str, Any]], bool]:
    """The results, and whether every answer was right. One that was not has no figures. `keep` is
    given those so far after each measure.
    """
    results, are_right = [], True
    for each in measures:

        def tell(number: int, name: str = each.name) -> None:
            if not is_quiet:
                print(f"{name}: round {number} of {rounds}", file=sys.stderr, flush=True)

        try:
            with each.open(site) as lanes:
                results.append(report.result_document(each, run_rounds(lanes, rounds, tell)))
            keep(results)
        except WrongResult as error:
            are_right = False
            print(f"minispark: {each.name}: wrong result: {error}", file=sys.stderr)
    return results, are_right


def _profile(args: argparse.Namespace, site: Site) -> int:
    from bench.profile import text
    from bench.warm import profile

    documents = [profile(site, name) for name in args.names or ["A"]]
    if args.json:
        print(json.dumps(documents, indent=2))
    else:
        print("\n\n".join(text(document) for document in documents))
    return 0
